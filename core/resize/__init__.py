"""Weights that depend on the image size, for another size."""
