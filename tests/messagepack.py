"""MessagePack as Flax writes it (flax/serialization.py), by its bytes: no package is needed."""

import struct
from collections.abc import Mapping

import numpy as np


def text(value: str) -> bytes:
    data = value.encode()
    return bytes([0xA0 | len(data)]) + data if len(data) < 32 else b"\xd9" + bytes([len(data)]) + data


def mapping(values: Mapping[str, bytes]) -> bytes:
    return b"\xde" + struct.pack(">H", len(values)) + b"".join(text(key) + value for key, value in values.items())


def number(value: int) -> bytes:
    return b"\xce" + struct.pack(">I", value)


def array(values: np.ndarray, dtype: str = "", code: int = 1, shape: tuple[int, ...] | None = None) -> bytes:
    """An extension of Flax: shape, dtype and bytes, in MessagePack themselves."""
    data = values.tobytes()
    sizes = b"".join(number(size) for size in (values.shape if shape is None else shape))
    inner = b"\x93" + bytes([0x90 | values.ndim]) + sizes + text(dtype or values.dtype.name)
    inner += b"\xc6" + struct.pack(">I", len(data)) + data
    return b"\xc9" + struct.pack(">I", len(inner)) + struct.pack(">b", code) + inner


def of_paths(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by path, `a/b/c`, as nested mappings."""
    inner: dict[str, dict[str, np.ndarray]] = {}
    for path, values in arrays.items():
        first, _, rest = path.partition("/")
        inner.setdefault(first, {})[rest] = values
    return mapping({key: array(below[""]) if "" in below else of_paths(below) for key, below in inner.items()})
