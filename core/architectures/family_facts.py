"""Facts about a whole family, for whoever has weights and no model. Standard library only.

`families.json` has a line for each family whose tensors depend on the image size. `make index` writes it from the class
variables of the specs.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from zoo.core.architectures.line_table import LineTable

FAMILIES_PATH = Path(__file__).with_name("families.json")
FAMILIES_SECTION = "families"

_families = LineTable(FAMILIES_PATH, FAMILIES_SECTION)


class SizedTensors(NamedTuple):
    """Tensors whose shapes follow from the image size, and how to resize them.

    Args:
        names: pattern of their full names.
        rule: one of `core.resize.rules.RULES`.
        tells_size: whether they reveal the size of the images that a checkpoint is for.
        arguments: arguments of the rule, as (name, value).
    """

    names: str
    rule: str
    tells_size: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()


class SizeFacts(NamedTuple):
    """How the tensors of a family depend on the image and the patch size. By default none does.

    Args:
        tensors: tensors whose shapes follow from the image size.
        patch_kernel: the weight whose kernel is the patch, if a model takes a patch size: the grid is image / patch.
        patch_is_linear: whether that weight may be a linear layer on square RGB patches, channels last.
        patch_in_timm: whether timm's loader resizes that weight to a different patch size.
        filters: part of an architecture's name -> how to resample its token embeddings, if not as usual. The first part
            that occurs in the name applies.
    """

    tensors: tuple[SizedTensors, ...] = ()
    patch_kernel: str = ""
    patch_is_linear: bool = False
    patch_in_timm: bool = False
    filters: tuple[tuple[str, str], ...] = ()


@cache
def size_facts(family: str) -> SizeFacts:
    """The facts of a family; one without a line depends on no size."""
    line = _families.get(family)
    return SizeFacts() if line is None else _parsed(line)


@cache
def families_of_sizes() -> tuple[str, ...]:
    """The families whose tensors depend on the image or the patch size, sorted by name."""
    return tuple(sorted(_families))


def rendered(facts: SizeFacts) -> dict[str, Any]:
    """The line of a family: the values that differ from the defaults."""
    return _differing(facts) | ({"tensors": [_differing(one) for one in facts.tensors]} if facts.tensors else {})


def _differing(row: SizeFacts | SizedTensors) -> dict[str, Any]:
    return {key: value for key, value in row._asdict().items() if value != row._field_defaults.get(key)}


def _parsed(line: Mapping[str, Any]) -> SizeFacts:
    tensors = tuple(SizedTensors(**_immutable_values(one)) for one in line.get("tensors", ()))
    return SizeFacts(**_immutable_values(line) | {"tensors": tensors})


def _immutable_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _immutable(value) for key, value in values.items()}


def _immutable(value: Any) -> Any:
    return tuple(map(_immutable, value)) if isinstance(value, list) else value
