"""Pickles and torch archives put together by hand: no pickler stands between a test and the instructions."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from math import prod

MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def text_of_python_2(value: bytes) -> bytes:
    return b"U" + bytes([len(value)]) + value


def number(value: int) -> bytes:
    raw = value.to_bytes(max(1, value.bit_length() // 8 + 1), "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def mention(name: str) -> bytes:
    """The global `module.name`."""
    module, _, attribute = name.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def together(*parts: bytes) -> bytes:
    """A tuple."""
    return b"(" + b"".join(parts) + b"t"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + together(*arguments) + b"R"


def table(entries: Mapping[str, bytes]) -> bytes:
    """A dictionary."""
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def program(*parts: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + b"".join(parts) + b"."


def storage(key: str, count: int, kind: str = "FloatStorage") -> bytes:
    """What a zip archive's pickle says for a storage."""
    parts = (text("storage"), mention(f"torch.{kind}"), text(key), text("cpu"), number(count))
    return together(*parts) + b"Q"


def tensor(stored: bytes, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, offset: int = 0) -> bytes:
    """A tensor over a storage, row-major where no strides are given."""
    if strides is None:
        strides = tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
    sizes, steps = (together(*map(number, values)) for values in (shape, strides))
    hooks = call(mention("collections.OrderedDict"))
    return call(mention("torch._utils._rebuild_tensor_v2"), stored, number(offset), sizes, steps, b"\x89", hooks)


def torch_zip(pickled: bytes, storages: Mapping[str, bytes] = {}, method: int = zipfile.ZIP_STORED) -> bytes:
    """A torch archive around a pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", b"little")
        for key, data in storages.items():
            archive.writestr(f"archive/data/{key}", data)
        archive.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def torch_legacy(pickled: bytes) -> bytes:
    """A legacy file around a pickle that needs no storages."""
    head = [pickle.dumps(value, 2) for value in (MAGIC, 1001, {"little_endian": True})]
    return b"".join(head) + pickled + pickle.dumps([], 2)


def torch_tar(parts: Mapping[str, bytes]) -> bytes:
    """The tar archive of torch 0.3."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def counted(values: bytes, size: int) -> bytes:
    """A storage's bytes as legacy files have them: behind their number of elements."""
    return struct.pack("<q", len(values) // size) + values
