"""Members of tar archives read in place; what tarfile would believe, or not notice, is refused."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.tar_archive import open_input, tar_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def members(path: Path) -> list[ImageInput]:
    return list(tar_members(str(path), (".png", ".tif")))


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Three members of 700, 0 and 1024 bytes."""
    path = tmp_path / "small.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, size in (("a.png", 700), ("b.png", 0), ("h\u00e4.png", 1024)):
            add(archive, name, random.Random(size).randbytes(size))
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_members_are_those_that_tarfile_unpacks(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a.tar"
    names = ["x/1.png", "x/2.TIF", "./3.png", "/etc/4.png", "../5.png", "\u00e9" * 40 + ".png", "l/" * 45 + "6.png"]
    names += [] if form == "ustar" else ["x\ny.png", "n" * 300 + ".png", os.fsdecode(b"latin-\xe9.png")]
    with tarfile.open(path, "w", format=FORMATS[form], encoding="utf-8", errors="surrogateescape") as archive:
        for number, name in enumerate(names):
            add(archive, name, bytes([number]) * number * 300)
        for name in ("notes.txt", ".hidden.png", "x/._1.png", ".git/7.png"):
            add(archive, name, b"no")
        add(archive, "folder.png", type=tarfile.DIRTYPE)
    found = members(path)
    assert [item.member for item in found] == names
    assert [item.id for item in found] == [item.source for item in found] == [f"{path}/{name}" for name in names]
    with tarfile.open(path, encoding="utf-8", errors="surrogateescape") as archive:
        for item, member in zip(found, archive, strict=False):
            expected = archive.extractfile(member)
            assert expected is not None
            with open_input(item) as file:
                assert file.read() == expected.read()


def test_a_member_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    pixels = Image.effect_noise((40, 30), 50)
    data = io.BytesIO()
    pixels.save(data, "PNG")
    with tarfile.open(path, "w") as archive:
        add(archive, "1.png", data.getvalue())
        add(archive, "2.png", b"other")
    (item, _) = members(path)
    with open_input(item) as file, Image.open(file) as image:
        assert image.tobytes() == pixels.tobytes()
    reference = io.BytesIO(data.getvalue())
    with open_input(item) as file:
        for offset, whence, count in ((5, 0, 3), (-2, 1, 4), (-3, 2, 9), (10, 2, 1), (0, 0, -1)):
            assert file.seek(offset, whence) == reference.seek(offset, whence)
            assert file.read(count) == reference.read(count)
            assert file.tell() == reference.tell()
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)


def test_the_newer_of_two_members_with_one_name_counts(tmp_path: Path) -> None:
    from zoo.core.images.inputs.find import find_inputs

    path = tmp_path / "a.tar"
    for mode, data in (("w", b"old"), ("a", b"newer")):
        with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
            add(archive, "1.png", data)
    (item,) = find_inputs([path])
    with open_input(item) as file:
        assert file.read() == b"newer"


def test_what_has_no_bytes_of_its_own_fails_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "1.png", b"data")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="1.png")
        add(archive, "soft.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "device.png", type=tarfile.CHRTYPE)
    good, *others = members(path)
    assert open_input(good).read() == b"data"
    assert len(others) == 3
    for item in others:
        with pytest.raises(InvalidInputError, match="plain file was expected") as raised:
            open_input(item)
        assert item.member in raised.value.message


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs GNU tar")
@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_sparse_member_is_not_read_as_its_packed_bytes(tmp_path: Path, form: str) -> None:
    with open(tmp_path / "holes.tif", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"data")
    (tmp_path / "plain.tif").write_bytes(b"plain")
    command = ["tar", f"--format={form}", "--sparse", "-cf", "a.tar", "holes.tif", "plain.tif"]
    if subprocess.run(command, cwd=tmp_path, capture_output=True).returncode:
        pytest.skip("this tar cannot write sparse members")
    sparse, plain = members(tmp_path / "a.tar")
    assert open_input(plain).read() == b"plain"
    with pytest.raises(InvalidInputError, match="without --sparse"):
        open_input(sparse)


def test_e10_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    block = header(b"%07d.png", b"00000000000", b"0")
    path.write_bytes(block * 5000 + bytes(1024))
    tracemalloc.start()
    try:
        assert sum(1 for _ in tar_members(str(path), (".png",))) == 5000
        assert tracemalloc.get_traced_memory()[1] < 500_000  # tarfile's own list of as many takes 4 MB
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- damage


def test_every_cut_is_noticed(small: Path) -> None:
    whole = small.read_bytes()
    end = len(whole.rstrip(b"\0")) + 1024  # what follows the end mark is padding
    cut = small.with_name("cut.tar")

    def check_places(length: int) -> None:
        for item in tar_members(str(cut), (".png",)):
            assert item.offset + item.size <= length

    for length in [0, 1, *range(256, end - 1024, 256)]:
        cut.write_bytes(whole[:length])
        with pytest.raises(InvalidInputError, match="not a complete tar archive"):
            check_places(length)


def test_damaged_headers_are_noticed(small: Path) -> None:
    whole = small.read_bytes()
    random_ = random.Random(0)
    for item in members(small):
        for _ in range(20):
            damaged = bytearray(whole)
            position = item.offset - 512 + random_.randrange(500)  # the last 12 bytes belong to no field
            damaged[position] ^= 1 << random_.randrange(8)
            small.write_bytes(damaged)
            with pytest.raises(InvalidInputError, match="not a complete tar archive"):
                members(small)


@pytest.mark.parametrize(
    ("module", "command"), [("gzip", "gunzip"), ("bz2", "bunzip2"), ("lzma", "unxz"), (None, "unzstd")]
)
def test_a_compressed_archive_is_refused_with_the_command(small: Path, module: str | None, command: str) -> None:
    path = small.with_name("packed archive.tar")
    compress: Callable[[bytes], bytes] = __import__(module).compress if module else lambda _: b"(\xb5/\xfd"
    path.write_bytes(compress(small.read_bytes()))
    with pytest.raises(InvalidInputError, match="compressed") as raised:
        members(path)
    assert raised.value.hint.endswith(f"{command} '{path}'")


def header(name: bytes, size: bytes, kind: bytes, rest: bytes = b"") -> bytes:
    """A header by hand, of which `rest` begins at byte 265: tarfile writes no nonsense."""
    block = struct.pack("100s8s8s8s12s12s8s1s100s8s247s", name, *[b"0000000"] * 3, size, b"0" * 11, b" " * 8, kind,
                        b"", b"ustar\x0000", rest)  # fmt: skip
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


HUGE, NEGATIVE = b"\x80" + (1 << 40).to_bytes(11, "big"), b"\xff" * 10 + b"\xfc\x00"
NONSENSE = {
    "a name of a terabyte": header(b"x", HUGE, b"L"),
    "pax fields of a terabyte": header(b"x", HUGE, b"x"),
    "global fields of a terabyte": header(b"x", HUGE, b"g"),
    "data of a terabyte": header(b"a.png", HUGE, b"0"),
    "data of negative size": header(b"a.png", NEGATIVE, b"0"),
    "a name of negative size": header(b"x", NEGATIVE, b"L"),
    "pax fields of negative size": header(b"x", NEGATIVE, b"x"),
    "names of names": header(b"x", b"00000000000", b"L") * 3000 + header(b"a.png", b"00000000000", b"0"),
    "a sparse map without end": header(b"a.png", b"00000000000", b"S", bytes(217) + b"\1")
    + (bytes(504) + b"\1" + bytes(7)) * 4000,
    "ever more global fields": b"".join(
        header(b"x", b"%011o" % 14, b"g") + (b"14 key%03d=abc\n" % n).ljust(512, b"\0") for n in range(100)
    )
    + header(b"a.png", b"00000000000", b"0"),
    "no archive": b"GIF89a" + bytes(range(256)) * 10,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_is_refused_without_believing_its_lengths(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(NONSENSE[name])
        file.truncate(1 << 30)  # a hole: there is enough to read
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "from zoo.core.errors import InvalidInputError\n"
        "from zoo.core.images.inputs.tar_archive import tar_members\n"
        "try: print(list(tar_members(sys.argv[1], ('.png',))))\n"
        "except InvalidInputError as error: print('refused:', error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("refused:"), done.stdout + done.stderr


def test_e10_an_archive_that_changes_meanwhile_is_named(small: Path) -> None:
    last = members(small)[-1]
    os.truncate(small, last.offset + last.size - 1)
    with pytest.raises(InvalidInputError, match=r"small\.tar.* before its member"):
        open_input(last)
    small.unlink()
    with pytest.raises(NotFoundError, match=r"small\.tar"):
        open_input(last)
    with pytest.raises(NotFoundError, match=r"small\.tar"):
        members(small)
