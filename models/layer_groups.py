"""Which parameters belong to one layer, in the order of the layers: for learning rates that decay with depth.

Bao et al., BEiT (arXiv:2106.08254), section 3.2, use one such group for each block.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import torch.nn as nn

Pattern = str | list[tuple[str, tuple[int, ...] | None]]
NOTHING = "^(?!)"
"""An expression that matches no name."""
WITH_THE_LAST = (99999,)
"""The mark of what belongs to the group before it."""

_NUMBERED = re.compile(r"(.*?)(\d+)(?:\.|$)")
_BLOCK = r"\.(?:blocks\.|layers\.|transformer_encoder\.|b)?(\d+)\."
"""What the name of a parameter has behind the number of its stage, if it is in one of the stage's blocks."""
MAX_STAGES = 10
"""Parts of a trunk up to which they may be stages; deeper trunks are made of blocks."""


def trunk_prefix(steps: Iterable[str]) -> str:
    """What most steps of a trunk have before their first number: `stages.` of `stages.0`, `layer` of `layer1`."""
    counts = Counter(found[1] for found in map(_NUMBERED.match, steps) if found)
    counts = Counter({prefix: count for prefix, count in counts.items() if count > 1})
    return max(reversed(counts), key=counts.__getitem__, default="")  # of equally many the later: stems come first


def layer_patterns(
    model: nn.Module, steps: Sequence[str], prefix: str, head: Sequence[str], coarse: bool
) -> dict[str, Pattern]:
    """Regular expressions for the names of a model's parameters: group -> expression, or (expression, number) pairs.

    The numbers in a name order the groups; those given are put behind them. Parameters that nothing matches are the
    last group, the head.

    Args:
        steps: paths of the trunk's steps, in their order.
        prefix: what the paths of the trunk's parts have before their number; by default that of most steps.
        head: paths of the modules behind the trunk that belong to the head.
        coarse: one group for each part of the trunk, not one for each block in it.
    """
    steps = [path for path in steps if any(True for _ in model.get_submodule(path).parameters())] or steps
    prefix = prefix or trunk_prefix(steps)
    if not prefix:
        return patterns_by_step(steps)
    names = [name for name, _ in model.named_parameters()]
    part = re.compile(rf"{re.escape(prefix)}(\d+)(?:\.|$)")
    first = next((i for i, name in enumerate(names) if part.match(name)), None)
    if first is None:
        return {"stem": NOTHING, "blocks": NOTHING}
    before, behind = names[:first], names[first:]
    of_head = tuple(f"{path}." for path in head)
    after = [name for name in behind if not part.match(name) and not name.startswith(of_head)]
    trunk = rf"^{re.escape(prefix)}(\d+)"
    blocks: list[tuple[str, tuple[int, ...] | None]] = []
    if not coarse and _is_of_stages([name for name in behind if part.match(name)], trunk):
        blocks += [(trunk + _BLOCK, None), (trunk, (0,))]
    else:
        blocks += [(trunk, None)]
    if after:
        blocks.append((_one_of(after, prefix), WITH_THE_LAST))
    return {"stem": _one_of(before, prefix), "blocks": blocks}


def patterns_by_step(steps: Sequence[str]) -> dict[str, Pattern]:
    """The same for a trunk whose parts are not numbered: one group for each step."""
    first, *others = (rf"^{re.escape(step)}\." for step in steps)
    return {"stem": first, "blocks": [(expression, (number,)) for number, expression in enumerate(others)]}


def _one_of(names: Sequence[str], prefix: str) -> str:
    """An expression for the top modules (or parameters) that these names begin with."""
    depth = prefix.count(".") if prefix.partition(".")[0] in {name.partition(".")[0] for name in names} else 0
    tops = dict.fromkeys(".".join(name.split(".")[: depth + 1]) for name in names)
    return rf"^(?:{'|'.join(map(re.escape, tops))})(?:\.|$)" if tops else NOTHING


def _is_of_stages(inside: Sequence[str], trunk: str) -> bool:
    """Whether the trunk's parts are stages, which hold most of their parameters in numbered blocks."""
    numbers = {found[1] for found in (re.match(trunk, name) for name in inside) if found}
    within = sum(re.match(trunk + _BLOCK, name) is not None for name in inside)
    return len(numbers) <= MAX_STAGES and 2 * within > len(inside)
