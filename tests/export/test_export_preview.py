"""The preview against numpy's singular value decomposition, pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zoo.core.errors import InvalidInputError
from zoo.core.export.plan import ExportPlan, Level
from zoo.core.export.preview import GAP, SIDE, principal_components, write_preview
from zoo.core.export.run import ExportJob, Prepared
from zoo.core.images.inputs.image_input import ImageInput

MEAN, STD = (0.4, 0.5, 0.6, 0.1), (0.2, 0.25, 0.3, 0.9)


def job(pixels: list[Any], maps: np.ndarray) -> ExportJob:
    """Images of four bands in 0..1, or None for one that cannot be read, and their maps of one level."""
    plan = ExportPlan(
        inputs=[ImageInput(str(i), str(i)) for i in range(len(pixels))],
        levels=(Level(0, "layer1", *maps.shape[1:], 1),),  # type: ignore[call-arg]
        images_per_shard=4,
        model={},
        preprocessing={"mean": MEAN, "std": STD},
    )
    mean, std = (np.array(values, np.float32)[:, None, None] for values in (MEAN, STD))

    def decode(items: Iterable[ImageInput]) -> Any:
        for item in items:
            found = pixels[int(item.id)]
            yield InvalidInputError("cut off.") if found is None else Prepared((found - mean) / std)

    def compute(images: Iterable[Any]) -> Any:
        return ([values] for values, _ in zip(maps, images, strict=True))

    return ExportJob(plan, decode, compute, compute)


def test_a_row_per_readable_image_with_its_colours(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    pixels: list[Any] = [noise.random((4, 6, 12), np.float32) for _ in range(3)]
    pixels.insert(1, None)
    write_preview(tmp_path / "p.png", job(pixels, noise.random((3, 5, 3, 6), np.float32)))
    picture = Image.open(tmp_path / "p.png")
    height = SIDE // 2
    assert picture.size == (2 * SIDE + GAP, 3 * height + 2 * GAP)
    shown = np.asarray(picture)
    for row, found in enumerate(image for image in pixels if image is not None):
        cell = shown[row * (height + GAP) :][:height, :SIDE]
        # The middle of each of the 6 x 12 squares.
        ys, xs = ((np.arange(6) + 0.5) * height / 6).astype(int), ((np.arange(12) + 0.5) * SIDE / 12).astype(int)
        np.testing.assert_allclose(cell[np.ix_(ys, xs)], 255 * found[:3].transpose(1, 2, 0), atol=0.51)


def test_components_are_those_of_the_singular_value_decomposition() -> None:
    rows = np.random.default_rng(1).normal(size=(60, 7)) * np.arange(1, 8)
    scores = principal_components(rows, 3)
    centred = rows - rows.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    for found, direction in zip(scores.T, directions, strict=False):
        sign = np.sign(direction[np.abs(direction).argmax()])
        np.testing.assert_allclose(found, centred @ direction * sign, atol=1e-9)


def test_maps_of_few_channels_or_without_variance_have_components_too() -> None:
    rows = np.random.default_rng(2).normal(size=(10, 2))
    assert (principal_components(rows, 3)[:, 2] == 0).all()
    assert (principal_components(np.full((10, 5), 3.0), 3) == 0).all()
    assert (principal_components(np.zeros((10, 1)), 3) == 0).all()


def test_a_picture_can_be_made_of_any_numbers(tmp_path: Path) -> None:
    maps = np.full((1, 3, 2, 2), np.nan, np.float32)
    maps[0, 0, 0, 0], maps[0, 1, 0, 0] = np.inf, 1e30
    write_preview(tmp_path / "p.png", job([np.full((4, 4, 4), np.nan, np.float32)], maps))
    assert Image.open(tmp_path / "p.png").size == (2 * SIDE + GAP, SIDE)


def test_the_same_picture_twice_and_eight_images_at_most(tmp_path: Path) -> None:
    noise = np.random.default_rng(3)
    made = job([noise.random((4, 4, 4), np.float32)] * 9, noise.random((8, 5, 2, 2), np.float32))
    for name in ("a.png", "b.png"):
        write_preview(tmp_path / name, made)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert Image.open(tmp_path / "a.png").height == 8 * SIDE + 7 * GAP


def test_no_picture_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="No image could be read"):
        write_preview(tmp_path / "p.png", job([None, None], np.zeros((1, 3, 2, 2))))
    assert list(tmp_path.iterdir()) == []
