"""Text processing shared by poems and tagging: normalisation, sentences, vocabularies, tags. Does not import torch."""

from zhseq.text.normalize import codepoints, from_codepoints, normalize
from zhseq.text.pieces import split_sentences
from zhseq.text.vocab import Vocab

__all__ = ["Vocab", "codepoints", "from_codepoints", "normalize", "split_sentences"]
