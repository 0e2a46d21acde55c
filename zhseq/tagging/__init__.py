"""Tag words, parts of speech and named entities."""
