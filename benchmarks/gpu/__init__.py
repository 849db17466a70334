"""DeepSeek-OCR on a GPU: one module for each part; ``python -m benchmarks.gpu`` runs them."""
