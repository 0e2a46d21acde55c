"""Recipes: each marries a corpus, a model and the training loop. This is the only place where the three meet."""
