"""Members of zip archives and of compressed tar archives are the bytes that were packed; bombs cost nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images.inputs import open_input as open_input_module
from zoo.core.images.inputs import packed_archive
from zoo.core.images.inputs.archive import archive_members
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.image_input import Window
from zoo.core.images.inputs.open_input import open_input
from zoo.core.images.rasters.options import ReadOptions
from zoo.core.images.rasters.read import open_raster

CONTENT = {f"{'sub/' * (n % 2)}h\u00e4-{n}.png": random.Random(n).randbytes(n * 7919) * 2 for n in range(6)}


def tar_of(content: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def zip_of(path: Path, content: dict[str, bytes], method: int, prefix: bytes = b"") -> None:
    path.write_bytes(prefix)
    with zipfile.ZipFile(path, "a", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def read_all(path: Path) -> dict[str, bytes]:
    found = {}
    for item in archive_members(str(path)):
        with open_input(item) as file:
            found[item.member] = file.read()
            file.seek(1)
            assert file.read(3) == found[item.member][1:4]
    return found


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n"])
def test_members_of_a_zip_archive(tmp_path: Path, method: int, prefix: bytes) -> None:
    zip_of(tmp_path / "a.zip", CONTENT, method, prefix)
    assert read_all(tmp_path / "a.zip") == CONTENT
    found = find_inputs([tmp_path / "a.zip"])
    assert [item.id for item in found] == sorted(f"{tmp_path}/a.zip/{name}" for name in CONTENT)
    for item in found:  # also as they come back from the list on disk
        with open_input(item) as file:
            assert file.read() == CONTENT[item.member]


@pytest.mark.parametrize(
    ("name", "compress"),
    [("a.tar.gz", gzip.compress), ("a.TGZ", gzip.compress), ("a.tar.bz2", bz2.compress), ("a.tar.xz", lzma.compress)],
)
def test_members_of_a_compressed_tar_archive(tmp_path: Path, name: str, compress: object) -> None:
    assert callable(compress)
    data = tar_of(CONTENT)
    (tmp_path / name).write_bytes(compress(data[:40_000]) + compress(data[40_000:]))  # streams may follow each other
    assert read_all(tmp_path / name) == CONTENT
    found = list(find_inputs([tmp_path / name]))
    results: list[bool] = []

    def read(part: int) -> None:
        for item in found[part::2] * 10:
            with open_input(item) as file:
                results.append(file.read() == CONTENT[item.member])

    threads = [threading.Thread(target=read, args=(part,)) for part in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 60


def test_a_packed_archive_that_is_replaced_is_unpacked_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    for data in (b"old", b"newer"):
        path.write_bytes(gzip.compress(tar_of({"1.png": data})))
        assert read_all(path) == {"1.png": data}


def test_hidden_members_are_passed_over_and_unreadable_ones_fail(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, {"1.png": b"one", "__MACOSX/._1.png": b"", ".git/2.png": b""}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("rare.png", b"x" * 50, zipfile.ZIP_LZMA)
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, b"/etc/passwd")
    good, rare, link_item = archive_members(str(path))
    assert open_input(good).read() == b"one"
    with pytest.raises(InvalidInputError, match="packed by method 14"):
        open_input(rare)
    with pytest.raises(InvalidInputError, match="is a link"):
        open_input(link_item)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2" + data[data.index(b"PK\1\2") + 4 : data.index(b"PK\1\2") + 8]) + 8] |= 1
    path.write_bytes(data)
    assert any("encrypted" in item.packed for item in archive_members(str(path)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_cut_of_a_zip_archive_is_noticed(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    zip_of(path, {"1.png": bytes(range(256)) * 4, "2.png": b"two"}, method)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidInputError, match="not a complete zip archive"):
            list(archive_members(str(path)))


def test_damage_in_a_zip_archive_is_told_in_a_sentence(tmp_path: Path) -> None:
    path, chance = tmp_path / "a.zip", random.Random(0)
    content = {"1.png": bytes(range(256)) * 40, "2.png": b"two"}
    zip_of(path, content, zipfile.ZIP_DEFLATED)
    whole = path.read_bytes()
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        with suppress(InvalidInputError):  # all else is a fault
            assert {*read_all(path).values()} <= {*content.values()}


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar.bz2", "a.tar.xz"])
def test_a_damaged_compressed_archive_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    compress = {"gz": gzip.compress, "z2": bz2.compress, "xz": lzma.compress}[name[-2:]]
    whole = compress(tar_of(CONTENT))
    for length in (0, 1, 20, len(whole) // 2, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InvalidInputError, match="not a complete"):
            list(archive_members(str(tmp_path / name)))
    with pytest.raises(NotFoundError):
        list(archive_members(str(tmp_path / f"lost-{name}")))


def test_a_member_that_unpacks_to_more_than_the_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zip_of(tmp_path / "a.zip", {"1.png": bytes(5 << 20)}, zipfile.ZIP_DEFLATED)
    (item,) = archive_members(str(tmp_path / "a.zip"))
    monkeypatch.setattr(open_input_module, "MAX_MEMBER", 4 << 20)
    with pytest.raises(InvalidInputError, match="unpacks to more than"):
        open_input(item)


def test_an_archive_that_unpacks_to_more_than_images_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(tar_of({"1.png": bytes(9 << 20)})))
    monkeypatch.setattr(packed_archive, "_ALWAYS_ALLOWED", 4 << 20)
    with pytest.raises(InvalidInputError, match="more than images need"):
        list(archive_members(str(tmp_path / "a.tgz")))


def test_a_directory_of_gigabytes_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with open(path, "wb") as file:
        file.truncate(1 << 31)
        file.seek(1 << 31)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 1 << 30, 1 << 30, 0))
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "from zoo.core.errors import InvalidInputError\n"
        "from zoo.core.images.inputs.archive import archive_members\n"
        "try: print(list(archive_members(sys.argv[1])))\n"
        "except InvalidInputError as error: print('refused:', error)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("refused:"), done.stdout + done.stderr


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("name", ["a.zip", "stored.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize("geo", [False, True])
def test_rasters_in_archives_are_read_by_window_as_outside(tmp_path: Path, name: str, geo: bool) -> None:
    rasterio = pytest.importorskip("rasterio")
    somewhere = {"crs": "EPSG:32632", "transform": rasterio.Affine(10, 0, 600_000, 0, -10, 5_400_000)}
    place = somewhere if geo else {}
    values = np.random.default_rng(0).integers(0, 1000, (4, 64, 80), np.uint16)
    path = tmp_path / "scene.tif"
    with rasterio.open(path, "w", "GTiff", 80, 64, 4, dtype="uint16", photometric="minisblack", **place) as file:
        file.write(values)
    np.save(tmp_path / "scene.npy", values)
    content = {file: (tmp_path / file).read_bytes() for file in ("scene.tif", "scene.npy")}
    if name.endswith("zip"):
        zip_of(tmp_path / name, content, zipfile.ZIP_STORED if name == "stored.zip" else zipfile.ZIP_DEFLATED)
    else:
        (tmp_path / name).write_bytes((gzip.compress if name.endswith("gz") else bytes)(tar_of(content)))
    for item in archive_members(str(tmp_path / name)):
        with open_raster(item, ReadOptions(in_chans=4, bands=("1", "2", "3", "4"), axes="chw")) as raster:
            found = raster.read(Window(8, 16, 40, 32))
        np.testing.assert_array_equal(found.pixels, values[:, 16:48, 8:48])
