"""The size in the AV1 data of an AVIF file (AV1 specification, 5.5): decoders allocate by it, not by the boxes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from zoo.core.images.rasters.boxes import Box, boxes

_READ = 1 << 12  # bytes of an item, which begins with the sequence header
_MOST_ITEMS = 1 << 10
_SEQUENCE = 1
_FILE, _IDAT = 0, 1  # what the offsets of an item refer to


class _Bits:
    """The bits of a header, starting with the highest of each byte."""

    def __init__(self, data: bytes) -> None:
        self._number, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("it ends within its header")
        return self._number >> self._left & ((1 << count) - 1)


def coded_sizes(file: BinaryIO, meta: Box) -> list[tuple[int, int]]:
    """Width and height of every sequence that an item of the file begins with.

    Args:
        file: the AVIF file.
        meta: the box that describes its items.
    """
    inner = {box.kind: box for box in boxes(file, meta.start + 4, meta.end)}
    if b"iinf" not in inner or b"iloc" not in inner:
        return []
    coded = _coded_items(file, inner[b"iinf"])
    sizes = []
    for number, method, places in _places(file, inner[b"iloc"]):
        if number not in coded or method not in (_FILE, _IDAT) or (method == _IDAT and b"idat" not in inner):
            continue
        start = inner[b"idat"].start if method == _IDAT else 0
        data = b""
        for offset, length in places:
            file.seek(start + offset)
            data += file.read(min(length or _READ, _READ - len(data)))
        sizes += list(_sequences(data))
    return sizes


def _coded_items(file: BinaryIO, iinf: Box) -> set[int]:
    file.seek(iinf.start)
    count_size = 2 if file.read(1) == b"\0" else 4
    found = set()
    for box in boxes(file, iinf.start + 4 + count_size, iinf.end):
        file.seek(box.start)
        data = file.read(16)
        if box.kind != b"infe" or len(data) < 14:
            continue
        form = {2: ">4xHH4s", 3: ">4xLH4s"}.get(data[0])
        if form is not None:
            number, _, kind = struct.unpack_from(form, data)
            if kind == b"av01":
                found.add(number)
    return found


def _places(file: BinaryIO, iloc: Box) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """Yield (item, what its offsets are relative to, its extents) for each item."""
    file.seek(iloc.start)
    data = file.read(min(1 << 20, iloc.end - iloc.start))
    position = 0

    def take(size: int) -> int:
        nonlocal position
        if position + size > len(data):
            raise ValueError("the places of the items are cut off")
        position += size
        return int.from_bytes(data[position - size : position], "big")

    version = take(4) >> 24
    sizes = take(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(min(take(4 if version == 2 else 2), _MOST_ITEMS)):
        number = take(4 if version == 2 else 2)
        method = take(2) & 15 if version else _FILE
        take(2)  # a separate file, which no AVIF decoder opens
        base = take(base_size)
        places = []
        for _ in range(take(2)):
            take(index_size if version else 0)
            offset = base + take(offset_size)
            places.append((offset, take(length_size)))
        yield number, method, places


def _sequences(data: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(data):
        head = data[position]
        position += 2 if head & 4 else 1
        length, shift = 0, 0
        if head & 2:
            while position < len(data) and shift < 56:
                byte = data[position]
                position += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
        else:
            length = len(data) - position
        if head >> 3 & 15 == _SEQUENCE:
            try:
                yield _size(_Bits(data[position : position + min(length, 256)]))
            except ValueError:
                return
        position += length


def _size(bits: _Bits) -> tuple[int, int]:
    """The largest width and height of a frame, from a sequence header."""
    bits.take(4)  # profile, and the flag for a still picture
    if bits.take(1):  # a reduced header
        bits.take(5)
    else:
        _operating_points(bits)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


def _operating_points(bits: _Bits) -> None:
    delay = 0
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            zeros = 0
            while not bits.take(1):
                zeros += 1
            bits.take(zeros if zeros < 32 else 0)
        if bits.take(1):  # a decoder model
            delay = bits.take(5) + 1
            bits.take(42)
    shown_later = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay and bits.take(1):
            bits.take(2 * delay + 1)
        if shown_later and bits.take(1):
            bits.take(4)
