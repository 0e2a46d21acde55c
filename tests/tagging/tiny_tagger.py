"""A tiny untrained tagger, for tests that need some model and not a good one."""

from __future__ import annotations

import torch

from zhseq.tagging.features import SequenceTaggerConfig, TaggerFeatures
from zhseq.tagging.lexicon import Lexicon
from zhseq.tagging.model import SequenceTagger
from zhseq.text.tags import scheme_tags
from zhseq.text.vocab import SPECIALS, Vocab

CHARACTERS = "中国人民在北京大学学习上海来自和的了,。!?0123456789abcABC"
POS = tuple(scheme_tags(["n", "v", "w"], "BMES", outside=False))
NER = tuple(scheme_tags(["PER", "LOC"], "BIOES"))


def tiny_features() -> TaggerFeatures:
    words = ["中", "中国", "国人", "人民", "北京", "北京大学", "大学", "学习", "上海"]
    return TaggerFeatures(
        Vocab([*SPECIALS, *dict.fromkeys(CHARACTERS)]),
        ["中国", "北京", "大学"],
        Lexicon(words, [float(10 * index + 5) for index in range(len(words))], 4),
    )


def tiny_model(heads: dict[str, tuple[str, ...]] | None = None, seed: int = 0, **sizes: int) -> SequenceTagger:
    torch.manual_seed(seed)
    features = tiny_features()
    settings = {"embedding_dim": 8, "bigram_dim": 4, "word_dim": 4, "hidden_size": 12, "channels": 8}
    settings |= {"bigram_vocab_size": len(features.bigrams) + 1, "word_vocab_size": len(features.lexicon) + 1, **sizes}
    model = SequenceTagger(
        SequenceTaggerConfig(
            vocab_size=len(features.vocab),
            heads={"pos": POS, "ner": NER} if heads is None else heads,
            **settings,  # type: ignore[arg-type]
        )
    )
    for projection in model.projections.values():
        torch.nn.init.normal_(projection.weight, std=2.0)  # type: ignore[arg-type]  # so that tags differ
    return model.eval()
