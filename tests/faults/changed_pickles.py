"""Torch checkpoints (zip, legacy, the tar of torch 0.3) with changes to their pickles, members and numbers."""

from __future__ import annotations

import argparse
import io
import pickletools
import struct
import zipfile
from collections import OrderedDict
from functools import cache
from random import Random
from typing import Any

import numpy as np
import torch

from faults.changed_files import NUMBERS, changed_bytes, changed_tar_fields, changed_zip_fields, some, zipped
from pickle_bytes import counted, mention, number, program, text_of_python_2, together, torch_tar

_GLOBALS = (
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "collections.OrderedDict",
    "os.system",
    "builtins.eval",
    "builtins.getattr",
    "functools.partial",
    "torch.FloatStorage",
    "torch.HalfStorage",
    "torch.Size",
    "numpy.dtype",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "argparse.Namespace",
    "_codecs.encode",
    "copyreg._reconstructor",
    "builtins.bytearray",
    "builtins.set",
    "torch.storage.UntypedStorage",
    "torch._utils._rebuild_qtensor",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._tensor._rebuild_from_type_v2",
    "torch.nn.modules.container.Sequential",
    "torch.load",
    "posix.system",
)
_SNIPPETS = (
    b"N",
    b"\x88",
    b")",
    b"]",
    b"}",
    b"(",
    b"0",
    b"1",
    b"2",
    b"a",
    b"e",
    b"s",
    b"u",
    b"t",
    b"R",
    b"b",
    b"Q",
    b"\x81",
    b"\x92",
    b"\x93",
    b"\x94",
    b"h\x00",
    b"h\x05",
    b"r\xff\xff\xff\x7f",
    b"K\x01K\x02\x86",
    b"X\x01\x00\x00\x00a",
    b"X\xff\xff\xff\x7fa",
    b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"T\xff\xff\xff\x7f",
    b"C\x01x",
    b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"G\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\x8b\xff\xff\xff\x7f",
    b"\x82\x01",
    b"P1\n",
    b"I01\n",
    b"L5L\n",
    b"\x96" + b"\xff" * 8,
)


@cache
def state_dict() -> dict[str, torch.Tensor]:
    """Tensors of several dtypes and layouts, two of them of one storage."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 3, 3, 3, generator=generator)
    return OrderedDict(
        [
            ("conv.weight", weight),
            ("conv.bias", weight[0, 0, 0]),
            ("half", weight.half()),
            ("brain", weight.bfloat16()),
            ("turned", weight.transpose(0, 3)),
            ("count", torch.tensor(7)),
            ("empty", torch.zeros(0, 3)),
            ("mask", torch.tensor([True, False])),
        ]
    )


@cache
def checkpoints() -> tuple[bytes, ...]:
    """Torch's own files: bare, and with what training leaves beside."""
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(4, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    training = {"model": dict(state_dict()), "args": argparse.Namespace(lr=0.1), "optimizer": optimizer}
    return tuple(
        _saved(content, zipped)
        for content in (state_dict(), training, {"state_dict": state_dict()})
        for zipped in (True, False)
    )


def _saved(content: Any, zipped: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def torch_file(rng: Random) -> bytes:
    """A zip or a legacy file: changes to its pickle, to its members, to the tables of the archive."""
    data = rng.choice(checkpoints())
    if not data.startswith(b"PK"):
        return changed_pickle(data, rng) if rng.random() < 0.7 else changed_bytes(data, rng)
    if rng.random() < 0.5:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        return zipped([_changed_member(*member, rng) for member in members], rng)
    if rng.random() < 0.7:
        return changed_zip_fields(data, rng)
    return changed_bytes(data, rng)


def _changed_member(name: str, data: bytes, rng: Random) -> tuple[str, bytes]:
    if name.endswith("data.pkl"):
        return name, changed_pickle(data, rng)
    match rng.randrange(60):
        case 0:
            return name, data[: rng.randrange(len(data) + 1)]
        case 1:
            return rng.choice(("../x", name * 2, "archive/data/99", name.upper(), "\0", "x" * 300)), data
        case 2:
            return name, data + bytes(rng.choice((1, 4, 64)))
    return name, data


def changed_pickle(data: bytes, rng: Random) -> bytes:
    """Instructions of a pickle (the first of several in a row) replaced, removed, doubled, moved, put in."""
    try:
        starts = [place for _, _, place in pickletools.genops(data)]
    except ValueError:
        return changed_bytes(data, rng)
    # The first pickles of a legacy file are short: its number, its version, what it was written on.
    end = data.find(b".", starts[-1]) + 1
    head = 0
    while end < len(data) and len(starts) < 40:
        head = end
        try:
            starts = [head + place for _, _, place in pickletools.genops(data[head:])]
        except ValueError:
            return changed_bytes(data, rng)
        end = starts[-1] + 1
    steps = [data[a:b] for a, b in zip(starts, [*starts[1:], end], strict=True)]
    for _ in some(rng, (1, 1, 1, 2, 4)):
        at = rng.randrange(len(steps))
        match rng.randrange(8):
            case 0:
                steps[at] = rng.choice(_SNIPPETS)
            case 1:
                steps[at] = b""
            case 2:
                steps.insert(at, rng.choice(_SNIPPETS))
            case 3:
                steps.insert(at, steps[rng.randrange(len(steps))])
            case 4:
                steps[at] = mention(rng.choice(_GLOBALS))
            case 5:
                other = rng.randrange(len(steps))
                steps[at], steps[other] = steps[other], steps[at]
            case 6:
                steps[at] = number(rng.choice(NUMBERS))
            case _:
                # A number among numbers: shapes, strides, offsets, sizes of storages.
                numbers = [i for i, step in enumerate(steps) if step[:1] in (b"K", b"M", b"J")]
                steps[rng.choice(numbers or [at])] = number(rng.choice(NUMBERS))
    return data[:head] + b"".join(steps) + data[end:]


def torch_tar_file(rng: Random) -> bytes:
    """The tar of torch 0.3, with changes to its pickles, its numbers, and the headers of its members."""
    values = np.arange(6, dtype="<f4").tobytes()
    one = program(together(number(10), text_of_python_2(b"cpu"), mention("torch.FloatStorage")))
    parts = {
        "sys_info": program(b"}"),
        "pickle": b"\x80\x02}(" + text_of_python_2(b"fc.weight") + text_of_python_2(b"11") + b"Qu.",
        "tensors": program(number(1))
        + program(together(number(11), number(10), mention("torch.FloatTensor")))
        + struct.pack("<qqqqqq", 2, 2, 3, 3, 1, 0),
        "storages": program(number(1)) + one + counted(values, 4) + program(b"]"),
    }
    if rng.random() < 0.6:
        name = rng.choice(list(parts))
        parts[name] = changed_pickle(parts[name], rng) if rng.random() < 0.5 else _changed_words(parts[name], rng)
    if rng.random() < 0.1:
        parts.pop(rng.choice(list(parts)))
    return changed_tar_fields(torch_tar(parts), rng) if rng.random() < 0.6 else torch_tar(parts)


def _changed_words(data: bytes, rng: Random) -> bytes:
    raw = bytearray(data)
    at = rng.randrange(max(1, len(raw) - 8))
    raw[at : at + 8] = (rng.choice(NUMBERS) % 2**64).to_bytes(8, "little")
    return bytes(raw)
