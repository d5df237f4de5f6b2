"""What adapting a checkpoint does to each tensor, decided from names and shapes before any data is read."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.core.adapt.classifier import decide_head
from zoo.core.adapt.mixings import choose_mixings, main_source
from zoo.core.adapt.request import DTYPES, AdaptRequest
from zoo.core.architectures.records import ClassifierInit, PretrainedCfg, module_paths
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import ChannelMixing
from zoo.core.channels.stem import MissingInputLayerError, NoInputLayerError, Stem, find_stem
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.float_bytes import cast_dtype, cast_pieces, from_float32, to_float32
from zoo.core.files.stored_tensor import DTYPE_BITS, Computed, StoredTensor, without_prefix
from zoo.core.files.tensor_names import dropped_by, dropped_reason
from zoo.core.metadata.stated import with_channels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]

Action = Literal["copy", "cast", "adapt", "resize", "select", "new", "drop"]

_FEW_VALUES = 1 << 18
"""The number of values that can be mixed without numpy in less time than importing it takes."""

_ARRAY_CODES = {"F32": "f", "F64": "d"}
_NEW_DTYPES = ("F32", "F16", "BF16", "F64")
"""The dtypes that a new classifier may take over from the source; with any other, such as float8, it is float32."""


class TensorChange(NamedTuple):
    """What happens to one tensor of the source. A dropped tensor has empty `new_` values and a `reason`.

    The tensors of a newly initialised classifier are "new"; `dtype` is empty if the source has no such tensor.
    """

    name: str
    action: Action
    shape: tuple[int, ...]
    dtype: str
    new_name: str = ""
    new_shape: tuple[int, ...] = ()
    new_dtype: str = ""
    reason: str = ""


COLOURS = ("red", "green", "blue")
"""The channels of a source that reads three and does not say which."""


class AdaptPlan(NamedTuple):
    """The tensors to write, and where each comes from.

    `cfg` describes the source: what its name stands for and what it says about itself, with the layers that were found.
    `result_cfg()` describes the new file. `changes` has one entry per tensor of the source, then one per new tensor.
    `tensors` are the tensors to write, under their new names; `sources` are the source's tensors under the same names.
    `new_classifier` has the names, without a prefix, of a newly initialised classifier's tensors. `dropped` has the
    tensors that `request.drop` left out, with their shapes. `needs_numpy` says whether any tensor is computed with
    numpy.
    """

    cfg: PretrainedCfg
    request: AdaptRequest
    stem: Stem
    mixings: tuple[ChannelMixing, ...]
    in_chans: int
    num_classes: int
    new_classifier: tuple[str, ...]
    placements: tuple[str, ...]
    changes: tuple[TensorChange, ...]
    tensors: tuple[StoredTensor, ...]
    sources: Mapping[str, StoredTensor]
    dropped: Mapping[str, tuple[int, ...]]
    needs_numpy: bool = False
    image_size: tuple[int, int] | None = None
    """Height and width of the images that the new tensors are for.

    None if unknown, or if the config's size holds and no tensors were resized.
    """

    @property
    def method(self) -> str:
        """How the filters of the new channels are made; "none" if no layer changes its channels."""
        return next((mixing.method for mixing in self.mixings if not mixing.is_identity), "none")

    def gains(self) -> tuple[float, ...]:
        """How much each source channel counts. Layers with channels of their own follow one another."""
        return tuple(gain for mixing in self._parts() for gain in mixing.gains())

    def _parts(self) -> tuple[ChannelMixing, ...]:
        return self.mixings if self.stem.apart else self.mixings[:1]

    def names_of_channels(self, before: int, after: int) -> tuple[list[str], list[str]]:
        """Names of the source's channels, and of the new ones with the source channel that counts most in each.

        Args:
            before, after: how many channels the drawn layer reads; an embedding of patches has several for a colour.
        """
        bands, new_bands = self.request.from_bands, self.request.bands
        names = [band.name for band in bands] or (list(COLOURS) if before == len(COLOURS) else [])
        names = names if len(names) == before else [str(c) for c in range(before)]
        new_names = [band.name for band in new_bands] if len(new_bands) == after else [str(n) for n in range(after)]
        rows = self.mixings[0].rows
        if len(rows) != after or self.mixings[0].from_chans != before:
            return names, new_names
        return names, [f"{name} < {main_source(row, names)}" for name, row in zip(new_names, rows, strict=True)]

    def input_names(self) -> tuple[str, ...]:
        """Names of the input layers' weights in the file to write."""
        return tuple(self.request.prefix + name for name in self.stem.weights)

    @property
    def written_layout(self) -> InputLayout:
        """The input layers' layout in the new file: a resized linear embedding has a different number of pixels."""
        layout = self.stem.layout
        if layout.kind in ("conv", "groups"):
            return layout
        shapes = {change.name: change.new_shape for change in self.changes}
        return InputLayout(layout.kind, shapes[self.stem.weights[0]][1] // self.mixings[0].in_chans)

    def channel_values(self, values: Sequence[float]) -> tuple[float, ...]:
        """The source's per-channel mean or std mapped to the new channels, separately for each group or layer."""
        parts = [mixing for mixing in self._parts() for _ in range(self.stem.num_groups)]
        if not parts:
            return tuple(values)
        if len(values) != self.stem.from_chans:
            return tuple(value for mixing in parts for value in mixing.channel_values(values))
        found: list[float] = []
        start = 0
        for mixing in parts:
            found += mixing.channel_values(values[start : start + mixing.from_chans])
            start += mixing.from_chans
        return tuple(found)

    def result_cfg(self) -> PretrainedCfg:
        """The config of the new file: its channels, sizes and layer names."""
        cfg = with_channels(self.cfg, self.channel_values(self.cfg.mean), self.channel_values(self.cfg.std))
        size = self.image_size or self.request.img_size
        if size:
            cfg = replace(cfg, input_size=(self.in_chans, *size), test_input_size=None, pool_size=None)
        if not self.request.prefix:
            return cfg
        first_conv, classifier = (
            tuple(self.request.prefix + path for path in module_paths(paths))
            for paths in (cfg.first_conv, cfg.classifier)
        )
        return replace(cfg, first_conv=first_conv, classifier=classifier)

    def original_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name (without a prefix) and shape of every tensor of the source that is used or was left out by its name."""
        dropped = {name: shape for name, shape in self.dropped.items() if name not in self.new_classifier}
        return dropped | {tensor.name: tensor.shape for tensor in self.sources.values()}

    def coverage(self) -> float:
        """The share of the source's values that reach the file, changed or not."""
        total = kept = 0
        for change in (change for change in self.changes if change.dtype):
            total += prod(change.shape)
            if change.action == "select":
                kept += prod(change.new_shape)
            elif change.action not in ("drop", "new"):
                kept += prod(change.shape)
        return kept / total if total else 1.0

    def model_args(self) -> dict[str, Any]:
        """The arguments that the model must be built with if tensors were resized or have an unusual size."""
        resized = any(change.action == "resize" for change in self.changes)
        args = {"img_size": self.image_size, "patch_size": self.request.patch_size if resized else None}
        return {key: value for key, value in args.items() if value}


def plan_adaptation(
    tensors: Iterable[StoredTensor],
    cfg: PretrainedCfg,
    request: AdaptRequest,
    source: str,
    stated_bands: Sequence[str] = (),
    stated_size: tuple[int, int] | None = None,
    *,
    twin: str = "",
) -> AdaptPlan:
    """Decide what happens to every tensor.

    Args:
        tensors: the source's, in the order of the file.
        cfg: what is known about them: input layers, classifier, input size, mean, std; values may be missing.
        request: what to change.
        source: the file, for messages.
        stated_bands: the bands that the source states, for `request.bands` without `from_bands`.
        stated_size: height and width of the images that the source states.
        twin: an architecture with these tensors, for a `cfg` that names none because several have them.

    Raises:
        InvalidInputError: the tensors do not allow it. UsageError: the request contradicts itself or them.
    """
    used = used_tensors(list(tensors), request, source)
    stored = used.stored
    if request.classifier:
        cfg = replace(cfg, classifier=request.classifier)
    stem = _stem(stored, cfg, request, source)
    cfg = replace(cfg, first_conv=stem.layers[0] if len(stem.layers) == 1 else stem.layers)
    mixings, placements = choose_mixings(stem, request, stated_bands)
    in_chans = sum(mixing.in_chans for mixing in (mixings if stem.apart else mixings[:1])) * stem.num_groups
    in_chans = in_chans or stem.from_chans  # fixed filters read as many as before
    cfg, head = decide_head(stored, cfg, request, source, twin=twin)
    resizes, image_size = _resizes(stored, cfg, request, source, stated_size)

    transforms = _selections(stored, head.selected, request.keep_classes) | resizes
    _add_mixings(transforms, stored, stem, mixings)
    planned = [_left_out(tensor, reason) for tensor, reason in used.left_out]
    why = "the classifier is new" if head.num_classes else "the classifier is left out"
    for tensor in stored.values():
        if tensor.name in head.dropped:
            planned.append(_left_out(tensor, why))
        elif tensor.name not in head.new:
            planned.append(_written(tensor, transforms.get(tensor.name), request))
    if head.new:
        from zoo.core.architectures.published import classifier_init

        init, like = classifier_init(cfg.architecture or twin), stored[(*stem.weights, *stored)[0]].dtype
        planned += [_renewed(name, shape, init, stored.get(name), like, request) for name, shape in head.new.items()]
    return AdaptPlan(
        cfg=cfg,
        request=request,
        stem=stem,
        mixings=mixings,
        in_chans=in_chans,
        num_classes=head.num_classes,
        new_classifier=tuple(head.new),
        placements=placements,
        changes=tuple(one.change for one in planned),
        tensors=tuple(one.tensor for one in planned if one.tensor),
        sources=MappingProxyType({one.tensor.name: one.source for one in planned if one.tensor and one.source}),
        dropped=MappingProxyType(used.dropped),
        needs_numpy=any(one.needs_numpy for one in planned),
        image_size=image_size,
    )


class Used(NamedTuple):
    """The tensors of a source that a request uses, by their names without its prefix, and the rest.

    `dropped` has the tensors that match `request.drop`, by their names without the prefix, with their shapes.
    `left_out` has these and the tensors that lack the prefix, each with the reason.
    """

    stored: dict[str, StoredTensor]
    dropped: dict[str, tuple[int, ...]] = {}
    left_out: Sequence[tuple[StoredTensor, str]] = ()


def used_tensors(tensors: Sequence[StoredTensor], request: AdaptRequest, source: str) -> Used:
    """Select the tensors that a request uses.

    Raises UsageError for a wildcard that matches nothing, InvalidInputError if no name has the prefix.
    """
    prefix = request.strip_prefix
    if not (request.drop or prefix):
        return Used({tensor.name: tensor for tensor in tensors})
    matched = dropped_by((tensor.name for tensor in tensors), request.drop, source, prefix)
    stored, others = without_prefix((one for one in tensors if one.name not in matched), prefix, source)
    dropped = [tensor for tensor in tensors if tensor.name in matched]
    return Used(
        stored,
        {tensor.name.removeprefix(prefix): tensor.shape for tensor in dropped},
        [
            *((tensor, dropped_reason(matched[tensor.name])) for tensor in dropped),
            *((tensor, f"its name does not begin with {prefix}") for tensor in others),
        ],
    )


def _stem(stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, request: AdaptRequest, source: str) -> Stem:
    try:
        return find_stem(stored, cfg, source, input_layers=request.input_layers, layout=request.input_layout)
    except NoInputLayerError:
        chans = cfg.input_size[0]
        if request.bands or request.in_chans not in (None, chans):
            raise
        return Stem((), (), InputLayout(), (chans,))
    except MissingInputLayerError as error:
        from zoo.core.identify.name_hint import missing_layer_hint

        error.hint = missing_layer_hint(stored, error.layer, cfg.architecture)
        raise


class _Transform(NamedTuple):
    action: Action
    shape: tuple[int, ...]
    apply: Transform
    mixing: ChannelMixing | None = None
    """Set if mixing is the only step, applied to (out, C, ...) as stored in memory."""


def _is_small(tensor: StoredTensor, dtype: str, transform: _Transform | None) -> bool:
    """Whether the new values are few, and mixed from a dtype that the standard library has arrays for."""
    if transform is None or transform.mixing is None:
        return False
    return tensor.dtype == dtype in _ARRAY_CODES and prod(transform.shape) <= _FEW_VALUES


def _mixed_floats(tensor: StoredTensor, mixing: ChannelMixing) -> array[float]:
    """The new values in the tensor's own dtype, computed in float32."""
    stored = array(_ARRAY_CODES[tensor.dtype])
    stored.frombytes(tensor.read())
    if sys.byteorder == "big":
        stored.byteswap()
    mixed = array(stored.typecode, mixing.apply_to_floats(array("f", stored), prod(tensor.shape[2:])))
    if sys.byteorder == "big":
        mixed.byteswap()
    return mixed


def _initial_bytes(name: str, weight: tuple[int, ...], init: ClassifierInit, seed: int, dtype: str) -> Iterator[bytes]:
    """The bytes of a tensor of a new classifier."""
    from zoo.core.architectures.new_classifier import initial_values

    for values in initial_values(name, weight, init, seed):
        if dtype in _ARRAY_CODES:
            stored = array(_ARRAY_CODES[dtype], values)
            if sys.byteorder == "big":
                stored.byteswap()
            yield stored.tobytes()
        else:
            import numpy as np

            yield from_float32(np.frombuffer(values, np.float32), dtype)


def _after(first: Transform, second: Transform) -> Transform:
    return lambda values: second(first(values))


def _add_mixings(
    transforms: dict[str, _Transform],
    stored: Mapping[str, StoredTensor],
    stem: Stem,
    mixings: Sequence[ChannelMixing],
) -> None:
    """Add the mixing of the input layers' channels to the other transforms."""
    for name, mixing in zip(stem.weights, mixings, strict=True):
        if mixing.is_identity:
            continue
        # Mix after a resize of the kernel: both are linear, and the resized kernel may be the larger one.
        before = transforms.get(name)
        if before and stem.layout.kind in ("blocks", "planes"):
            raise UsageError(
                "A linear patch embedding cannot change its patch size and its channels in one step.",
                hint="Change the patch size first, then adapt the channels of the result.",
            )
        shape = stem.layout.shape_for(before.shape if before else stored[name].shape, mixing.in_chans * stem.num_groups)
        adapt = partial(stem.layout.adapt, mixing=mixing)
        alone = mixing if before is None and stem.layout.kind in ("conv", "groups") else None
        transforms[name] = _Transform("adapt", shape, _after(before.apply, adapt) if before else adapt, alone)


class _Planned(NamedTuple):
    """What happens to one tensor, with its source and what is written; either may be None."""

    change: TensorChange
    source: StoredTensor | None = None
    tensor: StoredTensor | None = None
    needs_numpy: bool = False


def _left_out(tensor: StoredTensor, reason: str) -> _Planned:
    return _Planned(TensorChange(tensor.name, "drop", tensor.shape, tensor.dtype, reason=reason))


def _written(tensor: StoredTensor, transform: _Transform | None, request: AdaptRequest) -> _Planned:
    """A tensor under its new name, either as stored or computed when it is written."""
    name = request.prefix + tensor.name
    dtype = cast_dtype(tensor, DTYPES[request.dtype]) if request.dtype else tensor.dtype
    if transform is None and dtype == tensor.dtype:
        change = TensorChange(tensor.name, "copy", tensor.shape, dtype, name, tensor.shape, dtype)
        return _Planned(change, tensor, tensor._replace(name=name))
    shape = transform.shape if transform else tensor.shape
    action: Action = transform.action if transform else "cast"
    data = Computed(prod(shape) * DTYPE_BITS[dtype] // 8, partial(_new_bytes, tensor, dtype, transform))
    return _Planned(
        TensorChange(tensor.name, action, tensor.shape, tensor.dtype, name, shape, dtype),
        tensor,
        StoredTensor(name, dtype, shape, data),
        needs_numpy=not _is_small(tensor, dtype, transform),
    )


def _renewed(
    name: str, weight: tuple[int, ...], init: ClassifierInit, old: StoredTensor | None, like: str, request: AdaptRequest
) -> _Planned:
    """A tensor of a new classifier whose weight has this shape, in the dtype of the old tensor or `like`."""
    shape = weight[:1] if name.endswith(".bias") else weight
    kept = next((dtype for dtype in (old.dtype if old else "", like) if dtype in _NEW_DTYPES), "F32")
    dtype = DTYPES[request.dtype] if request.dtype else kept
    compute = partial(_initial_bytes, name, weight, init, request.seed, dtype)
    new_name = request.prefix + name
    was = ((), "") if old is None else (old.shape, old.dtype)
    return _Planned(
        TensorChange(name, "new", *was, new_name, shape, dtype),
        tensor=StoredTensor(new_name, dtype, shape, Computed(prod(shape) * DTYPE_BITS[dtype] // 8, compute)),
        needs_numpy=dtype not in _ARRAY_CODES,
    )


def _new_bytes(tensor: StoredTensor, dtype: str, transform: _Transform | None) -> Iterable[bytes]:
    """The new bytes: all at once where values depend on each other, otherwise a few megabytes at a time."""
    if transform is None:
        return cast_pieces(tensor, dtype)
    if transform.mixing and _is_small(tensor, dtype, transform):
        return [_mixed_floats(tensor, transform.mixing).tobytes()]
    return [from_float32(transform.apply(to_float32(tensor.read(), tensor.dtype, tensor.shape)), dtype)]


# ---------------------------------------------------------------- the request, tensor by tensor


def _selections(
    stored: Mapping[str, StoredTensor], names: Iterable[str], classes: Sequence[int]
) -> dict[str, _Transform]:
    """Transforms that keep the selected rows of a classifier's tensors."""

    def select(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values[list(classes)]

    return {name: _Transform("select", (len(classes), *stored[name].shape[1:]), select) for name in names}


_TELL_A_SIZE = ("pos_embed", "patch_pos", "relative_position_bias_table")
"""Endings of tensor names that may reveal the image size; files without them need no import."""


def _resizes(
    stored: Mapping[str, StoredTensor],
    cfg: PretrainedCfg,
    request: AdaptRequest,
    source: str,
    stated: tuple[int, int] | None,
) -> tuple[dict[str, _Transform], tuple[int, int] | None]:
    """The transforms of tensors that depend on the image or patch size, and the result's `AdaptPlan.image_size`."""
    asked = any((request.img_size, request.patch_size, request.source_size))
    if not asked and not any(name.endswith(_TELL_A_SIZE) for name in stored):
        return {}, None
    from zoo.core.architectures.published import family_of

    family = family_of(cfg.architecture)
    if family is None:
        if not asked:
            return {}, None
        raise InvalidInputError(
            f"Which tensors of {source} depend on the image size follows from its architecture, which is not known.",
            hint="Give the model's name, and the file with --weights.",
            path=source,
        )
    from zoo.core.resize.plan import image_size_of, plan_resizes
    from zoo.core.resize.rules import depends_on_size, require_size_dependent

    if request.source_size:
        require_size_dependent(family, cfg.architecture)
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    usual = cfg.input_size[1:]
    said = _said_size(family, shapes, request.source_size, stated, source)
    # The config of published weights is right, whatever the tensors look like.
    found = usual
    if said or cfg.file:
        found = image_size_of(
            family,
            shapes,
            source_size=said or usual,
            stated=bool(said),
            img_size=request.img_size,
            architecture=cfg.architecture,
        )
    plan = plan_resizes(
        family,
        shapes,
        source_size=found,
        stated=bool(said),
        img_size=request.img_size,
        patch_size=request.patch_size,
        architecture=cfg.architecture,
    )
    size = request.img_size or found
    is_told = depends_on_size(family) and (size != usual or bool(request.img_size and plan))
    resizes = {name: _Transform("resize", resize.new_shape, resize.apply) for name, resize in plan.items()}
    return resizes, size if is_told else None


def _said_size(
    family: str,
    shapes: Mapping[str, tuple[int, ...]],
    given: tuple[int, int] | None,
    stated: tuple[int, int] | None,
    source: str,
) -> tuple[int, int] | None:
    """The image size that the source states, otherwise the one that the user gives.

    Raises UsageError where both are possible and differ: the user overrules only a wrong statement.
    """
    if given is None or stated is None or stated == given:
        return given or stated
    from zoo.core.resize.plan import fits_size

    if not fits_size(family, shapes, stated):
        return given
    raise UsageError(
        f"{source} states that it is for images of {stated[0]} x {stated[1]}, not {given[0]} x {given[1]}.",
        hint="Leave out --source-size.",
    )
