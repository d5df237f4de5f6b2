"""How often the label of an image is among a model's highest logits, from an export of logits. numpy only inside."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.errors import InvalidInputError
from zoo.core.export.folder import FeatureFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONFIDENCE = 0.95
_QUANTILE = 1.959963984540054  # of the normal distribution, at (1 + CONFIDENCE) / 2
TOP = 5


class Share(NamedTuple):
    """A number of hits among images, and the interval for the share of hits that it supports.

    The interval is Wilson's score interval for 95 % confidence (Wilson 1927, DOI 10.1080/01621459.1927.10502953). It
    holds for images drawn independently.
    """

    hits: int
    images: int

    @property
    def percent(self) -> float | None:
        """Hits in percent; None without images."""
        return 100 * self.hits / self.images if self.images else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Lower and upper bound in percent; None without images."""
        if not self.images:
            return None
        n, p, z = self.images, self.hits / self.images, _QUANTILE
        centre = p + z * z / (2 * n)
        spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        low, high = ((centre + sign * spread) / (1 + z * z / n) for sign in (-1, 1))
        # Rounding must not exclude what was seen.
        return 100 * max(0.0, min(low, p)), 100 * min(1.0, max(high, p))

    def to_dict(self) -> dict[str, Any]:
        """The share as plain values, for `--json`."""
        return {"hits": self.hits, "images": self.images, "percent": self.percent, "interval": self.interval}


class ImageResult(NamedTuple):
    """What a model says of one image: its label and class, the class with the highest logit, and the label's rank.

    The rank is 1 if the label's own logit is the highest. It is 0 if a logit is not a number.
    """

    id: str
    label: str
    expected: int
    predicted: int
    rank: int


class ClassShare(NamedTuple):
    """The shares of one class."""

    label: str
    number: int
    top1: Share
    top5: Share | None


@dataclass(frozen=True)
class Evaluation:
    """Accuracy over images with labels.

    Args:
        num_classes: outputs of the model.
        top1: images whose label has the highest logit.
        top5: images whose label is among the five highest; None for a model with fewer than six classes.
        classes: the same for each label, in the order of their numbers.
        nonfinite: images of which a logit is not a number; they count as wrong.
    """

    num_classes: int
    top1: Share
    top5: Share | None
    classes: tuple[ClassShare, ...]
    nonfinite: int

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as plain values, for `--json`."""
        return {
            "images": self.top1.images,
            "num_classes": self.num_classes,
            "confidence": CONFIDENCE,
            "top1": self.top1.to_dict(),
            "top5": self.top5 and self.top5.to_dict(),
            "nonfinite_images": self.nonfinite,
            "classes": [
                {"label": one.label, "class": one.number, "top1": one.top1.to_dict()}
                | ({} if one.top5 is None else {"top5": one.top5.to_dict()})
                for one in self.classes
            ],
        }


def ranks_of(logits: NDArray[Any], expected: Sequence[int]) -> list[int]:
    """The rank of each row's expected class among its logits (rows, classes): 1 for the highest.

    Of equal logits the lower class number comes first. The rank is 0 in a row with a value that is not a number.
    """
    import numpy as np

    classes = np.asarray(expected)[:, None]
    own = np.take_along_axis(logits, classes, 1)
    before = (logits == own) & (np.arange(logits.shape[1]) < classes)
    ranks = 1 + (logits > own).sum(1) + before.sum(1)
    ranks[np.isnan(logits).any(1)] = 0
    return [int(rank) for rank in ranks]


def results_of(
    folder: FeatureFolder, labels: Sequence[str], numbers: Mapping[str, int], shards: Iterable[int]
) -> Iterator[ImageResult]:
    """What the logits in an export say of each image that could be read, shard by shard.

    Args:
        folder: of an export of logits in the format npy.
        labels: the label of each input of the plan.
        numbers: the class of each label.
        shards: the shards to read; the others' logits are left alone.

    Raises InvalidInputError if a file of logits is not what its part of the manifest says.
    """
    import numpy as np

    inputs = folder.plan.inputs
    for shard in shards:
        record = folder.record(shard)
        if record is None or not record.images:
            continue
        index, logits = (_load(folder.path / name) for name, _, _ in record.files)
        positions = [int(position) for position in index]
        expected = [numbers[labels[position]] for position in positions]
        predicted = np.argmax(logits, 1)
        for row, rank in enumerate(ranks_of(logits, expected)):
            position = positions[row]
            yield ImageResult(inputs[position].id, labels[position], expected[row], int(predicted[row]), rank)


def _load(path: Path) -> NDArray[Any]:
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read: {error}.", hint="Run the command again.") from error


def evaluate(results: Iterable[ImageResult], num_classes: int) -> Evaluation:
    """Count the results."""
    counts: dict[str, list[int]] = {}
    nonfinite = 0
    for result in results:
        of_class = counts.setdefault(result.label, [result.expected, 0, 0, 0])
        of_class[1] += 1
        of_class[2] += result.rank == 1
        of_class[3] += 0 < result.rank <= TOP
        nonfinite += result.rank == 0
    has_top5 = num_classes > TOP
    classes = [
        ClassShare(label, number, Share(first, images), Share(five, images) if has_top5 else None)
        for label, (number, images, first, five) in counts.items()
    ]
    images = sum(one.top1.images for one in classes)
    return Evaluation(
        num_classes,
        Share(sum(one.top1.hits for one in classes), images),
        Share(sum(one.top5.hits for one in classes if one.top5), images) if has_top5 else None,
        tuple(sorted(classes, key=lambda one: (one.number, one.label))),
        nonfinite,
    )


def prediction_lines(results: Iterable[ImageResult]) -> Iterator[bytes]:
    """The results as JSON lines."""
    for result in results:
        yield (json.dumps(result._asdict()) + "\n").encode()
