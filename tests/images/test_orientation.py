"""Which way is up: the size before decoding and the pixels after it, both as Pillow's own transposition has them."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from png_bytes import chunk

from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.read import open_raster

WIDTH, HEIGHT = 24, 16
TYPES = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 11: "f", 12: "d"}

Entry = tuple[int, int, int, bytes]


def exif(*entries: Entry, order: str = "<", start: bytes = b"Exif\0\0") -> bytes:
    """A block of one directory; values over four bytes lie behind it."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    behind, body = 14 + 12 * len(entries), b""
    extra = b""
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHL", tag, kind, count)
        if len(value) > 4:
            body += struct.pack(f"{order}L", behind + len(extra))
            extra += value
        else:
            body += value.ljust(4, b"\0")
    return start + head + struct.pack(f"{order}H", len(entries)) + body + bytes(4) + extra


def orientation(kind: int, *values: float, order: str = "<", count: int | None = None) -> bytes:
    data = b"".join(struct.pack(order + TYPES[kind], value) for value in values)
    return exif((0x0112, kind, len(values) if count is None else count, data), order=order)


def rational(numerator: int, denominator: int, kind: int = 5) -> bytes:
    return exif((0x0112, kind, 1, struct.pack("<ll", numerator, denominator)))


BLOCKS: dict[str, bytes] = {
    **{
        f"{order}{kind} {value}": orientation(kind, value, order=order)
        for order in "<>"
        for kind in TYPES
        for value in (3, 6)
    },
    **{f"short {value}": orientation(3, value) for value in (0, 1, 2, 4, 5, 7, 8, 9, 65535)},
    "negative": orientation(8, -6),
    "half": orientation(11, 6.5),
    "nan": orientation(12, float("nan")),
    "two shorts": orientation(3, 6, 6),
    "two shorts that differ": orientation(3, 6, 1),
    "three shorts": orientation(3, 6, 6, 6),
    "none": orientation(3, 6, count=0),
    "text": exif((0x0112, 2, 2, b"6\0")),
    "undefined": exif((0x0112, 7, 1, b"\6")),
    "unknown type": exif((0x0112, 99, 1, b"\6\0")),
    "rational": rational(6, 1),
    "rational 12/2": rational(12, 2),
    "rational by zero": rational(6, 0),
    "signed rational": rational(6, 1, 10),
    "twice": exif((0x0112, 3, 1, b"\1\0"), (0x0112, 3, 1, b"\6\0")),
    "header twice": exif((0x0112, 3, 1, b"\6\0"), start=b"Exif\0\0" * 2),
    "another tag is damaged": exif((0x0112, 3, 1, b"\6\0"), (0x011A, 10, 1, struct.pack("<ll", -1, 0))),
    "another tag lies outside": exif((0x0112, 3, 1, b"\6\0"), (0x010F, 2, 9000, b"\xff\xff\xff\0")),
    "garbage": b"Exif\0\0" + b"\xff" * 40,
    "empty": b"Exif\0\0",
    "cut before its entries": exif((0x0112, 3, 1, b"\6\0"))[:20],
    "cut within the entry": exif((0x0112, 3, 1, b"\6\0"))[:24],
    "cut behind the entry": exif((0x0112, 3, 1, b"\6\0"), (0x011A, 5, 1, bytes(8)))[:30],
}


@pytest.fixture(scope="module")
def stored() -> Image.Image:
    """Smooth, so that lossy formats keep what is where."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return Image.fromarray(np.stack([10 * x, 15 * y, 5 * (x + y)], -1).astype(np.uint8))


def as_pillow(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")


def with_exif(image: Image.Image, kind: str, block: bytes) -> bytes:
    file = io.BytesIO()
    if kind != "PNG":
        image.save(file, kind, exif=block, **({"lossless": True} if kind == "WEBP" else {}))
        return file.getvalue()
    image.save(file, kind)  # Pillow would write the block without its first words, and not all of these
    data = file.getvalue()
    return data[:33] + chunk(b"eXIf", block.removeprefix(b"Exif\0\0")) + data[33:]


def check(path: Path, data: bytes, expected: Image.Image) -> None:
    path.write_bytes(data)
    item = ImageInput("x", str(path))
    with warnings.catch_warnings(record=True) as told, open_raster(item, ReadOptions(in_chans=3)) as file:
        assert (file.width, file.height) == expected.size
        pixels = file.read().pixels
    assert isinstance(pixels, Image.Image)
    np.testing.assert_array_equal(np.asarray(pixels), np.asarray(expected))
    assert not told


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", BLOCKS)
def test_size_and_pixels_follow_one_tag(tmp_path: Path, stored: Image.Image, name: str, kind: str) -> None:
    data = with_exif(stored, kind, BLOCKS[name])
    try:
        expected = as_pillow(data)
    except Exception:  # Pillow loses the picture over some of them
        expected = as_pillow(with_exif(stored, kind, b"Exif\0\0"))
        if name.startswith("another tag"):  # beside one that says how it is turned
            expected = expected.transpose(Image.Transpose.ROTATE_270)
    check(tmp_path / "x", data, expected)


def test_every_orientation_of_a_jpeg_is_turned_in_fast_decoding_too(tmp_path: Path, stored: Image.Image) -> None:
    large = stored.resize((160, 96))
    for value in range(1, 9):
        (tmp_path / "x.jpg").write_bytes(with_exif(large, "JPEG", orientation(3, value)))
        with open_raster(ImageInput("x", str(tmp_path / "x.jpg")), ReadOptions(min_size=12)) as file:
            size = file.read().size
        assert size == ((20, 12) if value < 5 else (12, 20))


def test_xmp_counts_where_exif_says_nothing(tmp_path: Path, stored: Image.Image) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = io.BytesIO()
    stored.save(file, "JPEG", xmp=xmp)
    check(tmp_path / "x.jpg", file.getvalue(), as_pillow(file.getvalue()))
    assert as_pillow(file.getvalue()).size == (HEIGHT, WIDTH)
    file = io.BytesIO()
    stored.save(file, "PNG")
    text = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(xmp)
    data = file.getvalue()[:33] + chunk(b"iTXt", text) + file.getvalue()[33:]
    check(tmp_path / "x.png", data, as_pillow(data))


def test_the_exif_that_imagemagick_writes_as_text(tmp_path: Path, stored: Image.Image) -> None:
    block = orientation(3, 8)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    file = io.BytesIO()
    stored.save(file, "PNG")
    data = file.getvalue()
    for name, content in ((b"tEXt", text), (b"zTXt", b"\0" + zlib.compress(text))):
        changed = data[:33] + chunk(name, b"Raw profile type exif\0" + content) + data[33:]
        check(tmp_path / "x.png", changed, as_pillow(changed))


def test_avif_is_turned_once(tmp_path: Path, stored: Image.Image) -> None:
    pytest.importorskip("PIL._avif")
    for value in range(1, 9):
        file = io.BytesIO()
        stored.save(file, "AVIF", exif=orientation(3, value), quality=95)  # Pillow writes irot and imir
        check(tmp_path / "x.avif", file.getvalue(), as_pillow(file.getvalue()))


def test_two_pictures_in_one_jpeg_are_the_first_one(tmp_path: Path, stored: Image.Image) -> None:
    file = io.BytesIO()
    other = stored.transpose(Image.Transpose.ROTATE_180)
    stored.save(file, "MPO", save_all=True, append_images=[other], exif=orientation(3, 6))
    data = file.getvalue()
    check(tmp_path / "whole.jpg", data, as_pillow(data))
    check(tmp_path / "cut.jpg", data[: data.find(b"\xff\xd8\xff", 10)], as_pillow(data))


def test_no_warning_leaves_a_process(tmp_path: Path, stored: Image.Image) -> None:
    for number, block in enumerate(BLOCKS.values()):
        (tmp_path / f"{number}.jpg").write_bytes(with_exif(stored, "JPEG", block))
    code = "import sys\nfrom zoo.core.images.rasters.read import read_image\nfor p in sys.argv[1:]: read_image(p)\n"
    paths = [str(tmp_path / name) for name in os.listdir(tmp_path)]
    run = subprocess.run([sys.executable, "-P", "-W", "always", "-c", code, *paths], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")
