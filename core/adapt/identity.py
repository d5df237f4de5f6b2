"""The architecture that a source's tensors belong to, and the notes to report about it. Standard library only."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

from zoo.core.adapt.plan import AdaptPlan, used_tensors
from zoo.core.adapt.request import AdaptRequest
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.records import PretrainedCfg, module_paths
from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.tensor_names import first_names
from zoo.core.metadata.stated import changes_tensors, stated_image_size


def identified(
    tensors: Sequence[StoredTensor], cfg: PretrainedCfg, request: AdaptRequest, source: str
) -> tuple[PretrainedCfg, list[str], str]:
    """Identify a checkpoint without a config by its tensor names and shapes.

    Returns:
        The config, the notes to report, and, where several architectures have these tensors, one of them.
    """
    if cfg.architecture:
        return _in_its_form(cfg, tensors, request, source), [], ""
    if request.input_layers:
        return cfg, [], ""
    from zoo.core.architectures.published import task_layers_of
    from zoo.core.architectures.registry import fused_layers
    from zoo.core.identify.identify import architectures_of, architectures_of_other_size, fused_architectures_of

    shapes = {name: tensor.shape for name, tensor in used_tensors(tensors, request, source).stored.items()}
    assumed = [] if cfg.first_conv else ["its mean and std are not known; those of ImageNet were written"]
    names: Sequence[str] = architectures_of(shapes)
    fused = [] if names else fused_architectures_of(shapes)
    names = names or fused or architectures_of_other_size(shapes)
    if not names:
        from zoo.core.identify.stray_tensors import architectures_with_strays

        found = architectures_with_strays(shapes)
        if found is None:
            return cfg, assumed, ""
        names = found.architectures
        assumed += _told_of_strays(found.strays, names) if len(names) > 1 else []
    like = fused_layers(names[0]) if fused else task_layers_of(names[0])
    assert like is not None  # the tables that name an architecture have its line
    cfg = replace(cfg, first_conv=like.first_conv, classifier=like.classifier)
    if len(names) > 1:
        said = f"the names and shapes are those of {' and '.join(names)}; name one of them to have it written"
        return cfg, [said, *assumed], names[0]
    return replace(cfg, architecture=names[0]), [f"the names and shapes are those of {names[0]}", *assumed], ""


def _in_its_form(
    cfg: PretrainedCfg, tensors: Sequence[StoredTensor], request: AdaptRequest, source: str
) -> PretrainedCfg:
    """The config with the layers of the form for inference, if a file is of that and does not say so."""
    from zoo.core.architectures.registry import fused_layers

    joined = fused_layers(cfg.architecture)
    if joined is None or request.input_layers:
        return cfg
    names = used_tensors(tensors, request, source).stored
    if any(f"{path}.weight" not in names for path in module_paths(joined.first_conv)):
        return cfg
    if all(f"{path}.weight" in names for path in module_paths(cfg.first_conv)):
        return cfg
    return replace(cfg, first_conv=joined.first_conv, classifier=joined.classifier)


def require_architecture(plan: AdaptPlan, source: str, *, for_timm: bool, is_graph: bool = False) -> list[str]:
    """Compare the tensors with those of the architecture that the config names; return the notes to report.

    Raises InvalidInputError where they belong to a different architecture, or to none and zoo (or timm, from its
    folder) could not load them.
    """
    from zoo.core.architectures.published import fingerprints_of
    from zoo.core.architectures.registry import fused_fingerprint

    name = plan.cfg.architecture
    expected = fingerprints_of(name)
    if not expected:
        return []
    shapes, heads = plan.original_shapes(), module_paths(plan.cfg.classifier)
    strays: tuple[str, ...] | None = ()
    digest = fingerprint(shapes, plan.stem.layers, heads)
    if for_timm and digest == fused_fingerprint(name):
        raise InvalidInputError(
            f"{source} holds {name} with its branches and norms joined, which timm builds from no folder.",
            hint="Leave out --format timm, or adapt the file that was not fused.",
            path=source,
        )
    if digest not in expected:
        from zoo.core.identify.stray_tensors import stray_tensors

        strays = stray_tensors(shapes, name) or None
    elif not plan.dropped:
        return []
    if strays != () and changes_tensors(dict(plan.cfg.model_args)):
        return []  # its model has other tensors than the architecture's usual one; --verify builds it
    if strays is not None:
        return _told_of_others(plan, strays, tuple(f"{head}." for head in heads), source, for_timm=for_timm)
    from zoo.core.identify.identify import architectures_of, architectures_of_other_size

    fitting = architectures_of(shapes)
    is_sized = plan.image_size or stated_image_size(dict(plan.cfg.model_args))
    if not fitting and is_sized and name in architectures_of_other_size(shapes):
        return []
    # Published files of some families hold buffers that current models do not; loading repairs their keys.
    if not fitting and not plan.new_classifier and not plan.cfg.file:
        return [f"the names and shapes are not exactly those of {name}"]
    hint = "Name the architecture that the file was made for."
    if is_graph:  # which may have folded norms, and have other names
        hint = f"Make a checkpoint of the graph first: zoo convert {shlex.quote(source)} -o weights.safetensors"
    raise InvalidInputError(
        f"{source} does not have the tensors of {name}.",
        hint=f"It fits {' or '.join(fitting[:3])}." if fitting else hint,
        path=source,
    )


def _told_of_others(
    plan: AdaptPlan, strays: Sequence[str], heads: tuple[str, ...], source: str, *, for_timm: bool
) -> list[str]:
    """Notes on tensors that do not belong to the architecture, and on its own tensors that were left out."""
    name = plan.cfg.architecture
    kept = [stray for stray in strays if stray not in plan.dropped]
    lost = [key for key in plan.dropped if key not in strays and not key.startswith(heads)]
    if for_timm and (kept or lost):
        what = f"holds {first_names(kept)} beside" if kept else f"would lack {first_names(lost)} of"
        raise InvalidInputError(
            f"{source} {what} the tensors of {name}: timm would refuse the folder.",
            hint=f"Leave out what is not the model's: --drop {shlex.quote(kept[0])}" if kept else "Narrow --drop.",
            path=source,
        )
    told = [f"{first_names(lost)} of {name}: left out, so that the file alone makes no model"] if lost else []
    return _told_of_strays(kept, [name]) + told


def _told_of_strays(strays: Sequence[str], names: Sequence[str]) -> list[str]:
    """Notes on tensors in the output that do not belong to the architecture."""
    if not strays:
        return []
    verb, them = ("is", "it") if len(strays) == 1 else ("are", "them")
    return [f"{first_names(strays)} {verb} none of {names[0]}'s tensors; copied as stored, --drop leaves {them} out"]


def told_of_classifier(plan: AdaptPlan) -> list[str]:
    """Notes on a newly initialised classifier."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in plan.new_classifier)
    outputs = "output" if plan.num_classes == 1 else "outputs"
    seed = plan.request.seed
    return [
        f"{path} is a new classifier with {plan.num_classes} {outputs}, initialised by seed {seed}" for path in paths
    ]
