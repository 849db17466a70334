"""Work on many pages at once: documents to text, on one machine or on many."""
