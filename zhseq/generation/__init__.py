"""Writing with the language model: sampling under a template and the constraints of verse."""

from zhseq.generation.sampling import Constraint, NoRepeatedLine, Sampling, sample

__all__ = ["Constraint", "NoRepeatedLine", "Sampling", "sample"]
