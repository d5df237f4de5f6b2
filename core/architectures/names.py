"""Parse and sort the names of models and tags. Standard library only."""

from __future__ import annotations

import re

_split_at_numbers = re.compile(r"(\d+)").split


def split_model_name_tag(model_name: str, no_tag: str = "") -> tuple[str, str]:
    """Split `resnet34.a1_in1k` into `("resnet34", "a1_in1k")`; without a tag, the second is `no_tag`."""
    name, _, tag = model_name.partition(".")
    return name, tag or no_tag


def get_arch_name(model_name: str) -> str:
    """The architecture of a name: `resnet34` of `resnet34.a1_in1k`."""
    return split_model_name_tag(model_name)[0]


def natural_key(name: str) -> list[int | str]:
    """Sort key that puts resnet18 before resnet101."""
    return [int(part) if part.isdigit() else part for part in _split_at_numbers(name.lower())]
