"""Pictures whose headers were changed with care: an error or an image, in seconds and within the memory, nothing else.

Each image follows from its number; `changed_images.py FIRST COUNT` does a range again. A short run is in every test
run, a long one in `make test-all`.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from png_bytes import SIGNATURE, chunk

from zoo.core.errors import InvalidInputError
from zoo.core.images.rasters import jpeg
from zoo.core.images.rasters.decoding_memory import SMALL_FILES, check_memory
from zoo.core.images.rasters.options import MAX_PIXELS, ReadOptions
from zoo.core.images.rasters.read import read_image

from faults import changed_images
from faults.changed_images import MEBIBYTES, SECONDS

PROGRAM = Path(changed_images.__file__)


def read_range(first: int, count: int, only: str = "") -> dict[str, Any]:
    command = [sys.executable, "-P", str(PROGRAM), str(first), str(count), only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + count)
    assert done.returncode == 0, f"a process died over images {first} to {first + count}: {done.stderr}"
    assert "Warning" not in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any]) -> None:
    assert found["wrong"] == []
    assert found["slowest"] <= SECONDS
    assert found["mebibytes"] <= MEBIBYTES
    assert found["read"] > 0
    assert found["refused"] > 0


def test_some_images_with_changed_headers() -> None:
    check(read_range(0, 800))


@pytest.mark.full
@pytest.mark.parametrize("first", range(0, 40_000, 10_000))
def test_many_images_with_changed_headers(first: int) -> None:
    check(read_range(first, 10_000))


@pytest.fixture(scope="module")
def bombs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of some kilobytes that are what they say, each just below the limit of pixels."""
    folder = tmp_path_factory.mktemp("bombs")
    side = 9400
    grey = Image.new("L", (side, side), 7)
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "palette.gif": (Image.new("P", (side, side)), "GIF", {}),
        "palette.png": (Image.new("P", (side, side)), "PNG", {}),
        "deep.png": (Image.new("I;16", (side, side)), "PNG", {}),
        "grey.jpg": (grey, "JPEG", {"quality": 1}),
        "small.webp": (Image.new("RGB", (6000, 6000)), "WEBP", {"lossless": True, "method": 0}),
        "progressive.jpg": (Image.new("RGB", (5200, 5200)), "JPEG", {"quality": 1, "progressive": True}),
    }
    for name, (image, kind, options) in kinds.items():
        image.save(folder / name, kind, **options)
    return {path.name: path for path in folder.iterdir()}


def measured(paths: list[Path], in_chans: int, options: str = "") -> dict[str, tuple[str, int, int]]:
    """By name: what was said, MiB over the start at the peak, and MiB that were expected, 0 where nobody asked."""
    code = (
        "import json, pathlib, sys\nfrom zoo.core.errors import InvalidInputError\n"
        "from zoo.core.images.rasters import decoding_memory, photograph\n"
        "from zoo.core.images.rasters.read import read_image, ReadOptions\n"
        "from faults.changed_images import _forget_peak, _peak\n"
        "found, expected = {}, []\n"
        "def check_memory(file, needed, *others):\n"
        "    expected.append(needed)\n    decoding_memory.check_memory(file, needed, *others)\n"
        "photograph.check_memory = check_memory\n"
        f"options = ReadOptions(in_chans={in_chans}, {options})\n"
        "for path in sys.argv[1:]:\n"
        "    expected[:] = [0]\n    _forget_peak()\n    before = _peak()\n"
        f"    try: said = str(read_image(path, {in_chans}, options).size)\n"
        "    except InvalidInputError as error: said = error.message\n"
        "    found[pathlib.Path(path).name] = said, _peak() - before, expected[-1] >> 20\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    # What is freed is given back at once, so that no picture lives in what another one took.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    folder = PROGRAM.parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder, env=environment)
    return {name: (said, grown, expected) for name, (said, grown, expected) in json.loads(done.stdout).items()}


def test_bombs_stay_within_the_memory(bombs: dict[str, Path]) -> None:
    for name, (said, grown, _) in measured(list(bombs.values()), 3).items():
        assert grown <= MEBIBYTES, f"{name}: {grown} MiB, {said}"


def with_segments(data: bytes, marker: bytes) -> bytes:
    """A JPEG with 5 MB of segments that mean nothing to its pixels, before them."""
    return data[:2] + (marker + b"\xff\xff" + b"x" * 0xFFFD) * 77 + data[2:]


def padded(bombs: dict[str, Path]) -> dict[str, bytes]:
    """The bombs as files of 5 MB, of which the picture is as few bytes as before."""
    grey, progressive = (bombs[name].read_bytes() for name in ("grey.jpg", "progressive.jpg"))
    png, webp = bombs["deep.png"].read_bytes(), bombs["small.webp"].read_bytes()
    noise = random.Random(0).randbytes(5 << 20)
    longer = io.BytesIO()
    Image.new("RGB", (7900, 7900)).save(longer, "JPEG", quality=1, progressive=True, subsampling=0)
    return {
        "behind.jpg": grey + noise,
        "comment.jpg": with_segments(grey, b"\xff\xfe"),
        "progressive.jpg": longer.getvalue() + bytes(5 << 20),
        "profile.jpg": with_segments(progressive, b"\xff\xe2"),
        "note.png": png[:33] + chunk(b"tEXt", b"Comment\0" + noise) + png[33:],
        "behind.png": png + noise,
        "longer.png": png[:-12] + struct.pack(">I", 2**31 - 1) + b"IDAT",
        "note.webp": webp + struct.pack("<4sI", b"EXIF", len(noise)) + noise,
        "second.webp": webp + struct.pack("<4sI", b"VP8L", len(noise)) + webp[20:30] + noise[10:],
    }


def test_padding_buys_no_memory(bombs: dict[str, Path], tmp_path: Path) -> None:
    for name, data in padded(bombs).items():
        (tmp_path / name).write_bytes(data)
    for in_chans in (1, 3):
        for name, (said, grown, _) in measured(sorted(tmp_path.iterdir()), in_chans).items():
            assert grown <= MEBIBYTES, f"{name} for {in_chans} channels: {grown} MiB, {said}"
            if name != "profile.jpg" and not (in_chans == 1 and name in ("behind.jpg", "comment.jpg")):
                assert "MiB to decode" in said, f"{name}: {said}"


def test_a_photograph_in_proportion_may_take_more(tmp_path: Path) -> None:
    """Its scans have the bytes, whatever stands around them."""
    picture = Image.new("RGB", (6500, 6500))
    picture.paste(Image.frombytes("RGB", (6500, 600), random.Random(0).randbytes(3 * 6500 * 600)))
    file = io.BytesIO()
    picture.save(file, "JPEG", progressive=True, subsampling=0, quality=50)
    (tmp_path / "x.jpg").write_bytes(with_segments(file.getvalue(), b"\xff\xe2") + bytes(100))
    header = jpeg.read_header(io.BytesIO((tmp_path / "x.jpg").read_bytes()))
    coded = jpeg.coded_bytes((tmp_path / "x.jpg").open("rb"), header)
    assert coded == len(file.getvalue()) - file.getvalue().index(b"\xff\xda")
    said, grown, expected = measured([tmp_path / "x.jpg"], 3)["x.jpg"]
    assert said == "(6500, 6500)"
    assert SMALL_FILES >> 20 < grown <= expected + 8


@pytest.mark.parametrize("in_chans", [1, 3])
def test_what_a_jpeg_takes_is_what_was_expected(tmp_path: Path, in_chans: int) -> None:
    """Coefficients of all components in whole blocks, the picture, the turned one, and the bands for the model."""
    turned = Image.Exif()
    turned[0x0112] = 6
    for mode, subsampling in (("L", 0), ("RGB", 0), ("RGB", 1), ("RGB", 2), ("CMYK", 0)):
        image = Image.new(mode, (2501, 2499))
        for progressive in (False, True):
            for exif in (None, turned):
                name = f"{mode} {subsampling} {progressive} {bool(exif)}.jpg"
                more = {"exif": exif} if exif else {}
                colour = {"subsampling": subsampling} if mode == "RGB" else {}
                image.save(tmp_path / name, progressive=progressive, quality=1, **colour, **more)
    found = measured(sorted(tmp_path.iterdir()), in_chans)
    for name, (said, grown, expected) in found.items():
        assert grown <= expected + 3, f"{name} for {in_chans} channels: {grown} MiB, where {expected} were expected"
        assert said == ("(2499, 2501)" if "True.jpg" in name else "(2501, 2499)")
    assert found["RGB 2 False False.jpg"][1] >= found["RGB 2 False False.jpg"][2] - 3  # nothing was left from another


@pytest.mark.parametrize("in_chans", [1, 3])
def test_what_a_palette_with_nodata_takes_is_what_was_expected(tmp_path: Path, in_chans: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    indices, colours = np.zeros((2501, 2499), np.uint8), np.zeros((3, 256), np.uint16)
    for turn in (1, 6):
        tags = [(274, "H", 1, turn, True), (42113, "s", 0, "3", True)]
        options = {"photometric": "palette", "colormap": colours, "compression": "zlib", "extratags": tags}
        tifffile.imwrite(tmp_path / f"{turn}.tif", indices, **options)
    for name, (said, grown, expected) in measured(sorted(tmp_path.iterdir()), in_chans).items():
        assert said == ("(2499, 2501)" if name == "1.tif" else "(2501, 2499)")
        assert expected // 2 < grown <= expected + 3, f"{name}: {grown} MiB, where {expected} were expected"


def test_a_real_file_of_the_same_size_is_read(tmp_path: Path) -> None:
    """What is refused of a file of some kilobytes is allowed of one whose size is in proportion."""
    small, large = io.BytesIO(bytes(1000)), io.BytesIO(bytes(4 << 20))
    needed = SMALL_FILES + (100 << 20)
    check_memory(large, needed, 10, ReadOptions())
    with pytest.raises(InvalidInputError, match="more than the limit of 384 MiB") as raised:
        check_memory(small, needed, 10, ReadOptions())
    asked = int(raised.value.hint.rsplit(maxsplit=1)[1])
    assert asked > MAX_PIXELS
    check_memory(small, needed, 10, ReadOptions(max_pixels=asked))
    with pytest.raises(InvalidInputError, match="more than the limit of 1024 MiB"):
        check_memory(large, (1 << 30) + 1, 10, ReadOptions())


def test_thousands_of_scans_are_not_decoded(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(file, "JPEG", progressive=True, quality=1)
    data = file.getvalue()
    last = data.rindex(b"\xff\xda")
    (tmp_path / "x.jpg").write_bytes(data[:-2] + data[last:-2] * 5000 + data[-2:])
    with pytest.raises(InvalidInputError, match="JPEG of more than"):
        read_image(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").write_bytes(data)
    assert read_image(tmp_path / "x.jpg").size == (3000, 3000)


def test_components_in_scans_of_their_own_count(tmp_path: Path) -> None:
    """Without being progressive: the decoder holds all coefficients then, too."""
    file = io.BytesIO()
    Image.new("RGB", (8000, 8000)).save(file, "JPEG", quality=1, subsampling=0)
    data = file.getvalue()
    assert read_size(data, tmp_path) == (8000, 8000)
    scan = data.index(b"\xff\xda")
    first = b"\xff\xda\0\x08\x01\x01\0\0\x3f\0"
    (tmp_path / "x.jpg").write_bytes(data[:scan] + first + data[scan + 14 :])
    with pytest.raises(InvalidInputError, match="MiB to decode"):
        read_image(tmp_path / "x.jpg")


def read_size(data: bytes, folder: Path) -> tuple[int, int]:
    (folder / "whole.jpg").write_bytes(data)
    return read_image(folder / "whole.jpg").size


def test_tiles_of_a_jpeg_2000_count(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (255, 255)).save(file, "JPEG2000")
    data = bytearray(file.getvalue())
    tiles = data.index(b"\xff\x51") + 2 + 2 + 2 + 16
    data[tiles : tiles + 8] = struct.pack(">II", 1, 1)
    (tmp_path / "x.jp2").write_bytes(data)
    with pytest.raises(InvalidInputError, match="MiB to decode"):
        read_image(tmp_path / "x.jp2")


def test_two_headers_of_a_png_are_one_too_many(tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0))
    larger = chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    (tmp_path / "x.png").write_bytes(SIGNATURE + header + larger + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(InvalidInputError, match="two headers"):
        read_image(tmp_path / "x.png")
