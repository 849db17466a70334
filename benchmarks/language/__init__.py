"""How well the language model answers from vision tokens."""
