"""Windows of rasters: full, in order, and nothing left out."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import InvalidInputError, NotFoundError, UsageError
from zoo.core.images.inputs.image_input import ImageInput, Window
from zoo.core.images.inputs.tiles import expand_tiles, tile_windows


def test_the_last_row_and_column_are_moved_inwards() -> None:
    windows = list(tile_windows(height=5, width=10, tile=4, stride=3))
    assert [(w.top, w.left) for w in windows] == [(0, 0), (0, 3), (0, 6), (1, 0), (1, 3), (1, 6)]
    assert {(w.width, w.height) for w in windows} == {(4, 4)}


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 25), st.data())
def test_windows_cover_every_pixel_and_are_full(height: int, width: int, tile: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, tile))
    windows = list(tile_windows(height, width, tile, stride))
    covered = np.zeros((height, width), int)
    for w in windows:
        view = covered[w.top : w.top + w.height, w.left : w.left + w.width]
        assert view.shape == (w.height, w.width) == (min(tile, height), min(tile, width))
        view += 1
    assert covered.all()
    places = [(w.top, w.left) for w in windows]
    assert places == sorted(set(places))
    # One window, and one more for each stride that is begun beyond it.
    rows, columns = (1 + -(-max(0, length - tile) // stride) for length in (height, width))
    assert len(windows) == rows * columns


def test_a_raster_smaller_than_the_tile_is_one_window() -> None:
    assert list(tile_windows(100, 200, 224, 112)) == [Window(0, 0, 200, 100)]
    assert list(tile_windows(224, 224, 224, 224)) == [Window(0, 0, 224, 224)]
    assert list(tile_windows(100, 225, 224, 224)) == [Window(0, 0, 224, 100), Window(1, 0, 224, 100)]


@pytest.mark.parametrize(("tile", "stride"), [(0, 1), (-1, -1), (4, 0), (4, 5), (4, -4)])
def test_tiles_that_leave_gaps_are_refused(tile: int, stride: int) -> None:
    with pytest.raises(UsageError):
        tile_windows(10, 10, tile, stride)
    with pytest.raises(UsageError):
        expand_tiles([], lambda item: (1, 1), tile, stride)


def test_inputs_become_their_windows_and_bad_ones_stay_whole() -> None:
    sizes = {"b.tif": (4, 6), "a.tif": (2, 2), "empty.tif": (0, 9)}

    def size(item: ImageInput) -> tuple[int, int]:
        if item.id in sizes:
            return sizes[item.id]
        raise (NotFoundError if item.id == "gone.tif" else InvalidInputError)("no")

    items = [ImageInput(name, f"/data/{name}") for name in ("b.tif", "gone.tif", "a.tif", "bad.tif", "empty.tif")]
    found = expand_tiles(items, size, tile=4, stride=4)
    expected = ["b.tif#0,0", "b.tif#0,2", "gone.tif", "a.tif#0,0", "bad.tif", "empty.tif"]
    assert [item.id for item in found] == expected
    assert [item.window for item in found[:3]] == [Window(0, 0, 4, 4), Window(2, 0, 4, 4), None]
    assert [item.source for item in found[1:3]] == ["/data/b.tif", "/data/gone.tif"]


def test_windows_of_a_large_raster_are_not_held_in_memory() -> None:
    tracemalloc.start()
    try:
        found = expand_tiles([ImageInput("mosaic.tif", "mosaic.tif")], lambda item: (100, 200), 1, 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found) == 20_000
    assert peak < 1_000_000  # a list of as many windows takes 5 MB
