"""Average weight files of one architecture into one file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, NamedTuple

from zoo.core.adapt.job import Source
from zoo.core.adapt.request import DTYPES
from zoo.core.average.mean import Averager, Mean
from zoo.core.convert.describe import describe
from zoo.core.convert.job import FORMATS, open_as_stored
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.atomic_output import atomic_output, check_target
from zoo.core.files.float8 import told_of_scales
from zoo.core.files.float_bytes import FLOAT_DTYPES, cast_dtype
from zoo.core.files.stored_tensor import DTYPE_BITS, Computed, StoredTensor, require_storable
from zoo.core.layouts.engine import TIMM, convert_hint, detect_layout
from zoo.core.metadata.stated import METADATA_KEY, ORIGIN_KEY, stated_configuration, weight_metadata

Status = Literal["planned", "written", "unchanged"]

_COUNTER = "num_batches_tracked"
_STATISTIC = "running_mean"
_BATCH_NORMS = (
    "running means and variances of {} batch norms were averaged as well; those of the averaged network differ: measure"
    " them again on training images (torch.optim.swa_utils.update_bn)"
)
_ONE_NETWORK = ("architecture", "in_chans", "num_classes", "mean", "std", "bands", "input_layout", "model_args")
"""What files must agree on, where they state it, to be weights of one network that reads the same images."""


@dataclass(frozen=True, kw_only=True)
class AverageRequest:
    """How to average.

    Args:
        output: a .safetensors or an .npz file.
        weights: a weight for each file, at least 0 and not all 0; they are divided by their sum. Empty for equal ones.
        decay: between 0 and 1, for an exponential moving average over the files in their order, the oldest first.
        dtype: dtype of all floating-point tensors; "" keeps those of the first file.
        use_ema, key: which state dict of a training checkpoint, as in `open_weights`.
        force: replace an existing file that differs.
        dry_run: only report what would be done.
        sync: wait until the data is on disk.
    """

    output: str | os.PathLike[str]
    weights: tuple[float, ...] = ()
    decay: float | None = None
    dtype: str = ""
    use_ema: bool = True
    key: str = ""
    force: bool = False
    dry_run: bool = False
    sync: bool = True

    def __post_init__(self) -> None:
        if self.weights and self.decay is not None:
            raise UsageError("Weights and the decay of a moving average exclude each other.", hint="Pass one of them.")
        if self.weights and not (all(isfinite(w) and w >= 0 for w in self.weights) and sum(self.weights) > 0):
            raise UsageError(f"The weights must be numbers from 0 on and not all 0, found {_listed(self.weights)}.")
        if self.decay is not None and not 0 <= self.decay <= 1:
            raise UsageError(f"The decay must be a number from 0 to 1, found {self.decay}.", hint="For example: 0.99")
        if self.dtype and self.dtype not in DTYPES:
            raise UsageError(f"The dtype must be one of {', '.join(DTYPES)}, found {self.dtype!r}.")
        if os.path.splitext(self.output)[1] not in FORMATS:
            raise UsageError(
                f"The output's ending tells its format; {os.fspath(self.output)!r} has none of {', '.join(FORMATS)}.",
                hint="For example: -o average.safetensors",
            )


class AverageReport(NamedTuple):
    """What was done, or what a dry run would do.

    `shares` are those of the sources in the average. `averaged` and `copied` count tensors; a copied one is equal in
    all sources, or a counter. `batch_norms` counts norms whose statistics were averaged.
    """

    sources: tuple[str, ...]
    output: str
    shares: tuple[float, ...]
    architecture: str
    averaged: int
    copied: int
    batch_norms: int
    notes: tuple[str, ...]
    nbytes: int
    status: Status


def average(sources: Sequence[str | os.PathLike[str]], request: AverageRequest) -> AverageReport:
    """Write the average of weight files, summed in float64 and streamed.

    Args:
        sources: two or more of what `convert` takes. Their tensors must have the same names and shapes.
        request: how.

    Raises:
        UsageError: fewer than two sources, or another number of weights.
        NotFoundError: there is no such source.
        InvalidInputError: a source is damaged, or the sources are not of one network; nothing was written.
        CannotWriteError: nothing was written.
    """
    if len(sources) < 2:
        raise UsageError(
            "An average takes two or more files.", hint="For example: zoo average a.pth b.pth -o c.safetensors"
        )
    if request.weights and len(request.weights) != len(sources):
        raise UsageError(f"{len(sources)} files need {len(sources)} weights, found {len(request.weights)}.")
    check_target(request.output)
    mean = Mean(request.weights, request.decay)
    with ExitStack() as opened, closing(Averager(mean)) as averager:
        found = [
            opened.enter_context(open_as_stored(source, use_ema=request.use_ema, key=request.key)) for source in sources
        ]
        return _average(found, request, averager, mean.shares(len(found)))


def _average(
    sources: Sequence[Source], request: AverageRequest, averager: Averager, shares: tuple[float, ...]
) -> AverageReport:
    for other in sources[1:]:
        _require_same_tensors(sources[0], other)
    groups = list(_by_name(sources))
    stated, notes = _agreed(sources)
    written, copied = list[StoredTensor](), 0
    for group in groups:
        if _is_averaged(group[0]):
            written.append(_averaged(group, averager, request.dtype))
        else:
            written.append(_common(group, sources))
            copied += 1
    notes += _told(sources, groups, request)
    batch_norms = sum(group[0].name.rpartition(".")[2] == _STATISTIC for group in groups)
    if batch_norms:
        notes += (_BATCH_NORMS.format(batch_norms),)
    architecture, metadata = _metadata(sources, stated, request, shares)
    status: Status = "planned"
    if not request.dry_run:
        status = _write(sources, request, written, metadata)
    return AverageReport(
        sources=tuple(source.label for source in sources),
        output=os.fspath(request.output),
        shares=shares,
        architecture=architecture,
        averaged=len(written) - copied,
        copied=copied,
        batch_norms=batch_norms,
        notes=(*(f"{source.label}: {note}" for source in sources for note in source.notes), *notes),
        nbytes=sum(tensor.nbytes for tensor in written),
        status=status,
    )


# ---------------------------------------------------------------- one network?


def _require_same_tensors(first: Source, other: Source) -> None:
    shapes, theirs = ({tensor.name: tensor.shape for tensor in source.tensors} for source in (first, other))
    shown = f"`zoo diff {first.label} {other.label}` shows how they differ."
    for a, b, names in ((first, other, shapes.keys() - theirs.keys()), (other, first, theirs.keys() - shapes.keys())):
        if names:
            name = next(tensor.name for tensor in a.tensors if tensor.name in names)
            layouts = [detect_layout(found) or TIMM for found in (shapes, theirs)]
            convert = convert_hint(layouts[1] if layouts[0] == TIMM else layouts[0])
            raise InvalidInputError(
                f"An average takes files of one architecture: {a.label} has {_counted(len(names))} that {b.label}"
                f" lacks; the first is {name[:80]!r}.",
                hint=convert if layouts[0] != layouts[1] and convert else shown,
                path=b.label,
            )
    for name, shape in shapes.items():
        if shape != theirs[name]:
            raise InvalidInputError(
                f"An average takes files of one architecture: {name[:80]!r} is {_size(shape)} in {first.label} and"
                f" {_size(theirs[name])} in {other.label}.",
                hint=shown,
                path=other.label,
            )


def _agreed(sources: Sequence[Source]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The configuration that the sources state; empty if none does. Raises InvalidInputError if they disagree."""
    stated = [(s.label, found) for s in sources if (found := stated_configuration(s.metadata, "", s.label))]
    if not stated:
        return {}, ()
    label, first = stated[0]
    for other, values in stated[1:]:
        for key in _ONE_NETWORK:
            if values.get(key) != first.get(key):
                raise InvalidInputError(
                    f"An average takes files of one network: {label} states {key} {_short(first.get(key))}, and {other}"
                    f" {_short(values.get(key))}.",
                    path=other,
                )
    configuration = dict(first)
    if any(values.get("tag") != first.get("tag") for _, values in stated) or len(stated) < len(sources):
        configuration["tag"] = ""
    differing = [
        key for key in first if key not in ("origin", "tag") and any(v.get(key) != first[key] for _, v in stated)
    ]
    notes = (
        [f"the files state different values of {', '.join(differing)}; those of {label} are kept"] if differing else []
    )
    if len(stated) < len(sources):
        silent = next(source.label for source in sources if METADATA_KEY not in source.metadata)
        notes.append(f"{silent} does not state what it holds; what {label} states was taken for it")
    return configuration, tuple(notes)


def _by_name(sources: Sequence[Source]) -> Iterator[tuple[StoredTensor, ...]]:
    others = [{tensor.name: tensor for tensor in source.tensors} for source in sources[1:]]
    return ((tensor, *(other[tensor.name] for other in others)) for tensor in sources[0].tensors)


# ---------------------------------------------------------------- tensors


def _is_averaged(tensor: StoredTensor) -> bool:
    return tensor.dtype in (*FLOAT_DTYPES, "C64", "complex128")


def _averaged(group: Sequence[StoredTensor], averager: Averager, dtype: str) -> StoredTensor:
    first = group[0]
    for tensor in group:
        require_storable(tensor)
        if not _is_averaged(tensor) or (tensor.dtype == "C64") != (first.dtype == "C64"):
            raise InvalidInputError(
                f"{first.name[:80]!r} holds {first.dtype} in one file and {tensor.dtype} in another."
            )
    wanted = first.dtype if first.dtype == "C64" else cast_dtype(first, DTYPES[dtype] if dtype else "")
    nbytes = first.nbytes * DTYPE_BITS[wanted] // DTYPE_BITS[first.dtype]
    return first._replace(dtype=wanted, data=Computed(nbytes, averager.add(group, wanted)))


def _common(group: Sequence[StoredTensor], sources: Sequence[Source]) -> StoredTensor:
    """The tensor of integers or truth values that all files hold; of counters, the largest."""
    first = group[0]
    if first.name.rpartition(".")[2] == _COUNTER and not first.shape:
        return max(group, key=lambda tensor: int.from_bytes(tensor.read(), "little", signed=True))
    for tensor, source in zip(group, sources, strict=True):
        if tensor.dtype != first.dtype or any(a != b for a, b in zip(tensor.chunks(), first.chunks(), strict=True)):
            import shlex

            without = f"zoo convert {shlex.quote(source.label)} --drop {shlex.quote(first.name[:80])} -o OUT"
            raise InvalidInputError(
                f"{first.name[:80]!r} holds {first.dtype} values that differ between {sources[0].label} and"
                f" {source.label}; only floating-point numbers have an average.",
                hint=f"If it is not needed, leave it out of each file: {without}",
                path=source.label,
            )
    return first


def _told(
    sources: Sequence[Source], groups: Sequence[Sequence[StoredTensor]], request: AverageRequest
) -> tuple[str, ...]:
    told = list(told_of_scales(sources[0].tensors))
    others = sum(any(tensor.dtype != group[0].dtype for tensor in group) for group in groups)
    if others and not request.dtype:
        told.append(f"the files hold {_counted(others)} in different dtypes; those of {sources[0].label} are written")
    counters = [group for group in groups if group[0].name.rpartition(".")[2] == _COUNTER]
    if any(group[0].read() != tensor.read() for group in counters for tensor in group):
        told.append("batch counters differ; the largest was taken")
    return tuple(told)


# ---------------------------------------------------------------- the file


def _metadata(
    sources: Sequence[Source], stated: Mapping[str, Any], request: AverageRequest, shares: Sequence[float]
) -> tuple[str, dict[str, str]]:
    """The architecture, if it is known, and the metadata of the average."""
    first = sources[0]
    origin: dict[str, Any] = {"averaged": len(sources), "shares": list(shares)}
    if request.decay is not None:
        origin["decay"] = request.decay
    before = [json.loads(text).get("origin") for s in sources if (text := s.metadata.get(METADATA_KEY))]
    if any(before):
        origin["previous"] = before
    kept = {
        key: value
        for key, value in first.metadata.items()
        if key not in (METADATA_KEY, ORIGIN_KEY) and all(source.metadata.get(key) == value for source in sources)
    }
    if stated:
        text = json.dumps({**stated, "origin": origin}, sort_keys=True)
        return stated.get("architecture", ""), {**kept, "format": "pt", METADATA_KEY: text}
    layout = detect_layout({tensor.name: tensor.shape for tensor in first.tensors}) or TIMM
    if layout == TIMM:
        described = describe({tensor.name: tensor for tensor in first.tensors}, first.cfg, first.label)
        if described.cfg.architecture:
            metadata = weight_metadata(
                described.cfg,
                num_classes=described.num_classes,
                origin=origin,
                kept=kept,
                model_args=described.model_args,
            )
            return described.cfg.architecture, metadata
    return "", {**kept, "format": "pt", ORIGIN_KEY: json.dumps({"layout": layout, **origin}, sort_keys=True)}


def _write(
    sources: Sequence[Source], request: AverageRequest, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]
) -> Status:
    from zoo.core.files.npz_writer import write_npz
    from zoo.core.files.safetensors_writer import write_safetensors

    with atomic_output(request.output, force=request.force, sync=request.sync) as output:
        if os.fspath(request.output).endswith(".npz"):
            write_npz(output, tensors)
        else:
            write_safetensors(output, tensors, metadata)
        for source in sources:
            source.require_unchanged()
    return "unchanged" if output.unchanged else "written"


def _counted(number: int) -> str:
    return f"{number} tensor{'' if number == 1 else 's'}"


def _size(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"


def _short(value: Any) -> str:
    return json.dumps(value)[:80]


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
