"""Whole corpora: many inputs, several processes, outputs that survive a kill. Nothing here imports torch by itself."""
