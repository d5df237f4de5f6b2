"""Element types: torch's names, numpy's codes, and the safetensors names of the types that zoo stores."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from zoo.core.files.safetensors_file import MAX_RANK


class ElementType(NamedTuple):
    """The torch or numpy `name`, bytes per element, and the safetensors name ("" if the format has none)."""

    name: str
    size: int
    stored: str = ""
    swapped: bool = False
    """Whether the bytes are big-endian."""

    @property
    def is_floating(self) -> bool:
        """Whether training changes such values: floating-point, complex or quantized numbers."""
        return self.name.startswith(("float", "bfloat", "complex", "q"))


_STORED = {
    "bool": ("BOOL", 1), "uint8": ("U8", 1), "int8": ("I8", 1), "int16": ("I16", 2), "uint16": ("U16", 2),
    "int32": ("I32", 4), "uint32": ("U32", 4), "int64": ("I64", 8), "uint64": ("U64", 8),
    "float16": ("F16", 2), "bfloat16": ("BF16", 2), "float32": ("F32", 4), "float64": ("F64", 8),
    "float8_e5m2": ("F8_E5M2", 1), "float8_e4m3fn": ("F8_E4M3", 1), "float8_e8m0fnu": ("F8_E8M0", 1),
    "float8_e4m3fnuz": ("F8_E4M3FNUZ", 1), "float8_e5m2fnuz": ("F8_E5M2FNUZ", 1), "complex64": ("C64", 8),
}  # fmt: skip
_NOT_STORED = {
    "complex32": 4, "complex128": 16, "quint8": 1, "qint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
    "float4_e2m1fn_x2": 1, "bits1x8": 1, "bits2x4": 1, "bits4x2": 1, "bits8": 1, "bits16": 2,
    **{f"{sign}int{bits}": 1 for sign in ("", "u") for bits in range(1, 8)},
}  # fmt: skip
TORCH_DTYPES = {name: ElementType(name, size, stored) for name, (stored, size) in _STORED.items()} | {
    name: ElementType(name, size) for name, size in _NOT_STORED.items()
}
UNTYPED = ElementType("untyped", 1)

_C_NAMES = {
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexDouble": "complex128", "ComplexFloat": "complex64", "QInt8": "qint8", "QInt32": "qint32",
    "QUInt8": "quint8", "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
STORAGE_CLASSES = {f"{c_name}Storage": TORCH_DTYPES[name] for c_name, name in _C_NAMES.items()} | {
    "UntypedStorage": UNTYPED
}
TENSOR_CLASSES = frozenset(f"{c_name}Tensor" for c_name in _C_NAMES)

_NUMPY_CODES = {
    "b1": "bool", "u1": "uint8", "i1": "int8", "u2": "uint16", "i2": "int16", "u4": "uint32", "i4": "int32",
    "u8": "uint64", "i8": "int64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
    "c16": "complex128", "V2": "bfloat16",
}  # fmt: skip


def numpy_dtype(descr: str) -> ElementType:
    """The element type of a numpy description such as "<f4"; numpy does not know bfloat16 and writes it as "|V2".

    For a kind that holds no numbers, the name is the description and nothing is stored.
    """
    match = re.fullmatch(r"([<>=|]?)([a-zA-Z])(\d{0,6})", descr)
    found = TORCH_DTYPES.get(_NUMPY_CODES.get(f"{match[2]}{match[3]}", "")) if match else None
    if match is None or found is None:
        return ElementType(descr[:40], 0)
    return found._replace(swapped=match[1] == ">" and found.size > 1)


def checked_sizes(values: Any) -> tuple[int, ...]:
    """Sizes or strides, one for each of up to MAX_RANK axes. Raises TypeError for invalid ones."""
    if not isinstance(values, tuple | list) or len(values) > MAX_RANK or not all(type(n) is int for n in values):
        raise TypeError("sizes that are none")
    return tuple(values)
