"""Match the tensors of a checkpoint with those of a model, by names and shapes, before any value is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.family_facts import size_facts
from zoo.core.architectures.records import PretrainedCfg, Spec, module_paths
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import ChannelMixing, channel_mixing
from zoo.core.errors import InvalidInputError
from zoo.core.files.tensor_names import first_names
from zoo.core.layouts.engine import towards_timm
from zoo.core.model.save import DTYPE_NAMES, stored_tensor, tensor_of
from zoo.core.model.state_dict import TORCH_DTYPES
from zoo.core.model.unfold_batch_norm import unfold_batch_norms
from zoo.core.resize.plan import image_size_of, plan_resizes
from zoo.core.resize.rule import Resize, Shape
from zoo.models.base import ImageModel

StateDict = MutableMapping[str, Tensor]
BATCH_COUNTERS = "*num_batches_tracked"


@dataclass(frozen=True)
class LoadOptions:
    """What a load tolerates, and what it leaves out.

    Args:
        strict: an entry without a counterpart on either side is a misfit.
        allow_missing: wildcards for the model's keys that the checkpoint may lack.
        allow_unexpected: wildcards for the checkpoint's keys that may have no place in the model.
        new_classifier: drop a classifier of a different size; the model keeps its initial one.
        not_needed: keys of parts that were cut off the model; they are ignored.
        source_size: height and width of the images that the checkpoint states; None if it states nothing.
    """

    strict: bool = True
    allow_missing: Sequence[str] = ()
    allow_unexpected: Sequence[str] = ()
    new_classifier: bool = False
    not_needed: Collection[str] = ()
    source_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Misshapen:
    """A tensor whose shape still differs from the model's after all adaptations."""

    name: str
    expected: Shape
    found: Shape

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Match:
    """What happens to every tensor of a checkpoint and of a model, by the keys of `repair_keys`.

    Args:
        used: keys whose values reach the model.
        resizes: those of `used` that are fitted to the model's image and patch size.
        mixings: those of `used` that are input layers refitted to the model's channels, after any resize.
        layout: where the channels of the input layers are.
        dropped: tensors of an unwanted classifier.
        missing: keys of the model that the checkpoint lacks.
        unexpected: keys of the checkpoint that the model lacks.
        misshapen: keys of both whose shapes differ.
        unexplained: keys of `missing` and `unexpected` that nothing excuses.
    """

    used: tuple[str, ...]
    resizes: Mapping[str, Resize]
    mixings: Mapping[str, ChannelMixing]
    layout: InputLayout
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[Misshapen, ...]
    unexplained: frozenset[str]

    def problems(self) -> str:
        """The reasons why it does not fit: counts and the first names; empty if it fits."""
        groups = (
            ("of another shape", [str(misshapen) for misshapen in self.misshapen]),
            ("missing", [key for key in self.missing if key in self.unexplained]),
            ("unknown", [key for key in self.unexpected if key in self.unexplained]),
        )
        return "; ".join(f"{len(keys)} {label} ({first_names(keys)})" for label, keys in groups if keys)


def match_weights(model: nn.Module, found: Mapping[str, Tensor], cfg: PretrainedCfg, options: LoadOptions) -> Match:
    """Decide how these tensors load. Only names and shapes are used: tensors may be on the meta device.

    Args:
        model: one of zoo's models, or any module (then nothing is adapted).
        found: the checkpoint as returned by `repair_keys`.
        cfg: what the checkpoint is made for: image size, input layers.
        options: what may be missing.

    Raises:
        InvalidInputError: a tensor depends on the image size and cannot be resized to the model's.
    """
    wanted = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    shapes = {key: tuple(tensor.shape) for key, tensor in found.items() if key not in options.not_needed}
    resizes, not_told = _plan_resizes(model, shapes, wanted, cfg, options.source_size)
    shapes |= {key: resize.new_shape for key, resize in resizes.items()}
    spec = getattr(model, "spec", None)
    layout = InputLayout.parse(spec.input_layout) if isinstance(spec, Spec) else InputLayout()
    mixings = _plan_mixings(layout, module_paths(cfg.first_conv), shapes, wanted)
    shapes |= {key: layout.shape_for(shapes[key], layout.channels(wanted[key])) for key in mixings}
    dropped = _unwanted_classifier(model, shapes, wanted, options.new_classifier)

    kept = {key: shape for key, shape in shapes.items() if key not in dropped}
    shared = [key for key in kept if key in wanted]
    misshapen = [Misshapen(key, wanted[key], shapes[key]) for key in shared if shapes[key] != wanted[key]]
    used = tuple(key for key in shared if shapes[key] == wanted[key])
    missing = tuple(key for key in wanted if key not in kept)
    unexpected = tuple(key for key in kept if key not in wanted)
    # A head dropped on request may stay new; a batch counter may start at zero.
    excused = set(dropped)
    if options.new_classifier and not _classifier_keys(model, shapes):
        excused.update(_classifier_keys(model, wanted))
    may_miss = [*options.allow_missing, BATCH_COUNTERS]
    unexplained = [key for key in missing if key not in excused and not _is_any_of(key, may_miss)]
    unexplained += [key for key in unexpected if not _is_any_of(key, options.allow_unexpected)]
    if not_told and not unexplained and all(_is_of_a_size(model, tensor.name) for tensor in misshapen):
        raise not_told  # everything else fits
    return Match(
        used=used,
        resizes={key: resize for key, resize in resizes.items() if shapes[key] == wanted.get(key)},
        mixings={key: mixing for key, mixing in mixings.items() if shapes[key] == wanted[key]},
        layout=layout,
        dropped=tuple(dropped),
        missing=missing,
        unexpected=unexpected,
        misshapen=tuple(misshapen),
        unexplained=frozenset(unexplained if options.strict else ()),
    )


def _is_any_of(key: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


# ---------------------------------------------------------------- what depends on the family


def repair_keys(model: nn.Module, state_dict: StateDict) -> tuple[StateDict, tuple[str, ...]]:
    """Apply the family's repairs to published files whose keys differ from the model's.

    Returns the tensors by the model's keys, and the keys of those known to have no place in the model. A family states
    in `KEY_LAYOUTS` whose files it takes (tables of `core.layouts`), in `unused_keys` what has no place, and in
    `repair_keys` what no table says. Batch norms that a graph has folded into the layers before them are given back.
    """
    family = import_module(f"zoo.models.{_family(model)}") if _family(model) else None
    unused: set[str] = getattr(family, "unused_keys", lambda _keys, _model: set())(state_dict.keys(), model)
    used = {key: value for key, value in state_dict.items() if key not in unused} if unused else state_dict
    renamed, left_out = _by_tables(getattr(family, "KEY_LAYOUTS", ()), used, model)
    repaired = getattr(family, "repair_keys", lambda tensors, _model: tensors)(renamed, model)
    whole = unfold_batch_norms(model, repaired)
    return whole, tuple(key for key in state_dict if key in unused or key in left_out)


def _by_tables(layouts: Sequence[str], state_dict: StateDict, model: nn.Module) -> tuple[StateDict, Collection[str]]:
    """The tensors by the names that these layouts' tables give, and the keys that they leave out."""
    wanted = model.state_dict().keys()
    if not layouts or state_dict.keys() <= wanted:
        return state_dict, ()
    stored = {key: stored_tensor(key, value) for key, value in state_dict.items() if _is_dense(value)}
    found, left_out = towards_timm(layouts, stored, wanted)
    if found is stored:
        return state_dict, ()
    on_meta = any(value.is_meta for value in state_dict.values())
    tensors = {key: value for key, value in state_dict.items() if key not in stored}
    for key, tensor in found.items():
        if tensor is stored.get(key):
            tensors[key] = state_dict[key]
        elif on_meta:
            tensors[key] = torch.empty(tensor.shape, dtype=TORCH_DTYPES[tensor.dtype], device="meta")
        else:
            tensors[key] = tensor_of(tensor)
    return tensors, left_out.keys()


def _is_dense(tensor: Tensor) -> bool:
    return tensor.dtype in DTYPE_NAMES and tensor.layout == torch.strided


def _family(model: nn.Module) -> str:
    """The family of a model; '' if the model is not zoo's."""
    return model.family if isinstance(model, ImageModel) else ""


def _plan_resizes(
    model: nn.Module,
    shapes: Mapping[str, Shape],
    wanted: Mapping[str, Shape],
    cfg: PretrainedCfg,
    stated: tuple[int, int] | None,
) -> tuple[dict[str, Resize], InvalidInputError | None]:
    """The resizes of tensors that depend on image size, patch size or windows; or the error if the size is unknown."""
    family = _family(model)
    if not isinstance(model, ImageModel) or model.img_size is None:
        return {}, None
    # A file without the patch embedding fits no size; it is reported with the other missing tensors.
    patches = size_facts(family).patch_kernel
    kernel = wanted.get(patches, ()) if patches in shapes else ()
    usual = cfg.input_size[1:]
    embeds_prefix = model.spec.embeds_prefix
    try:
        source = image_size_of(
            family,
            shapes,
            source_size=stated or usual,
            stated=stated is not None,
            img_size=model.img_size,
            embeds_prefix=embeds_prefix,
        )
    except InvalidInputError as error:
        if stated or model.img_size != usual:
            raise
        return {}, error  # other misfits are more telling
    resizes = plan_resizes(
        family,
        shapes,
        source_size=source,
        stated=stated is not None,
        img_size=model.img_size,
        patch_size=(kernel[2], kernel[3]) if len(kernel) == 4 else None,
        windows=model.windows,
        architecture=cfg.architecture,
        embeds_prefix=embeds_prefix,
    )
    return resizes, None


def _is_of_a_size(model: nn.Module, key: str) -> bool:
    """Whether this is one of the tensors that depend on the image size."""
    return any(re.fullmatch(one.names, key) for one in size_facts(_family(model)).tensors)


def _plan_mixings(
    layout: InputLayout, input_layers: Sequence[str], shapes: Mapping[str, Shape], wanted: Mapping[str, Shape]
) -> dict[str, ChannelMixing]:
    """The mixings of input layers with a different number of channels."""
    mixings = {}
    for key in (f"{layer}.weight" for layer in input_layers):
        if key not in shapes or key not in wanted:
            continue
        from_chans, in_chans = layout.channels(shapes[key]), layout.channels(wanted[key])
        if len(shapes[key]) == len(wanted[key]) and from_chans != in_chans and from_chans and in_chans:
            mixings[key] = channel_mixing("repeat", layout.mixed_channels(from_chans), layout.mixed_channels(in_chans))
    return mixings


def _classifier_keys(model: nn.Module, keys: Mapping[str, object]) -> list[str]:
    if not isinstance(model, ImageModel):
        return []
    prefixes = tuple(f"{path}." for path in model.classifier_paths)
    return [key for key in keys if key.startswith(prefixes)]


def _unwanted_classifier(
    model: nn.Module, shapes: Mapping[str, Shape], wanted: Mapping[str, Shape], new_classifier: bool
) -> dict[str, Shape]:
    if not (new_classifier or getattr(model, "num_classes", None) == 0):
        return {}
    keys = _classifier_keys(model, shapes)
    # Drop layer by layer: a norm before the classifier fits any number of classes.
    misfits = {_layer(key) for key in keys if wanted.get(key) != shapes[key]}
    return {key: shapes[key] for key in keys if _layer(key) in misfits}


def _layer(key: str) -> str:
    return key.rpartition(".")[0]
