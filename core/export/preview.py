"""A preview of feature maps: each level's first three principal components as RGB, next to the image.

The components are computed over all positions of all shown images, so that a colour means the same in each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from zoo.core.errors import InvalidInputError, ZooError
from zoo.core.export.run import ExportJob, Prepared
from zoo.core.files.atomic_output import atomic_output
from zoo.core.images.inputs.exported_files import PREVIEW_MARK

MAX_IMAGES = 8
MAX_TRIED = 64
SIDE = 224
GAP = 4


def write_preview(path: str | os.PathLike[str], job: ExportJob) -> None:
    """Write a PNG with one row for each of the first readable images, up to 8: the image, then its levels.

    The PNG contains a marker, so that no other export takes it for an input.

    Args:
        path: replaced if it exists.
        job: reads images and computes their maps without pooling; its plan has their normalisation.

    Raises:
        InvalidInputError: none of the first 64 images can be read.
        CannotWriteError: the file cannot be written.
    """
    plan = job.plan
    tried = (plan.inputs[i] for i in range(min(MAX_TRIED, len(plan.inputs))))
    with closing(job.decode(tried)) as decoded:
        images = [found.image for found in islice((d for d in decoded if isinstance(d, Prepared)), MAX_IMAGES)]
    if not images:
        raise InvalidInputError("No image could be read, so there is nothing to preview.", hint="Leave out --preview.")
    levels = zip(*_features(job.maps(images)), strict=True)
    columns = [_as_colours(images, plan.preprocessing), *map(_principal_colours, levels)]
    png, mark = BytesIO(), PngInfo()
    mark.add_text(*PREVIEW_MARK)
    _grid(columns).save(png, "PNG", pnginfo=mark)
    with atomic_output(Path(path), force=True) as file:
        file.write(png.getvalue())


def _features(results: Iterable[Any]) -> Iterator[Sequence[NDArray[Any]]]:
    for result in results:
        if isinstance(result, ZooError):
            raise result
        yield result


def _as_colours(images: Sequence[NDArray[Any]], preprocessing: Any) -> list[NDArray[np.uint8]]:
    """The first three bands without normalisation (one band as grey): (height, width, 3)."""
    mean, std = (np.asarray(preprocessing[key], np.float32)[:, None, None] for key in ("mean", "std"))
    restored = [(image * std + mean)[[0, 1, 2] if len(image) > 2 else [0, 0, 0]] for image in images]
    return [_to_bytes(image.transpose(1, 2, 0)) for image in restored]


def _principal_colours(maps: Sequence[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """Each image's map (channels, height, width) as an RGB image (height, width, 3)."""
    positions = np.concatenate([m.reshape(len(m), -1).T for m in maps])
    scores = principal_components(np.nan_to_num(positions.astype(np.float64), posinf=0, neginf=0), 3)
    low, high = np.percentile(scores, (1, 99), axis=0)
    colours = _to_bytes((scores - low) / np.maximum(high - low, np.finfo(np.float32).tiny))
    ends = np.cumsum([m[0].size for m in maps])[:-1]
    return [part.reshape(*m.shape[1:], 3) for m, part in zip(maps, np.split(colours, ends), strict=True)]


def principal_components(rows: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    """Project rows (positions, channels) on the directions of largest variance: (positions, number).

    The sign of a direction makes its loading of largest magnitude positive. With fewer channels than `number`, or
    without variance, the remaining columns are zero.
    """
    centred = rows - rows.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    kept = directions[:, ::-1][:, :number]  # eigh sorts from the smallest
    # Smaller variances are rounding errors, whose directions mean nothing.
    kept = kept * (variances[::-1][:number] > 1e-12 * max(float(variances[-1]), np.finfo(np.float64).tiny))
    signs = np.where(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])] < 0, -1.0, 1.0)
    scores = np.zeros((len(rows), number))
    scores[:, : kept.shape[1]] = centred @ (kept * signs)
    return scores


def _to_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Map 0..1 to 0..255, clipping values outside; non-numbers become black."""
    scaled: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return scaled


def _grid(columns: Sequence[Sequence[NDArray[np.uint8]]]) -> Image.Image:
    """Images side by side on white, each row in the proportions of its image, without smoothing."""
    sizes = [_fitting(picture) for picture in columns[0]]
    step_x, step_y = (max(sides) + GAP for sides in zip(*sizes, strict=True))
    grid = Image.new("RGB", (len(columns) * step_x - GAP, len(sizes) * step_y - GAP), "white")
    for x, column in enumerate(columns):
        for y, (picture, size) in enumerate(zip(column, sizes, strict=True)):
            grid.paste(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST), (x * step_x, y * step_y))
    return grid


def _fitting(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height of an image (height, width, 3) scaled so that its longer side is SIDE pixels."""
    height, width, _ = picture.shape
    width, height = (max(1, round(SIDE * side / max(width, height))) for side in (width, height))
    return width, height
