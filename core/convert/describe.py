"""Identify the tensors of a checkpoint in timm's layout: architecture, channels, classes. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.architectures.registry import fused_layers
from zoo.core.channels.stem import MissingInputLayerError, find_stem
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.tensor_names import first_names
from zoo.core.identify.identify import (
    architectures_of,
    architectures_of_other_size,
    fused_architectures_of,
    num_classes_of,
    sizes_of,
)
from zoo.core.identify.name_hint import missing_layer_hint
from zoo.core.identify.published_files import published_file
from zoo.core.identify.stray_tensors import WithStrays, architectures_with_strays, stray_tensors
from zoo.core.layouts.table import Table
from zoo.core.metadata.stated import adapted_cfg


class Description(NamedTuple):
    """What is known about the tensors; `cfg.architecture` is empty if nothing is.

    Args:
        cfg: config of the architecture, with the channels of these tensors.
        num_classes: outputs of their classifier, 0 if they have none.
        model_args: what the model must be built with.
        notes: how this was found, and what is unknown.
        candidates: the architectures that these tensors may belong to.
        reparameterized: whether their branches and norms are joined for inference.
    """

    cfg: PretrainedCfg = PretrainedCfg()
    num_classes: int = 0
    model_args: Mapping[str, Any] = {}
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    reparameterized: bool = False


def describe(
    tensors: Mapping[str, StoredTensor],
    cfg: PretrainedCfg,
    source: str,
    *,
    table: Table | None = None,
    source_size: tuple[int, int] | None = None,
    sha256: Callable[[], str] | None = None,
) -> Description:
    """Find out which model the tensors belong to.

    Args:
        tensors: in timm's layout, by name.
        cfg: what is known beforehand: nothing, only the architecture, or all of it.
        source: the file, for messages.
        table: the layout that the tensors were converted from.
        source_size: height and width of the images that they are for, if stated.
        sha256: returns the file's digest, which identifies a published file and so its image preprocessing.

    Raises InvalidInputError if they do not fit the architecture in `cfg` or the stated size.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    exact = architectures_of(shapes)
    fused = [] if exact else fused_architectures_of(shapes)
    exact = exact or fused
    names = exact or architectures_of_other_size(shapes)
    strays: tuple[str, ...] = ()
    if not names and (found := _with_strays(shapes, cfg.architecture)):
        names = exact = list(found.architectures)
        strays = found.strays
    architecture, model_args = _chosen([cfg.architecture] if cfg.architecture else names, table)
    notes = [] if cfg.architecture else [_told(architecture, names)]
    if strays:
        notes.append(f"{first_names(strays)}: none of {names[0]}'s tensors; --drop leaves out what is not wanted")
    if not architecture:
        if source_size:
            raise UsageError(
                f"The architecture decides which tensors of {source} depend on the image size, and it is not known.",
                hint="Name it with --arch.",
            )
        return Description(notes=tuple(notes), candidates=tuple(names))
    if architecture not in exact and exact:
        raise InvalidInputError(
            f"{source} does not have the tensors of {architecture}.",
            hint=f"It fits {' or '.join(exact[:3])}.",
            path=source,
        )
    known = find_cfg(architecture)
    if joined := fused_layers(architecture) if fused else None:
        known = replace(known, first_conv=joined.first_conv, classifier=joined.classifier)
        notes.append("its branches and norms are joined for inference")
    if source_size:
        sizes = _said_sizes(known, tensors, source_size)
    else:
        sizes = _other_sizes(known, tensors) if not exact and known.architecture in names else {}
    if sizes:
        notes.append(f"the sizes are those of {_listed(sizes)}; a safetensors file says so")
        cfg = replace(cfg, input_size=(cfg.input_size[0], *sizes["img_size"]), test_input_size=None)
    elif not exact and (positions := sizes_of(known, "other size", tensors).positions):
        notes.append(f"how its {positions} positions lie is not known; --source-size H,W writes it down")
    elif not exact:
        notes.append(f"the names and shapes are not exactly those of {architecture}")
    if model_args:
        notes.append(f"the model computes with {_listed(model_args)}, not by default; a safetensors file says so")
    if not cfg.has_weights or cfg.file:
        published = published_file(known, sha256()) if sha256 else None
        if published:
            notes.append(f"it is the published {published.name}, whose mean and std are known")
            cfg = published.cfg
        else:
            notes.append(f"mean and std are {'usual for ' + table.family if table else 'not known'}, check them")
            cfg = _usual_cfg(known, sizes, table)
    try:
        stem = find_stem(tensors, known, source)
    except MissingInputLayerError as error:
        error.hint = missing_layer_hint(tensors, error.layer, known.architecture)
        raise
    return Description(
        adapted_cfg(cfg, stem.from_chans),
        num_classes_of(known, tensors),
        {**model_args, **sizes},
        tuple(notes),
        (architecture,),
        bool(fused),
    )


def _usual_cfg(known: PretrainedCfg, sizes: Mapping[str, Any], table: Table | None) -> PretrainedCfg:
    """The config of a file for which only the architecture and the layout are known."""
    cfg = PretrainedCfg(
        architecture=known.architecture,
        input_size=(known.input_size[0], *sizes.get("img_size", known.input_size[1:])),
        fixed_input_size=known.fixed_input_size,
        first_conv=known.first_conv,
        classifier=known.classifier,
        license=None,
    )
    return replace(cfg, mean=table.mean, std=table.std) if table else cfg


def _with_strays(shapes: Mapping[str, tuple[int, ...]], architecture: str) -> WithStrays | None:
    """The model that the tensors form apart from a few strays: the named architecture, or what is found."""
    if not architecture:
        return architectures_with_strays(shapes)
    strays = stray_tensors(shapes, architecture)
    return WithStrays((architecture,), strays) if strays else None


def _other_sizes(known: PretrainedCfg, tensors: Mapping[str, StoredTensor]) -> dict[str, Any]:
    """Image and patch size to build the architecture with, if the shapes reveal them."""
    image, patch, _ = sizes_of(known, "other size", tensors)
    return {"img_size": image, "patch_size": patch[0]} if image and patch else {}


def _said_sizes(
    known: PretrainedCfg, tensors: Mapping[str, StoredTensor], source_size: tuple[int, int]
) -> dict[str, Any]:
    """Image and patch size for a stated image size, which the shapes must not contradict."""
    from zoo.core.architectures.published import family_of
    from zoo.core.resize.plan import plan_resizes
    from zoo.core.resize.rules import require_size_dependent

    family = family_of(known.architecture) or ""
    require_size_dependent(family, known.architecture)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    plan_resizes(family, shapes, source_size=source_size, stated=True)
    patch = sizes_of(known, "other size", tensors, source_size).patch
    return {"img_size": source_size, **({"patch_size": patch[0]} if patch else {})}


def _listed(model_args: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in model_args.items())


def _chosen(names: list[str], table: Table | None) -> tuple[str, dict[str, Any]]:
    """The architecture among those with these tensors, and its arguments; "" if none or several are equally likely."""
    twin = table.twin(names) if table else None
    return twin or (names[0] if len(names) == 1 else "", {})


def _told(architecture: str, names: list[str]) -> str:
    if architecture:
        return f"the architecture is {architecture}"
    if names:
        return f"the names and shapes are those of {' and '.join(names)}; name one of them with --arch"
    return "no architecture that zoo knows has these names and shapes"
