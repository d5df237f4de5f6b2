"""Adapt a checkpoint to a different number of channels: the request, the plan, the written file, its verification."""
