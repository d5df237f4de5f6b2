"""Measured facts about an architecture; apart from the rows, which take longer to import than `zoo list` runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from zoo.core.errors import UsageError

Paths = str | tuple[str, ...] | None
"""Module paths: one, several (input branches, two heads) or none."""

MAX_CLASSES = 1 << 24
"""Classes above which a classifier is a slip of the keyboard."""

IMAGE_SIZE = 224
"""Height and width in pixels, if a row does not state them."""

NUM_CLASSES = 1000
CROP_PCT = 0.875
INTERPOLATION = "bicubic"
LICENSE = "apache-2.0"
"""Classes, share of the image in the central crop, filter and licence, if a row does not state them."""


def module_paths(paths: str | Sequence[str] | None) -> tuple[str, ...]:
    """`first_conv` or `classifier` of a config as a tuple, whether it is one path, several or none."""
    return (paths,) if isinstance(paths, str) else tuple(paths or ())


def check_num_classes(num_classes: int) -> None:
    """Raises UsageError for a number of classes that no classifier has; 0 stands for no classifier."""
    if num_classes < 0:
        raise UsageError(f"The number of classes must be 0 (no classifier) or more, found {num_classes}.")
    if num_classes > MAX_CLASSES:
        raise UsageError(f"The number of classes must be {MAX_CLASSES} or less, found {num_classes}.")


class FeatureLevel(NamedTuple):
    """One scale at which features can be read: module path, channel count and stride relative to the input."""

    module: str
    channels: int
    reduction: int


class ModelFacts(NamedTuple):
    """Measured facts about one architecture, kept in core/architectures/index.json.

    `macs` are the multiply-accumulates for one image of `input_size` (channels, height, width). `tags` are the
    published ones, the default first. `fingerprint` is the digest of tensor names and shapes.
    """

    name: str
    family: str
    params: int
    macs: int | None
    input_size: tuple[int, int, int]
    num_features: int
    levels: tuple[FeatureLevel, ...]
    tags: tuple[str, ...]
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain values, for `--json`."""
        return self._asdict() | {"levels": [level._asdict() for level in self.levels]}


class TaskLayers(NamedTuple):
    """The layers of an architecture that depend on the task.

    Args:
        architecture, family: names of the architecture and its family.
        input_size: channels, height and width in pixels of the default config.
        first_conv, classifier: module paths.
        input_layout: layout of the input layers, as `core.channels.input_layers.InputLayout` parses it.
        may_depend_on_size: False if certainly no tensor's shape follows from the image or patch size.
    """

    architecture: str
    family: str
    input_size: tuple[int, int, int]
    first_conv: Paths
    classifier: Paths
    input_layout: str
    may_depend_on_size: bool
