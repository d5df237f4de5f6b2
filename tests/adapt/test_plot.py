"""The picture of a stem: colours at places that follow from the layout, its size, and what it refuses."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.plot import BACKGROUND, GAP, LEFT, MAX_BANDS, MAX_FILTERS, NOT_FINITE, TITLE_HEIGHT, plot_stem
from zoo.core.errors import CannotWriteError, InvalidInputError, UsageError

from weight_bytes import weight_bytes

# The middle and the ends of cividis as matplotlib has it.
ZERO, LIGHT, DARK = (124, 123, 120), (255, 234, 70), (0, 32, 77)


def weight(filters: int, bands: int, height: int = 1, width: int = 1) -> np.ndarray:
    return np.zeros((filters, bands, height, width), np.float32)


def numbered(count: int) -> list[str]:
    return [f"B{number}" for number in range(1, count + 1)]


def draw(path: Path, before: np.ndarray, after: np.ndarray) -> Image.Image:
    plot_stem(before, after, path, before_bands=numbered(before.shape[1]), after_bands=numbered(after.shape[1]))
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        image.load()
        return image


def place(band: int, filter_index: int, *, side: int, above: int = 0) -> tuple[int, int]:
    """Middle of a filter of `side` pixels; `above` are the pixels of the block above it."""
    x = LEFT + filter_index * (side + GAP) + GAP + side // 2
    y = above + TITLE_HEIGHT + band * (side + GAP) + GAP + side // 2
    return x, y


def block_height(bands: int, side: int) -> int:
    return TITLE_HEIGHT + bands * (side + GAP) + GAP


def test_colours_are_on_one_scale(tmp_path):
    before, after = weight(3, 2), weight(3, 2)
    before[:, 0, 0, 0] = [2, -2, 0]
    before[0, 1] = 1
    after[:, 1, 0, 0] = [4, -4, -1]
    image = draw(tmp_path / "stem.png", before, after)

    assert image.getpixel(place(0, 0, side=28)) == (190, 178, 95)  # 2 of 4: half way
    assert image.getpixel(place(0, 1, side=28)) == (62, 78, 98)
    assert image.getpixel(place(0, 2, side=28)) == ZERO
    below = block_height(2, 28)
    assert image.getpixel(place(1, 0, side=28, above=below)) == LIGHT
    assert image.getpixel(place(1, 1, side=28, above=below)) == DARK
    assert image.getpixel(place(0, 0, side=28, above=below)) == ZERO
    assert image.getpixel((LEFT, TITLE_HEIGHT)) == BACKGROUND


def test_a_kernel_keeps_its_orientation(tmp_path):
    before = weight(1, 1, 2, 2)
    before[0, 0] = [[1, 0], [-1, 0]]
    image = draw(tmp_path / "stem.png", before, before)
    left, top = LEFT + GAP, TITLE_HEIGHT + GAP
    assert [image.getpixel((left + x, top + y)) for y in (0, 13, 14, 27) for x in (0, 27)] == [
        LIGHT, ZERO, LIGHT, ZERO, DARK, ZERO, DARK, ZERO
    ]  # fmt: skip


def test_what_is_not_finite_stands_out_and_leaves_the_scale_alone(tmp_path):
    before = weight(4, 1)
    before[:, 0, 0, 0] = [np.nan, np.inf, -np.inf, 1e-30]
    image = draw(tmp_path / "stem.png", before, weight(1, 1))
    assert [image.getpixel(place(0, index, side=28)) for index in range(4)] == [NOT_FINITE] * 3 + [LIGHT]


def test_zeros_are_grey(tmp_path):
    image = draw(tmp_path / "stem.png", weight(2, 1), weight(2, 1))
    assert image.getpixel(place(0, 1, side=28)) == ZERO


def test_lightness_only_grows_so_that_black_and_white_shows_the_sign(tmp_path):
    before = weight(21, 1)
    before[:, 0, 0, 0] = np.linspace(-1, 1, 21)
    grey = draw(tmp_path / "stem.png", before, weight(1, 1)).convert("L")
    values = [grey.getpixel(place(0, index, side=28)) for index in range(21)]
    assert all(low < high for low, high in itertools.pairwise(values))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--in-chans", "4"], ["0 < red", "1 < green", "2 < blue", "3 < red"]),
        (["--in-chans", "1"], ["0 < all"]),
        (["--in-chans", "4", "--method", "zero"], ["0 < red", "1 < green", "2 < blue", "3 < zeros"]),
        (["--bands", "B4,B8,NDVI"], ["B04 < red", "B08 < red", "NDVI < mixed"]),
        (["--bands", "450nm,650nm", "--method", "spectral"], ["450nm < blue+", "650nm < red+"]),
    ],
)
def test_every_new_channel_is_named_with_where_it_came_from(tmp_path, monkeypatch, options, expected):
    drawn = []
    monkeypatch.setattr("zoo.core.adapt.plot.plot_stem", lambda *_, **names: drawn.append(names))
    values = np.ones((8, 3, 3, 3), "<f4").tobytes()
    source = tmp_path / "net.safetensors"
    source.write_bytes(weight_bytes({"conv.weight": ("F32", (8, 3, 3, 3), values)}, {"format": "pt"}))
    words = ["adapt-weights", str(source), "--input-layer", "conv", *options, "--plot", str(tmp_path / "stem.png")]
    assert errors.run(app, [*words, "--quiet", "-o", str(tmp_path / "out.safetensors")]) == 0
    assert drawn[0]["before_bands"] == ["red", "green", "blue"]
    assert drawn[0]["after_bands"] == expected


def test_the_size_follows_from_the_filters_that_are_drawn(tmp_path):
    image = draw(tmp_path / "stem.png", weight(100, 3, 7, 7), weight(100, 200, 7, 7))
    assert image.width == LEFT + MAX_FILTERS * (28 + GAP) + GAP
    assert image.height == block_height(3, 28) + block_height(MAX_BANDS, 28)


@pytest.mark.parametrize(("kernel", "side"), [((3, 3), 27), ((16, 16), 32), ((32, 32), 32), ((1, 7), 4)])
def test_kernels_of_every_size_are_visible(tmp_path, kernel, side):
    image = draw(tmp_path / "stem.png", weight(40, 1, *kernel), weight(40, 1, *kernel))
    assert image.height == 2 * block_height(1, side)


def test_every_band_has_its_name_at_the_left(tmp_path):
    image = draw(tmp_path / "stem.png", weight(1, 3), weight(1, 1))
    pixels = np.asarray(image)
    for band in range(3):
        _, y = place(band, 0, side=28)
        assert (pixels[y - 10 : y + 10, : LEFT - GAP] != BACKGROUND).any()


@pytest.mark.parametrize("name", ["", "ΔΩ\n\x00", "a name that is longer than its place", "450nm"])
def test_any_name_can_be_drawn(tmp_path, name):
    plot_stem(weight(1, 1), weight(1, 1), tmp_path / "stem.png", before_bands=[name], after_bands=[name])
    with Image.open(tmp_path / "stem.png") as image:
        top = TITLE_HEIGHT + GAP
        assert all(image.getpixel((LEFT, y)) == BACKGROUND for y in range(top, top + 28)), "it ends before the filters"


def test_the_same_input_gives_the_same_bytes(tmp_path):
    values = np.random.default_rng(0).standard_normal((8, 5, 3, 3)).astype(np.float32)
    for name in ("one.png", "other.png"):
        draw(tmp_path / name, values[:, :3], values)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()


def test_an_existing_picture_is_replaced_only_by_force(tmp_path):
    path, black = tmp_path / "stem.png", weight(1, 1)
    draw(path, black, black)
    draw(path, black, black)  # equal content
    names = {"before_bands": ["R"], "after_bands": ["R"]}
    old = path.read_bytes()
    with pytest.raises(CannotWriteError, match="--force"):
        plot_stem(black + 1, black, path, **names)
    assert path.read_bytes() == old
    plot_stem(black + 1, black, path, **names, force=True)
    assert path.read_bytes() != old
    assert [entry.name for entry in tmp_path.iterdir()] == ["stem.png"]


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 3), (1, 1, 1, 1, 1), (0, 3, 1, 1), (4, 0, 1, 1), (1, 1, 65, 1)])
def test_weights_that_cannot_be_drawn_are_refused(tmp_path, shape):
    bands = numbered(shape[1])
    with pytest.raises(InvalidInputError, match="found the shape"):
        plot_stem(np.zeros(shape, np.float32), weight(1, 1), tmp_path / "x.png", before_bands=bands, after_bands=["R"])
    assert not any(tmp_path.iterdir())


def test_every_band_needs_a_name(tmp_path):
    with pytest.raises(UsageError, match="after has 2 bands, found 1 names"):
        plot_stem(weight(1, 1), weight(1, 2), tmp_path / "x.png", before_bands=["R"], after_bands=["R"])
