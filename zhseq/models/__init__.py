"""The two models: a language model and a sequence tagger. Neither knows how it is trained."""
