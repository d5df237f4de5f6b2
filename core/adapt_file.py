"""A weight file fitted to other input channels, as a stream: no torch, and only the changed tensors in memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from zoo.core.adapt import adapt_input, check_in_chans
from zoo.core.atomic_output import atomic_output, check_target
from zoo.core.errors import CannotWriteError, InvalidInputError, UnknownModelError, UsageError
from zoo.core.fingerprint import fingerprint
from zoo.core.float_bytes import FLOAT_DTYPES, from_float32, to_float32
from zoo.core.records import PretrainedCfg, module_paths
from zoo.core.registry import facts, names_with_fingerprint
from zoo.core.safetensors_file import Computed, StoredTensor, layout, open_safetensors, write_safetensors
from zoo.core.weight_metadata import configured, stated_configuration, weight_metadata

Action = Literal["copy", "adapt", "drop"]


@dataclass(frozen=True)
class TensorChange:
    """What happens to one tensor of the source; `new_shape` is empty where it is dropped."""

    name: str
    action: Action
    shape: tuple[int, ...]
    new_shape: tuple[int, ...]


@dataclass(frozen=True)
class AdaptReport:
    """What was done, or with a dry run would be: one entry a tensor, in the order of the file."""

    source: str
    output: str
    from_chans: int
    in_chans: int
    num_classes: int
    method: str
    changes: tuple[TensorChange, ...]
    nbytes: int
    status: Literal["planned", "written", "unchanged"]

    def counts(self) -> dict[str, int]:
        """How many tensors were copied, adapted and dropped."""
        return {a: sum(c.action == a for c in self.changes) for a in ("copy", "adapt", "drop")}


def adapt_file(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    cfg: PretrainedCfg,
    *,
    in_chans: int,
    num_classes: int | None = None,
    force: bool = False,
    dry_run: bool = False,
) -> AdaptReport:
    """Write a safetensors file whose input layers read `in_chans` channels; every other tensor keeps its bytes.

    Args:
        source: a safetensors file of the architecture that `cfg` describes.
        output: the file to write; it carries its configuration in its metadata.
        cfg: names the input layers and the classifier, and the preprocessing that is adapted with them.
        in_chans: channels of the new input layer.
        num_classes: another number than the source's drops the classifier, which is then made anew on loading.
        force: replace an existing file with other content.
        dry_run: only say what would be done.

    Raises:
        UsageError: a number that makes no sense. InvalidInputError: the source is corrupt or has no such layer.
        NotFoundError: no such source. CannotWriteError: nothing was written.
    """
    with open_safetensors(source) as file:
        return adapt_tensors(
            file.tensors.values(),
            output,
            cfg,
            source=os.fspath(source),
            source_metadata=file.metadata,
            in_chans=in_chans,
            num_classes=num_classes,
            force=force,
            dry_run=dry_run,
            before_publishing=file.require_unchanged,
        )


def adapt_tensors(
    tensors: Iterable[StoredTensor],
    output: str | os.PathLike[str],
    cfg: PretrainedCfg,
    *,
    source: str,
    source_metadata: Mapping[str, str],
    in_chans: int,
    num_classes: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    before_publishing: Callable[[], None] | None = None,
) -> AdaptReport:
    """As `adapt_file`, from tensors that may lie in memory (a converted .pth file).

    `before_publishing` is called when all is written and not yet in place; what it raises leaves nothing behind.
    """
    check_request(in_chans, num_classes)
    target = check_target(output)
    cfg = configured(cfg, stated_configuration(source_metadata, cfg.architecture, source))
    stored = {tensor.name: tensor for tensor in tensors}
    inputs = _input_layers(stored, cfg, source)
    _require_architecture(stored, cfg, source)
    from_chans = inputs[0].shape[1]
    source_classes = _num_classes(stored, cfg)
    classes = source_classes if num_classes is None else num_classes
    head = module_paths(cfg.classifier) if classes != source_classes else ()

    input_names = {tensor.name for tensor in inputs}
    written, changes = [], []
    for tensor in stored.values():
        action, new = _change(tensor, tensor.name in input_names, head, in_chans)
        changes.append(TensorChange(tensor.name, action, tensor.shape, new.shape if new else ()))
        if new:
            written.append(new)
    method = _method(from_chans, in_chans)
    metadata = weight_metadata(
        cfg,
        in_chans=in_chans,
        num_classes=0 if head else classes,
        origin={"adapted_from": from_chans, "method": method},
        kept=source_metadata,
    )
    header, _ = layout(written, metadata)
    nbytes = len(header) + sum(tensor.nbytes for tensor in written)

    status: Literal["planned", "written", "unchanged"] = "planned"
    if not dry_run:
        _refuse_other_size(target, nbytes, force)
        with atomic_output(output, force=force) as file:
            write_safetensors(file, written, metadata)
            if before_publishing:
                before_publishing()
        status = "unchanged" if file.unchanged else "written"
    return AdaptReport(
        source=source,
        output=os.fspath(output),
        from_chans=from_chans,
        in_chans=in_chans,
        num_classes=classes,
        method=method,
        changes=tuple(changes),
        nbytes=nbytes,
        status=status,
    )


def check_request(in_chans: int, num_classes: int | None) -> None:
    """Raises UsageError for numbers that no file could satisfy."""
    check_in_chans(in_chans)
    if num_classes is not None and num_classes < 0:
        raise UsageError(f"The number of classes must be 0 (no classifier) or more, found {num_classes}.")


def _input_layers(stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, source: str) -> list[StoredTensor]:
    names = [f"{path}.weight" for path in module_paths(cfg.first_conv)]
    missing = [name for name in names if name not in stored]
    if missing or not names:
        found = ", ".join(list(stored)[:3]) or "no tensors"
        raise InvalidInputError(
            f"{source} has no {missing[0] if missing else 'input layer'}, which {cfg.architecture} reads its image"
            f" with; it begins with {found}.",
            hint="Name the architecture that the file was made for.",
            path=source,
        )
    layers = [stored[name] for name in names]
    for layer in layers:
        if layer.dtype not in FLOAT_DTYPES or len(layer.shape) < 3 or not layer.shape[1]:
            raise InvalidInputError(
                f"{source}: {layer.name} should hold floating-point numbers with the axes (out, in, kernel...), found"
                f" {layer.dtype} {list(layer.shape)}.",
                hint="Name the architecture that the file was made for.",
                path=source,
            )
    return layers


def _require_architecture(stored: Mapping[str, StoredTensor], cfg: PretrainedCfg, source: str) -> None:
    """Raises InvalidInputError where the tensors besides stem and head are not those of the architecture."""
    try:
        expected = facts(cfg.architecture).fingerprint
    except UnknownModelError:
        return
    task_dependent = (*module_paths(cfg.first_conv), *module_paths(cfg.classifier))
    found = fingerprint({name: tensor.shape for name, tensor in stored.items()}, task_dependent)
    if found != expected:
        fitting = names_with_fingerprint(found)
        raise InvalidInputError(
            f"{source} does not hold the tensors of {cfg.architecture}.",
            hint=f"It fits {' or '.join(fitting[:3])}." if fitting else "Name the architecture that it was made for.",
            path=source,
        )


def _num_classes(stored: Mapping[str, StoredTensor], cfg: PretrainedCfg) -> int:
    for path in module_paths(cfg.classifier):
        weight = stored.get(f"{path}.weight")
        if weight is not None and weight.shape:
            return weight.shape[0]
    return 0


def _change(
    tensor: StoredTensor, is_input: bool, head: Sequence[str], in_chans: int
) -> tuple[Action, StoredTensor | None]:
    if any(tensor.name.startswith(f"{path}.") for path in head):
        return "drop", None
    if not is_input or tensor.shape[1] == in_chans:
        return "copy", tensor
    shape = (tensor.shape[0], in_chans, *tensor.shape[2:])
    nbytes = tensor.nbytes // tensor.shape[1] * in_chans
    return "adapt", StoredTensor(tensor.name, tensor.dtype, shape, Computed(nbytes, partial(_fit, tensor, in_chans)))


def _fit(tensor: StoredTensor, in_chans: int) -> bytes:
    """The adapted values of an input layer as bytes of its own dtype."""
    import numpy as np

    fitted = adapt_input(to_float32(tensor.read(), tensor.dtype, tensor.shape), in_chans)
    data = from_float32(fitted, tensor.dtype)
    if not np.isfinite(to_float32(data, tensor.dtype, fitted.shape)).all():
        warnings.warn(f"{tensor.name} holds NaN or infinite values after adapting.", RuntimeWarning, stacklevel=2)
    return data


def _method(from_chans: int, in_chans: int) -> str:
    return "none" if in_chans == from_chans else "sum" if in_chans == 1 else "repeat"


def _refuse_other_size(target: str, nbytes: int, force: bool) -> None:
    """Before a long copy: a file of another size cannot turn out to be identical."""
    if not force and os.path.exists(target) and os.path.getsize(target) != nbytes:
        raise CannotWriteError(
            f"{target} exists and holds something else.", hint="Pass --force to replace it.", path=target
        )
