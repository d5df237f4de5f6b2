"""Fit weights that depend on the image size to a different size."""
