"""What adapting a checkpoint does to each of its tensors, decided from names and shapes before a byte is read."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.core.adapt.classifier import decide_head, with_classifier
from zoo.core.adapt.request import DTYPES, AdaptRequest
from zoo.core.architectures.records import ClassifierInit, PretrainedCfg
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import ChannelMixing, band_mixing, channel_mixing
from zoo.core.channels.stem import MissingInputLayerError, Stem, find_stem
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.float_bytes import cast_dtype, cast_pieces, from_float32, is_finite, to_float32
from zoo.core.files.stored_tensor import DTYPE_BITS, Computed, StoredTensor, without_prefix
from zoo.core.files.tensor_names import dropped_by, dropped_reason

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.core.channels.band_placement import Placement
    from zoo.core.channels.sensors import Band

    Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]

Action = Literal["copy", "cast", "adapt", "resize", "select", "new", "drop"]

_FEW_VALUES = 1 << 18
"""So many values of a layer are mixed without numpy in less time than importing it takes."""

_ARRAY_CODES = {"F32": "f", "F64": "d"}
_NEW_DTYPES = ("F32", "F16", "BF16", "F64")
"""What a new classifier is stored in; beside float8 it is float32."""


class TensorChange(NamedTuple):
    """What happens to one tensor of the source; the `new_` values are empty where it is dropped, for `reason`.

    One of a classifier that is made anew is "new"; `dtype` is empty where the source has no such tensor.
    """

    name: str
    action: Action
    shape: tuple[int, ...]
    dtype: str
    new_name: str = ""
    new_shape: tuple[int, ...] = ()
    new_dtype: str = ""
    reason: str = ""


class AdaptPlan(NamedTuple):
    """The tensors to write, and where each is from.

    `changes` has one entry a tensor of the source, and then one for each that is new; `tensors` are those to write,
    under their new names, `sources` the source's under the same names. `dropped` are those that `request.drop` left
    out, with their shapes. `non_finite` fills while tensors are computed: names of those that
    came out with NaN or infinite values. `needs_numpy` says whether any is computed with it.
    """

    cfg: PretrainedCfg
    request: AdaptRequest
    stem: Stem
    mixings: tuple[ChannelMixing, ...]
    in_chans: int
    num_classes: int
    placements: tuple[str, ...]
    changes: tuple[TensorChange, ...]
    tensors: tuple[StoredTensor, ...]
    sources: Mapping[str, StoredTensor]
    non_finite: list[str]
    dropped: Mapping[str, tuple[int, ...]]
    needs_numpy: bool = False
    image_size: tuple[int, int] | None = None
    """Height and width of the images that the tensors to write are for, where that is known of these tensors and is
    not the config's, or tensors were resized for them."""

    @property
    def new_classifier(self) -> tuple[str, ...]:
        """Names, without a prefix, of the tensors of a classifier that is made anew."""
        return tuple(change.name for change in self.changes if change.action == "new")

    @property
    def method(self) -> str:
        """How the filters of the new channels are made; "none" where no layer gets any."""
        return next((mixing.method for mixing in self.mixings if not mixing.is_identity), "none")

    def gains(self) -> tuple[float, ...]:
        """By how much each source channel counts, those of layers with channels of their own one after another."""
        return tuple(gain for mixing in self._parts() for gain in mixing.gains())

    def _parts(self) -> tuple[ChannelMixing, ...]:
        return self.mixings if self.stem.apart else self.mixings[:1]

    def input_names(self) -> tuple[str, ...]:
        """Names of the input layers' weights in the file to write."""
        return tuple(self.request.prefix + name for name in self.stem.weights)

    @property
    def written_layout(self) -> InputLayout:
        """The input layers' layout in the file to write: a resized linear embedding has another number of pixels."""
        layout, name = self.stem.layout, self.stem.weights[0]
        shapes = {change.name: change.new_shape for change in self.changes}
        if layout.kind in ("conv", "groups"):
            return layout
        return InputLayout(layout.kind, shapes[name][1] // self.mixings[0].in_chans)

    def channel_values(self, values: Sequence[float]) -> tuple[float, ...]:
        """Per-channel mean or std of the source for the new channels, those of each group or layer by themselves."""
        parts = [mixing for mixing in self._parts() for _ in range(self.stem.num_groups)]
        if len(values) != self.stem.from_chans:
            return tuple(value for mixing in parts for value in mixing.channel_values(values))
        found: list[float] = []
        start = 0
        for mixing in parts:
            found += mixing.channel_values(values[start : start + mixing.from_chans])
            start += mixing.from_chans
        return tuple(found)

    def original_shapes(self) -> dict[str, tuple[int, ...]]:
        """Name, without a prefix, and shape of every tensor of the source that is used, or was left out by its name."""
        dropped = {name: shape for name, shape in self.dropped.items() if name not in self.new_classifier}
        return dropped | {tensor.name: tensor.shape for tensor in self.sources.values()}

    def model_args(self) -> dict[str, Any]:
        """What the model has to be built with for tensors that were resized, or are of another size than usual."""
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
    """Decide what becomes of every tensor.

    Args:
        tensors: of the source, in the order of the file.
        cfg: what is known of them: input layers and classifier, input size, mean and std; values may be missing.
        request: what to change.
        source: the file, for messages.
        stated_bands: those that the source says it reads, for `request.bands` without `from_bands`.
        stated_size: height and width of the images that the source says it is for.
        twin: an architecture with these tensors, where `cfg` names none because several have them.

    Raises:
        InvalidInputError: the tensors do not allow it. UsageError: the request contradicts itself or them.
    """
    given = list(tensors)
    matched = dropped_by((tensor.name for tensor in given), request.drop, source, request.strip_prefix)
    stored, left_out = without_prefix(
        [tensor for tensor in given if tensor.name not in matched], request.strip_prefix, source
    )
    if request.classifier:
        cfg = replace(cfg, classifier=request.classifier)
    try:
        stem = find_stem(stored, cfg, source, input_layers=request.input_layers, layout=request.input_layout)
    except MissingInputLayerError as error:
        from zoo.core.identify.name_hint import missing_layer_hint

        error.hint = missing_layer_hint(stored, error.layer, cfg.architecture)
        raise
    cfg = replace(cfg, first_conv=stem.layers[0] if len(stem.layers) == 1 else stem.layers)
    mixings, placements = _mixings(stem, request, stated_bands)
    in_chans = sum(mixing.in_chans for mixing in (mixings if stem.apart else mixings[:1])) * stem.num_groups

    cfg, inputs = with_classifier(cfg, stored, request, twin)
    head = decide_head(stored, cfg, request, inputs, source)
    resizes, image_size = _resizes(stored, cfg, request, source, stated_size)
    transforms = _selections(stored, head.selected, request.keep_classes) | resizes
    for name, mixing in zip(stem.weights, mixings, strict=True):
        if mixing.is_identity:
            continue
        # After a resize of its kernel: both are linear, and the resized one may be the larger.
        before = transforms.get(name)
        if before and stem.layout.kind in ("blocks", "planes"):
            raise UsageError(
                "A linear patch embedding gets another patch size and other channels one after the other.",
                hint="Change the patch size first, then the channels of the result.",
            )
        shape = stem.layout.shape_for(before.shape if before else stored[name].shape, mixing.in_chans * stem.num_groups)
        adapt = partial(stem.layout.adapt, mixing=mixing)
        alone = mixing if before is None and stem.layout.kind in ("conv", "groups") else None
        transforms[name] = _Transform("adapt", shape, _after(before.apply, adapt) if before else adapt, alone)

    plan = _Tensors(request, DTYPES.get(request.dtype, ""))
    for tensor in given:
        if tensor.name in matched:
            plan.drop(tensor, dropped_reason(matched[tensor.name]))
    for tensor in left_out:
        plan.drop(tensor, f"its name does not begin with {request.strip_prefix}")
    for tensor in stored.values():
        if tensor.name in head.dropped:
            plan.drop(tensor, "the classifier is new" if head.num_classes else "the classifier is left out")
        elif tensor.name not in head.new:
            plan.write(tensor, transforms.get(tensor.name))
    if head.new:
        from zoo.core.architectures.published import classifier_init

        init = classifier_init(cfg.architecture or twin)
        for name, shape in head.new.items():
            plan.renew(name, shape, init, stored.get(name), like=stored[stem.weights[0]].dtype)
    return AdaptPlan(
        cfg=cfg,
        request=request,
        stem=stem,
        mixings=mixings,
        in_chans=in_chans,
        num_classes=head.num_classes,
        placements=placements,
        changes=tuple(plan.changes),
        tensors=tuple(plan.tensors),
        sources=plan.sources,
        non_finite=plan.non_finite,
        dropped={
            tensor.name.removeprefix(request.strip_prefix): tensor.shape for tensor in given if tensor.name in matched
        },
        needs_numpy=plan.needs_numpy,
        image_size=image_size,
    )


class _Transform(NamedTuple):
    action: Action
    shape: tuple[int, ...]
    apply: Transform
    mixing: ChannelMixing | None = None
    """Where this is all that is done, to (out, C, ...) as it lies in memory."""


def _is_small(tensor: StoredTensor, dtype: str, transform: _Transform | None) -> bool:
    """Whether the new values are few, and mixed of what the standard library has arrays for."""
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


class _Tensors:
    """Collects what is written, under which name and from what."""

    def __init__(self, request: AdaptRequest, dtype: str) -> None:
        self.request, self.dtype = request, dtype
        self.changes: list[TensorChange] = []
        self.tensors: list[StoredTensor] = []
        self.sources: dict[str, StoredTensor] = {}
        self.non_finite: list[str] = []
        self.needs_numpy = False

    def drop(self, tensor: StoredTensor, reason: str) -> None:
        self.changes.append(TensorChange(tensor.name, "drop", tensor.shape, tensor.dtype, reason=reason))

    def write(self, tensor: StoredTensor, transform: _Transform | None) -> None:
        name = self.request.prefix + tensor.name
        dtype = cast_dtype(tensor, self.dtype)
        shape = transform.shape if transform else tensor.shape
        if transform is None and dtype == tensor.dtype:
            new = tensor._replace(name=name)
        else:
            nbytes = prod(shape) * DTYPE_BITS[dtype] // 8
            compute = partial(self._computed, tensor, dtype, transform, name)
            new = StoredTensor(name, dtype, shape, Computed(nbytes, compute))
            self.needs_numpy |= not _is_small(tensor, dtype, transform)
        action: Action = transform.action if transform else "copy" if dtype == tensor.dtype else "cast"
        self.changes.append(TensorChange(tensor.name, action, tensor.shape, tensor.dtype, name, shape, dtype))
        self.tensors.append(new)
        self.sources[name] = tensor

    def renew(
        self, name: str, weight: tuple[int, ...], init: ClassifierInit, old: StoredTensor | None, like: str
    ) -> None:
        """A tensor of a new classifier whose weight has this shape, in the dtype of the old one or of `like`."""
        shape = weight[:1] if name.endswith(".bias") else weight
        dtype = self.dtype or next((d for d in (old.dtype if old else "", like) if d in _NEW_DTYPES), "F32")
        nbytes = prod(shape) * DTYPE_BITS[dtype] // 8
        compute = partial(_initial_bytes, name, weight, init, self.request.seed, dtype)
        new_name = self.request.prefix + name
        was = ((), "") if old is None else (old.shape, old.dtype)
        self.changes.append(TensorChange(name, "new", *was, new_name, shape, dtype))
        self.tensors.append(StoredTensor(new_name, dtype, shape, Computed(nbytes, compute)))
        self.needs_numpy |= dtype not in _ARRAY_CODES

    def _computed(
        self, tensor: StoredTensor, dtype: str, transform: _Transform | None, name: str
    ) -> Iterator[bytes | memoryview]:
        """The new bytes: all at once where values depend on each other, else a few megabytes at a time."""
        if transform and transform.mixing and _is_small(tensor, dtype, transform):
            floats = _mixed_floats(tensor, transform.mixing)
            if not all(map(isfinite, floats)):
                self.non_finite.append(name)
            yield floats.tobytes()
            return
        if transform:
            values = transform.apply(to_float32(tensor.read(), tensor.dtype, tensor.shape))
            pieces = iter([from_float32(values, dtype)])
        else:
            pieces = cast_pieces(tensor, dtype)
        for data in pieces:
            if name not in self.non_finite and not is_finite(data, dtype):
                self.non_finite.append(name)
            yield data


# ---------------------------------------------------------------- what is asked of which tensor


def _mixings(
    stem: Stem, request: AdaptRequest, stated_bands: Sequence[str]
) -> tuple[tuple[ChannelMixing, ...], tuple[str, ...]]:
    """The mixing of each layer's channels (of one group, where it has groups), and how each band got its filter."""
    if stem.apart:
        return _mixings_apart(stem, request), ()
    mixing, placements = _mixing(stem, request, stated_bands)
    return (mixing,) * len(stem.layers), placements


def _mixings_apart(stem: Stem, request: AdaptRequest) -> tuple[ChannelMixing, ...]:
    """Those of layers that read channels of their own."""
    if request.bands:
        raise InvalidInputError(
            "Bands cannot be placed by name where each input layer reads its own.", hint="Use --method."
        )
    if not stem.new_chans and request.in_chans not in (None, stem.from_chans):
        raise UsageError(
            f"The {stem.from_chans} channels are read by {len(stem.layers)} layers, {' + '.join(map(str, stem.chans))};"
            f" which of them should read the {request.in_chans} is not said.",
            hint=f"Say it: {' '.join(f'--input-layer {layer}=N' for layer in stem.layers)}",
        )
    if request.in_chans not in (None, sum(stem.new_chans or stem.chans)):
        raise UsageError(
            f"The layers were given {' + '.join(map(str, stem.new_chans))} channels, but {request.in_chans} asked for.",
            hint="Leave out --in-chans, it is their sum.",
        )
    layout = stem.layout
    return tuple(
        channel_mixing(request.method, layout.mixed_channels(before), layout.mixed_channels(after))
        for before, after in zip(stem.chans, stem.new_chans or stem.chans, strict=True)
    )


def _mixing(stem: Stem, request: AdaptRequest, stated_bands: Sequence[str]) -> tuple[ChannelMixing, tuple[str, ...]]:
    if not request.bands:
        in_chans = stem.from_chans if request.in_chans is None else request.in_chans
        layout = stem.layout
        return (
            channel_mixing(request.method, layout.mixed_channels(stem.from_chans), layout.mixed_channels(in_chans)),
            (),
        )
    from zoo.core.channels.band_placement import place_bands
    from zoo.core.channels.bands import parse_bands

    if stem.layout.kind == "groups":
        raise InvalidInputError("Bands cannot be placed by name in an input layer of groups.", hint="Use --method.")
    source_bands = request.from_bands
    if not source_bands and len(stated_bands) == stem.from_chans:
        source_bands = parse_bands(stated_bands)
    if not source_bands and stem.from_chans == 3:
        source_bands = parse_bands("red,green,blue")
    if len(source_bands) != stem.from_chans:
        found = f"{len(source_bands)} were named" if source_bands else "they are not known"
        raise UsageError(
            f"The source reads {stem.from_chans} bands; {found}.", hint="Name all of them, in order, with --from-bands."
        )
    placements = place_bands(source_bands, request.bands, request.missing_bands)
    told = tuple(f"{placement.band.name} <- {_filters_told(placement, source_bands)}" for placement in placements)
    return band_mixing([placement.shares for placement in placements], stem.from_chans), told


def _filters_told(placement: Placement, source_bands: Sequence[Band]) -> str:
    """Where a band's filter is from, and why."""
    if placement.how in ("no wavelength", "not by wavelength"):
        return f"mean of all ({placement.how})"
    shares = " + ".join(f"{share:.3g} {source_bands[i].name}" for i, share in placement.shares)
    return f"{shares or 'zero'} ({placement.how})"


def _selections(
    stored: Mapping[str, StoredTensor], names: Iterable[str], classes: Sequence[int]
) -> dict[str, _Transform]:
    """The rows to keep of a classifier's tensors."""

    def select(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values[list(classes)]

    return {name: _Transform("select", (len(classes), *stored[name].shape[1:]), select) for name in names}


_TELL_A_SIZE = ("pos_embed", "patch_pos", "relative_position_bias_table")
"""Endings of the names of tensors that may tell the image size: others cost no import."""


def _resizes(
    stored: Mapping[str, StoredTensor],
    cfg: PretrainedCfg,
    request: AdaptRequest,
    source: str,
    stated: tuple[int, int] | None,
) -> tuple[dict[str, _Transform], tuple[int, int] | None]:
    """What another image or patch size does to tensors that depend on it; and the image size of the result, where it
    is not the config's or tensors were resized for it."""
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
    # Of published weights the config is true, whatever the tensors look like.
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
    """The image size that the source states, else the one that a person gives.

    Raises UsageError where both are possible and differ: a person overrules only a statement that is wrong.
    """
    if given is None or stated is None or stated == given:
        return given or stated
    from zoo.core.resize.plan import fits_size

    if not fits_size(family, shapes, stated):
        return given
    raise UsageError(
        f"{source} says that it is for images of {stated[0]} x {stated[1]}, not {given[0]} x {given[1]}.",
        hint="Leave out --source-size.",
    )
