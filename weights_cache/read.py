from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor


def read_state_dict(path: str | Path, use_ema: bool = True) -> dict[str, Tensor]:
    return load_file(path)
