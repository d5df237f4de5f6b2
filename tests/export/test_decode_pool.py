"""Decoding ahead: order, bounds, and processes that die or hang (row E11)."""

import multiprocessing
import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import closing
from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export.decode_pool import decode_ahead
from zoo.core.images.preprocess import Preprocess

from processes import started

WORKERS = pytest.mark.parametrize("workers", [0, 2], ids=["threads", "processes"])
HANG_SECONDS = 3
"""After which a process counts as hung: longer than any of these items takes on a busy machine."""


class Item(NamedTuple):
    number: int
    deed: str = "decode"

    @property
    def source(self):
        return f"{self.number}.png"


def decode(item):
    """An array that tells its item, or what a decoder can do to its process."""
    if item.deed == "exit":
        os._exit(7)
    if item.deed == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.deed == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    while item.deed == "hang":
        pass
    if item.deed == "pid":
        return os.getpid()
    if item.deed == "refuse":
        raise InvalidInputError(f"{item.source}: not an image.", hint="Look at it.", path=item.source)
    if item.deed == "memory":
        raise MemoryError
    if item.deed == "bug":
        raise KeyError("a mistake in the decoder")
    return np.full((3, 4, 5), item.number, np.float32)


def is_good(result, number):
    return isinstance(result, np.ndarray) and np.array_equal(result, np.full((3, 4, 5), number, np.float32))


@WORKERS
def test_order_and_values(workers):
    results = list(decode_ahead(map(Item, range(50)), decode, workers=workers, ahead=7))
    assert len(results) == 50
    assert all(is_good(result, number) for number, result in enumerate(results))


@WORKERS
def test_refused_items_stand_in_their_place(workers):
    items = [Item(0), Item(1, "refuse"), Item(2, "memory"), Item(3)]
    first, refused, memory, last = decode_ahead(items, decode, workers=workers)
    assert is_good(first, 0)
    assert is_good(last, 3)
    assert isinstance(refused, InvalidInputError)
    assert (refused.message, refused.hint, refused.path) == ("1.png: not an image.", "Look at it.", "1.png")
    assert isinstance(memory, InvalidInputError)
    assert memory.message == "2.png: there is not enough memory to decode it."


@WORKERS
def test_a_bug_is_not_taken_for_a_bad_item(workers):
    with pytest.raises((KeyError, RuntimeError), match="a mistake in the decoder"):
        list(decode_ahead([Item(0), Item(1, "bug")], decode, workers=workers))


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("exit", "1.png: the process that decoded it ended with code 7."),
        ("kill", "1.png: the process that decoded it was ended by SIGKILL, often for lack of memory."),
        ("segfault", "1.png: the process that decoded it was ended by SIGSEGV."),
        ("hang", f"1.png: decoding took longer than {HANG_SECONDS} s."),
    ],
)
def test_e11_a_process_that_dies_or_hangs_costs_its_item_alone(deed, reason):
    items = [Item(n, deed if n == 1 else "decode") for n in range(6)]
    results = list(decode_ahead(items, decode, workers=2, timeout=HANG_SECONDS))
    assert isinstance(results[1], InvalidInputError)
    assert (results[1].message, results[1].path) == (reason, "1.png")
    assert all(is_good(results[n], n) for n in (0, 2, 3, 4, 5))
    assert not multiprocessing.active_children()


def test_e11_every_item_dies():
    results = list(decode_ahead([Item(n, "exit") for n in range(5)], decode, workers=2))
    assert [r.path for r in results] == [f"{n}.png" for n in range(5)]


def test_e11_processes_end_with_an_export_that_stops_early():
    """Though one of them hangs, and its item has minutes left."""
    items = [Item(0), Item(1, "hang"), *map(Item, range(2, 10))]
    with closing(decode_ahead(items, decode, workers=2)) as results:
        assert is_good(next(results), 0)
    assert not multiprocessing.active_children()
    assert not [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_e11_a_process_killed_while_it_waits_costs_no_item():
    with closing(decode_ahead([Item(0, "pid"), Item(1), Item(2)], decode, workers=1, ahead=1)) as results:
        os.kill(next(results), signal.SIGKILL)
        for child in multiprocessing.active_children():
            child.join()
        assert [is_good(result, n) for n, result in enumerate(results, start=1)] == [True, True]


ORPHAN = """
import os, signal, sys
from test_decode_pool import Item, decode, decode_ahead
if __name__ == "__main__":
    results = decode_ahead([Item(0, "pid"), Item(1, "hang")], decode, workers=1)
    print(next(results), flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waiting for a stranger's process needs Linux")
def test_e11_a_process_that_hangs_does_not_outlive_a_killed_parent():
    path = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])
    command = [sys.executable, "-P", "-c", ORPHAN]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started(command, env={**os.environ, "PYTHONPATH": path}, **pipes) as parent:
        orphan = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        assert select.select([orphan], [], [], 30)[0]
    finally:
        os.close(orphan)


def test_an_unpicklable_decoder_is_named():
    with pytest.raises(UsageError, match="cannot be handed to a process"):
        list(decode_ahead([Item(0)], lambda item: item, workers=1))


def lost_module():
    """A function that no other process finds."""
    module = type(sys)("lost_module")
    exec("def decode(item): return item", module.__dict__)
    sys.modules["lost_module"] = module
    return module


def test_a_process_that_cannot_start_is_not_taken_for_a_bad_item():
    module = lost_module()
    try:
        with pytest.raises(UsageError, match="could not be started"):
            list(decode_ahead([Item(0)], module.decode, workers=1))
    finally:
        del sys.modules["lost_module"]


@WORKERS
@pytest.mark.parametrize(("size", "expected"), [(1, 20), (100, 10), (10_000, 4)])
def test_large_results_wait_in_smaller_number(workers, size, expected):
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield Item(number)

    limits = {"ahead": 20, "ahead_bytes": 1000, "size_of": lambda _: size}
    with closing(decode_ahead(items(), decode, workers=workers, **limits)) as results:
        for done in range(1, 41):
            next(results)
            assert len(read) <= done + expected
        assert len(read) >= min(done + expected, 40) - 1


@WORKERS
def test_items_are_read_only_as_far_ahead_as_asked(workers):
    read = []

    def items():
        for number in range(1000):
            read.append(number)
            yield Item(number)

    with closing(decode_ahead(items(), decode, workers=workers, ahead=5)) as results:
        for done in range(1, 21):
            next(results)
            assert len(read) <= done + 5


def test_processes_preprocess_without_torch():
    preprocess = Preprocess(size=(6, 6), mean=(0.3,) * 3, std=(0.2,) * 3)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
    ((pixels, imported),) = decode_ahead([image], partial(preprocessed, preprocess), workers=1)
    assert not imported
    assert np.array_equal(pixels, preprocess.array(image))


def preprocessed(preprocess, image):
    return preprocess.array(image), {"torch", "torchvision"} & set(sys.modules)


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"ahead": 0}, {"timeout": 0}])
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(UsageError, match="Workers must be 0 or more"):
        list(decode_ahead([Item(0)], decode, **wrong))
