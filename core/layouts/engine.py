"""Checkpoints of other ecosystems in timm's layout and back, by tables that run both ways. Standard library only.

What the tables look like is described in `table`; each ecosystem is a module of this package with its TABLES.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from typing import NamedTuple

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.operations import Derived, Dropped, joined, split
from zoo.core.layouts.pattern import Bindings
from zoo.core.layouts.table import Group, Row, Shapes, Side, Table, parse

LAYOUTS = (
    "torchvision",
    "torchvision_dotted",
    "efficientnet_pytorch",
    "transformers",
    "transformers_5",
    "open_clip",
    "dino",
    "mae",
    "augreg",
    "big_vision",
)
"""Each a module of this package."""

TIMM = "timm"
"""The layout that all others are tables to."""

# So many names tell whether a table is worth matching with all.
_SAMPLE = 8


class Step(NamedTuple):
    """Tensors of timm's and those of theirs with the same values, found in one checkpoint; one side may be empty.

    `source` is the tensor that a derived one follows from.
    """

    timm: tuple[str, ...]
    theirs: tuple[str, ...]
    row: Row
    source: str = ""

    def side(self, side: Side) -> tuple[str, ...]:
        return self.timm if side == "timm" else self.theirs


class Matched(NamedTuple):
    """What a table says of a checkpoint: the steps in its order, and what does not fit.

    `unknown` are names without a row, `missing` those that others need beside them, `clashing` those that two of them
    would get.
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
    """The tables of an ecosystem. Raises UsageError: there is no such layout."""
    if layout not in LAYOUTS:
        raise UsageError(f"No key layout is called {layout!r}; there are: {TIMM}, {', '.join(LAYOUTS)}.")
    found: tuple[Table, ...] = import_module(f"zoo.core.layouts.{layout}").TABLES
    return found


def detect_layout(shapes: Shapes) -> str | None:
    """The ecosystem that has a place for all these tensors; None where none has, or the keys are timm's too."""
    names = list(shapes)
    few = [names[len(names) * part // 4] for part in range(4)] if names else []
    for layout in LAYOUTS:
        for table in tables(layout):
            # Four names rule out nearly every table in a fraction of the time.
            if not all(_may_have_row(table, name) for name in few):
                continue
            found = match(table, shapes, "theirs")
            if not found.misfits:
                return None if all(step.timm == step.theirs for step in found.steps) else layout
    return None


def convert_hint(layout: str | None) -> str:
    """What to do with a checkpoint that was expected in timm's layout; "" where it has no other."""
    return "" if layout in (None, TIMM) else f"Its names are those of {layout}: `zoo convert` gives a file timm's."


def nearest_to_timm(tensors: Mapping[str, StoredTensor]) -> tuple[str, Mapping[str, StoredTensor]]:
    """A checkpoint that no layout has a place for all of, as far as the nearest one has: for guesses at what it is.

    Returns:
        The layout and the tensors, those that it knows with timm's names and shapes; `TIMM` and the tensors as they
        are where no layout knows most of them, or knows them by timm's names.
    """
    names = list(tensors)
    sample = [names[len(names) * part // _SAMPLE] for part in range(_SAMPLE)] if names else []
    found: list[tuple[str, Matched]] = []
    for layout in LAYOUTS:
        for table in tables(layout):
            if sum(_may_have_row(table, name) for name in sample) <= _SAMPLE // 2:
                continue
            matched = match(table, _shapes(tensors), "theirs")
            renames = any(step.timm != step.theirs for step in matched.steps if step.timm)
            if renames and 2 * matched.misfits < len(names):
                found.append((layout, matched))
    if not found:
        return TIMM, tensors
    layout, matched = min(found, key=lambda one: one[1].misfits)
    made = {name: tensors[name] for name in matched.unknown}
    for step in matched.steps:
        if all(name in tensors for name in step.theirs) and not isinstance(step.row.operation, Derived):
            with suppress(InvalidInputError):  # of another shape than its name says
                made.update((one.name, one) for one in apply_to_timm(matched._replace(steps=[step]), tensors))
    return layout, made


def _may_have_row(table: Table, name: str) -> bool:
    return any(
        (module := group.theirs.match(name)) and any(_row(kind, module[1], "theirs") for kind in group.kinds)
        for group in parse(table.rows)
    )


def match_layout(layout: str, shapes: Shapes, side: Side) -> Matched:
    """The table of a layout that has a row for every tensor of a checkpoint.

    Args:
        layout: a name in LAYOUTS.
        shapes: name -> shape of the checkpoint's tensors.
        side: whose names they are.

    Raises:
        InvalidInputError: no table has; the message names the first tensor that the closest one lacks.
        UsageError: no such layout.
    """
    found = [match(table, shapes, side) for table in tables(layout) if side == "theirs" or table.fits(shapes)]
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
        raise InvalidInputError(
            f"The tensor {closest.missing[0][:80]!r} is missing, though related tensors are there.", hint=hint
        )
    raise InvalidInputError(f"Two tensors would be called {closest.clashing[0][:80]!r}.", hint=hint)


def to_timm(layout: str, tensors: Iterable[StoredTensor], *, read: bool = True) -> list[StoredTensor]:
    """The tensors with timm's names and shapes; bytes are read only where they move within a tensor.

    A tensor that should follow from another is compared with it, unless nothing may be read.

    Raises as `match_layout`, and InvalidInputError for a tensor whose shape is not what its name says.
    """
    found = {tensor.name: tensor for tensor in tensors}
    return apply_to_timm(match_layout(layout, _shapes(found), "theirs"), found, read=read)


def from_timm(layout: str, tensors: Iterable[StoredTensor], num_heads: int = 0) -> list[StoredTensor]:
    """The inverse of `to_timm`, with the same errors; `num_heads` is needed where a layout keeps the heads apart."""
    found = {tensor.name: tensor for tensor in tensors}
    return apply_from_timm(match_layout(layout, _shapes(found), "timm"), found, num_heads)


def apply_to_timm(matched: Matched, tensors: Mapping[str, StoredTensor], *, read: bool = True) -> list[StoredTensor]:
    """`to_timm` where the table has been matched."""
    made: dict[str, StoredTensor] = {}
    for timm, theirs, row, source in matched.steps:
        operation = row.operation
        if isinstance(operation, Dropped):
            continue
        if not isinstance(operation, Derived):
            whole = joined(theirs[0], [operation.to_timm(tensors[name]) for name in theirs], [1] * len(theirs))
            made.update((part.name, part) for part in split(whole, timm, row.shares))
        elif theirs:
            if read:
                operation.check(tensors[theirs[0]], tensors[source])
        else:
            made[timm[0]] = operation.values(timm[0], made[source])
    return list(made.values())


def apply_from_timm(matched: Matched, tensors: Mapping[str, StoredTensor], num_heads: int = 0) -> list[StoredTensor]:
    """`from_timm` where the table has been matched."""
    made: dict[str, StoredTensor] = {}
    for timm, theirs, row, source in matched.steps:
        operation = row.operation
        if isinstance(operation, Dropped):
            continue
        if not isinstance(operation, Derived):
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
    """Which tensors of timm's become which of theirs."""
    moved = (step for step in matched.steps if not isinstance(step[2].operation, Dropped | Derived))
    return {(tuple(timm), tuple(theirs)) for timm, theirs, _, _ in moved}


def _shapes(tensors: Mapping[str, StoredTensor]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}


# ---------------------------------------------------------------- matching


class _Instance(NamedTuple):
    """A module of a checkpoint: the numbers in its name, its kind, and the row of each of its tensors."""

    group: Group
    values: dict[str, int | str]
    kind: list[Row]
    rows: dict[str, tuple[Row, dict[str, int | str]]]


def match(table: Table, shapes: Shapes, side: Side) -> Matched:
    """What a table says of the tensors of a checkpoint, `side` telling whose names they have."""
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
    # A derived tensor has no place in the checkpoint; it comes last, behind its source.
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
    """The first row of a kind that a name within its module matches, with the placeholders' values."""
    for row in kind:
        for pattern in row.side(side):
            found = pattern.match(name)
            if found and not found[1]:
                return row, found[0]
    return None


def _number_blocks(instances: list[_Instance], shapes: Shapes, side: Side) -> None:
    """Give blocks numbered by stage (s, b) the number s.b that counts them straight through, or the reverse.

    Where only the straight number is known, a stage ends where the output channels change: those are the length of
    the tensors of a kind's last row.
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
