"""Bytes of PNG images that Pillow does not write: 16-bit colour, and small files that want much memory."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPES = {"grey": (0, 1), "rgb": (2, 3), "grey+alpha": (4, 2), "rgba": (6, 4)}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(values: np.ndarray, colour: str, interlaced: bool = False) -> bytes:
    """A 16-bit PNG of (height, width, channels), written by hand, as Pillow writes no 16-bit colour.

    Rows take turns with the filters None and Up, which predict nothing and the row above.
    """
    height, width, _ = values.shape
    stored = values.astype(">u2")
    # Adam7, as (first row, first column, row step, column step).
    adam7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    data = b""
    for row, column, down, across in adam7 if interlaced else [(0, 0, 1, 1)]:
        part = stored[row::down, column::across]
        above = bytes(part.shape[1] * part.shape[2] * 2)
        for i, line in enumerate(part if part.shape[1] else []):
            current = line.tobytes()
            up = bytes((a - b) % 256 for a, b in zip(current, above, strict=True))
            data += b"\2" + up if i % 2 else b"\0" + current
            above = current
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[colour][0], 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def png(width: int, height: int) -> bytes:
    """An 8-bit RGB image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + bytes(3 * width)) * height)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bombs(folder: Path) -> dict[str, str]:
    """Small files that want much memory, and what is said of them."""
    for side in (10_000, 20_000, 100_000):
        (folder / f"{side}.png").write_bytes(SIGNATURE + png_header(side) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    frames = [Image.new("L", (64, 64), i) for i in range(50)]
    frames[0].save(folder / "frames.gif", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "frames.png", save_all=True, append_images=frames[1:])
    frames[0].save(folder / "frames.webp", save_all=True, append_images=frames[1:])
    wide = bytearray((folder / "frames.gif").read_bytes())
    wide[6:10] = b"\xff\xff\xff\xff"
    (folder / "wide.gif").write_bytes(wide)
    limit = "than the limit"
    sizes = {"10000.png": limit, "20000.png": limit, "100000.png": limit, "wide.gif": limit}
    return {**sizes, **dict.fromkeys(("frames.gif", "frames.png", "frames.webp"), "frames or pages")}


def png_header(side: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
