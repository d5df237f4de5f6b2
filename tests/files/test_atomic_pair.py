"""A file and its data are the old pair, no first file, or the new pair, whatever happens on the way."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.core.errors import CannotWriteError
from zoo.core.files.atomic_pair import atomic_pair

NAMES = ("m", "m.data")
OLD, NEW = (b"old, of old", b"old data"), (b"new, of new", b"new data")
Pair = tuple[bytes | None, bytes | None]


def write(folder: Path, pair: tuple[bytes, bytes] = NEW, *, force: bool = False) -> bool:
    with atomic_pair(folder / NAMES[0], folder / NAMES[1], force=force) as written:
        for name, data in zip(reversed(NAMES), reversed(pair), strict=True):
            with written.file(name) as file:
                file.write(data)
    return written.unchanged


def put(folder: Path, pair: Pair) -> None:
    for name, data in zip(NAMES, pair, strict=True):
        if data is not None:
            (folder / name).write_bytes(data)


def found(folder: Path) -> Pair:
    first, second = ((folder / name).read_bytes() if (folder / name).exists() else None for name in NAMES)
    return first, second


# ---------------------------------------------------------------- what was there before


def test_a_new_pair_and_the_same_again(tmp_path: Path):
    assert write(tmp_path) is False
    assert found(tmp_path) == NEW
    before = [(tmp_path / name).stat().st_ino for name in NAMES]
    assert write(tmp_path) is True
    assert [(tmp_path / name).stat().st_ino for name in NAMES] == before
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


@pytest.mark.parametrize(
    ("there", "named"),
    [(OLD, "m"), ((OLD[0], NEW[1]), "m"), ((None, OLD[1]), "m.data"), ((NEW[0], OLD[1]), "m.data"), ((b"", None), "m")],
)
def test_other_content_needs_force(tmp_path: Path, there: Pair, named: str):
    put(tmp_path, there)
    with pytest.raises(CannotWriteError, match=rf"/{named} already exists with other contents") as caught:
        write(tmp_path)
    assert "--force" in caught.value.hint
    assert found(tmp_path) == there
    assert write(tmp_path, force=True) is False
    assert found(tmp_path) == NEW
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


@pytest.mark.parametrize("there", [(None, NEW[1]), (NEW[0], None)])
def test_half_of_the_same_pair_is_completed(tmp_path: Path, there: Pair):
    put(tmp_path, there)
    assert write(tmp_path) is False
    assert found(tmp_path) == NEW


@pytest.mark.parametrize("there", [OLD, (NEW[0], OLD[1]), (OLD[0], NEW[1])])
def test_existing_files_keep_their_modes(tmp_path: Path, there: Pair):
    put(tmp_path, there)
    (tmp_path / "m").chmod(0o640)
    (tmp_path / "m.data").chmod(0o600)
    write(tmp_path, force=True)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in NAMES] == [0o640, 0o600]


@pytest.mark.parametrize("name", NAMES)
def test_a_link_and_a_folder_are_refused(tmp_path: Path, name: str):
    (tmp_path / "elsewhere").write_bytes(b"kept")
    (tmp_path / name).symlink_to("elsewhere")
    with pytest.raises(CannotWriteError, match=rf"{name} is a link"):
        write(tmp_path, force=True)
    assert (tmp_path / "elsewhere").read_bytes() == b"kept"
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(CannotWriteError, match=rf"{name} is a folder"):
        write(tmp_path, force=True)
    assert sorted(os.listdir(tmp_path)) == sorted(["elsewhere", name])


def test_an_error_while_they_are_written_leaves_the_old_pair(tmp_path: Path):
    put(tmp_path, OLD)

    def fail() -> None:
        with atomic_pair(tmp_path / "m", tmp_path / "m.data", force=True) as written:
            with written.file("m.data") as file:
                file.write(NEW[1])
            assert found(tmp_path) == OLD
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert found(tmp_path) == OLD
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


# ---------------------------------------------------------------- between the steps

BEFORE = [OLD, (OLD[0], NEW[1]), (OLD[0], None), (None, OLD[1]), (None, None), (NEW[0], OLD[1])]


@pytest.mark.parametrize("there", BEFORE)
@pytest.mark.parametrize("kind", [OSError(5, "Input/output error"), SystemExit(143)], ids=["error", "signal"])
@pytest.mark.parametrize("late", [False, True], ids=["instead of the move", "after it"])
def test_an_error_between_the_steps_brings_the_old_pair_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: Pair, kind: BaseException, late: bool
):
    put(tmp_path, there)
    rename = os.rename
    for number in range(1, 5):
        calls: list[str] = []

        def fail(source: str, destination: str, at: int = number, calls: list[str] = calls) -> None:
            calls.append(source)
            if len(calls) == at and not late:
                raise kind
            rename(source, destination)
            if len(calls) == at:
                raise kind

        with monkeypatch.context() as patched:
            patched.setattr(os, "rename", fail)
            try:
                write(tmp_path, force=True)
            except (CannotWriteError, SystemExit):
                # One rename alone replaces the first file, so nothing has to be brought back.
                assert found(tmp_path) in ([there] if there[1] != NEW[1] else [there, NEW])
            else:
                assert found(tmp_path) == NEW
        assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
        for name in NAMES:
            (tmp_path / name).unlink(missing_ok=True)
        put(tmp_path, there)


KILLED = """
import os, sys
from zoo.core.files.atomic_pair import atomic_pair
number, when = int(sys.argv[1]), sys.argv[2]
calls = 0
def dying(name):
    real = getattr(os, name)
    def call(*words, **options):
        global calls
        calls += counting
        if calls == number and when == "before":
            os._exit(9)
        result = real(*words, **options)
        if calls == number:
            os._exit(9)
        return result
    setattr(os, name, call)
counting = 0
for name in ("rename", "unlink", "chmod", "fsync", "rmdir"):
    dying(name)
with atomic_pair("m", "m.data", force=True) as written:
    for name, data in (("m.data", b"new data"), ("m", b"new, of new")):
        with written.file(name) as file:
            file.write(data)
    counting = 1
"""


@pytest.mark.parametrize("there", [OLD, (OLD[0], None), (None, OLD[1]), (OLD[0], NEW[1])])
def test_killed_at_every_step_a_first_file_never_stands_beside_other_data(tmp_path: Path, there: Pair):
    states = set()
    number, code = 0, 9
    while code == 9:
        number += 1
        for name in NAMES:
            (tmp_path / name).unlink(missing_ok=True)
        put(tmp_path, there)
        for when in ("before", "after"):
            command = [sys.executable, "-P", "-c", KILLED, str(number), when]
            code = subprocess.run(command, cwd=tmp_path, timeout=60).returncode
            assert code in (0, 9)
            pair = found(tmp_path)
            states.add(pair)
            assert pair in (there, NEW) or pair[0] is None, (number, when)
            if code == 0:
                break
    assert number > 5
    assert {there, NEW} <= states
    write(tmp_path, OLD, force=True)  # the next run removes what they left
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


SEVERAL = """
import sys
from zoo.core.files.atomic_pair import atomic_pair
for turn in range(40):
    text = f"{sys.argv[1]} {turn}".encode()
    with atomic_pair("m", "m.data", force=True, sync=False) as written:
        for name in ("m.data", "m"):
            with written.file(name) as file:
                file.write(text)
"""


def test_runs_at_once_do_not_mix_their_pairs(tmp_path: Path):
    runs = [subprocess.Popen([sys.executable, "-P", "-c", SEVERAL, str(number)], cwd=tmp_path) for number in range(4)]
    assert [run.wait(timeout=60) for run in runs] == [0] * 4
    first, second = found(tmp_path)
    assert first == second
    assert sorted(os.listdir(tmp_path)) == [*NAMES]


def test_what_another_user_planted_under_the_name_of_the_lock_is_not_followed(tmp_path: Path):
    write(tmp_path)
    made: list[str] = []
    real = os.open

    def watched(path: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and not flags & os.O_EXCL:
            made.append(path)
        return real(path, flags, *rest)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "open", watched)
        write(tmp_path)
    (lock,) = made
    os.symlink(tmp_path / "victim", lock)
    with pytest.raises(CannotWriteError):
        write(tmp_path, OLD, force=True)
    assert not (tmp_path / "victim").exists()
    assert found(tmp_path) == NEW
