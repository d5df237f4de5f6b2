"""Checkpoints of every kind as stored tensors, without torch; nothing in a file is ever run."""

from zoo.weights_cache.checkpoint.opened import Checkpoint, open_checkpoint

__all__ = ["Checkpoint", "open_checkpoint"]
