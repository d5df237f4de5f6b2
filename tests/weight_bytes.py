"""Safetensors files made by hand, sound and not: no writer stands between a test and the bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

Tensor = tuple[str, tuple[int, ...], bytes]
"""dtype, shape, bytes"""


def entry(dtype: str = "U8", shape: Any = (1,), begin: Any = 0, end: Any = 1) -> dict[str, Any]:
    """What a header says of one tensor."""
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def file_bytes(header: Any, data: bytes = b"") -> bytes:
    """A file with this header: JSON as text, or what `json` makes a text of."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def weight_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A sound file of these tensors, in their order."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = entry(dtype, shape, position, position + len(data))
        position += len(data)
    return file_bytes(header, b"".join(data for _, _, data in tensors.values()))
