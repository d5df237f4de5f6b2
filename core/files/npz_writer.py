"""Write archives of numpy arrays as a stream; the same tensors give the same bytes. Standard library only.

Format: a zip archive of `<name>.npy` entries, each with a text header and the values
(https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). Entries are stored, not compressed, so that
readers can memory-map them. Their dates are fixed.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterable

from zoo.core.errors import InvalidInputError
from zoo.core.files.atomic_output import OutputFile
from zoo.core.files.stored_tensor import StoredTensor, Unavailable

# numpy has no bfloat16: JAX stores such arrays as two untyped bytes per value.
_DESCRIPTIONS = {
    "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "|V2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
    "complex128": "<c16",
}  # fmt: skip
_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT = 64
_FIRST_DATE = (1980, 1, 1, 0, 0, 0)
_ZIP64_FROM = (1 << 31) - 1
_UNIX = 3


def write_npz(output: OutputFile, tensors: Iterable[StoredTensor]) -> None:
    """Write a whole archive with the tensors in their order.

    Raises InvalidInputError for a dtype that numpy lacks, and for a name that an archive cannot hold.
    """
    with (
        os.fdopen(os.dup(output.fd), "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, strict_timestamps=True) as archive,
    ):
        for tensor in tensors:
            header = npy_header(tensor)
            entry = zipfile.ZipInfo(f"{tensor.name}.npy", _FIRST_DATE)
            entry.create_system, entry.external_attr = _UNIX, 0o600 << 16
            entry.file_size = len(header) + tensor.nbytes
            with archive.open(entry, "w", force_zip64=entry.file_size >= _ZIP64_FROM) as stream:
                stream.write(header)
                for piece in tensor.chunks():
                    stream.write(piece)


def npy_header(tensor: StoredTensor) -> bytes:
    """The header of a tensor in an .npy file. Raises as `write_npz`."""
    if isinstance(tensor.data, Unavailable):
        raise tensor.refusal(f"should be dense, found {tensor.data.why}")
    if tensor.dtype not in _DESCRIPTIONS:
        raise InvalidInputError(
            f"{tensor.name[:80]!r} holds {tensor.dtype}, a dtype that numpy does not have.",
            hint="Pass --dtype float32.",
        )
    if not tensor.name or "\x00" in tensor.name:
        raise InvalidInputError(f"An archive of arrays cannot hold a tensor called {tensor.name[:80]!r}.")
    shape = f"({', '.join(map(str, tensor.shape))}{',' if len(tensor.shape) == 1 else ''})"
    text = f"{{'descr': '{_DESCRIPTIONS[tensor.dtype]}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    before = len(_MAGIC) + 2
    text += b" " * (-(before + len(text) + 1) % _ALIGNMENT) + b"\n"
    return _MAGIC + struct.pack("<H", len(text)) + text
