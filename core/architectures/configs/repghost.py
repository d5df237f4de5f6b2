"""RepGhostNet variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.configs.ghostnet import GhostNetSpec
from zoo.core.architectures.records import Weights


@dataclass(frozen=True, kw_only=True)
class RepGhostSpec(GhostNetSpec):
    """One network: all channels are multiplied by `width`."""

    model_class: ClassVar[str] = "RepGhostNet"
    choices = {"version": ("v1",)}

    # Table 4 of arXiv:2211.06088; a module gives its hidden width twice in GhostNet, here once.
    hidden: tuple[int, ...] = (8, 24, 36, 36, 60, 120, 100, 120, 120, 240, 336, 336, 480, 480, 480, 480)


WIDTHS = (0.5, 0.58, 0.8, 1.0, 1.11, 1.3, 1.5, 2.0)

VARIANTS = {f"repghostnet_{round(100 * width):03d}": RepGhostSpec(width=width) for width in WIDTHS}

WEIGHTS = {f"{name}.in1k": Weights(license="mit") for name in VARIANTS}
