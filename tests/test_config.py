import json
from dataclasses import dataclass, field

import pytest

from zhseq.config import from_dict, override, to_dict
from zhseq.errors import ConfigError
from zhseq.training import TrainingConfig


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (640, 640)
    rate: float = 0.5
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ConfigError("negative_rate", "rate must not be negative, but is {rate}", rate=self.rate)


@dataclass(frozen=True)
class Outer:
    name: str
    steps: int = 1
    exact: bool = False
    inner: Inner = field(default_factory=Inner)


OUTER = Outer("a")


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("steps=7", Outer("a", steps=7)),
        ("steps = -7 ", Outer("a", steps=-7)),
        ("name=b", Outer("b")),
        ("name=cuda:0", Outer("cuda:0")),
        ("name='x=y'", Outer("x=y")),
        ("name=春", Outer("春")),
        ("exact=true", Outer("a", exact=True)),
        ("exact=False", Outer("a", exact=False)),
        ("inner.rate=1e-3", Outer("a", inner=Inner(rate=0.001))),
        ("inner.rate=2", Outer("a", inner=Inner(rate=2.0))),
        ("inner.sizes=(3,4,5)", Outer("a", inner=Inner(sizes=(3, 4, 5)))),
        ("inner.sizes=[3]", Outer("a", inner=Inner(sizes=(3,)))),
        ("inner.sizes=3", Outer("a", inner=Inner(sizes=(3,)))),
        ("inner.limit=3", Outer("a", inner=Inner(limit=3))),
        ("inner.limit=none", OUTER),
    ],
)
def test_override(assignment: str, expected: Outer) -> None:
    changed = override(OUTER, [assignment])
    assert changed == expected
    assert type(changed.inner.rate) is float


def test_the_last_assignment_wins_and_the_original_stays() -> None:
    assert override(OUTER, ["steps=2", "inner.rate=1", "steps=3"]) == Outer("a", 3, inner=Inner(rate=1.0))
    assert Outer("a") == OUTER
    assert override(OUTER, []) is OUTER


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("stepz=7", "unknown setting 'stepz'.*valid here are name, steps, exact, inner"),
        ("inner.ratio=7", "unknown setting 'inner.ratio'.*valid here are sizes, rate, limit"),
        ("inner.rate.deep=7", "'rate' has no parts"),
        ("=7", "unknown setting ''.*valid here are name"),
        ("steps", "'steps' is not of the form key=value"),
        ("inner=7", "'inner' is a group of settings; set one of its parts: sizes, rate, limit"),
        ("steps=2.5", "steps must be of type int, but 2.5 is of type float"),
        ("steps=many", "steps must be of type int, but 'many' is of type str"),
        ("steps=", "steps must be of type int, but '' is of type str"),
        ("steps=True", "steps must be of type int, but True is of type bool"),
        ("inner.rate=true", "inner.rate must be of type float, but True is of type bool"),
        ("inner.rate=nan", "inner.rate must be of type float, but 'nan' is of type str"),
        ("exact=1", "exact must be of type bool, but 1 is of type int"),
        ("name=7", "name must be of type str, but 7 is of type int"),
        ("inner.sizes=(3,x)", r"inner.sizes must be of type int, but '\(3,x\)' is of type str"),
        ("inner.sizes=(3,2.5)", "inner.sizes must be of type int, but 2.5 is of type float"),
        ("inner.limit=x", "inner.limit must be of type int, but 'x' is of type str"),
        ("inner.rate=-1", "rate must not be negative, but is -1.0"),
        ("steps={[]: 1}", r"steps must be of type int, but '\{\[\]: 1\}' is of type str"),
    ],
)
def test_wrong_overrides_say_what_is_right(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(OUTER, [assignment])


def test_written_down_and_read_back_is_the_same() -> None:
    config = Outer("春", 3, True, Inner((1,), 0.25, 9))
    written = json.loads(json.dumps(to_dict(config)))
    assert from_dict(Outer, written, source="file") == config
    assert from_dict(Outer, {"name": "b"}, source="file") == Outer("b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a", "stepz": 1}, "^config.json: unknown setting 'stepz'; valid are name, steps, exact, inner$"),
        ({"name": "a", "inner": {"rat": 1}}, "^config.json: inner: unknown setting 'rat'; valid are sizes, rate"),
        ({"steps": 1}, "^config.json: a setting is missing .*'name'"),
        ({"name": 1}, "^config.json: name must be of type str, but 1 is"),
        ({"name": "a", "inner": {"sizes": ["x"]}}, "^config.json: inner: sizes must be of type int, but 'x' is"),
        ({"name": "a", "inner": 1}, "^config.json: inner must be of type Inner, but 1 is of type int"),
        (["name"], "^config.json must hold settings by name, but holds a list"),
    ],
)
def test_wrong_files_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(Outer, values, source="config.json")


@pytest.mark.parametrize(
    "assignment",
    [
        *("epochs=0", "log_every=0", "max_steps=-1", "warmup_steps=-1", "evaluate_every=-1", "patience=-1", "seed=-1"),
        *("learning_rate=0", "learning_rate=-1", "clip_norm=0", "ema_decay=1", "ema_decay=-0.1", "beta2=1.0"),
        *("final_rate=1.5", "weight_decay=-1", "precision=float16"),
    ],
)
def test_impossible_training_settings_are_refused_by_name(assignment: str) -> None:
    with pytest.raises(ConfigError, match=assignment.partition("=")[0]):
        override(TrainingConfig(), [assignment])
