"""How the bundled model reads: pages, scores, floors and plots; ``python -m benchmarks.mini`` runs them."""
