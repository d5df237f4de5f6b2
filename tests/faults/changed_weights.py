"""Safetensors files, shards and npz archives with changes to their headers; and what makes a case of each format."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from faults.changed_files import (
    NAMES,
    NUMBERS,
    changed_bytes,
    changed_text,
    changed_zip_fields,
    json_text,
    some,
    value,
    zipped,
)
from faults.changed_pickles import torch_file, torch_tar_file
from weight_bytes import file_bytes

_BITS = {
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I64": 64,
    "U8": 8,
    "BOOL": 8,
    "F8_E4M3": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "C64": 64,
}
_DTYPES = (*_BITS, "F64", "F8_E8M0", "f32", "F32 ", "", "I4")


def safetensors_file(rng: Random) -> bytes:
    """A file of up to four tensors, with changes to the fields of its header, to its text, and to its length."""
    entries: list[tuple[str, Any]] = []
    end = 0
    for i in range(rng.randrange(5)):
        dtype, shape = rng.choice(list(_BITS)), [rng.randrange(5) for _ in range(rng.randrange(4))]
        size = int(np.prod(shape, dtype=int)) * _BITS[dtype] // 8
        entries.append((f"t{i}", {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}))
        end += size
    data = rng.randbytes(end)
    for _ in some(rng, (0, 1, 1, 2, 3)):
        _change_entries(entries, rng)
    # Text by text, so that a name may be there twice.
    header = "{" + ",".join(f"{json_text(name, rng)}:{json_text(entry, rng)}" for name, entry in entries) + "}"
    raw = header.encode("utf-8", "surrogatepass")
    for _ in some(rng, (0, 0, 1, 2)):
        raw = changed_text(raw, rng)
    if rng.random() < 0.1:
        data = rng.choice((data + b"x", data[:-1], data + bytes(8), b""))
    whole = file_bytes(raw, data)
    if rng.random() < 0.1:
        length = (len(raw) + rng.choice((*NUMBERS, -len(raw)))) % 2**64
        whole = struct.pack("<Q", length) + whole[8:]
    return whole


def _change_entries(entries: list[tuple[str, Any]], rng: Random) -> None:
    if not entries or rng.random() < 0.15:
        metadata = rng.choice(({"a": "b"}, {"a": 1}, {}, None, [], {"zoo": "{}"}, {rng.choice(NAMES): "x"}, value(rng)))
        entries.insert(rng.randrange(len(entries) + 1), ("__metadata__", metadata))
        return
    at = rng.randrange(len(entries))
    name, entry = entries[at]
    entry = dict(entry) if isinstance(entry, dict) else {}
    match rng.randrange(9):
        case 0:
            name = rng.choice(NAMES)
        case 1:
            entry["dtype"] = rng.choice((*_DTYPES, value(rng)))
        case 2:
            shape = [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
            entry["shape"] = rng.choice((value(rng), shape, [1] * 70, [0, 2**62, 2**62], [2**32, 2**32, 0]))
        case 3:
            entry["data_offsets"] = [rng.choice(NUMBERS), rng.choice(NUMBERS)]
        case 4 if isinstance(entry.get("data_offsets"), list) and entry["data_offsets"]:
            begin, *rest = entry["data_offsets"]
            shift = rng.choice((-8, -1, 1, 8))
            entry["data_offsets"] = [begin, *(end + shift if type(end) is int else end for end in rest)]
        case 5:
            entries.insert(rng.randrange(len(entries)), rng.choice(entries))
            return
        case 6:
            entry[rng.choice(NAMES)] = value(rng)
        case 7 if entry:
            entry.pop(rng.choice(list(entry)))
        case _:
            rng.shuffle(entries)
            return
    entries[at] = (name, entry)


def shards(rng: Random) -> dict[str, bytes]:
    """Two shards and their index, with changes to the index or to a shard."""
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map: dict[str, Any] = {"a": names[0], "b": names[1], "c": names[1]}
    files = {names[0]: _plain({"a": 3}), names[1]: _plain({"b": 4, "c": 5})}
    index: Any = {"metadata": {"total_size": 12}, "weight_map": weight_map}
    for _ in some(rng):
        match rng.randrange(7):
            case 0:
                weight_map[rng.choice((*weight_map, *NAMES))] = rng.choice((*names, *NAMES, value(rng)))
            case 1 if weight_map:
                weight_map.pop(rng.choice(list(weight_map)))
            case 2:
                files[rng.choice(names)] = safetensors_file(rng)
            case 3:
                files[rng.choice((*names, "model-00003-of-00002.safetensors", "x.safetensors"))] = _plain({"z": 1})
            case 4:
                index = rng.choice(
                    (value(rng), {"weight_map": value(rng)}, {"metadata": value(rng), "weight_map": weight_map}, index)
                )
            case 5:
                files.pop(rng.choice(names), None)
            case _:
                files = {name: files[other] for name, other in zip(files, reversed(files), strict=True)}
    text = json_text(index, rng).encode("utf-8", "surrogatepass")
    for _ in some(rng, (0, 0, 0, 1)):
        text = changed_text(text, rng)
    return files | {"model.safetensors.index.json": text}


def _plain(sizes: dict[str, int]) -> bytes:
    entries, end = {}, 0
    for name, size in sizes.items():
        entries[name] = {"dtype": "U8", "shape": [size], "data_offsets": [end, end + size]}
        end += size
    return file_bytes(entries, bytes(range(end)))


# ---------------------------------------------------------------- numpy


def npz_file(rng: Random) -> bytes:
    """Three arrays: changes to the text of their headers, their lengths, the archive."""
    members = []
    for name, array in (
        ("a", np.arange(12, dtype="<f4").reshape(3, 4)),
        ("b", np.arange(5, dtype=">i4")),
        ("c", np.asfortranarray(np.eye(3, 4))),
    ):
        buffer = io.BytesIO()
        np.save(buffer, array)
        data = buffer.getvalue()
        if rng.random() < 0.5:
            data = _changed_array(data, rng)
        if rng.random() < 0.05:
            name = rng.choice(("../x", "a", "", "é", "a/b", "__metadata__", "x" * 300))
        members.append((f"{name}.npy" if rng.random() < 0.97 else name or "x", data))
    data = zipped(members, rng)
    return changed_zip_fields(data, rng) if rng.random() < 0.3 else data


def _changed_array(data: bytes, rng: Random) -> bytes:
    length = struct.unpack("<H", data[8:10])[0]
    header, body = data[10 : 10 + length].decode("latin-1"), data[10 + length :]
    match rng.randrange(7):
        case 0:
            shapes = (
                "(12,)",
                "(-3,-4)",
                "()",
                "(3,4,)",
                "(2**3,)",
                "(True,12)",
                "[3,4]",
                "(3.0,4)",
                "(1,)*70",
                f"({10**12},)",
                "(2,3,2)",
                "(0,3)",
                "((3,4),)",
                "(99999999999999999999,0)",
                f"({'1,' * 65})",
                "(" * 3000,
            )
            header = re.sub(r"\([\d, ]*\)", lambda _: rng.choice(shapes), header)
        case 1:
            dtypes = (
                "|O",
                "<c8",
                "<U3",
                "|V16",
                ">f4",
                "<f16",
                "<M8[ns]",
                "|S4",
                "=f4",
                "f4",
                "",
                "<f2",
                "|b1",
                "<i8",
                ">u2",
                "<f4<f4",
            )
            header = re.sub(r"'[<>|][a-z]\d'", lambda _: f"'{rng.choice(dtypes)}'", header)
        case 2:
            header = re.sub("True|False", lambda _: rng.choice(("True", "False", "0", "None", "1")), header)
        case 3:
            header = rng.choice(
                (header[: rng.randrange(len(header))], header + "#", header.replace("'", '"'), "-" * 5000, "{}")
            )
        case 4:
            body = rng.choice((body[:-1], body + b"x", b"", body * 2))
        case 5:
            return changed_bytes(data, rng)
        case _:
            header = header.replace("{", rng.choice(("{'x': 1, ", "{'shape': (1,), ", "{**{}, ", "[")), 1)
    raw = header.encode("latin-1")[:65000]
    version = rng.choice(((1, 0),) * 8 + ((2, 0), (3, 0), (4, 0), (1, 1)))
    width = "<H" if version[0] == 1 or rng.random() < 0.2 else "<I"
    return data[:6] + bytes(version) + struct.pack(width, len(raw)) + raw + body


WEIGHT_FILES: dict[str, Callable[[Random], bytes]] = {
    "safetensors": safetensors_file,
    "torch": torch_file,
    "torch tar": torch_tar_file,
    "npz": npz_file,
}
"""What makes a case of each format."""
