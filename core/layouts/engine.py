"""Convert checkpoints of other ecosystems to timm's layout and back, by tables. Standard library only.

`table` describes the format of the tables. Each ecosystem is a module of this package with its TABLES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from itertools import islice
from typing import NamedTuple

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.operations import ClassPosition, Derived, Dropped, Squeezed, joined, split
from zoo.core.layouts.pattern import Bindings
from zoo.core.layouts.scanned import unscanned, unscanned_shapes
from zoo.core.layouts.table import Group, Row, Shapes, Side, Table, parse

LAYOUTS = (
    "torchvision",
    "torchvision_dotted",
    "efficientnet_pytorch",
    "transformers",
    "transformers_5",
    "open_clip",
    "eva_clip",
    "prithvi",
    "dino",
    "mae",
    "moco",
    "moco_v3",
    "simclr",
    "byol",
    "swav",
    "vicreg",
    "lightly",
    "mmpretrain",
    "mmseg",
    "mmdet",
    "detectron2",
    "segmentation_models_pytorch_tu",
    "segmentation_models_pytorch",
    "timm_0",
    "authors",
    "keras",
    "augreg",
    "big_vision",
    "big_transfer",
)
"""The layouts; each is a module of this package."""

TIMM = "timm"
"""The layout that all tables convert to and from."""

# The number of names that decide whether a table is worth matching with all of them.
_SAMPLE = 8


class Step(NamedTuple):
    """Tensors on timm's side and on theirs with the same values, found in one checkpoint; one side may be empty.

    `source` is the tensor that a derived tensor is computed from.
    """

    timm: tuple[str, ...]
    theirs: tuple[str, ...]
    row: Row
    source: str = ""

    def side(self, side: Side) -> tuple[str, ...]:
        return self.timm if side == "timm" else self.theirs


class Matched(NamedTuple):
    """The result of matching a table with a checkpoint: the steps in the checkpoint's order, and what does not fit.

    `unknown` are names without a row, `missing` are names that other tensors require, and `clashing` are new names that
    two tensors would get.
    """

    table: Table
    steps: list[Step]
    unknown: list[str]
    missing: list[str]
    clashing: list[str]

    @property
    def misfits(self) -> int:
        return len(self.unknown) + len(self.missing) + len(self.clashing)

    @property
    def dropped(self) -> dict[str, str]:
        """Tensors that are left out, with the reason."""
        return {
            name: step.row.operation.reason
            for step in self.steps
            if isinstance(step.row.operation, Dropped)
            for name in (*step.timm, *step.theirs)
        }


def tables(layout: str) -> tuple[Table, ...]:
    """The tables of an ecosystem. Raises UsageError if there is no such layout."""
    if layout not in LAYOUTS:
        raise UsageError(f"No key layout is called {layout!r}; there are: {TIMM}, {', '.join(LAYOUTS)}.")
    found: tuple[Table, ...] = import_module(f"zoo.core.layouts.{layout}").TABLES
    return found


def detect_layout(shapes: Shapes) -> str | None:
    """The ecosystem that has a place for all these tensors; None if none has.

    Also None if the keys equal timm's, or would without a prefix: many programs write `backbone.` before a network, and
    only what stands beside it tells them apart.
    """
    shapes = unscanned_shapes(shapes)
    names = list(shapes)
    few = [names[len(names) * part // 4] for part in range(4)] if names else []
    for layout in LAYOUTS:
        for table in tables(layout):
            # Four names rule out nearly every table in a fraction of the time.
            if not all(_may_have_row(table, name) for name in few) or not table.fits_theirs(shapes):
                continue
            found = match(table, shapes, "theirs")
            if found.misfits or not any(step.timm and step.theirs for step in found.steps):
                continue  # a table that would leave everything out says nothing
            prefixes = _before_timms_names(found)
            if prefixes is None or len(prefixes) > 1:
                return layout
            if "" in prefixes:
                return None
    return None


def _before_timms_names(matched: Matched) -> set[str] | None:
    """What stands before names that else equal timm's; None if other names are there too, or kernels of frames."""
    prefixes = set()
    for step in matched.steps:
        if len(step.timm) != len(step.theirs) or isinstance(step.row.operation, Squeezed):
            return None
        for timm, theirs in zip(step.timm, step.theirs, strict=True):
            if not theirs.endswith(timm):
                return None
            prefixes.add(theirs.removesuffix(timm))
    return prefixes


def convert_hint(layout: str | None) -> str:
    """The hint for a checkpoint that was expected in timm's layout; "" if it has no other layout."""
    return "" if layout in (None, TIMM) else f"Its names are those of {layout}: `zoo convert` gives a file timm's."


def nearest_to_timm(tensors: Mapping[str, StoredTensor]) -> tuple[str, Mapping[str, StoredTensor]]:
    """Convert a checkpoint that fits no layout completely as far as the closest one goes, to guess what it is.

    Returns:
        The layout and the tensors, with timm's names and shapes where the layout knows them. `TIMM` and the unchanged
        tensors if no layout knows most of them, or if it knows them by timm's names.
    """
    whole, tensors = tensors, unscanned(tensors)
    names = list(tensors)
    if not names:
        return TIMM, whole
    sample = [names[len(names) * part // _SAMPLE] for part in range(_SAMPLE)]
    found: list[tuple[str, Matched]] = []
    for layout in LAYOUTS:
        for table in tables(layout):
            if not _knows_most(table, sample) or table.takes_any_name or not table.fits_theirs(_shapes(tensors)):
                continue
            matched = match(table, _shapes(tensors), "theirs")
            renames = any(step.timm != step.theirs for step in matched.steps if step.timm)
            if renames and 2 * matched.misfits < len(names):
                found.append((layout, matched))
    if not found:
        return TIMM, whole
    layout, matched = min(found, key=lambda one: one[1].misfits)
    made = {name: tensors[name] for name in matched.unknown}
    for step in matched.steps:
        if all(name in tensors for name in step.theirs) and not isinstance(step.row.operation, Derived):
            with suppress(InvalidInputError):  # its shape may not match its name
                made.update((one.name, one) for one in apply_to_timm(matched._replace(steps=[step]), tensors))
    return layout, made


def towards_timm(
    layouts: Iterable[str], tensors: Mapping[str, StoredTensor], wanted: Collection[str]
) -> tuple[Mapping[str, StoredTensor], Mapping[str, str]]:
    """Convert the tensors that the closest table of these layouts knows; others keep their names.

    Args:
        layouts: names in LAYOUTS.
        tensors: a checkpoint that may have names of one of them, of timm, or of both.
        wanted: the names of the network that it is for. A table is only used if fewer names are then foreign to it.

    Returns:
        The tensors, and the names of those that are left out, with the reason.

    Raises:
        InvalidInputError: a tensor is missing that is one with others in timm's layout, or a shape does not match its
            name.
    """
    best, fewest = None, sum(name not in wanted for name in tensors)
    if not fewest:
        return tensors, {}
    single = unscanned(tensors)
    shapes = _shapes(single)
    for table in (table for layout in layouts for table in tables(layout) if table.fits_theirs(shapes)):
        found = match(table, shapes, "theirs")
        if not any(step.timm and step.timm != step.theirs for step in found.steps):
            continue
        foreign = sum(name not in wanted for name in found.unknown)
        foreign += sum(name not in wanted for step in found.steps for name in step.timm)
        if foreign < fewest:
            best, fewest = found, foreign
    if best is None:
        return tensors, {}
    if best.missing:
        raise _missing(best)
    left_out = {name: reason for name, reason in best.dropped.items() if name not in wanted}
    kept = [*best.unknown, *(best.dropped.keys() - left_out.keys())]
    found_tensors = {tensor.name: tensor for tensor in apply_to_timm(best, single)}
    return found_tensors | {name: single[name] for name in kept}, left_out


def _missing(matched: Matched) -> InvalidInputError:
    return InvalidInputError(
        f"The tensor {matched.missing[0][:80]!r} is missing, though related tensors are there.",
        hint=f"The closest family is {matched.table.family}.",
    )


def _knows_most(table: Table, names: Sequence[str]) -> bool:
    """Whether a table may have a row for more than half of a few names; most tables are ruled out by the first half."""
    unknown = (name for name in names if not _may_have_row(table, name))
    return next(islice(unknown, (len(names) - 1) // 2, None), None) is None


def _may_have_row(table: Table, name: str) -> bool:
    return name.startswith(_beginnings(table.rows)) and any(
        (module := group.theirs.match(name)) and any(_row(kind, module[1], "theirs") for kind in group.kinds)
        for group in parse(table.rows)
    )


@cache
def _beginnings(rows: str) -> tuple[str, ...]:
    """What their names begin with: comparing these rules out most names in a fraction of the time."""
    found = set()
    for group in parse(rows):
        module = group.theirs
        if module.beginning == module.text:
            inside = (pattern for kind in group.kinds for row in kind for pattern in row.theirs)
            found |= {module.text + pattern.beginning for pattern in inside}
        else:
            found.add(module.beginning)
    return tuple(found)


def match_layout(layout: str, shapes: Shapes, side: Side) -> Matched:
    """The table of a layout that has a row for every tensor of a checkpoint.

    Args:
        layout: a name in LAYOUTS.
        shapes: name -> shape of the checkpoint's tensors.
        side: the side whose names they are.

    Raises:
        InvalidInputError: no table has; the message names the first tensor that the closest table lacks.
        UsageError: no such layout.
    """
    if side == "theirs":
        shapes = unscanned_shapes(shapes)
    fitting = [t for t in tables(layout) if (t.fits_theirs(shapes) if side == "theirs" else t.fits(shapes))]
    found = [match(table, shapes, side) for table in fitting or tables(layout)]
    closest = min(found, key=lambda one: (len(one.unknown), one.misfits))
    if not closest.misfits:
        return closest
    hint = f"The closest family is {closest.table.family}."
    if closest.unknown:
        many = f"{len(closest.unknown)} tensors"
        what = f"{many} do not belong to the layout {layout}"
        if side != "theirs":
            what = f"The layout {layout} has no names for {many}"
        raise InvalidInputError(
            f"{what}; the first is {closest.unknown[0][:80]!r}.",
            hint=hint,
        )
    if closest.missing:
        raise _missing(closest)
    raise InvalidInputError(f"Two tensors would be called {closest.clashing[0][:80]!r}.", hint=hint)


def to_timm(layout: str, tensors: Iterable[StoredTensor], *, read: bool = True) -> list[StoredTensor]:
    """Convert tensors to timm's names and shapes; bytes are read only if they move within a tensor.

    A tensor that is derived from another is compared with it if `read` is true.

    Raises as `match_layout`, and InvalidInputError for a tensor whose shape does not match its name.
    """
    found = {tensor.name: tensor for tensor in tensors}
    return apply_to_timm(match_layout(layout, _shapes(found), "theirs"), found, read=read)


def from_timm(layout: str, tensors: Iterable[StoredTensor], num_heads: int = 0) -> list[StoredTensor]:
    """The inverse of `to_timm`, with the same errors; some layouts with a separate axis for heads need `num_heads`."""
    found = {tensor.name: tensor for tensor in tensors}
    return apply_from_timm(match_layout(layout, _shapes(found), "timm"), found, num_heads)


def apply_to_timm(matched: Matched, tensors: Mapping[str, StoredTensor], *, read: bool = True) -> list[StoredTensor]:
    """`to_timm` with a table that is already matched."""
    tensors = unscanned(tensors)
    made: dict[str, StoredTensor] = {}
    for timm, theirs, row, source in matched.steps:
        operation = row.operation
        if isinstance(operation, Dropped):
            continue
        if isinstance(operation, ClassPosition):
            parts = operation.to_timm([tensors[name] for name in theirs])
            made.update((name, part._replace(name=name)) for name, part in zip(timm, parts, strict=True))
        elif not isinstance(operation, Derived):
            whole = joined(theirs[0], [operation.to_timm(tensors[name]) for name in theirs], [1] * len(theirs))
            made.update((part.name, part) for part in split(whole, timm, row.shares))
        elif theirs:
            if read:
                operation.check(tensors[theirs[0]], tensors[source])
        else:
            made[timm[0]] = operation.values(timm[0], made[source])
    return list(made.values())


def apply_from_timm(matched: Matched, tensors: Mapping[str, StoredTensor], num_heads: int = 0) -> list[StoredTensor]:
    """`from_timm` with a table that is already matched."""
    made: dict[str, StoredTensor] = {}
    for timm, theirs, row, source in matched.steps:
        operation = row.operation
        if isinstance(operation, Dropped):
            continue
        if isinstance(operation, ClassPosition):
            operation.from_timm([tensors[name] for name in timm])
        elif not isinstance(operation, Derived):
            whole = joined(timm[0], [tensors[name] for name in timm], row.shares)
            parts = split(whole, theirs, [1] * len(theirs))
            made.update((part.name, operation.from_timm(part, num_heads)) for part in parts)
        elif timm:
            operation.check(tensors[timm[0]], tensors[source])
        else:
            made[theirs[0]] = operation.values(theirs[0], made[source])
    back = match(matched.table, _shapes(made), "theirs")
    if _moves(back) != _moves(matched):
        raise InvalidInputError(
            "Two neighbouring stages of this network have the same width, and the other layout numbers blocks "
            "without regard to stages: it would not show where a stage ends.",
            hint="Keep the checkpoint in timm's names.",
        )
    return list(made.values())


def _moves(matched: Matched) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Which of timm's tensors become which of theirs."""
    moved = (step for step in matched.steps if not isinstance(step[2].operation, Dropped | Derived))
    return {(tuple(timm), tuple(theirs)) for timm, theirs, _, _ in moved}


def _shapes(tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


# ---------------------------------------------------------------- matching


class _Instance(NamedTuple):
    """A module of a checkpoint: its group, the numbers in its name, its kind, and the row of each of its tensors."""

    group: Group
    values: dict[str, int | str]
    kind: list[Row]
    rows: dict[str, tuple[Row, dict[str, int | str]]]


def match(table: Table, shapes: Shapes, side: Side) -> Matched:
    """Match a table with the tensors of a checkpoint; `side` is the side whose names they have."""
    unplaced = dict.fromkeys(shapes)
    instances: list[_Instance] = []
    for group in parse(table.rows):
        found = _instances(group, unplaced, side)
        _number_blocks(found, shapes, side)
        instances += found
        for instance in found:
            for name in instance.rows:
                del unplaced[name]
    steps = [step for instance in instances for step in _steps(instance, side)]
    # A derived tensor has no position in the checkpoint; it comes last, after its source.
    position = {name: number for number, name in enumerate(shapes)}
    steps.sort(key=lambda step: min((position.get(name, 0) for name in step.side(side)), default=len(position)))
    needed = {name: None for step in steps for name in (*step.side(side), step.source) if name}
    made = Counter(name for step in steps for name in step.side(_other(side)))
    missing = [name for name in needed if name not in shapes and name not in made]
    return Matched(table, steps, list(unplaced), missing, [name for name, count in made.items() if count > 1])


def _other(side: Side) -> Side:
    return "theirs" if side == "timm" else "timm"


def _instances(group: Group, names: Iterable[str], side: Side) -> list[_Instance]:
    """The modules of this group among the names, each with its kind."""
    prefix = group.side(side)
    if not prefix.text:
        kind = group.kinds[0]
        rows = {name: row for name in names if (row := _row(kind, name, side))}
        return [_Instance(group, {}, kind, rows)]
    members: dict[tuple[tuple[str, int | str], ...], dict[str, str]] = {}
    for name in names:
        if found := prefix.match(name):
            members.setdefault(tuple(found[0].items()), {})[name] = found[1]
    instances = []
    for values, inner in members.items():
        for kind in group.kinds:
            matched = {name: row for name, rest in inner.items() if (row := _row(kind, rest, side))}
            if len(matched) == len(inner):
                instances.append(_Instance(group, dict(values), kind, matched))
                break
    return instances


def _row(kind: list[Row], name: str, side: Side) -> tuple[Row, dict[str, int | str]] | None:
    """The first row of a kind that matches a name within its module, with the placeholders' values."""
    for row in kind:
        for pattern in row.side(side):
            found = pattern.match(name)
            if found and not found[1]:
                return row, found[0]
    return None


def _number_blocks(instances: list[_Instance], shapes: Shapes, side: Side) -> None:
    """Give blocks numbered by stage (s, b) the consecutive number s.b, or the reverse.

    With only the consecutive number, a stage ends where the number of output channels changes, which is the length of
    the tensors in a kind's last row.
    """
    if not instances or not any("s.b" in instances[0].group.side(s).names for s in ("timm", "theirs")):
        return
    if side == "timm":
        for number, instance in enumerate(sorted(instances, key=_stage_and_block)):
            instance.values["s.b"] = number
        return
    stage, block, before = -1, 0, -1
    for instance in sorted(instances, key=lambda i: int(i.values["s.b"])):
        last = instance.kind[-1]
        width = next((shapes[name][0] for name, (row, _) in instance.rows.items() if row is last and shapes[name]), 0)
        stage, block = (stage, block + 1) if width == before else (stage + 1, 0)
        before = width
        instance.values.update({"s": stage, "b": block})


def _stage_and_block(instance: _Instance) -> tuple[int, int]:
    return int(instance.values["s"]), int(instance.values["b"])


def _steps(instance: _Instance, side: Side) -> list[Step]:
    group = instance.group
    steps: dict[tuple[tuple[str, ...], tuple[str, ...]], Step] = {}

    def fill(side: Side, row: Row, values: Bindings) -> tuple[str, ...]:
        prefix = group.side(side).fill(values)
        return tuple(prefix + pattern.fill(values) for pattern in row.side(side))

    for row, inner in instance.rows.values():
        values = {**instance.values, **inner}
        timm, theirs = fill("timm", row, values), fill("theirs", row, values)
        source = ""
        if isinstance(row.operation, Derived):
            source = group.side(side).fill(values) + row.operation.source
        steps[timm, theirs] = Step(timm, theirs, row, source)
    other = _other(side)
    made = {name for step in steps.values() for name in step.side(other)}
    for row in instance.kind:
        if isinstance(row.operation, Derived) and not row.side(side):
            source = group.side(other).fill(instance.values) + row.operation.source
            if source in made:
                step = Step(fill("timm", row, instance.values), fill("theirs", row, instance.values), row, source)
                steps[step.timm, step.theirs] = step
    return list(steps.values())
