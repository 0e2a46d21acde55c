"""Building blocks that both models share."""
