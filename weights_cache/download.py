from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.core.records import PretrainedCfg


@dataclass(frozen=True)
class WeightFile:
    path: Path


def fetch(cfg: PretrainedCfg, *, offline: bool = False) -> WeightFile:
    return WeightFile(Path(cfg.file))
