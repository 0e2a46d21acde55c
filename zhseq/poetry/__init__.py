"""Write, judge and score classical verse. Only `model`, `search`, `scoring`, `writer` and `poet` need torch."""
