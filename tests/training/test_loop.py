import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tests.training.toy import Interrupting, Toy, batches, evaluate, log, run
from zhseq.batching import Batch
from zhseq.errors import CheckpointError, ConfigError
from zhseq.training import Evaluation, TrainingConfig, loop
from zhseq.training.loop import TrainingError
from zhseq.training.state import Average


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(left, right, strict=True))


class Watch:
    """Records what the optimizer sees before each of its steps."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.norms: list[float] = []
        self.decays: list[dict[int, float]] = []

    def __call__(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        groups = optimizer.param_groups
        self.rates.append(groups[0]["lr"])
        assert all(group["lr"] == self.rates[-1] for group in groups)
        gradients = [parameter.grad for group in groups for parameter in group["params"]]
        self.norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))
        self.decays.append({group["params"][0].dim(): group["weight_decay"] for group in groups})


@pytest.fixture
def watch() -> Any:
    seen = Watch()
    handle = register_optimizer_step_pre_hook(seen)
    yield seen
    handle.remove()


def test_the_loss_falls_and_every_evaluation_is_logged(tmp_path: Path) -> None:
    model = Toy()
    config = TrainingConfig(epochs=6, learning_rate=0.05, warmup_steps=2)
    result = run(model, tmp_path / "deep" / "run", epochs=6)
    entries = log(tmp_path / "deep" / "run")
    assert [entry["step"] for entry in entries] == [4, 8, 12, 16, 20, 24]
    assert [entry["epoch"] for entry in entries] == [0, 1, 2, 3, 4, 5]
    assert [entry["rate"] for entry in entries] == [config.rate(step - 1, 24) for step in (4, 8, 12, 16, 20, 24)]
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.3
    assert all(entry["score"] == -entry["dev_loss"] for entry in entries)
    best = max(entries, key=lambda entry: entry["score"])
    assert result == Evaluation(best["score"], {"dev_loss": best["dev_loss"]})


def test_the_logged_loss_is_the_mean_since_the_last_look(tmp_path: Path) -> None:
    model = Toy(dropout=0.0)
    expected = sum(model.loss(batch).item() for batch in batches(0)) / 4
    run(model, tmp_path, epochs=1, learning_rate=1e-12)
    assert log(tmp_path)[0]["loss"] == pytest.approx(expected, abs=1e-6)


def test_the_rate_rises_and_falls_to_its_end() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_steps=4, final_rate=0.1)
    rates = [config.rate(step, 12) for step in range(13)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == pytest.approx(0.55)  # half of the way down the cosine
    assert rates[12] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert config.rate(99, 12) == pytest.approx(0.1)
    assert TrainingConfig(warmup_steps=0).rate(0, 1) == TrainingConfig().learning_rate


def test_each_step_uses_its_rate_and_a_clipped_gradient(tmp_path: Path, watch: Watch) -> None:
    run(Toy(), tmp_path, epochs=2, clip_norm=0.05)
    config = TrainingConfig(learning_rate=0.05, warmup_steps=2)
    assert watch.rates == [config.rate(step, 8) for step in range(8)]
    assert max(watch.norms) == pytest.approx(0.05, rel=1e-4)


def test_small_gradients_are_left_alone(tmp_path: Path, watch: Watch) -> None:
    model = Toy(dropout=0.0)
    model.loss(batches(0)[0]).backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm().item()
    model.zero_grad()
    run(model, tmp_path, max_steps=1, clip_norm=10 * norm)
    assert watch.norms == [pytest.approx(norm)]


def test_weight_decay_is_for_matrices_only(tmp_path: Path, watch: Watch) -> None:
    run(Toy(), tmp_path, max_steps=1, weight_decay=0.07)
    assert watch.decays == [{2: 0.07, 1: 0.0}]


def test_epochs_are_asked_for_in_order_and_max_steps_ends_within_one(tmp_path: Path) -> None:
    asked = []

    def recording(epoch: int) -> list[Batch]:
        asked.append(epoch)
        return batches(epoch)

    run(Toy(), tmp_path, batches=recording, max_steps=10, evaluate_every=3)
    assert [epoch for index, epoch in enumerate(asked) if index == 0 or epoch != asked[index - 1]] == [0, 1, 2]
    assert [entry["step"] for entry in log(tmp_path)] == [3, 6, 9, 10]


def test_evaluation_sees_the_model_at_rest_and_training_does_not(tmp_path: Path) -> None:
    modes: list[bool] = []

    class Watched(Toy):
        def loss(self, batch: Batch) -> torch.Tensor:
            modes.append(self.training)
            return super().loss(batch)

    model = Watched().eval()  # as a model comes that was loaded to be trained further
    run(model, tmp_path, epochs=2)
    assert modes == [True] * 4 + [False] + [True] * 4 + [False]


def test_only_better_models_are_kept_and_patience_ends_the_run(tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.0, 3.0, 4.0])  # the fourth is no better: an equal score is no progress
    kept = []
    result = run(
        Toy(),
        tmp_path,
        epochs=9,
        patience=2,
        evaluate=lambda model: Evaluation(next(scores), {"n": 1.0}),
        save_best=lambda model, evaluation: kept.append(evaluation.score),
    )
    assert kept == [1.0, 3.0]
    assert result == Evaluation(3.0, {"n": 1.0})
    assert len(log(tmp_path)) == 4
    assert run(Toy(), tmp_path, resume=True, epochs=9, patience=2) == result  # nothing is left to do


def test_averaged_weights_are_evaluated_and_saved_and_the_raw_ones_trained_on(tmp_path: Path) -> None:
    plain, plain_history = Toy(), []
    run(plain, tmp_path / "plain", evaluate_every=1, evaluate=lambda model: recorded(model, plain_history))
    averaged, history = Toy(), []
    run(averaged, tmp_path / "ema", ema_decay=0.6, evaluate_every=1, evaluate=lambda model: recorded(model, history))
    assert same(weights(plain), weights(averaged))
    shadow = weights(Toy())
    for step, (raw, seen) in enumerate(zip(plain_history, history, strict=True), 1):
        decay = min(0.6, (1 + step) / (10 + step))
        shadow = [decay * old + (1 - decay) * new for old, new in zip(shadow, raw, strict=True)]
        for wanted, found in zip(shadow, seen, strict=True):
            torch.testing.assert_close(found, wanted)


def recorded(model: Toy, history: list[list[torch.Tensor]]) -> Evaluation:
    history.append(weights(model))
    return evaluate(model)


def test_how_often_it_is_evaluated_does_not_change_the_training(tmp_path: Path) -> None:
    one, other = Toy(), Toy()
    run(one, tmp_path / "one", evaluate_every=1)
    run(other, tmp_path / "other", evaluate_every=5)
    assert same(weights(one), weights(other))


def test_the_seed_makes_the_run(tmp_path: Path) -> None:
    models = [Toy(), Toy(), Toy()]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        run(model, tmp_path, seed=seed)
    assert same(weights(models[0]), weights(models[1]))
    assert not same(weights(models[0]), weights(models[2]))


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
@pytest.mark.parametrize(("evaluate_every", "at"), [(0, (1, 2)), (3, (1, 0)), (3, (2, 3)), (5, (1, 1)), (4, (2, 0))])
def test_resumed_equals_uninterrupted(
    tmp_path: Path, ema_decay: float, evaluate_every: int, at: tuple[int, int]
) -> None:
    settings = {"evaluate_every": evaluate_every, "ema_decay": ema_decay, "log_every": 2}
    whole = Toy()
    expected = run(whole, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        run(Toy(), tmp_path / "cut", batches=lambda e: Interrupting(e, at, KeyboardInterrupt()), **settings)
    assert log(tmp_path / "cut") == log(tmp_path / "whole")[: len(log(tmp_path / "cut"))]
    resumed = Toy()
    torch.rand(17)  # whatever the random state is now
    assert run(resumed, tmp_path / "cut", resume=True, **settings) == expected
    assert same(weights(resumed), weights(whole))
    assert log(tmp_path / "cut") == log(tmp_path / "whole")


@pytest.mark.parametrize("at", [(0, 2), (1, 3), (2, 0)])
def test_a_state_between_evaluations_goes_on_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: tuple[int, int]
) -> None:
    settings = {"evaluate_every": 9, "ema_decay": 0.9, "log_every": 2}
    whole = Toy()
    expected = run(whole, tmp_path / "whole", **settings)
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_SAVES", 0.0)  # at every look at the losses
    with pytest.raises(KeyboardInterrupt):
        run(Toy(), tmp_path / "cut", batches=lambda e: Interrupting(e, at, KeyboardInterrupt()), **settings)
    assert log(tmp_path / "cut") == []
    resumed = Toy()
    assert run(resumed, tmp_path / "cut", resume=True, **settings) == expected
    assert same(weights(resumed), weights(whole))
    assert log(tmp_path / "cut") == log(tmp_path / "whole")


@pytest.mark.parametrize("settings", [{"epochs": 1}, {"epochs": 9, "patience": 1}])
def test_a_finished_run_says_so_and_is_left_alone(
    tmp_path: Path, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    constant = {"evaluate": lambda model: Evaluation(1.0), **settings}
    result = run(Toy(), tmp_path, **constant)
    assert "finished" not in capsys.readouterr().err
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(Toy(), tmp_path, resume=True, **constant) == result
    steps = 4 * len(log(tmp_path))
    assert f"this run is finished: {steps} steps are done" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_new_run_forgets_the_state_of_an_older_one(tmp_path: Path) -> None:
    run(Toy(), tmp_path, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        run(Toy(), tmp_path, batches=lambda epoch: Interrupting(epoch, (0, 1), KeyboardInterrupt()))
    assert not (tmp_path / "resume.safetensors").exists()


@pytest.mark.parametrize("torn", ["", '{"step": 12, "epo'])
def test_a_kill_between_log_and_state_leaves_no_line_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, torn: str
) -> None:
    run(Toy(), tmp_path / "whole")
    saved = []

    def save_once(*arguments: Any) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(loop_save(*arguments))

    loop_save = loop.save_state
    monkeypatch.setattr(loop, "save_state", save_once)
    with pytest.raises(KeyboardInterrupt):
        run(Toy(), tmp_path / "cut")
    monkeypatch.undo()
    assert [entry["step"] for entry in log(tmp_path / "cut")] == [4, 8]
    with (tmp_path / "cut" / "log.jsonl").open("a") as stream:
        stream.write(torn)
    run(Toy(), tmp_path / "cut", resume=True)
    assert log(tmp_path / "cut") == log(tmp_path / "whole")


def test_a_new_run_begins_a_new_log(tmp_path: Path) -> None:
    run(Toy(), tmp_path, epochs=2)
    run(Toy(), tmp_path, epochs=1)
    assert [entry["step"] for entry in log(tmp_path)] == [4]


@pytest.mark.parametrize("log_every", [1, 3, 50])
@pytest.mark.parametrize(("epoch", "index"), [(0, 0), (1, 3), (2, 1)])
def test_a_loss_that_is_not_finite_names_its_batch(tmp_path: Path, log_every: int, epoch: int, index: int) -> None:
    class Failing(Toy):
        def loss(self, batch: Batch) -> torch.Tensor:
            return super().loss(batch) * (math.nan if self.training and batch.head == "bad" else 1)

    def with_bad(number: int) -> list[Batch]:
        made = batches(number)
        if number == epoch:
            made[index] = Batch(made[index].ids, made[index].mask, made[index].targets, head="bad")
        return made

    step = 4 * epoch + index + 1
    message = rf"the loss of batch {index} in epoch {epoch} \(step {step}\) is not finite; .*learning_rate"
    with pytest.raises(TrainingError, match=message):
        run(Failing(), tmp_path, batches=with_bad, log_every=log_every, evaluate_every=12)


def test_after_a_bad_loss_the_state_from_before_is_intact(tmp_path: Path) -> None:
    run(Toy(), tmp_path / "whole", evaluate_every=2)
    model = Toy()

    def poisoned(epoch: int) -> list[Batch]:
        if epoch == 1:
            model.table.data.fill_(math.inf)
        return batches(epoch)

    with pytest.raises(TrainingError, match=r"batch 0 in epoch 1 \(step 5\)"):
        run(model, tmp_path / "cut", batches=poisoned, evaluate_every=2)
    run(Toy(), tmp_path / "cut", resume=True, evaluate_every=2)
    assert log(tmp_path / "cut") == log(tmp_path / "whole")


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_a_score_that_is_not_finite_stops_the_run_and_is_not_kept(tmp_path: Path, score: float) -> None:
    with pytest.raises(TrainingError, match=r"the dev score after step 4 is (nan|-inf), not finite"):
        run(
            Toy(),
            tmp_path,
            evaluate=lambda model: Evaluation(score),
            save_best=lambda *_: pytest.fail("a model without a score was kept"),
        )
    assert not (tmp_path / "resume.safetensors").exists()


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"resume\.safetensors is missing"):
        run(Toy(), tmp_path, resume=True)


def test_there_must_be_something_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to train on"):
        run(Toy(), tmp_path, batches=lambda epoch: [], max_steps=5)


def test_the_average_exchanges_and_exchanges_back() -> None:
    model = Toy()
    average = Average(model, 0.5)
    before = weights(model)
    model.table.data.add_(1)
    after = weights(model)
    average.swap()
    assert same(weights(model), before)
    average.swap()
    assert same(weights(model), after)
