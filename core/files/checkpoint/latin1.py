"""Bytes that pickle protocol 2 wrote as text: one character per byte, in UTF-8."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import partial

from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import Computed, Region, StoredTensor


def latin1_bytes(region: Region) -> Computed:
    """The bytes that a region of UTF-8 text stands for. The region is read once to count them."""
    # A character from 128 to 255 takes two bytes, the first of which is 0xC2 or 0xC3.
    two = sum(chunk.count(0xC2) + chunk.count(0xC3) for chunk in map(bytes, _chunks(region)))
    return Computed(region.length - two, partial(_decoded, region))


def _chunks(region: Region) -> Iterator[bytes | memoryview]:
    return StoredTensor("", "U8", (region.length,), region).chunks(1 << 20)


def _decoded(region: Region) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in _chunks(region):
            yield decoder.decode(chunk).encode("latin-1")
        decoder.decode(b"", final=True)
    except UnicodeError:
        raise InvalidInputError(
            f"{region.path} holds an array whose bytes are damaged.",
            hint="Download or copy it again.",
            path=region.path,
        ) from None
