"""Tag whole corpora: many inputs, several processes or a Ray cluster, resumable output. Does not import torch."""
