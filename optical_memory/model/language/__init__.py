"""A language model that answers from vision tokens: the adapter, its weights, and the model as an object."""
