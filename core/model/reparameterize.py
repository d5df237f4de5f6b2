"""Bring a model into its form for inference: parallel branches and norms become single layers.

A module that has such a form says so by a method `fuse`, which gives what stands in its place and may use its parts.
The keys are those of the published models API, so that a state dict goes between the two.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
import torch.nn as nn

from zoo.core.architectures.records import module_paths
from zoo.core.errors import UsageError
from zoo.models.base import FusedLayers, ImageModel
from zoo.models.layers.linear_map import NotDiagonalError


def reparameterize(model: nn.Module, inplace: bool = False) -> nn.Module:
    """A model in evaluation mode that computes the same with fewer layers (Ding et al., arXiv:2101.03697).

    Branches that are summed become one layer, and a batch norm becomes part of the layer beside it, where the published
    model has a form without it. Weights are computed in float64 and rounded once to the dtype of the model. There is no
    way back. Stochastic depth of the joined blocks is gone. A module that has hooks, or holds one that has, stays.

    Args:
        model: on the CPU, on a GPU that computes in float64, or on the meta device, which gives names and shapes.
        inplace: change the model itself instead of a copy.

    Raises UsageError for a model without such a form.
    """
    if isinstance(model, ImageModel) and model.is_reparameterized:
        return (model if inplace else copy.deepcopy(model)).eval()
    if not has_fused_form(model):
        raise UsageError(
            f"Nothing in a {type(model).__name__} has a form of its own for inference.",
            hint="Features are computed with norms joined to the layers before them anyway (`zoo export-features`).",
        )
    fused = (model if inplace else copy.deepcopy(model)).eval()
    fuse_modules(fused)
    return fused


def reparameterize_model(model: nn.Module, inplace: bool = False) -> nn.Module:
    """`reparameterize` as the published models API has it: a model without such a form comes back as it is."""
    if has_fused_form(model):
        return reparameterize(model, inplace)
    return model if inplace else copy.deepcopy(model)


def has_fused_form(model: nn.Module) -> bool:
    """Whether a part of the model has a form of its own for inference."""
    return any(hasattr(module, "fuse") for module in model.modules())


def fuse_modules(model: nn.Module) -> None:
    """`reparameterize` in place, for a model in evaluation mode that has such a form."""
    read = tuple(getattr(model, "hooked", ()))  # a feature net reads the outputs of these modules
    with torch.no_grad():
        _Fusion({}, read).below(model, "")
    if isinstance(model, ImageModel):
        paths = (model.spec.first_conv, model.spec.classifier)
        model.fused_layers = FusedLayers(*(tuple(_present(model, module_paths(path))) for path in paths))
        stated = {key: _as_stated(value) for key, value in model.fused_layers._asdict().items()}
        model.pretrained_cfg = {**model.pretrained_cfg, **stated}


@dataclass(frozen=True)
class _Fusion:
    """What stands in the place of each module so far, and the paths whose outputs are read from outside."""

    done: dict[nn.Module, nn.Module]
    read: tuple[str, ...]

    def below(self, module: nn.Module, path: str) -> nn.Module:
        """What stands in the place of a module: itself or another one. A whole comes before its parts."""
        if module in self.done:
            return self.done[module]
        fused = self._fused(module, path)
        self.done[module] = self.done[fused] = fused
        for name, child in list(fused._modules.items()):
            if child is not None:
                fused._modules[name] = self.below(child, f"{path}.{name}".lstrip("."))
        return fused

    def _fused(self, module: nn.Module, path: str) -> nn.Module:
        inside = f"{path}." if path else ""
        is_read = any(name.startswith(inside) and name != path for name in self.read)
        if not hasattr(module, "fuse") or is_read or any(map(_has_hooks, module.modules())):
            return module
        try:
            return module.fuse()  # type: ignore[no-any-return, operator]
        except NotDiagonalError:  # it was built with another kind of norm
            return module


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _present(model: nn.Module, paths: Collection[str]) -> Iterator[str]:
    """The paths of layers that took the place of these, each once."""
    yield from dict.fromkeys(_moved(model, path) for path in paths)


def _moved(model: nn.Module, path: str) -> str:
    """The path of the first layer in the nearest module that is still there; the path itself if it was cut off."""
    modules, nearest = dict(model.named_modules()), path
    while nearest and nearest not in modules:
        nearest = nearest.rpartition(".")[0]
    if not nearest:
        return path
    layers = (name for name, part in modules[nearest].named_modules() if "weight" in part._parameters)
    return f"{nearest}.{next(layers, '')}".rstrip(".")


def _as_stated(paths: tuple[str, ...]) -> str | tuple[str, ...] | None:
    """Paths as a config states them."""
    return paths[0] if len(paths) == 1 else paths or None


# ---------------------------------------------------------------- files in either form


def form_of(model: ImageModel, names: Collection[str]) -> ImageModel:
    """The model or its form for inference, whichever the tensors of these names are of.

    They are of the latter if none of them is in the plain form alone; a file may lack any others. The model may be on
    the meta device.
    """
    if model.is_reparameterized or not has_fused_form(model):
        return model
    fused = reparameterize(model)
    assert isinstance(fused, ImageModel)
    plain_keys, fused_keys = set(model.state_dict()), set(fused.state_dict())
    telling = fused_keys - plain_keys or fused_keys
    is_fused = plain_keys.difference(fused_keys).isdisjoint(names) and not telling.isdisjoint(names)
    return fused.train(model.training) if is_fused else model
