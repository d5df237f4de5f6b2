"""Load weights into a model, adapted on request; nothing is lost or left random silently."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError, NotFoundError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.weight_forms import other_form
from zoo.core.layouts.engine import to_timm
from zoo.core.metadata.stated import file_configuration, stated_image_size
from zoo.core.model.match import BATCH_COUNTERS, LoadOptions, Match, StateDict, match_weights, repair_keys
from zoo.core.model.save import DTYPE_NAMES, stored_tensors, tensors_of
from zoo.core.model.state_dict import clean_state_dict, read_state_dict, read_weights
from zoo.core.model.unfold_batch_norm import told_of_unfolded
from zoo.models.base import ImageModel
from zoo.weights_cache.download import fetch


@dataclass(frozen=True)
class LoadReport:
    """What happened to every tensor of a checkpoint.

    `resized` tensors were fitted to the model's image and patch size; `adapted` are input layers refitted to its
    channels. `dropped` tensors were in the file but have no place in the model. `initialised` ones were not in the file
    and hold their initial values. `notes` say how the tensors were found.
    """

    source: str
    loaded: int
    resized: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    initialised: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


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
    source_size: tuple[int, int] | None = None,
) -> LoadReport:
    """Load the weights that a default config names into a model.

    The input layer is adapted to the model's channels. If the config's number of classes is not the model's, the
    classifier keeps its initial values.

    Args:
        model: one of zoo's models.
        pretrained_cfg: default: the model's own.
        num_classes, in_chans: the model's, checked if given.
        filter_fn: `filter_fn(state_dict, model) -> state_dict`, applied first.
        strict: an entry without a counterpart on either side is an error.
        allow_missing: wildcards for keys that the weights may lack.
        not_needed: keys of parts that were cut off the model; they are ignored.
        source_size: height and width of the images that the weights state.

    Raises:
        NotFoundError: the config names no weights, or they are unavailable.
        InvalidInputError: the weights do not fit.
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
            state_dict = tensors_of(to_timm(cfg.key_layout, stored_tensors(state_dict)))
    if filter_fn is not None:
        state_dict = filter_fn(state_dict, model)
    options = LoadOptions(
        strict=strict,
        allow_missing=allow_missing,
        new_classifier=cfg.num_classes != getattr(model, "num_classes", cfg.num_classes),
        not_needed=not_needed,
        source_size=source_size,
    )
    return _load(model, state_dict, source, cfg, options)


def load_checkpoint(
    model: nn.Module,
    checkpoint_path: str | Path,
    use_ema: bool = True,
    strict: bool = True,
    *,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    drop: Sequence[str] = (),
    new_classifier: bool = False,
    not_needed: Collection[str] = (),
    img_size: tuple[int, int] | None = None,
    source_size: tuple[int, int] | None = None,
    key: str = "",
) -> LoadReport:
    """Load the caller's own weight file; its input layer is adapted to the model's channels.

    Args:
        model: one of zoo's models, or any module (then nothing is adapted).
        checkpoint_path: a weight file of any kind, a shard index, or a folder that holds one.
        use_ema: prefer averaged weights if the file has both.
        strict, allow_missing, not_needed: as in `load_pretrained`.
        allow_unexpected: wildcards for keys in the file that have no place in the model.
        drop: wildcards for keys in the file to leave out.
        new_classifier: drop a classifier of a different size in the file; the model keeps its initial one.
        img_size: height and width of the images that the architecture's weights are made for (default: the model's);
            tried first if nothing states the file's.
        source_size: height and width of the images that this file is made for, if its metadata do not state it.
            Contradicting positions are an error.
        key: path of the state dict in a training checkpoint, keys joined by dots; "" finds it.
    """
    if source_size is None and isinstance(model, ImageModel) and model.img_size is not None:
        stated = file_configuration(checkpoint_path, "", key=key)
        source_size = stated_image_size(stated.get("model_args", {}))
    read = read_weights(checkpoint_path, use_ema=use_ema, key=key, drop=drop)
    options = LoadOptions(
        strict=strict,
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
        new_classifier=new_classifier,
        not_needed=not_needed,
        source_size=source_size,
    )
    source, cfg = str(checkpoint_path), checkpoint_cfg(model, img_size)
    return _load(model, read.tensors, source, cfg, options, read.dropped, read.notes)


def load_tensors(model: ImageModel, tensors: StateDict, source: str) -> LoadReport:
    """Load tensors that must be exactly the model's, apart from names that its family repairs.

    Args:
        source: where they come from, for messages.

    Raises InvalidInputError where one is missing, unknown or of another shape.
    """
    return _load(model, tensors, source, checkpoint_cfg(model), LoadOptions())


def checkpoint_cfg(model: nn.Module, img_size: tuple[int, int] | None = None) -> PretrainedCfg:
    """The config for loading the caller's own file: the model's, with a different image size if given."""
    cfg = PretrainedCfg.from_mapping(getattr(model, "pretrained_cfg", None) or {})
    return cfg if img_size is None else replace(cfg, input_size=(cfg.input_size[0], *img_size))


def _load(
    model: nn.Module,
    state_dict: StateDict,
    source: str,
    cfg: PretrainedCfg,
    options: LoadOptions,
    left_out: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> LoadReport:
    wanted = model.state_dict()
    given = tuple(state_dict)
    state_dict, unused = repair_keys(model, state_dict)
    if told := told_of_unfolded(given, state_dict):
        notes = (*notes, told)
    match = match_weights(model, state_dict, cfg, options)
    if problems := match.problems():
        raise InvalidInputError(
            f"{source} does not fit {type(model).__name__}: {problems}.",
            hint=_strays_hint(match)
            or other_form(state_dict.keys())
            or _name_hint(state_dict, cfg.architecture)
            or "Build the model that it was made for, or name what may be missing (allow_missing in the library).",
            path=source,
        )
    fitted = {key: _fit(key, state_dict[key], match).to(wanted[key].dtype) for key in match.used}
    if any(t.is_meta for t in wanted.values()):
        model.load_state_dict(fitted, strict=False, assign=True)
        materialize(model)
    else:
        model.load_state_dict(fitted, strict=False)
    report = LoadReport(
        source=source,
        loaded=len(fitted),
        resized=tuple(match.resizes),
        adapted=tuple(match.mixings),
        dropped=(*left_out, *unused, *match.dropped, *match.unexpected),
        initialised=tuple(key for key in match.missing if not fnmatchcase(key, BATCH_COUNTERS)),
        notes=notes,
    )
    if isinstance(model, ImageModel):
        model.load_report = report
    return report


def _strays_hint(match: Match) -> str:
    """The hint if a few stray tensors are the only problem."""
    strays = [key for key in match.unexpected if key in match.unexplained]
    if not strays or len(match.unexplained) > len(strays) or match.misshapen:
        return ""
    drop = " ".join(f"--drop {shlex.quote(key)}" for key in strays[:3]) + (" ..." if len(strays) > 3 else "")
    return f"`zoo create` loads it with {drop}; for other commands `zoo convert` writes a file without."


def _name_hint(state_dict: StateDict, architecture: str) -> str:
    from zoo.core.identify.name_hint import name_hint

    stored = {key: StoredTensor(key, DTYPE_NAMES[t.dtype], tuple(t.shape), b"") for key, t in state_dict.items()}
    return name_hint(stored, architecture)


def _fit(key: str, tensor: Tensor, match: Match) -> Tensor:
    """The tensor fitted to the model's image size and channels; unchanged if it fits already."""
    resize, mixing = match.resizes.get(key), match.mixings.get(key)
    if resize is None and mixing is None:
        return tensor
    values = tensor.float().numpy()
    if resize is not None:
        values = torch.from_numpy(resize.apply(values)).to(tensor.dtype).float().numpy()
    if mixing is not None:
        values = match.layout.adapt(values, mixing)
    return torch.from_numpy(values).to(tensor.dtype)


@torch.no_grad()
def materialize(model: nn.Module) -> None:
    """Allocate and initialise every tensor that is still on the meta device; the others keep their values."""
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
    """Replace the module's own meta tensors; return its other tensors with copies, or None if none was on meta."""
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
            # An LSTM also lists its parameters, and keeps the list up to date by its attributes.
            setattr(module, key, nn.Parameter(empty, requires_grad=value.requires_grad))
        else:
            module._buffers[key] = torch.zeros_like(value, device="cpu")
    return kept
