"""Judge verse: form, tones, rhymes, repetition. Shares no code with the search that writes; needs no torch."""

from zhseq.review.faults import Fault, Review, rhymes_of
from zhseq.review.judging import review
from zhseq.review.mending import Suggestion, candidates
from zhseq.review.reading import BLANK, read_blocks, read_lines

__all__ = ["BLANK", "Fault", "Review", "Suggestion", "candidates", "read_blocks", "read_lines", "review", "rhymes_of"]
