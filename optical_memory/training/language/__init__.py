"""How a language model learns to answer from vision tokens: text with facts, pages, training, evaluation, packing."""
