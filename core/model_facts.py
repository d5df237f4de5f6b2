"""What is measured of an architecture. Apart from the rows, which take longer to import than `zoo list` to run."""

from __future__ import annotations

from typing import Any, NamedTuple


class FeatureLevel(NamedTuple):
    """One scale at which features can be read: module path, channel count and stride against the input."""

    module: str
    channels: int
    reduction: int


class ModelFacts(NamedTuple):
    """What is measured of one architecture, kept in core/index.json.

    `macs` are multiply-accumulates of one image at `input_size` (channels, height, width); `tags` are the published
    ones, the default first. `fingerprint` is the digest of the names and shapes of its tensors (core.fingerprint).
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
        """As plain values, for `--json`."""
        return self._asdict() | {"levels": [level._asdict() for level in self.levels]}
