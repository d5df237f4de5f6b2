"""Weights into a model: adapted where asked, and never with anything lost or left random quietly."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.adapt import channel_mixing
from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.input_layers import InputLayout
from zoo.core.records import PretrainedCfg, Spec, module_paths
from zoo.core.resize_families import PATCH_KERNELS
from zoo.core.resize_plan import plan_resizes
from zoo.models.base import ImageModel
from zoo.weights_cache.download import fetch
from zoo.weights_cache.layouts import to_timm
from zoo.weights_cache.read import clean_state_dict, read_state_dict

StateDict = MutableMapping[str, Tensor]


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor of a checkpoint.

    `resized` were fitted to the model's image and patch size, `adapted` are input layers refitted to its channels;
    `dropped` were in the file and have no place, `initialised` were not and hold their initial values.
    """

    source: str
    loaded: int
    resized: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    initialised: tuple[str, ...] = ()


def load_pretrained(
    model: nn.Module,
    pretrained_cfg: Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    filter_fn: Any = None,
    strict: bool = True,
    *,
    allow_missing: Sequence[str] = (),
    not_needed: Collection[str] = (),
) -> LoadReport:
    """Load the weights that a default config names into a model.

    The input layer is adapted to the model's channels; where the config's number of classes is not the model's, the
    classifier keeps its initial values.

    Args:
        model: one of zoo's models.
        pretrained_cfg: default: the model's own.
        num_classes, in_chans: the model's, checked where given.
        filter_fn: `filter_fn(state_dict, model) -> state_dict`, applied first.
        strict: an entry without a counterpart on either side is an error.
        allow_missing: wildcards of keys that the weights may lack.
        not_needed: keys of parts that were cut off the model; they are passed over.

    Raises:
        NotFoundError: the config names no weights, or they cannot be had.
        InvalidInputError: they do not fit.
    """
    given = getattr(model, "pretrained_cfg", {}) if pretrained_cfg is None else pretrained_cfg
    cfg = given if isinstance(given, PretrainedCfg) else PretrainedCfg.from_mapping(given)
    if not cfg.has_weights:
        raise NotFoundError(f"The config of {cfg.name or type(model).__name__} names no weights.")
    for label, wanted, found in (
        ("num_classes", num_classes, getattr(model, "num_classes", None)),
        ("in_chans", in_chans, getattr(model, "in_chans", None)),
    ):
        if wanted is not None and found is not None and wanted != found:
            raise InvalidInputError(f"{label} is {wanted}, but the model was built with {found}.")
    if cfg.state_dict is not None:
        source, state_dict = "state dict in memory", clean_state_dict(cfg.state_dict)
    else:
        weight_file = fetch(cfg)
        source, state_dict = str(weight_file.path), read_state_dict(weight_file.path)
        if cfg.key_layout:
            state_dict = to_timm(cfg.key_layout, state_dict, model.state_dict())
    if filter_fn is not None:
        state_dict = filter_fn(state_dict, model)
    new_classifier = cfg.num_classes != getattr(model, "num_classes", cfg.num_classes)
    return _load(model, state_dict, source, cfg, strict, allow_missing, new_classifier, not_needed)


def load_checkpoint(
    model: nn.Module,
    checkpoint_path: str | Path,
    use_ema: bool = True,
    strict: bool = True,
    *,
    allow_missing: Sequence[str] = (),
    new_classifier: bool = False,
    not_needed: Collection[str] = (),
    img_size: tuple[int, int] | None = None,
) -> LoadReport:
    """Load a weight file of the caller's own; its input layer is adapted to the model's channels.

    Args:
        model: one of zoo's models, or any module (then nothing is adapted).
        checkpoint_path: safetensors, or a torch file that holds tensors only.
        use_ema: prefer averaged weights where the file has both.
        strict, allow_missing, not_needed: as in `load_pretrained`.
        new_classifier: a classifier of another size in the file is dropped, the model keeps its initial one.
        img_size: height and width of the images that the file is made for, default the model's.
    """
    state_dict = read_state_dict(checkpoint_path, use_ema=use_ema)
    given = getattr(model, "pretrained_cfg", None) or {}
    cfg = PretrainedCfg.from_mapping(given)
    if img_size is not None:
        cfg = replace(cfg, input_size=(cfg.input_size[0], *img_size))
    return _load(model, state_dict, str(checkpoint_path), cfg, strict, allow_missing, new_classifier, not_needed)


def _load(
    model: nn.Module,
    state_dict: StateDict,
    source: str,
    cfg: PretrainedCfg,
    strict: bool,
    allow_missing: Sequence[str],
    new_classifier: bool,
    not_needed: Collection[str],
) -> LoadReport:
    wanted = model.state_dict()
    state_dict = {k: t for k, t in _repair_keys(model, state_dict).items() if k not in not_needed}
    resized = _resize(model, state_dict, wanted, cfg)
    adapted = _adapt_input_layers(model, state_dict, wanted, cfg)
    dropped = _drop_classifier(model, state_dict, wanted, new_classifier)
    shapes = [
        f"{key}: expected {tuple(wanted[key].shape)}, found {tuple(value.shape)}"
        for key, value in state_dict.items()
        if key in wanted and wanted[key].shape != value.shape
    ]
    missing = [key for key in wanted if key not in state_dict]
    unexpected = [key for key in state_dict if key not in wanted]
    # A head that was dropped on request may stay new; a batch counter starts at zero without harm.
    excused = [*allow_missing, "*num_batches_tracked", *dropped]
    if new_classifier and not _classifier_keys(model, state_dict):
        excused += _classifier_keys(model, wanted)
    unexplained = [key for key in missing if not any(fnmatchcase(key, p) for p in excused)]
    if shapes or (strict and (unexplained or unexpected)):
        raise _mismatch(source, model, shapes, unexplained, unexpected)

    for key in unexpected:
        del state_dict[key]
    for key, value in state_dict.items():
        if value.dtype != wanted[key].dtype:
            state_dict[key] = value.to(wanted[key].dtype)
    if any(t.is_meta for t in wanted.values()):
        model.load_state_dict(state_dict, strict=False, assign=True)
        materialize(model)
    else:
        model.load_state_dict(state_dict, strict=False)
    report = LoadReport(
        source=source,
        loaded=len(state_dict),
        resized=tuple(resized),
        adapted=tuple(adapted),
        dropped=(*dropped, *unexpected),
        initialised=tuple(key for key in missing if not key.endswith("num_batches_tracked")),
    )
    if isinstance(model, ImageModel):
        model.load_report = report
    return report


def _mismatch(
    source: str, model: nn.Module, shapes: list[str], missing: list[str], unexpected: list[str]
) -> InvalidInputError:
    def some(label: str, keys: list[str]) -> str:
        more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
        return f"{len(keys)} {label} ({', '.join(keys[:3])}{more})"

    parts = [some(label, keys) for label, keys in (
        ("of another shape", shapes), ("missing", missing), ("unknown", unexpected)
    ) if keys]  # fmt: skip
    return InvalidInputError(
        f"{source} does not fit {type(model).__name__}: {'; '.join(parts)}.",
        hint="Build the model that the file was made for, or name what may be missing (allow_missing in the library).",
        path=source,
    )


def _family(model: nn.Module) -> str:
    """The family of a model, '' for one that is not zoo's."""
    modules = (model_class.__module__ for model_class in type(model).__mro__)
    found = next((module for module in modules if module.startswith("zoo.models.")), "")
    return found.rpartition(".")[2]


def _repair_keys(model: nn.Module, state_dict: StateDict) -> StateDict:
    """The family's own repair of published files whose keys differ (its `repair_keys`), where it has one."""
    family = _family(model)
    repair = getattr(import_module(f"zoo.models.{family}"), "repair_keys", None) if family else None
    return repair(state_dict, model) if callable(repair) else state_dict


def _resize(model: nn.Module, state_dict: StateDict, wanted: Mapping[str, Tensor], cfg: PretrainedCfg) -> list[str]:
    """Fit what depends on the image or patch size, or on windows, to the model's; returns the keys."""
    family = _family(model)
    if not isinstance(model, ImageModel) or model.img_size is None:
        return []
    kernel = wanted.get(PATCH_KERNELS.get(family, ""))
    patch_size = (kernel.shape[2], kernel.shape[3]) if kernel is not None and kernel.ndim == 4 else None
    plan = plan_resizes(
        family,
        {key: tensor.shape for key, tensor in state_dict.items()},
        source_size=cfg.input_size[1:],
        img_size=model.img_size,
        patch_size=patch_size,
        windows=model.windows,
        architecture=cfg.architecture,
    )
    for key, resize in plan.items():
        tensor = state_dict[key]
        state_dict[key] = torch.from_numpy(resize.apply(tensor.float().numpy())).to(tensor.dtype)
    return list(plan)


def _adapt_input_layers(
    model: nn.Module, state_dict: StateDict, wanted: Mapping[str, Tensor], cfg: PretrainedCfg
) -> list[str]:
    spec = getattr(model, "spec", None)
    layout = InputLayout.parse(spec.input_layout) if isinstance(spec, Spec) else InputLayout()
    adapted = []
    for layer in module_paths(cfg.first_conv):
        key = f"{layer}.weight"
        if key not in state_dict or key not in wanted:
            continue
        weight, in_chans = state_dict[key], layout.channels(wanted[key].shape)
        from_chans = layout.channels(weight.shape)
        if weight.ndim != wanted[key].ndim or from_chans == in_chans or not (from_chans and in_chans):
            continue
        mixing = channel_mixing("repeat", layout.mixed_channels(from_chans), layout.mixed_channels(in_chans))
        fitted = layout.adapt(weight.float().numpy(), mixing)
        state_dict[key] = torch.from_numpy(fitted).to(weight.dtype)
        adapted.append(key)
    return adapted


def _classifier_keys(model: nn.Module, state_dict: Mapping[str, Tensor]) -> list[str]:
    if not isinstance(model, ImageModel):
        return []
    prefixes = tuple(f"{path}." for path in model.classifier_paths)
    return [key for key in state_dict if key.startswith(prefixes)]


def _drop_classifier(
    model: nn.Module, state_dict: StateDict, wanted: Mapping[str, Tensor], new_classifier: bool
) -> list[str]:
    keys = _classifier_keys(model, state_dict)
    misfits = {_layer(key) for key in keys if key not in wanted or wanted[key].shape != state_dict[key].shape}
    if not (new_classifier or getattr(model, "num_classes", None) == 0):
        return []
    # Layer by layer: a norm before the classifier fits any number of classes.
    keys = [key for key in keys if _layer(key) in misfits]
    for key in keys:
        del state_dict[key]
    return keys


def _layer(key: str) -> str:
    return key.rpartition(".")[0]


@torch.no_grad()
def materialize(model: nn.Module) -> None:
    """Give memory and initial values to every tensor that is still on the meta device; the others keep theirs."""
    fresh = isinstance(model, ImageModel) and all(p.is_meta for p in model.parameters())
    for name, module in reversed(list(model.named_modules())):
        loaded = _allocate(module)
        if loaded is None or fresh:
            continue
        if isinstance(model, ImageModel):
            model.init_module(name, module)
        for tensor, value in loaded:
            tensor.copy_(value)
    if isinstance(model, ImageModel) and fresh:
        model.init_weights()


def _allocate(module: nn.Module) -> list[tuple[Tensor, Tensor]] | None:
    """Replace the module's own meta tensors; returns its other ones with a copy of each, None where it had none."""
    own = [*module._parameters.items(), *module._buffers.items()]
    if not any(value is not None and value.is_meta for _, value in own):
        return None
    kept = []
    for key, value in own:
        if value is None:
            continue
        if not value.is_meta:
            kept.append((value, value.detach().clone()))
        elif isinstance(value, nn.Parameter):
            empty = torch.empty_like(value, device="cpu")
            module._parameters[key] = nn.Parameter(empty, requires_grad=value.requires_grad)
        else:
            module._buffers[key] = torch.zeros_like(value, device="cpu")
    return kept
