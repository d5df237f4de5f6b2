"""What adapting a checkpoint does to each of its tensors, decided from names and shapes before a byte is read."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite, prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from zoo.core.adapt import ChannelMixing, band_mixing, channel_mixing
from zoo.core.adapt_request import DTYPES, AdaptRequest
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.float_bytes import FLOAT_DTYPES, cast_dtype, cast_pieces, from_float32, is_finite, to_float32
from zoo.core.input_layers import InputLayout
from zoo.core.records import PretrainedCfg, module_paths
from zoo.core.stem import Stem, find_stem
from zoo.core.stored_tensor import DTYPE_BITS, Computed, StoredTensor, without_prefix

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Transform = Callable[[NDArray[np.float32]], NDArray[np.float32]]

Action = Literal["copy", "cast", "adapt", "resize", "select", "drop"]

_FEW_VALUES = 1 << 18
"""So many values of a layer are mixed without numpy in less time than importing it takes."""

_ARRAY_CODES = {"F32": "f", "F64": "d"}


class TensorChange(NamedTuple):
    """What happens to one tensor of the source; the `new_` values are empty where it is dropped, for `reason`."""

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

    `changes` has one entry a tensor of the source, in its order; `tensors` are those to write, under their new names,
    `sources` the source's under the same names. `non_finite` fills while tensors are computed: names of those that
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
    needs_numpy: bool = False

    @property
    def method(self) -> str:
        """How the filters of the new channels are made; "none" where no layer gets any."""
        return next((mixing.method for mixing in self.mixings if not mixing.is_identity), "none")

    def gains(self) -> tuple[float, ...]:
        """By how much each source channel counts, those of layers with channels of their own one after another."""
        return tuple(gain for mixing in self._parts() for gain in mixing.gains())

    def _parts(self) -> tuple[ChannelMixing, ...]:
        return self.mixings if self.stem.apart else self.mixings[:1]

    @property
    def has_classifier(self) -> bool:
        """Whether the classifier is in the file to write."""
        return bool(self.num_classes) and not any(
            change.action == "drop" and _is_under(change.name, module_paths(self.cfg.classifier))
            for change in self.changes
        )

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
        """Name, without a prefix, and shape of every tensor of the source that is used."""
        return {tensor.name: tensor.shape for tensor in self.sources.values()}

    def model_args(self) -> dict[str, Any]:
        """What the model has to be built with for tensors that were resized."""
        if not any(change.action == "resize" for change in self.changes):
            return {}
        args = {"img_size": self.request.img_size, "patch_size": self.request.patch_size}
        return {key: value for key, value in args.items() if value}


def plan_adaptation(
    tensors: Iterable[StoredTensor],
    cfg: PretrainedCfg,
    request: AdaptRequest,
    source: str,
    stated_bands: Sequence[str] = (),
) -> AdaptPlan:
    """Decide what becomes of every tensor.

    Args:
        tensors: of the source, in the order of the file.
        cfg: what is known of them: input layers and classifier, input size, mean and std; values may be missing.
        request: what to change.
        source: the file, for messages.
        stated_bands: those that the source says it reads, for `request.bands` without `from_bands`.

    Raises:
        InvalidInputError: the tensors do not allow it. UsageError: the request contradicts itself or them.
    """
    stored, left_out = without_prefix(tensors, request.strip_prefix, source)
    if request.classifier:
        cfg = replace(cfg, classifier=request.classifier)
    stem = find_stem(stored, cfg, source, input_layers=request.input_layers, layout=request.input_layout)
    cfg = replace(cfg, first_conv=stem.layers[0] if len(stem.layers) == 1 else stem.layers)
    mixings, placements = _mixings(stem, request, stated_bands)
    in_chans = sum(mixing.in_chans for mixing in (mixings if stem.apart else mixings[:1])) * stem.num_groups

    cfg = _with_classifier(cfg, stored, request)
    from_classes = _num_classes(stored, cfg)
    head, transforms = _head_transforms(stored, cfg, request, from_classes, source)
    transforms |= _resizes(stored, cfg, request, source)
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
    for tensor in left_out:
        plan.drop(tensor, f"its name does not begin with {request.strip_prefix}")
    for tensor in stored.values():
        if _is_under(tensor.name, head):
            plan.drop(tensor, "loading makes a new classifier")
        else:
            plan.write(tensor, transforms.get(tensor.name))
    num_classes = len(request.keep_classes) or (from_classes if request.num_classes is None else request.num_classes)
    return AdaptPlan(
        cfg=cfg,
        request=request,
        stem=stem,
        mixings=mixings,
        in_chans=in_chans,
        num_classes=num_classes,
        placements=placements,
        changes=tuple(plan.changes),
        tensors=tuple(plan.tensors),
        sources=plan.sources,
        non_finite=plan.non_finite,
        needs_numpy=plan.needs_numpy,
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
    from zoo.core.band_placement import place_bands
    from zoo.core.bands import parse_bands

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
    told = tuple(
        f"{placement.band.name} <- "
        + (" + ".join(f"{share:.3g} {source_bands[i].name}" for i, share in placement.shares) or "zero")
        + f" ({placement.how})"
        for placement in placements
    )
    return band_mixing([placement.shares for placement in placements], stem.from_chans), told


def _is_under(name: str, paths: Sequence[str]) -> bool:
    return any(name.startswith(f"{path}.") for path in paths)


def _with_classifier(cfg: PretrainedCfg, stored: Mapping[str, StoredTensor], request: AdaptRequest) -> PretrainedCfg:
    """The config with a classifier found by its name, where one is to be changed and none is stated."""
    if cfg.classifier or (request.num_classes is None and not request.keep_classes):
        return cfg
    from zoo.core.known_architectures import classifier_names

    found = [path for path in classifier_names() if len(getattr(stored.get(f"{path}.weight"), "shape", ())) == 2]
    if len(found) != 1:
        raise UsageError(
            f"The classifier cannot be told from the names; candidates: {', '.join(found) or 'none'}.",
            hint="Name it with --classifier.",
        )
    return replace(cfg, classifier=found[0])


def _num_classes(stored: Mapping[str, StoredTensor], cfg: PretrainedCfg) -> int:
    for path in module_paths(cfg.classifier):
        weight = stored.get(f"{path}.weight")
        if weight is not None and weight.shape:
            return weight.shape[0]
    return 0


def _head_transforms(
    stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, request: AdaptRequest, num_classes: int, source: str
) -> tuple[tuple[str, ...], dict[str, _Transform]]:
    """The module paths to drop, and the row selections."""
    paths = module_paths(cfg.classifier)
    if request.classifier and not any(_is_under(name, paths) for name in stored):
        raise InvalidInputError(f"{source} has no tensors of the classifier {' and '.join(paths)}.", path=source)
    if not request.keep_classes:
        unchanged = request.num_classes is None or request.num_classes == num_classes
        return ((), {}) if unchanged else (paths, {})
    if max(request.keep_classes) >= num_classes:
        raise InvalidInputError(
            f"The class {max(request.keep_classes)} is to be kept, but {source} has {num_classes}, counted from 0.",
            path=source,
        )

    def select(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return values[list(request.keep_classes)]

    rows = len(request.keep_classes)
    return (), {
        name: _Transform("select", (rows, *tensor.shape[1:]), select)
        for name, tensor in stored.items()
        if _is_under(name, paths) and tensor.dtype in FLOAT_DTYPES and tensor.shape[:1] == (num_classes,)
    }


def _resizes(
    stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, request: AdaptRequest, source: str
) -> dict[str, _Transform]:
    """What another image or patch size does to tensors that depend on it."""
    if request.img_size is None and request.patch_size is None:
        return {}
    from zoo.core.known_architectures import family_of
    from zoo.core.resize_plan import plan_resizes

    family = family_of(cfg.architecture)
    if family is None:
        raise InvalidInputError(
            f"Which tensors of {source} depend on the image size follows from its architecture, which is not known.",
            hint="Give the model's name, and the file with --weights.",
            path=source,
        )
    plan = plan_resizes(
        family,
        {name: tensor.shape for name, tensor in stored.items()},
        source_size=cfg.input_size[1:],
        img_size=request.img_size,
        patch_size=request.patch_size,
        architecture=cfg.architecture,
    )
    return {name: _Transform("resize", resize.new_shape, resize.apply) for name, resize in plan.items()}
