"""Check whether a weight file would load into a model, tensor by tensor, by the loader's own decision."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.architectures import registry
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.hub_names import plain_name
from zoo.core.architectures.records import PretrainedCfg, module_paths
from zoo.core.channels.mixing import check_in_chans
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import StoredTensor, Unavailable
from zoo.core.metadata.stated import stated_image_size
from zoo.core.model.file_cfg import cfg_of_file
from zoo.core.model.named_model import named_cfg, names_a_place

if TYPE_CHECKING:
    from torch import Tensor, nn

    from zoo.core.identify.identify import Identity
    from zoo.core.model.match import Match

OUTCOMES = ("loaded", "cast", "adapted", "resized", "dropped", "missing", "unexpected", "wrong shape")
FROM_FILE = frozenset(("loaded", "cast", "adapted", "resized"))
_FLOATS = frozenset(("F16", "BF16", "F32", "F64"))
_RUNNING = (".running_mean", ".running_var")
_COUNTER = ".num_batches_tracked"
_NO_TENSOR = ("", ())


class TensorCheck(NamedTuple):
    """The outcome of a load for one tensor.

    Args:
        name: its key in the model, or in the file if the model has none.
        outcome: one of OUTCOMES.
        dtype, shape: those in the file; empty if it is missing there.
        model_dtype, model_shape: those in the model; empty if it is not in the model.
        allowed: False if this keeps the file from loading.
    """

    name: str
    outcome: str
    dtype: str
    shape: tuple[int, ...]
    model_dtype: str
    model_shape: tuple[int, ...]
    allowed: bool = True


class CheckRequest(NamedTuple):
    """The model that the file is for, and what may be missing.

    Args:
        model_name: `name`, `name.tag`, `timm/name.tag`, `hf-hub:owner/repo` or `local-dir:folder`.
        in_chans, num_classes: those of the model; None for what the file states or its tensors show, otherwise the
            model's default. With `num_classes`, a classifier of a different size is dropped, as `create_model` does.
        min_coverage: share of the model's values that must come from the file, 0 to 1; None requires all that are not
            excused.
        allow_missing, allow_unexpected: wildcards for keys.
        source_size: height and width of the images that the file is for, if it does not say so itself.
        key: path of the state dict in a training checkpoint, keys joined by dots; "" finds it.
    """

    model_name: str
    in_chans: int | None = None
    num_classes: int | None = None
    min_coverage: float | None = None
    allow_missing: Sequence[str] = ()
    allow_unexpected: Sequence[str] = ()
    source_size: tuple[int, int] | None = None
    key: str = ""


class CheckReport(NamedTuple):
    """Whether a file fits a model.

    `coverage` is the share of the model's parameters and buffers, without batch counters, whose values come from the
    file. `problem` says in one sentence why the file does not fit, '' if it does. For a file that does not fit,
    `identity` says what it is, as far as names and shapes reveal it, and `hint` what to do. `notes` say how its tensors
    were found.
    """

    model_name: str
    path: str
    in_chans: int
    num_classes: int
    coverage: float
    tensors: tuple[TensorCheck, ...]
    problem: str
    identity: Identity | None = None
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.problem

    def counts(self) -> dict[str, int]:
        """The number of tensors per outcome."""
        found = Counter(tensor.outcome for tensor in self.tensors)
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


def check_weights(path: str | os.PathLike[str], request: CheckRequest) -> CheckReport:
    """Report what loading a file into a model would do. No tensor is read and nothing is allocated.

    A file is judged without torch if its fingerprint and number of parameters prove that its names and shapes are the
    architecture's. For any other file the model is built on the meta device.

    Raises:
        UsageError: a size that no model has, or a coverage outside 0 to 1.
        NotFoundError: no such model or file.
        InvalidInputError: the file is unsound, states a different architecture, or cannot be resized.
    """
    if request.min_coverage is not None and not 0 <= request.min_coverage <= 1:
        raise UsageError(f"The coverage is a share, 0 to 1, found {request.min_coverage:g}.")
    if request.in_chans is not None:
        check_in_chans(request.in_chans)
    cfg = _default_cfg(request.model_name)  # before looking for the file
    if request.source_size is not None:
        from zoo.core.resize.rules import require_size_dependent

        require_size_dependent(registry.find_spec(cfg.architecture)[0], cfg.architecture)
    with open_weights(path, key=request.key) as opened:
        tensors, metadata, notes = dict(opened.tensors), dict(opened.metadata), opened.notes()
    return check_tensors(os.fspath(path), tensors, metadata, request)._replace(notes=notes)


def _default_cfg(model_name: str) -> PretrainedCfg:
    name = plain_name(model_name)
    cfg = named_cfg(name) if names_a_place(name) else registry.get_pretrained_cfg(name, allow_unregistered=False)
    if cfg is None:
        raise UsageError(f"{model_name} was registered without a default config; zoo check needs one.")
    return cfg


def check_tensors(
    given: str, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str], request: CheckRequest
) -> CheckReport:
    """`check_weights` for tensors that are already open; `given` is the file, for messages."""
    cfg = _default_cfg(request.model_name)
    name = plain_name(request.model_name)
    in_place = names_a_place(name)
    cfg, stated = cfg_of_file(cfg, cfg.architecture, tensors, metadata, given, request.source_size)
    in_chans = request.in_chans or cfg.input_size[0]
    num_classes = cfg.num_classes if request.num_classes is None else request.num_classes
    if is_whole(tensors, cfg, in_chans, num_classes):
        checks, problem = tuple(map(_loaded, tensors.values())), ""
    else:
        arguments = dict(cfg.model_args) if stated or in_place else {}
        model = _of_this_form(meta_model(cfg, in_chans=in_chans, num_classes=num_classes, **arguments), tensors)
        checks, problem = _matched(model, given, tensors, cfg, request)
    coverage = _coverage(checks)
    if not problem and request.min_coverage is not None and coverage < request.min_coverage:
        problem = f"{coverage:.2%} of the model's values come from it, fewer than {request.min_coverage:.2%}"
    return CheckReport(
        model_name=cfg.name if in_place else name,
        path=given,
        in_chans=in_chans,
        num_classes=num_classes,
        coverage=coverage,
        tensors=checks,
        problem=problem and f"{given} does not fit {request.model_name}: {problem}.",
        identity=_identity(tensors) if problem else None,
        hint=_hint(tensors, cfg.architecture) if problem else "",
    )


def _hint(tensors: Mapping[str, StoredTensor], architecture: str) -> str:
    from zoo.core.identify.name_hint import name_hint

    return name_hint(tensors, architecture)


def _identity(tensors: Mapping[str, StoredTensor]) -> Identity | None:
    from zoo.core.identify.identify import identify

    return next(iter(identify(tensors)), None)


def _coverage(checks: Sequence[TensorCheck]) -> float:
    """The share by number of values: parameters and buffers without batch counters, which old checkpoints lack."""
    counted = [c for c in checks if c.model_dtype and not c.name.endswith(_COUNTER)]
    total = sum(prod(c.model_shape) for c in counted)
    return sum(prod(c.model_shape) for c in counted if c.outcome in FROM_FILE) / total if total else 1.0


# ---------------------------------------------------------------- without torch


def is_whole(tensors: Mapping[str, StoredTensor], cfg: PretrainedCfg, in_chans: int, num_classes: int) -> bool:
    """Whether a file certainly holds exactly the model's tensors, in its shapes; False if uncertain.

    The fingerprint ignores the batch counters, the input channels and the classifier. The input layers show the
    channels; the classifier's size follows from the number of parameters.
    """
    facts = registry.facts(cfg.architecture)
    default = next(iter(registry.cfgs_by_tag(cfg.architecture).values()))
    layers, heads = module_paths(default.first_conv), module_paths(default.classifier)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    if (
        not _is_of_measured_size(cfg, default)
        or fingerprint(shapes, layers, heads) != facts.fingerprint
        or not all(map(_has_usual_dtype, tensors.values()))
        or not _has_all_counters(shapes)
    ):
        return False
    from zoo.core.channels.input_layers import InputLayout

    stated = registry.task_layers(cfg.architecture)
    assert stated is not None  # it has facts, so it has a line
    layout = InputLayout.parse(stated.input_layout)
    inputs = [f"{layer}.weight" for layer in layers]
    if not layers or any(layout.channels(shapes[name]) != in_chans for name in inputs):
        return False
    measured = shapes | {name: layout.shape_for(shapes[name], default.input_size[0]) for name in inputs}
    trunk = {name: shape for name, shape in measured.items() if not name.startswith(tuple(f"{h}." for h in heads))}
    head = {name: shape for name, shape in shapes.items() if name not in trunk}
    num_trunk = sum(prod(shape) for name, shape in trunk.items() if not name.endswith((*_RUNNING, _COUNTER)))
    return (
        default.num_classes > 0
        and head == _classifier_shapes(cfg.architecture, heads, num_classes)
        and sum(map(prod, head.values())) * default.num_classes == (facts.params - num_trunk) * num_classes
    )


def _is_of_measured_size(cfg: PretrainedCfg, default: PretrainedCfg) -> bool:
    """Whether the model is built as when its fingerprint was taken, by its default config."""
    sizes = [one.input_size[1:] if one.fixed_input_size else None for one in (cfg, default)]
    return sizes[0] == sizes[1] and not cfg.model_args


def _classifier_shapes(architecture: str, layers: Iterable[str], num_classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the weight and the bias of each of these classifiers."""
    inputs = registry.classifier_inputs(architecture)
    weights = {f"{layer}.weight": (num_classes, *inputs[layer]) for layer in layers}
    return weights | {f"{layer}.bias": (num_classes,) for layer in layers}


def _has_usual_dtype(tensor: StoredTensor) -> bool:
    """Whether the tensor has a common float dtype, or looks like the counter of a batch norm."""
    if tensor.name.endswith(_COUNTER):
        return tensor.dtype == "I64" and not tensor.shape
    return tensor.dtype in _FLOATS


def _has_all_counters(names: Iterable[str]) -> bool:
    """Whether each batch norm, and nothing else, has a counter."""
    norms, counters = (
        {name.removesuffix(end) for name in names if name.endswith(end)} for end in (_RUNNING[0], _COUNTER)
    )
    return norms == counters


def _loaded(tensor: StoredTensor) -> TensorCheck:
    dtype = "F32" if tensor.dtype in _FLOATS else tensor.dtype
    outcome = "loaded" if dtype == tensor.dtype else "cast"
    return TensorCheck(tensor.name, outcome, tensor.dtype, tensor.shape, dtype, tensor.shape)


# ---------------------------------------------------------------- with a model on the meta device


def meta_model(cfg: PretrainedCfg, **arguments: Any) -> nn.Module:
    from zoo.core.model.build import create_model

    model: nn.Module = create_model(cfg.architecture, pretrained_cfg=cfg, device="meta", **arguments)
    return model


def _of_this_form(model: nn.Module, names: Collection[str]) -> nn.Module:
    """The model, or its form for inference if the tensors are of that."""
    from zoo.core.model.reparameterize import form_of
    from zoo.models.base import ImageModel

    return form_of(model, names) if isinstance(model, ImageModel) else model


def _matched(
    model: nn.Module, path: str, stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, request: CheckRequest
) -> tuple[tuple[TensorCheck, ...], str]:
    """The loader's decision, and why the file does not fit."""
    from zoo.core.model.load import checkpoint_cfg
    from zoo.core.model.match import LoadOptions, match_weights, repair_keys

    options = LoadOptions(
        allow_missing=request.allow_missing,
        allow_unexpected=request.allow_unexpected,
        new_classifier=request.num_classes is not None,
        source_size=stated_image_size(dict(cfg.model_args)),
    )
    tensors = _on_meta_device(path, stored)
    found, unused = repair_keys(model, tensors)
    match = match_weights(model, found, checkpoint_cfg(model, cfg.input_size[1:]), options)
    dropped = (TensorCheck(key, "dropped", *_described(tensors[key]), *_NO_TENSOR, allowed=True) for key in unused)
    checks = [*_outcomes(match, found, model.state_dict()), *dropped]
    unreadable = {name: tensor.dtype for name, tensor in stored.items() if not _is_readable(tensor)}
    if not unreadable:
        return tuple(checks), match.problems()
    name, dtype = next(iter(unreadable.items()))
    problems = [f"{name[:80]} is {dtype}, which cannot be loaded", match.problems()]
    told = (c._replace(dtype=unreadable[c.name], allowed=False) if c.name in unreadable else c for c in checks)
    return tuple(told), "; ".join(filter(None, problems))


def _is_readable(tensor: StoredTensor) -> bool:
    from zoo.core.model.state_dict import TORCH_DTYPES

    return tensor.dtype in TORCH_DTYPES and not isinstance(tensor.data, Unavailable)


def _on_meta_device(path: str, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """The file's names and shapes as tensors without memory; float32 if torch lacks the dtype."""
    import torch

    from zoo.core.model.state_dict import TORCH_DTYPES

    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        dtype = TORCH_DTYPES.get(tensor.dtype, torch.float32)
        try:
            found[name] = torch.empty(tensor.shape, dtype=dtype, device="meta")
        except RuntimeError:  # an empty tensor whose other sizes overflow an address
            raise InvalidInputError(
                f"{path}: tensor {name[:80]!r} has the shape {list(tensor.shape)}, which no model has.", path=path
            ) from None
    return found


def _outcomes(match: Match, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Iterator[TensorCheck]:
    used, dropped = frozenset(match.used), frozenset(match.dropped)
    misshapen = {tensor.name for tensor in match.misshapen}
    for key in dict.fromkeys((*found, *match.missing)):  # a dropped classifier may also be missing
        stored = _described(found[key]) if key in found else _NO_TENSOR
        model = _described(wanted[key]) if key in wanted else _NO_TENSOR
        if key in used:
            fitted = "adapted" if key in match.mixings else "resized" if key in match.resizes else ""
            outcome = fitted or ("loaded" if stored[0] == model[0] else "cast")
        elif key in misshapen:
            outcome = "wrong shape"
        elif key in dropped:
            outcome = "dropped"
        else:
            outcome = "unexpected" if key in found else "missing"
        yield TensorCheck(key, outcome, *stored, *model, key not in match.unexplained and key not in misshapen)


def _described(tensor: Tensor) -> tuple[str, tuple[int, ...]]:
    from zoo.core.model.state_dict import TORCH_DTYPES

    return next(name for name, dtype in TORCH_DTYPES.items() if dtype == tensor.dtype), tuple(tensor.shape)
