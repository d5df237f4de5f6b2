"""Fold batch norms, which in evaluation only scale and shift channels, into the preceding layers.

For `y = W x + b` and `norm(y) = (y - mean) / sqrt(var + eps) * gamma + beta`, the layer alone gives the same result
with `W' = W * s` and `b' = beta + (b - mean) * s`, where `s = gamma / sqrt(var + eps)` (Jacob et al., arXiv:1712.05877,
section 3.2).

A run, not the names, shows which norm follows which layer: a pair is folded if the layer runs once and only this norm
reads its output.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from zoo.core.model.reparameterize import fuse_modules, has_fused_form
from zoo.models.layers.linear_map import Layer, LinearMap
from zoo.models.layers.norm_act import BatchNormAct2d, InPlaceBatchNormAct2d

TOLERANCE = 1e-5
"""The largest difference of a folded model's output, relative to the largest number in it."""


class Folding(NamedTuple):
    """A copy of the model in evaluation mode, its number of folded norms, and a note if none could be folded."""

    model: nn.Module
    folded: int
    note: str = ""


@torch.no_grad()
def fold_batch_norm(model: nn.Module, example: Tensor) -> Folding:
    """Fold every batch norm that only rescales the output of one convolution or linear layer.

    A model with a form of its own for inference is brought into it first, which joins branches too. The folded copy is
    compared with the model on the example. If an output differs by more than TOLERANCE of its largest number, nothing
    is folded and the note says so.

    Args:
        model: stays unchanged; float32 or float64.
        example: a batch for the model, not all zeros; the two models are compared on it.
    """
    plain = copy.deepcopy(model).eval()
    expected, num_norms = list(_tensors(plain(example))), _num_norms(plain)
    difference = 0.0
    for is_joined in (True, False) if has_fused_form(plain) else (False,):
        folded = copy.deepcopy(plain)
        if is_joined:
            fuse_modules(folded)
        _fold(folded, example)
        num_folded = num_norms - _num_norms(folded)
        if not num_folded:
            break
        difference = _largest_difference(list(_tensors(folded(example))), expected)
        if difference <= TOLERANCE:
            return Folding(folded, num_folded)
    note = f"Batch norms were not folded: maps would differ by {difference:.1e} of their largest number."
    return Folding(plain, 0, note if difference else "")


@torch.no_grad()
def layers_before_norms(model: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The paths of each layer that a batch norm can be folded into, and of that norm.

    Args:
        model: in evaluation mode, on any device; a meta device will do.
        example: a batch for it.
    """
    paths = {module: path for path, module in model.named_modules()}
    return [(paths[layer], paths[norm]) for layer, norm in _pairs(model, example)]


def _fold(model: nn.Module, example: Tensor) -> None:
    """Fold the norms that a run on the example shows to depend on one layer each."""
    pairs = _pairs(model, example)
    for layer, norm in pairs:
        joined = LinearMap.of(layer, norm)
        layer.weight, layer.bias = (
            nn.Parameter(value.to(layer.weight.dtype), requires_grad=False) for value in (joined.weight, joined.bias)
        )
    _replace(model, {norm: _behind_norm(norm) for _, norm in pairs})


def _pairs(model: nn.Module, example: Tensor) -> list[tuple[Layer, _BatchNorm]]:
    flow = _DataFlow()
    with flow:
        results = list(_tensors(model(example)))
    return flow.foldable_pairs(model, results)


def _num_norms(model: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in model.modules())


class _Output(NamedTuple):
    """The output of a layer with these parameters: the tensor, and views of it that keep the channel axis."""

    values: tuple[Tensor, ...]
    weight: Tensor
    bias: Tensor | None


class _DataFlow(TorchFunctionMode):
    """Records, while active, how the outputs of convolutions and linear layers are used."""

    def __init__(self) -> None:
        super().__init__()
        # Keys are ids of parameters and buffers, which outlive the run, and of outputs, which are kept during it.
        self.uses: Counter[int] = Counter()
        self.outputs: dict[int, _Output] = {}
        self.normed: list[tuple[_Output, Tensor]] = []

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.Tensor.reshape_as:
            self._count(args[0])  # the other tensor only provides its shape
        elif next(_tensors(result), None) is not None or func is torch.Tensor.__setitem__:
            self._count([args, kwargs])
        source = self.outputs.get(id(args[0])) if args else None
        if func in (F.conv2d, F.linear) and len(args) > 2:
            self._keep(_Output((result,), args[1], args[2]))
        elif source is not None and func is F.batch_norm and len(args) > 1 and isinstance(args[1], Tensor):
            self.normed.append((source, args[1]))
        elif source is not None and func is torch.Tensor.flatten and source.weight.ndim == 2 and result.ndim == 2:
            self._keep(source._replace(values=(*source.values, result)))
        return result

    def _count(self, arguments: Any) -> None:
        self.uses.update(id(tensor) for tensor in _tensors(arguments))

    def _keep(self, output: _Output) -> None:
        value = output.values[-1]
        self.outputs[id(value)] = output
        self.uses[id(value)] = 0  # a deleted tensor may have had this id

    def foldable_pairs(self, model: nn.Module, results: Sequence[Tensor]) -> list[tuple[Layer, _BatchNorm]]:
        """Layers of the model, each with the only norm that reads its output; `results` are the model's outputs."""
        self._count(results)
        layers: dict[int, list[Layer]] = {}
        norms: dict[int, list[_BatchNorm]] = {}
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                layers.setdefault(id(module.weight), []).append(module)
            elif isinstance(module, _BatchNorm):
                norms.setdefault(id(module.running_mean), []).append(module)
        pairs = []
        for output, mean in self.normed:
            of_weight, of_mean = layers.get(id(output.weight), []), norms.get(id(mean), [])
            used = (*output.values, output.weight, output.bias, mean)
            once = all(self.uses[id(tensor)] == 1 for tensor in used if tensor is not None)
            if once and len(of_weight) == len(of_mean) == 1 and _fits(of_weight[0], of_mean[0], output):
                pairs.append((of_weight[0], of_mean[0]))
        return pairs


def _fits(layer: Layer, norm: _BatchNorm, output: _Output) -> bool:
    """Whether the channels of the norm match the layer's, and both modules are of known behaviour."""
    per_channel = output.values[-1].ndim == (4 if isinstance(layer, nn.Conv2d) else 2)
    known = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d, InPlaceBatchNormAct2d)
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (layer, norm))
    return per_channel and known and not hooked and layer.bias is output.bias and norm.running_var is not None


def _behind_norm(norm: _BatchNorm) -> nn.Module:
    """The rest of the module without its norm."""
    return norm.act if isinstance(norm, BatchNormAct2d) else nn.Identity()


def _replace(model: nn.Module, replacements: Mapping[_BatchNorm, nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if isinstance(child, _BatchNorm) and child in replacements:
                parent._modules[name] = replacements[child]


def _largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """The largest difference over all tensors, relative to the largest expected number; NaN if one is not finite."""
    worst = torch.zeros((), dtype=torch.float64)
    for ours, theirs in zip(found, expected, strict=True):
        scale = theirs.abs().amax().double().clamp(min=torch.finfo(torch.float32).tiny)
        worst = torch.maximum(worst, (ours - theirs).abs().amax().double() / scale)  # maximum propagates NaN
    return worst.item()


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in arguments or results, at any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, Mapping):
        yield from _tensors(list(value.values()))
