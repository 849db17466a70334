"""Training the second head on the library's own pages: sessions drawn at random, their pages, features and steps."""
