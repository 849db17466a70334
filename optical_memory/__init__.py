"""Long-context memory for LLM agents: exact on disk, text while fresh, page images that fade with age."""
