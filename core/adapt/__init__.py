"""Adapting a checkpoint to other channels: the request, the plan, the written file, the proof."""
