"""Finding photographs among files and folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.images import find_inputs

DATA = Path(__file__).parent / "data"


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_is_searched_recursively_and_sorted_as_text(tmp_path: Path) -> None:
    touch(tmp_path / "b.jpg", tmp_path / "a" / "2.PNG", tmp_path / "a" / "10.webp", tmp_path / "a.tif")
    touch(tmp_path / "notes.txt", tmp_path / ".hidden.png", tmp_path / ".git" / "x.png", tmp_path / "a" / "._2.png")
    found = find_inputs([tmp_path])
    assert [item.id for item in found] == ["a.tif", "a/10.webp", "a/2.PNG", "b.jpg"]
    assert [item.path for item in found] == [tmp_path / item.id for item in found]


def test_several_inputs_keep_the_paths_they_were_given_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "train" / "1.jpg", tmp_path / "val" / "1.jpg", tmp_path / "photo.dat")
    monkeypatch.chdir(tmp_path)
    found = find_inputs(["val", "photo.dat", "train/", "./val/1.jpg"])
    assert [item.id for item in found] == ["photo.dat", "train/1.jpg", "val/1.jpg"]


def test_links_to_folders_do_not_loop(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "2.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    assert [item.id for item in find_inputs([tmp_path])] == ["2.jpg", "a/1.jpg"]


def test_a_pipe_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(NotFoundError, match="No image"):
        find_inputs([tmp_path])
    with pytest.raises(InvalidInputError, match="neither a file nor a folder"):
        find_inputs([tmp_path / "pipe.jpg"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"missing\.jpg"):
        find_inputs([DATA, tmp_path / "missing.jpg"])
