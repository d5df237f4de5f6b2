"""Key layouts of other ecosystems, as tables that are read in both directions. Standard library only.

A layout names, for each module of theirs, the module of timm's that holds the same parameters. Blocks that they
number straight through and timm by stage are matched in order, so one table serves every depth and width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from zoo.core.errors import InvalidInputError, UsageError

T = TypeVar("T")

_TIMM_BLOCK = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")


@dataclass(frozen=True)
class KeyLayout:
    """Their module path -> timm's, outside the blocks and within a block of each kind.

    `block` is the path of their n-th block. A block is of the first kind that names every module it has.
    """

    outside: Mapping[str, str]
    block: str
    block_kinds: tuple[Mapping[str, str], ...]


_SQUEEZE_EXCITE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}

# https://github.com/lukemelas/EfficientNet-PyTorch and the packages that keep its names.
EFFICIENTNET_PYTORCH = KeyLayout(
    outside={
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    },
    block="_blocks.{}",
    block_kinds=(
        # expansion 1: depthwise separable
        {
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn1",
            **_SQUEEZE_EXCITE,
            "_project_conv": "conv_pw",
            "_bn2": "bn2",
        },
        # inverted residual
        {
            "_expand_conv": "conv_pw",
            "_bn0": "bn1",
            "_depthwise_conv": "conv_dw",
            "_bn1": "bn2",
            **_SQUEEZE_EXCITE,
            "_project_conv": "conv_pwl",
            "_bn2": "bn3",
        },
    ),
)

LAYOUTS: Mapping[str, KeyLayout] = {"efficientnet_pytorch": EFFICIENTNET_PYTORCH}


def to_timm(layout: str, state: Mapping[str, T], timm_keys: Iterable[str]) -> dict[str, T]:
    """Rename the keys of a state dict of another layout to timm's; values and order stay.

    Args:
        layout: a name in LAYOUTS.
        state: their key -> anything.
        timm_keys: keys of the model it is for, which tell how many blocks each stage has.

    Raises:
        InvalidInputError: a key that the layout does not place in this model.
        UsageError: no such layout.
    """
    return _rename(state, module_names(layout, timm_keys), f"the layout {layout} of this model")


def from_timm(layout: str, state: Mapping[str, T]) -> dict[str, T]:
    """Rename timm's keys to those of another layout: the inverse of `to_timm`, with the same errors."""
    modules = module_names(layout, state)
    return _rename(state, {timm: theirs for theirs, timm in modules.items()}, f"what {layout} has names for")


def module_names(layout: str, timm_keys: Iterable[str]) -> dict[str, str]:
    """Their module path -> timm's, for a model with these keys; one to one. Raises as `to_timm`."""
    if layout not in LAYOUTS:
        raise UsageError(f"No key layout is called {layout!r}; there are: {', '.join(LAYOUTS)}.")
    table = LAYOUTS[layout]
    names = dict(table.outside)
    for number, (block, modules) in enumerate(sorted(_blocks(timm_keys).items())):
        kind = next((kind for kind in table.block_kinds if modules <= set(kind.values())), None)
        path = "blocks.{}.{}".format(*block)
        if kind is None:
            raise InvalidInputError(f"The layout {layout} has no block like {path} of this model.")
        names |= {f"{table.block.format(number)}.{theirs}": f"{path}.{timm}" for theirs, timm in kind.items()}
    return names


def _blocks(timm_keys: Iterable[str]) -> dict[tuple[int, int], set[str]]:
    """(stage, index in the stage) -> the modules of that block that hold parameters."""
    blocks: dict[tuple[int, int], set[str]] = {}
    for key in timm_keys:
        if match := _TIMM_BLOCK.match(key):
            blocks.setdefault((int(match[1]), int(match[2])), set()).add(match[3].rpartition(".")[0])
    return blocks


def _rename(state: Mapping[str, T], modules: Mapping[str, str], known: str) -> dict[str, T]:
    renamed, unknown = {}, []
    for key, value in state.items():
        module, _, parameter = key.rpartition(".")
        if module in modules:
            renamed[f"{modules[module]}.{parameter}"] = value
        else:
            unknown.append(key)
    if unknown:
        raise InvalidInputError(f"{len(unknown)} keys are not in {known}, the first is {unknown[0]!r}.")
    return renamed
