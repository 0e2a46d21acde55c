"""Write, check and score classical verse. Only `model` imports torch; the other modules use numpy."""
