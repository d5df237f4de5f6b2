"""Renaming the keys of published checkpoints by a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

T = TypeVar("T")

KeyTable = Mapping[str, str | Callable[[re.Match[str]], str]]
"""Regular expression -> what replaces each match of it, as `re.sub` takes it."""


NETWORK_KEYS: KeyTable = {
    r"^network\.([135])\.": lambda found: f"stages.{(int(found[1]) + 1) // 2}.downsample.",
    r"^network\.([0246])\.": lambda found: f"stages.{int(found[1]) // 2}.blocks.",
}
"""Files whose `network` counts what lies between four stages among them, as PoolFormer's (arXiv:2111.11418)."""


def rename_keys(state_dict: Mapping[str, T], table: KeyTable) -> dict[str, T]:
    """The state dict with the rows of the table applied to each key, in the table's order."""
    renamed = {}
    for key, value in state_dict.items():
        for pattern, replacement in table.items():
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def reshape_to_fit(state_dict: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor in the shape of the wanted one of its name, where both hold as many numbers: linear layers as 1x1
    convolutions, for example."""
    return {
        key: value.reshape(wanted[key].shape) if key in wanted and wanted[key].numel() == value.numel() else value
        for key, value in state_dict.items()
    }
