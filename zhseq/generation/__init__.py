"""Writing with the language model: sampling under a template, and the search that keeps tone and rhyme."""

from zhseq.generation.rerank import Ranking
from zhseq.generation.sampling import Constraint, NoRepeatedLine, Sampling, sample

__all__ = ["Constraint", "NoRepeatedLine", "Ranking", "Sampling", "sample"]
