"""Training: how the bundled model was made, from text and fonts to packed weights, rerunnable."""
