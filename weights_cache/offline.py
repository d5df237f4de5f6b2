"""Whether requests are allowed. Standard library only."""

from __future__ import annotations

import os


def is_offline() -> bool:
    """Whether the environment forbids requests."""
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in ("1", "ON", "YES", "TRUE")
