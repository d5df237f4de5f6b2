"""Published accuracies of pretrained tags, from `accuracy.json`. Standard library only.

The file has a line for each `name.tag`, also of architectures that zoo cannot build yet, and is read only if an
accuracy is asked for. `tests/golden/make_accuracy.py` writes it from the tables named by SOURCE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from zoo.core.architectures.line_table import LineTable

ACCURACY_PATH = Path(__file__).with_name("accuracy.json")
ACCURACY_SECTION = "accuracies"

SOURCE = "https://github.com/huggingface/pytorch-image-models/tree/aa4b5850c1543fa488abf260f18390eda46cf85d/results"
"""Where the figures are published: results-imagenet.csv and results-imagenet-real.csv, Apache-2.0."""

_table = LineTable(ACCURACY_PATH, ACCURACY_SECTION)


class Accuracy(NamedTuple):
    """Accuracy of one `name.tag` on the validation images of ImageNet-1k, at one size of the input.

    Args:
        size: height and width of the input in pixels.
        crop_pct: share of the resized image that the central crop keeps.
        interpolation: filter with which the image is resized.
        top1, top5: percent of the 50,000 images with the published label among the 1 or 5 highest logits.
        real_top1, real_top5: the same with the reassessed labels (ReaL, Beyer et al., arXiv 2006.07159).
    """

    size: int
    crop_pct: float
    interpolation: str
    top1: float
    top5: float
    real_top1: float | None
    real_top5: float | None

    def to_dict(self) -> dict[str, Any]:
        """The figures as plain values, for `--json`."""
        return self._asdict()


def published_accuracies(full_name: str) -> tuple[Accuracy, ...]:
    """What is published of a `name.tag`, one entry a size of the input; empty if nothing is. Parses one line."""
    row: Any = _table.get(full_name, ())
    return tuple(Accuracy(*entry) for entry in row)


def accuracy_at(full_name: str, size: int) -> Accuracy | None:
    """What is published of a `name.tag` at this height and width of the input; None if nothing is."""
    return _at(_table.get(full_name, ()), size)


def of_many(full_name: str, size: int) -> Accuracy | None:
    """As `accuracy_at`, for one of many names: the first call parses the whole file."""
    return _at(_table.rows.get(full_name, ()), size)


def _at(row: Any, size: int) -> Accuracy | None:
    return next((Accuracy(*entry) for entry in row if entry[0] == size), None)
