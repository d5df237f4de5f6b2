"""Default configs from rows: the row's facts about weights, and the values derived from it and its architecture.

Standard library only. Rows are those of `configs/`, or the lines of a table with the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

from zoo.core.architectures.model_facts import Paths
from zoo.core.errors import NotFoundError

if TYPE_CHECKING:
    from zoo.core.architectures.records import PretrainedCfg, Weights

UNTRAINED = "untrained"
"""Tag of a default config that has no published weights."""


def cfgs_of_line(name: str, line: Mapping[str, Any]) -> dict[str, PretrainedCfg]:
    """Default configs by tag, from the line of a table; imports no rows."""
    from zoo.core.architectures.records import Weights

    return {
        tag: compose_cfg(
            name,
            tag,
            Weights(**{key: _immutable(value) for key, value in values.items()}),
            first_conv=as_paths(line["first_conv"]),
            classifier=as_paths(line["classifier"]),
            total_stride=line["pool_stride"],
        )
        for tag, values in line["tags"].items()
    }


def as_paths(stated: str | list[str] | None) -> Paths:
    """Module paths from a table's line, in the form that a config has."""
    return tuple(stated) if isinstance(stated, list) else stated


def _immutable(value: Any) -> Any:
    return tuple(map(_immutable, value)) if isinstance(value, list) else value


def compose_cfg(
    name: str,
    tag: str,
    row: Weights,
    *,
    first_conv: str | tuple[str, ...] | None,
    classifier: str | tuple[str, ...] | None,
    total_stride: int | None,
) -> PretrainedCfg:
    """Complete a row with the values derived from it and its architecture: hub id, pool size, stem and head names.

    `total_stride` is None if the architecture's pool size does not follow from the input size.
    """
    from zoo.core.architectures.records import PretrainedCfg

    input_size = _image_size(row.input_size)
    pool_size = row.pool_size
    if pool_size is None and total_stride is not None:
        pool_size = (-(-input_size[1] // total_stride), -(-input_size[2] // total_stride))
    stated = row._asdict()
    hub_id, hub_file = stated.pop("hub_id"), stated.pop("hub_file")
    derived = {
        "hf_hub_id": ("" if tag == UNTRAINED else f"timm/{name}.{tag}") if hub_id is None else hub_id,
        "hf_hub_filename": hub_file,
        "input_size": input_size,
        "test_input_size": _image_size(row.test_input_size),
        "min_input_size": _image_size(row.min_input_size),
        "pool_size": pool_size,
        "first_conv": row.first_conv or first_conv,
        "classifier": row.classifier or classifier,
    }
    return PretrainedCfg(architecture=name, tag=tag, **stated | derived)


@overload
def _image_size(size: int | tuple[int, int, int]) -> tuple[int, int, int]: ...
@overload
def _image_size(size: None) -> None: ...
def _image_size(size: int | tuple[int, int, int] | None) -> tuple[int, int, int] | None:
    return (3, size, size) if isinstance(size, int) else size


def choose_cfg(name: str, tag: str, cfgs: Mapping[str, PretrainedCfg]) -> PretrainedCfg:
    """The config of a tag; the first for an empty tag. Raises NotFoundError, which lists the existing tags."""
    if not tag:
        return next(iter(cfgs.values()))
    if tag not in cfgs:
        import difflib

        known = ", ".join(t for t in cfgs if t != UNTRAINED) or "none"
        near = difflib.get_close_matches(tag, cfgs, n=1)
        hint = f"Did you mean {name}.{near[0]}?" if near else "Name one of them, or none for the default."
        raise NotFoundError(f"{name} has no tag {tag!r}; its tags are: {known}.", hint=hint)
    return cfgs[tag]
