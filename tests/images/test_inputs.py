"""Finding inputs: files, folders, patterns, lists and archives become one ordered list that costs no memory."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import CannotWriteError, InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs import input_list
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.inputs.input_list import InputList
from zoo.core.images.inputs.path_list import read_path_list
from zoo.core.images.inputs.selection import describe_passed_over
from zoo.core.images.inputs.tar_archive import open_input

STRANGE = [b"line\nbreak.png", "ha\u00efku \U0001f98b.png".encode(), b"latin-\xe9\xff.png", b" x .png", b'"q\\u.png']


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def ids(items: Iterable[ImageInput]) -> list[str]:
    return [item.id for item in items]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---------------------------------------------------------------- files and folders


def test_a_folder_is_searched_recursively_and_sorted_as_text(tmp_path: Path) -> None:
    touch(tmp_path / "b.jpg", tmp_path / "a" / "2.PNG", tmp_path / "a" / "10.npy", tmp_path / "a.tif")
    touch(tmp_path / "notes.txt", tmp_path / ".hidden.png", tmp_path / ".git" / "x.png", tmp_path / "a" / "._2.png")
    found = find_inputs([tmp_path])
    assert ids(found) == ["a.tif", "a/10.npy", "a/2.PNG", "b.jpg"]
    assert [item.path for item in found] == [str(tmp_path / item.id) for item in found]


def test_several_inputs_keep_the_paths_they_were_given_with(work: Path) -> None:
    touch(work / "train" / "1.jpg", work / "val" / "1.jpg", work / "photo.dat")
    found = find_inputs(["val", Path("photo.dat"), "train/", "./val//1.jpg"])
    assert ids(found) == ["photo.dat", "train/1.jpg", "val/1.jpg"]


def test_the_working_directory_adds_nothing_to_names(work: Path) -> None:
    touch(work / "a" / "1.jpg", work / "2.jpg")
    assert ids(find_inputs(["."])) == ids(find_inputs([".", "2.jpg"])) == ["2.jpg", "a/1.jpg"]


def test_e10_links_do_not_loop(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "2.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    (tmp_path / "itself.jpg").symlink_to(tmp_path / "itself.jpg")
    passed_over = Counter[str]()
    # Links that lead nowhere are not passed over without a word: they fail when they are read.
    assert ids(find_inputs([tmp_path], passed_over=passed_over)) == ["2.jpg", "a/1.jpg", "gone.jpg", "itself.jpg"]
    assert describe_passed_over(passed_over) == "1 link to a folder was not followed."
    assert ids(find_inputs([f"{tmp_path}/**/1.*"])) == [f"{tmp_path}/a/1.jpg"]


def test_a_pipe_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jpg"
    os.mkfifo(pipe)
    with pytest.raises(NotFoundError, match="No image"):
        find_inputs([tmp_path])
    with pytest.raises(InvalidInputError, match="neither a file nor a folder"):
        find_inputs([pipe])
    with pytest.raises(InvalidInputError, match="not a regular file"):
        open_input(ImageInput("pipe", str(pipe)))


@pytest.mark.parametrize("name", ["missing.jpg", "missing/1.jpg", "*.gif", "missing/*.jpg", "**/x.jpg", "1.jpg/*"])
def test_what_is_not_there_is_named(work: Path, name: str) -> None:
    touch(work / "1.jpg")
    with pytest.raises(NotFoundError) as raised:
        find_inputs(["1.jpg", name])
    assert repr(name) in raised.value.message


def test_an_empty_path_is_not_the_working_directory(work: Path) -> None:
    touch(work / "1.jpg", work / "-")
    with pytest.raises(UsageError, match="empty"):
        find_inputs([""])
    assert ids(find_inputs(["./-"])) == ["-"]


@pytest.mark.parametrize("name", ["a\0.jpg", "\ud800.jpg", "x" * 300 + ".jpg"])
def test_what_cannot_be_a_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError):
        find_inputs([name, "b.jpg"])
    with pytest.raises(InvalidInputError):
        open_input(ImageInput(name, name))


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.tif", ["a.tif"]),
        ("**/*.tif", ["a.tif", "t/b.tif", "t/u/c.tif"]),
        ("t/**/*.tif", ["t/b.tif", "t/u/c.tif"]),
        ("**/u/*", ["t/u/c.tif", "t/u/notes.txt"]),
        ("t/**", ["t/b.tif", "t/u/c.tif"]),
        ("**/**/c.*", ["t/u/c.tif"]),
        ("?/[tu]/*.tif", ["t/u/c.tif"]),
        ("t/.*/*", ["t/.h/d.tif"]),
        ("t/*", ["t/b.tif", "t/u/c.tif"]),
        ("link/*.tif", ["link/c.tif"]),
        ("x[1].tif", ["x[1].tif"]),
    ],
)
def test_patterns_mean_what_they_mean_to_a_shell(work: Path, pattern: str, expected: list[str]) -> None:
    touch(*(work / name for name in ("a.tif", "t/b.tif", "t/u/c.tif", "t/u/notes.txt", "t/.h/d.tif", ".e.tif")))
    touch(work / "x[1].tif" if pattern.startswith("x") else work / "t" / "notes.csv" / "none")
    (work / "link").symlink_to("t/u")
    assert ids(find_inputs([pattern])) == expected
    absolute = ids(find_inputs([f"{work}/{pattern}"]))
    assert absolute == [f"{work}/{name}" for name in expected]


# ---------------------------------------------------------------- lists


def test_a_list_is_taken_as_it_stands(work: Path) -> None:
    touch(work / "b" / "1.jpg", work / "b" / "2.jpg", work / "c.data", work / "*.jpg")
    (work / "list").write_bytes(b"\xef\xbb\xbfc.data\r\n\n  \nb\r\n./b/1.jpg\ngone.jpg\n*.jpg")
    assert ids(find_inputs([], from_file="list")) == ["*.jpg", "b/1.jpg", "b/2.jpg", "c.data", "gone.jpg"]
    assert ids(find_inputs(["b/2.jpg"], from_file=work / "list"))[2] == "b/2.jpg"


def test_e10_any_name_comes_through_a_list_and_can_be_opened(work: Path) -> None:
    for name in STRANGE:
        Path(os.fsdecode(name)).write_bytes(name)
    listed = find_inputs(["-"], stdin=io.BytesIO(b"\0".join(STRANGE) + b"\0"))
    assert sorted(item.path for item in listed) == sorted(map(os.fsdecode, STRANGE))
    assert ids(find_inputs(["."])) == ids(listed) == ids(find_inputs(["*.png"])) == sorted(map(os.fsdecode, STRANGE))
    for item in listed:
        with open_input(item) as file:
            assert file.read() == os.fsencode(item.id)


@given(st.lists(st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and name.strip())))
def test_names_of_any_bytes_come_back_from_a_list_and_from_disk(names: list[bytes]) -> None:
    listed = list(read_path_list(io.BytesIO(b"".join(name + b"\0" for name in names)), "list"))
    assert [os.fsencode(name) for name in listed] == names
    items = InputList.in_order(ImageInput(str(n), name, name, n, n) for n, name in enumerate(listed))
    assert [os.fsencode(item.path) for item in items] == [os.fsencode(item.member) for item in items] == names


@pytest.mark.parametrize("length", [5, 16, 4096])
def test_a_list_longer_than_what_is_read_at_once(length: int) -> None:
    names = [b"%0*d" % (length, n) for n in range(400_000 // length)]
    for separator in (b"\n", b"\0"):
        assert [name.encode() for name in read_path_list(io.BytesIO(separator.join(names)), "list")] == names


@pytest.mark.parametrize("content", [b"x" * 200_000, b"a.jpg\n" * 20_000 + b"\0"])
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInputError, match="not a list of paths"):
        list(read_path_list(io.BytesIO(content), "photo.jpg"))


def test_a_list_from_elsewhere_is_told_by_its_first_error(work: Path) -> None:
    (work / "list").write_text("a.jpg\nb.jpg\n")
    with pytest.raises(NotFoundError, match="None of the files listed in list") as raised:
        find_inputs([], from_file="list")
    assert str(work) in raised.value.hint
    with pytest.raises(NotFoundError, match="no list file 'lost'"):
        find_inputs([], from_file="lost")
    with pytest.raises(InvalidInputError, match="directory"):
        find_inputs([], from_file=".")
    with pytest.raises(UsageError, match="twice"):
        find_inputs(["-"], from_file="-")
    with pytest.raises(NotFoundError, match="No image"):
        find_inputs([], from_file="-", stdin=io.BytesIO(b"\n"))


def test_archives_count_where_they_are_named_and_not_in_folders(work: Path) -> None:
    touch(work / "p" / "1.png")
    with tarfile.open(work / "p" / "a.tar", "w") as archive:
        archive.add(work / "p" / "1.png", "m/1.png")
    (work / "list").write_text("p/a.tar\n")
    assert ids(find_inputs(["p"])) == ["1.png"]
    for found in (find_inputs(["p/a.tar"]), find_inputs(["p/*.tar"]), find_inputs([], from_file="list")):
        assert [(item.id, item.source, item.path) for item in found] == [("p/a.tar/m/1.png",) * 2 + ("p/a.tar",)]


def test_e10_a_file_that_vanishes_is_named(tmp_path: Path) -> None:
    touch(tmp_path / "1.jpg", tmp_path / "2.jpg")
    found = find_inputs([tmp_path])
    (tmp_path / "1.jpg").unlink()
    with pytest.raises(NotFoundError, match=r"1\.jpg") as raised:
        open_input(found[0])
    assert raised.value.path == found[0].source
    (tmp_path / "1.jpg").mkdir()
    with pytest.raises(InvalidInputError, match=r"1\.jpg"):
        open_input(found[0])


def test_standard_input_may_be_closed_where_it_is_not_asked_for(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(work / "1.jpg")
    monkeypatch.setattr(sys, "stdin", None)
    assert ids(find_inputs(["1.jpg"])) == ["1.jpg"]
    with pytest.raises(NotFoundError, match="closed"):
        find_inputs(["-"])


# ---------------------------------------------------------------- the list


texts = st.text(st.characters(exclude_categories=[]) | st.sampled_from("a/\n\udcff\U0001f98b"), min_size=1, max_size=6)


@given(st.lists(texts, max_size=60), st.sampled_from([1, 400, 1 << 22]), st.sampled_from([1, 7, 1 << 14]))
def test_sorting_in_runs_equals_sorting_in_memory(names: list[str], run: int, block: int) -> None:
    names = [name for name in names if not any("\ud800" <= a <= "\udbff" for a in name)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(input_list, "_RUN_BYTES", run)
        patch.setattr(input_list, "_READ_BYTES", block)
        found = InputList.sorted_by_id(ImageInput(name, name) for name in names)
        assert ids(found) == sorted(set(names))
        assert [found[i].path for i in range(len(found))] == sorted(set(names))


@given(st.integers(0, 20), st.slices(20))
def test_slices_are_those_of_a_list(length: int, part: slice) -> None:
    items = [ImageInput(str(n), "path", window=Window(n, 0, 1, 1) if n % 2 else None) for n in range(length)]
    found = InputList.in_order(items)
    assert list(found) == items
    assert list(found[part]) == items[part]
    assert len(found[part]) == len(items[part])
    assert list(found[part][1:-1]) == items[part][1:-1]
    assert list(reversed(found[part])) == items[part][::-1]
    with pytest.raises(IndexError):
        found[length]


def test_the_digest_tells_lists_apart() -> None:
    base = ImageInput("a", "b", "c", 512, 3)
    variants = [base, *(base._replace(**{name: "x"}) for name in ("id", "path", "member")), base._replace(offset=1024)]
    lists = [[], *([item] for item in variants), [base, variants[1]], [variants[1], base]]
    digests = [InputList.in_order(items).sha256 for items in lists]
    assert len(set(digests)) == len(digests)
    assert digests[0] == hashlib.sha256().hexdigest()
    assert InputList.sorted_by_id([base, base]).sha256 == digests[1]
    assert InputList.in_order(lists[-1])[1:].sha256 == digests[1]


FORK = """
import os
from zoo.core.images.inputs.input_list import ImageInput, InputList

names = [str(number) for number in range(5000)]
found = InputList.in_order(ImageInput(name, "p") for name in names)
rows = iter(found)
assert next(rows).id == "0"
if (child := os.fork()) == 0:
    os._exit([row.id for row in found] != names)
assert os.waitpid(child, 0)[1] == 0
assert [row.id for row in rows] == names[1:]
"""


def test_forked_readers_do_not_disturb_each_other() -> None:
    # Not in this process: its threads hold locks, which nobody would release in the child.
    subprocess.run([sys.executable, "-P", "-c", FORK], check=True, timeout=60)


def test_a_full_temporary_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(prefix: str) -> io.FileIO:
        return io.FileIO("/dev/full", "w")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(CannotWriteError, match="No space left") as raised:
        InputList.sorted_by_id([ImageInput("a", "a")])
    assert "TMPDIR" in raised.value.hint


MEASURE = """
import os, sys
from zoo.core.images.inputs.find import find_inputs

def peak():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

def run(length):
    # The same base name in 100 folders, in no order.
    names = (f"scene-{n * 7919 % length % 100}/tile-{n * 7919 % length // 100}.tif" for n in range(length))
    with open("list", "w") as file:
        file.writelines(f"{name}\\n" for name in names)
    found = find_inputs([], from_file="list")
    assert len({item.id for item in found[:1000]}) == 1000
    previous = ""
    for item in found:
        assert previous < item.id
        previous = item.id
    assert len(found) == length, len(found)
    return peak()

os.makedirs("scene-0"); open("scene-0/tile-0.tif", "w").close()
print(run(50_000), run(200_000))
assert not {"numpy", "torch", "PIL"} & set(sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of the process from /proc")
def test_e10_memory_does_not_grow_with_the_list(work: Path) -> None:
    done = subprocess.run([sys.executable, "-P", "-c", MEASURE], check=True, capture_output=True, text=True)
    small, large = map(int, done.stdout.split())
    assert large - small < 4096  # KiB, for 150,000 more: their offsets take 1172


def test_sorted_order_is_strict_over_archives_and_files(work: Path) -> None:
    touch(work / "a" / "1.png", work / "a.tarx.png")
    with tarfile.open("a.tar", "w") as archive:
        archive.add("a/1.png", "1.png")
        archive.add("a/1.png", "1.png")
    found = ids(find_inputs(["a", "a.tar", "a.tarx.png"]))
    assert len(found) == 3
    assert all(first < second for first, second in pairwise(found))
