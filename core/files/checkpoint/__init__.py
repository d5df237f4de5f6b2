"""Read checkpoints of every kind as stored tensors, without torch; nothing in a file is ever executed."""

from zoo.core.files.checkpoint.found_tensors import FoundTensors, find_tensors

__all__ = ["FoundTensors", "find_tensors"]
