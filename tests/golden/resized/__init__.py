"""Tensors that timm resized, and what they were made of."""

import numpy as np


def wave(shape):
    """Values that differ from place to place and follow from the shape alone: float32, between -1 and 1."""
    count = np.arange(np.prod(shape, dtype=int), dtype=np.float64)
    return np.sin(count * 0.7 + np.sin(count * 0.13)).astype(np.float32).reshape(shape)
