import pytest
import torch

from zhseq.batching import Batch
from zhseq.errors import CheckpointError, ConfigError
from zhseq.nn.layers import WORD_SETS, EmbeddingConfig, SequenceEmbedding, embedding_table, uninitialized

CONFIG = EmbeddingConfig(11, 6, bigram_vocab_size=13, bigram_dim=4, word_vocab_size=17, word_dim=3)


@pytest.fixture
def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 11, (2, 5), generator=generator)
    slots = 2 * WORD_SETS
    return Batch(
        ids,
        torch.ones_like(ids, dtype=torch.bool),
        bigram_ids=torch.randint(0, 13, (2, 5), generator=generator),
        word_ids=torch.randint(0, 17, (2, 5, slots), generator=generator),
        word_weights=torch.rand(2, 5, slots, generator=generator),
    )


def test_vectors_are_characters_bigrams_and_four_weighted_word_sets(batch: Batch) -> None:
    embedding = SequenceEmbedding(CONFIG)
    assert embedding.bigrams is not None
    assert embedding.words is not None
    vectors = embedding(batch)
    assert vectors.shape == (2, 5, CONFIG.output_dim) == (2, 5, 6 + 4 + 4 * 3)
    for row in range(2):
        for place in range(5):
            expected = [embedding.characters.weight[batch.ids[row, place]]]
            expected.append(embedding.bigrams.weight[batch.bigram_ids[row, place]])
            for word_set in range(WORD_SETS):
                first, second = 2 * word_set, 2 * word_set + 1
                words, weights = batch.word_ids[row, place], batch.word_weights[row, place]
                expected.append(
                    weights[first] * embedding.words.weight[words[first]]
                    + weights[second] * embedding.words.weight[words[second]]
                )
            torch.testing.assert_close(vectors[row, place], torch.cat(expected))


def test_tables_of_size_zero_are_left_out(batch: Batch) -> None:
    embedding = SequenceEmbedding(EmbeddingConfig(11, 6))
    assert [name for name, _ in embedding.named_parameters()] == ["characters.weight"]
    assert torch.equal(embedding(batch), embedding.characters.weight[batch.ids])


def test_vectors_have_length_one_and_padding_is_zero_and_stays_so() -> None:
    torch.manual_seed(0)
    table = SequenceEmbedding(EmbeddingConfig(500, 64)).characters
    lengths = table.weight.detach().norm(dim=1)
    assert lengths[0] == 0
    assert 0.97 < float(lengths[1:].mean()) < 1.03
    table(torch.tensor([[0, 3]])).sum().backward()
    assert table.weight.grad is not None
    assert not table.weight.grad[0].any()
    assert table.weight.grad[3].any()


def test_the_word_sets_pass_gradients_to_the_words(batch: Batch) -> None:
    embedding = SequenceEmbedding(CONFIG)
    assert embedding.words is not None
    embedding(batch).sum().backward()
    assert embedding.words.weight.grad is not None
    used = torch.zeros(17).index_add(0, batch.word_ids.flatten(), batch.word_weights.flatten())
    torch.testing.assert_close(embedding.words.weight.grad, used[:, None].expand(-1, 3))


def test_vectors_stay_float32_under_autocast(batch: Batch) -> None:
    embedding = SequenceEmbedding(CONFIG)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        vectors = embedding(batch)
    assert vectors.dtype == torch.float32
    assert torch.equal(vectors, embedding(batch))


@pytest.mark.parametrize("name", ["vocab_size", "embedding_dim", "bigram_dim", "word_dim"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        EmbeddingConfig(**{"vocab_size": 1, name: 0})


def test_uninitialized_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    with uninitialized():
        embedding = SequenceEmbedding(CONFIG)
    assert torch.equal(torch.get_rng_state(), before)
    assert embedding.characters.weight.shape == (11, 6)
    SequenceEmbedding(CONFIG)
    assert not torch.equal(torch.get_rng_state(), before)


def test_sizes_that_no_machine_has_are_named_as_the_fault_of_the_file() -> None:
    with pytest.raises(CheckpointError, match=r"config\.json asks for sizes that exceed the memory"), uninitialized():
        embedding_table(10**9, 10**9)
