"""Pictures whose headers were changed with care: an error or an image, in seconds and within the memory, nothing else.

Each image follows from its number; `changed_images.py FIRST COUNT` does a range again. A short run is in every test
run, a long one in `make test-all`.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from png_bytes import SIGNATURE, chunk

from zoo.core.errors import InvalidInputError
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


def test_bombs_stay_within_the_memory(bombs: dict[str, Path]) -> None:
    code = (
        "import json, pathlib, sys\nfrom zoo.core.errors import InvalidInputError\n"
        "from zoo.core.images.rasters.read import read_image, ReadOptions\n"
        "from faults.changed_images import _forget_peak, _peak\n"
        "found = {}\n"
        "for path in sys.argv[1:]:\n"
        "    _forget_peak()\n    before = _peak()\n"
        "    try: said = str(read_image(path, 3, ReadOptions(in_chans=3)).size)\n"
        "    except InvalidInputError as error: said = error.message\n"
        "    found[pathlib.Path(path).name] = said, _peak() - before\n"
        "print(json.dumps(found))\n"
    )
    command = [sys.executable, "-c", code, *map(str, bombs.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=PROGRAM.parent.parent)
    for name, (said, grown) in json.loads(done.stdout).items():
        assert grown <= MEBIBYTES, f"{name}: {grown} MiB, {said}"


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
