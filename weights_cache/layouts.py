from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def to_timm(layout: str, state_dict: Mapping[str, Tensor], target: Iterable[str]) -> dict[str, Tensor]:
    raise NotImplementedError
