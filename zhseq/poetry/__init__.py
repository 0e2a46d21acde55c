"""Write, judge and score classical verse. Only `model` imports torch; the others compute with numpy."""
