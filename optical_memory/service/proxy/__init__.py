"""The proxy: under the providers' own paths, a client's long histories are compressed on their way to the model."""
