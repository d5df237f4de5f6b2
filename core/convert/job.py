"""Convert a checkpoint to a different key layout, dtype or file format."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.core.adapt.job import Source
from zoo.core.adapt.request import DTYPES
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.convert.describe import Description, describe
from zoo.core.errors import InvalidInputError, UnknownModelError, UsageError
from zoo.core.files.atomic_output import atomic_output, check_target
from zoo.core.files.float8 import told_of_scales
from zoo.core.files.float_bytes import cast_dtype, cast_pieces
from zoo.core.files.stored_tensor import DTYPE_BITS, Computed, StoredTensor, without_prefix
from zoo.core.files.tensor_names import dropped_by, dropped_reason, first_names
from zoo.core.identify.identify import architectures_of, architectures_of_other_size
from zoo.core.identify.similar_architectures import find_similar
from zoo.core.layouts.engine import TIMM, Matched, apply_from_timm, apply_to_timm, detect_layout, match_layout, tables
from zoo.core.metadata.stated import (
    METADATA_KEY,
    ORIGIN_KEY,
    configured,
    stated_configuration,
    weight_metadata,
    with_image_size,
)

if TYPE_CHECKING:
    from zoo.core.model.authors_names import OfAuthors
    from zoo.core.model.fuse_tensors import Fused

FORMATS = (".safetensors", ".npz")

_AUTHORS = "authors"
"""The layout of names that authors gave in their own repositories; a family's loader knows some that no table has."""
_GRAPH = "graph"
"""That of a graph whose exporter took weights apart from their names, or folded norms."""
_MOST_TRIED = 6
"""So many architectures are built, of which one may have the names of an unknown file."""
_LEAST_COVERAGE = 0.8
"""The share of an architecture's layers that an encoder without the last ones has."""

Status = Literal["planned", "written", "unchanged"]
Tensors = Mapping[str, StoredTensor]


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """How to convert a checkpoint.

    Args:
        output: a .safetensors or an .npz file.
        from_layout: the layout of the source; "" detects it by its keys.
        to_layout: the layout of the output; "" is timm's. Naming a layout requires that the names are known: an unknown
            file is then refused.
        architecture: timm's name for the model in the source; "" finds it by keys and shapes.
        strip_prefix: prefix to remove from names; tensors without it are left out. "" removes what precedes all names
            of a recognised network.
        drop: wildcards for names of tensors to leave out.
        dtype: dtype of all floating-point tensors; "" keeps theirs.
        source_size: height and width of the images that the source is for, if it does not say so itself.
        use_ema: prefer the averaged weights if a training checkpoint holds both.
        key: path of the state dict in a training checkpoint, keys joined by dots; "" finds it.
        fuse: join branches and norms into single layers, for inference (`zoo.reparameterize`); this needs torch.
        canonical: write what depends on the tensors and the model alone, whatever file they came from: sorted by name,
            with metadata that say how the model computes but not where its weights are from.
        force: replace an existing file that differs.
        dry_run: only report what would be done.
    """

    output: str | os.PathLike[str]
    from_layout: str = ""
    to_layout: str = ""
    architecture: str = ""
    strip_prefix: str = ""
    drop: tuple[str, ...] = ()
    dtype: str = ""
    source_size: tuple[int, int] | None = None
    use_ema: bool = True
    key: str = ""
    fuse: bool = False
    canonical: bool = False
    force: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        if self.fuse and self.to_layout not in ("", TIMM):
            raise UsageError(
                f"Only timm's layout has names for layers that are joined, not {self.to_layout}.",
                hint="Leave out --to, or leave out --fuse.",
            )
        for layout in {self.from_layout, self.to_layout} - {"", TIMM}:
            tables(layout)  # raises if there is no such layout
        if self.dtype and self.dtype not in DTYPES:
            raise UsageError(f"The dtype must be one of {', '.join(DTYPES)}, found {self.dtype!r}.")
        if os.path.splitext(self.output)[1] not in FORMATS:
            raise UsageError(
                f"The output's ending tells its format; {os.fspath(self.output)!r} has none of {', '.join(FORMATS)}.",
                hint="For example: -o converted.safetensors",
            )


class ConvertReport(NamedTuple):
    """What was done, or what a dry run would do.

    `architecture` is empty if unknown. `dropped` maps each tensor that was left out to the reason. `renamed` and `cast`
    count tensors of the output. `fused` is the proof that joined layers compute the same.
    """

    source: str
    output: str
    from_layout: str
    to_layout: str
    architecture: str
    model_args: Mapping[str, Any]
    tensors: int
    renamed: int
    cast: int
    dropped: Mapping[str, str]
    notes: tuple[str, ...]
    nbytes: int
    status: Status
    fused: Fused | None = None


def convert(source: str | os.PathLike[str], request: ConvertRequest) -> ConvertReport:
    """Write a checkpoint with the keys and shapes of a different layout; values keep their bits without a new dtype.

    Args:
        source: a weight file (safetensors, torch, npz), a shard index, or any source that `adapt_weights` takes.

    Raises:
        UsageError: a request that makes no sense.
        NotFoundError: there is no such source.
        InvalidInputError: the source is damaged, does not fit the layout, or is unknown and only its names could
            change; nothing was written.
        CannotWriteError: nothing was written.
    """
    check_target(request.output)
    with open_as_stored(source, use_ema=request.use_ema, key=request.key) as opened:
        return _convert(opened, request)


@contextmanager
def open_as_stored(source: str | os.PathLike[str], *, use_ema: bool = True, key: str = "") -> Iterator[Source]:
    """Open a source of any kind with the names and shapes that it has. Arguments and errors are those of `convert`."""
    from zoo.core.adapt.sources import open_fetched, source_cfg
    from zoo.core.architectures.registry import require_weights
    from zoo.core.files.safetensors_file import MAX_HEADER
    from zoo.weights_cache.download import fetch

    path = os.fspath(source)
    # A config.json in a foreign checkpoint's folder is not in timm's format.
    cfg = PretrainedCfg(file=path) if os.path.exists(path) else source_cfg(path)
    require_weights(cfg)
    with open_fetched(fetch(cfg), cfg, use_ema, MAX_HEADER, key) as opened:
        yield opened


def _convert(source: Source, request: ConvertRequest) -> ConvertReport:
    digest = cache(partial(source.sha256, lambda: False))  # zoo's own cache of digests may not be writable
    source = source._replace(sha256=lambda _: digest())
    tensors, left_out, notes = _unwrapped(source, request)
    to_layout = request.to_layout or TIMM
    from_layout = request.from_layout or _found_layout(tensors)
    described, steps = Description(), []
    kept = _kept(source, request.canonical)
    if from_layout not in (TIMM, to_layout):
        steps.append(match_layout(from_layout, _shapes(tensors), "theirs"))
        tensors = _by_name(apply_to_timm(steps[0], tensors))
        kept = {}
    if TIMM in (from_layout, to_layout) or from_layout != to_layout:
        is_graph = source.file_format == "onnx"
        own = stated_configuration(kept, request.architecture, source.label)
        # Of what zoo wrote itself, only graphs may lack tensors: batch norms that were folded.
        of_authors = None if steps or (own and not is_graph) else _of_authors(tensors, request, own, of_graph=is_graph)
        if of_authors is not None:
            from_layout, kept = _GRAPH if is_graph else _AUTHORS, kept if own else {}
            notes = (*notes, *filter(None, (of_authors.note,)))
            tensors = _by_name(of_authors.tensors)
            left_out |= dict.fromkeys(of_authors.dropped, "the model has no place for it")
        described = _described(source, tensors, request, steps, kept)
        if not (steps or described.candidates or to_layout != TIMM):
            _require_known(source, tensors, request)
            if not _has_other_names(source, tensors):
                described = described._replace(notes=(*described.notes, "the names were left as they are"))
    if to_layout not in (TIMM, from_layout):
        steps.append(match_layout(to_layout, _shapes(tensors), "timm"))
        tensors = _by_name(apply_from_timm(steps[-1], tensors, _num_heads(described.cfg.architecture)))
        kept, described = {}, described._replace(notes=_differences(to_layout, steps[-1], described))
    fused = None
    if request.fuse:
        fused, described = _fused(source, tensors, request, described, kept)
        tensors = _by_name(fused.tensors)
        left_out |= dict.fromkeys(fused.dropped, "the model has no place for it")
    written = [_cast(tensor, request.dtype) for tensor in tensors.values()]
    if request.dtype:
        notes += told_of_scales(tensors.values())
    status: Status = "planned"
    if not request.dry_run:
        origin = {} if request.canonical else _origin(source, from_layout, steps)
        metadata = {**kept, "format": "pt"}
        if to_layout == TIMM and (fused or METADATA_KEY not in kept) and described.cfg.architecture:
            metadata = _metadata(described, origin, kept, steps, source.label)
        elif METADATA_KEY not in kept:
            metadata[ORIGIN_KEY] = json.dumps({"layout": to_layout, **origin}, sort_keys=True)
        status = _write(source, request, written, metadata)
    given = {tensor.name for tensor in source.tensors}
    return ConvertReport(
        source=source.label,
        output=os.fspath(request.output),
        from_layout=from_layout,
        to_layout=to_layout,
        architecture=described.cfg.architecture,
        model_args=described.model_args,
        tensors=len(written),
        renamed=sum(tensor.name not in given for tensor in written),
        cast=sum(tensor.dtype != tensors[tensor.name].dtype for tensor in written),
        dropped=left_out | {name: reason for step in steps for name, reason in step.dropped.items()},
        notes=(*source.notes, *notes, *described.notes, *(step.table.note for step in steps if step.table.note)),
        nbytes=sum(tensor.nbytes for tensor in written),
        status=status,
        fused=fused,
    )


def _found_layout(tensors: Tensors) -> str:
    """The layout by the names. Many networks are below `encoder.`: what is there must look like one that zoo knows."""
    found = None if architectures_of(_shapes(tensors)) else detect_layout(_shapes(tensors))
    if found is None:
        return TIMM
    matched = match_layout(found, _shapes(tensors), "theirs")
    if not matched.table.takes_any_name:
        return found
    shapes = _shapes(_by_name(apply_to_timm(matched, tensors, read=False)))
    if architectures_of(shapes) or architectures_of_other_size(shapes):
        return found
    similar = find_similar(shapes)
    return found if similar and similar[0].coverage >= _LEAST_COVERAGE else TIMM


def _of_authors(
    tensors: Tensors, request: ConvertRequest, stated: Mapping[str, Any], *, of_graph: bool
) -> OfAuthors | None:
    """An unknown file by timm's names, if the loader of one of the nearest architectures knows its authors' names.

    `stated` is what the file says of itself; empty if zoo did not write it.
    """
    shapes = _shapes(tensors)
    if request.from_layout or architectures_of(shapes) or architectures_of_other_size(shapes):
        return None
    nearest = [request.architecture or stated.get("architecture", "")]
    if not nearest[0]:
        from zoo.core.identify.identify import identify

        guesses = [
            guess for guess in identify(tensors) if guess.match == "similar" and guess.coverage > _LEAST_COVERAGE
        ]
        nearest = [name for guess in guesses for name in guess.architectures]
    if not nearest:
        return None
    from zoo.core.model.authors_names import in_timms_names

    tried = dict.fromkeys(nearest[:_MOST_TRIED])
    found = (in_timms_names(tensors, name, of_graph=of_graph) for name in tried)
    return next((one for one in found if one is not None), None)


def _require_known(source: Source, tensors: Tensors, request: ConvertRequest) -> None:
    """Refuse an unknown file if only its names could change.

    Any file can get a new dtype, file format or prefix, or fewer tensors, but not a new layout.
    """
    other_format = f".{source.file_format}" != os.path.splitext(request.output)[1]
    changes = request.dtype or request.drop or other_format or _has_other_names(source, tensors)
    if changes and not (request.from_layout or request.to_layout):
        return
    from zoo.core.identify.identify import identify

    found = next(iter(identify(tensors)), None)
    message = f"The names of {source.label} are those of no architecture or layout that zoo knows"
    if found is None:
        hint = f"`zoo inspect {source.label}` shows them. Another dtype or file format can be had of any file."
    elif found.strays:
        message = f"{source.label} holds {first_names(found.strays)} beside the tensors of {found.architectures[0]}"
        hint = f"Leave {'it' if len(found.strays) == 1 else 'them'} out: --drop {shlex.quote(found.strays[0])}"
    elif found.match == "similar":
        names = "by its shapes" if found.layout == "unknown" else f"in names of {found.layout}"
        message += f"; the nearest is {found.architectures[0]}, {names}"
        hint = f"`zoo identify {source.label}` says how near. Another dtype or file format can be had of any file."
    else:
        message = f"{source.label} holds more than {found.architectures[0]} below {found.prefix}"
        hint = f"Take a network alone: --strip-prefix {found.prefix}"
    raise InvalidInputError(f"{message}; no name would change.", hint=hint, path=source.label)


def _has_other_names(source: Source, tensors: Tensors) -> bool:
    """Whether a prefix, or segments that wrappers had added, were removed from the names."""
    return source.unwrapped or not tensors.keys() <= {tensor.name for tensor in source.tensors}


def _unwrapped(source: Source, request: ConvertRequest) -> tuple[Tensors, dict[str, str], tuple[str, ...]]:
    """The tensors without a wrapper's prefix, the names left out with the reason, and notes."""
    prefix, notes = request.strip_prefix, tuple[str, ...]()
    if not (prefix or request.from_layout or METADATA_KEY in source.metadata):
        matched = dropped_by((tensor.name for tensor in source.tensors), request.drop, source.label)
        prefix, notes = _wrapper({t.name: t for t in source.tensors if t.name not in matched})
    matched = dropped_by((tensor.name for tensor in source.tensors), request.drop, source.label, prefix)
    wanted = [tensor for tensor in source.tensors if tensor.name not in matched]
    kept, left_out = without_prefix(wanted, prefix, source.label)
    dropped = {name: dropped_reason(pattern) for name, pattern in matched.items()}
    return kept, dropped | {tensor.name: f"its name does not begin with {prefix}" for tensor in left_out}, notes


def _wrapper(tensors: Tensors) -> tuple[str, tuple[str, ...]]:
    """The prefix of all names of a network; "" if the file holds more, which a note says."""
    from zoo.core.identify.identify import identify

    try:
        found = identify(tensors, guess=False)
    except InvalidInputError:
        return "", ()  # the conversion reports it better
    if not found or not found[0].prefix:
        return "", ()
    if found[0].share == 1:
        return found[0].prefix, (f"all names begin with {found[0].prefix}, which was taken off",)
    networks = " and ".join(f"{one.architectures[0]} below {one.prefix}" for one in found)
    return "", (f"it holds {networks}; --strip-prefix takes a network alone",)


def _described(
    source: Source, tensors: Tensors, request: ConvertRequest, steps: Sequence[Matched], kept: Mapping[str, str]
) -> Description:
    """Identify tensors in timm's layout; a file written by zoo states what it is."""
    if stated := stated_configuration(kept, request.architecture, source.label):
        if with_image_size(stated, request.source_size, source.label) != stated:
            raise UsageError(
                f"{source.label} already states its architecture, but not its image size.",
                hint="`zoo adapt-weights` with --source-size records it.",
            )
        name = stated["architecture"]
        return Description(
            PretrainedCfg(architecture=name),
            model_args=stated.get("model_args", {}),
            candidates=(name,) if name else (),
        )
    cfg = replace(source.cfg, architecture=request.architecture) if request.architecture else source.cfg
    table = steps[0].table if steps else None
    return describe(
        tensors,
        cfg,
        source.label,
        table=table,
        source_size=request.source_size,
        sha256=None if request.canonical else partial(source.sha256, lambda: False),
    )


def _differences(layout: str, matched: Matched, described: Description) -> tuple[str, ...]:
    """The reasons why the other ecosystem's model computes something different from the same weights."""
    name = described.cfg.architecture
    twin = matched.table.twin([name])
    if not name:
        return ()
    if twin is None:
        return (f"no {matched.table.family} of {layout} computes what {name} does: outputs will differ",)
    others = [f"{key}={value}" for key, value in twin[1].items() if described.model_args.get(key) != value]
    return (f"{layout} computes with {', '.join(others)}, {name} does not: outputs will differ",) if others else ()


def _fused(
    source: Source, tensors: Tensors, request: ConvertRequest, described: Description, kept: Mapping[str, str]
) -> tuple[Fused, Description]:
    """The tensors of the form for inference, and what they are."""
    from zoo.core.architectures.published import find_cfg
    from zoo.core.architectures.registry import fused_layers

    name, label = described.cfg.architecture, source.label
    if not name:
        choices = " or ".join(described.candidates[:3])
        raise InvalidInputError(
            f"Which layers of {label} can be joined depends on its architecture, which is not known.",
            hint=f"Name it with --arch: {choices}." if choices else "Name it with --arch.",
            path=label,
        )
    if fused_layers(name) is None:
        raise UsageError(
            f"{name} is published in one form, so there is nothing to fuse.",
            hint="`zoo export-features` joins norms to the layers before them when it computes, in any model.",
        )
    if stated := stated_configuration(kept, name, label):
        cfg = configured(find_cfg(name), stated)
        described = described._replace(
            cfg=cfg, num_classes=stated["num_classes"], reparameterized=stated.get("reparameterized", False)
        )
    if described.reparameterized:
        raise UsageError(f"{label} is fused already.", hint="Leave out --fuse.")
    from zoo.core.model.fuse_tensors import fuse_tensors

    found = fuse_tensors(
        tensors,
        described.cfg,
        label,
        num_classes=described.num_classes,
        model_args=described.model_args,
        dtype=DTYPES[request.dtype] if request.dtype else "",
    )
    notes = (*described.notes, _how_timm_loads_it(name))
    return found, described._replace(cfg=found.cfg, notes=notes, reparameterized=True)


def _how_timm_loads_it(name: str) -> str:
    from zoo.core.architectures.registry import find_spec

    if find_spec(name)[1].has_inference_mode:
        return f"timm loads it with create_model({name!r}, inference_mode=True, checkpoint_path=FILE)"
    return f"timm loads it into reparameterize_model(create_model({name!r}).eval())"


def _kept(source: Source, canonical: bool) -> dict[str, str]:
    """What of the source's metadata goes on: all but its origin, or only how the model computes."""
    if not canonical:
        return {key: text for key, text in source.metadata.items() if key != ORIGIN_KEY}
    stated = stated_configuration(source.metadata, "", source.label)
    return {METADATA_KEY: json.dumps({**stated, "origin": {}}, sort_keys=True)} if stated else {}


def _origin(source: Source, from_layout: str, steps: Sequence[Matched]) -> dict[str, Any]:
    """Where the tensors came from, and which tables brought them here."""
    tables_used = [step.table.family for step in steps]
    return {
        "converted_from": from_layout,
        "source": source.name,
        "source_sha256": source.sha256(lambda: False),
        **({"tables": tables_used} if tables_used else {}),
    }


def _metadata(
    described: Description, origin: Mapping[str, Any], kept: Mapping[str, str], steps: Sequence[Matched], label: str
) -> dict[str, str]:
    stated = stated_configuration(kept, described.cfg.architecture, label)
    if stated:
        origin = {**origin, "previous": stated["origin"]}
    bands = stated["bands"] if "bands" in stated else steps[0].table.bands if steps else ()
    return weight_metadata(
        described.cfg,
        num_classes=described.num_classes,
        origin=origin,
        kept=kept,
        bands=bands if len(bands) == described.cfg.input_size[0] else (),
        input_layout=stated.get("input_layout", ""),
        model_args=described.model_args,
        reparameterized=described.reparameterized,
    )


def _num_heads(architecture: str) -> int:
    """The number of attention heads of an architecture that zoo builds; 0 if unknown."""
    from zoo.core.architectures.registry import find_spec

    try:
        heads = getattr(find_spec(architecture)[1], "num_heads", 0)
    except UnknownModelError:
        return 0
    return heads if isinstance(heads, int) else 0


def _write(
    source: Source, request: ConvertRequest, tensors: Sequence[StoredTensor], metadata: Mapping[str, str]
) -> Status:
    from zoo.core.files.npz_writer import write_npz
    from zoo.core.files.safetensors_writer import write_safetensors

    with atomic_output(request.output, force=request.force) as output:
        if os.fspath(request.output).endswith(".npz"):
            write_npz(output, sorted(tensors, key=lambda t: t.name) if request.canonical else tensors)
        else:
            write_safetensors(output, tensors, metadata, canonical=request.canonical)
        source.require_unchanged()
    return "unchanged" if output.unchanged else "written"


def _cast(tensor: StoredTensor, dtype: str) -> StoredTensor:
    wanted = cast_dtype(tensor, DTYPES[dtype] if dtype else "")
    if wanted == tensor.dtype:
        return tensor
    nbytes = tensor.nbytes * DTYPE_BITS[wanted] // DTYPE_BITS[tensor.dtype]
    return tensor._replace(dtype=wanted, data=Computed(nbytes, partial(cast_pieces, tensor, wanted)))


def _by_name(tensors: Iterable[StoredTensor]) -> dict[str, StoredTensor]:
    return {tensor.name: tensor for tensor in tensors}


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in tensors.items()}
