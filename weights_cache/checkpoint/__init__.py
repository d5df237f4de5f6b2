"""Checkpoints of every kind as stored tensors, without torch; nothing in a file is ever run."""
