"""Fold what only scales and shifts channels in evaluation, batch norms and layer scales, into the layers before it.

For `y = W x + b` and `norm(y) = (y - mean) / sqrt(var + eps) * gamma + beta`, the layer alone gives the same result
with `W' = W * s` and `b' = beta + (b - mean) * s`, where `s = gamma / sqrt(var + eps)` (Jacob et al., arXiv:1712.05877,
section 3.2). A layer scale, `y * gamma` (Touvron et al., arXiv:2103.17239, section 2), needs `W * gamma` and
`b * gamma`; the layer before it may also be a layer norm.

A run, not the names, shows what follows which layer: a pair is folded if the layer runs once and only the norm, or the
scale, reads its output.
"""

from __future__ import annotations

import copy
import math
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
from zoo.models.layers.layer_scale import ChannelScale
from zoo.models.layers.linear_map import Layer, LinearMap
from zoo.models.layers.norm_act import BatchNormAct2d, InPlaceBatchNormAct2d

TOLERANCE = 1e-5
"""The largest difference of a folded model's output, relative to the largest number in it."""


class Folding(NamedTuple):
    """A copy of the model for evaluation, the numbers of folded norms and scales, and a note if they had to stay."""

    model: nn.Module
    norms: int
    scales: int = 0
    note: str = ""


@torch.no_grad()
def fold_into_layers(model: nn.Module, example: Tensor, *, scales: bool = True) -> Folding:
    """Fold every batch norm and layer scale that only rescales the output of one layer.

    A model with a form of its own for inference is brought into it first, which joins branches too. The folded copy is
    compared with the model on the example. If an output differs by more than TOLERANCE of its largest number, nothing
    is folded and the note says so.

    Args:
        model: stays unchanged; float32 or float64.
        example: a batch for the model, not all zeros; the two models are compared on it.
        scales: fold layer scales too, not only norms.
    """
    plain = copy.deepcopy(model).eval()
    expected, before = list(_tensors(plain(example))), _num_foldable(plain)
    difference = 0.0
    for is_joined in (True, False) if has_fused_form(plain) else (False,):
        folded = copy.deepcopy(plain)
        if is_joined:
            fuse_modules(folded)
        _fold_norms(folded, example)
        if scales:
            _fold_scales(folded, example)
        num_norms, num_scales = (old - left for old, left in zip(before, _num_foldable(folded), strict=True))
        if not num_norms and not num_scales:
            break
        difference = _largest_difference(list(_tensors(folded(example))), expected)
        if difference <= TOLERANCE:
            return Folding(folded, num_norms, num_scales)
    note = f"Norms and scales were not folded: maps would differ by {difference:.1e} of their largest number."
    return Folding(plain, 0, 0, note if difference else "")


@torch.no_grad()
def layers_before_norms(model: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The paths of each layer that a batch norm can be folded into, and of that norm.

    Args:
        model: in evaluation mode, on any device; a meta device will do.
        example: a batch for it.
    """
    paths = {module: path for path, module in model.named_modules()}
    return [(paths[layer], paths[norm]) for layer, norm in _recorded(model, example).foldable_norms(model)]


def _fold_norms(model: nn.Module, example: Tensor) -> None:
    """Fold the norms that a run on the example shows to depend on one layer each."""
    pairs = _recorded(model, example).foldable_norms(model)
    for layer, norm in pairs:
        joined = LinearMap.of(layer, norm)
        layer.weight, layer.bias = _constants(layer.weight, joined.weight, joined.bias)
    _replace(model, {norm: _behind_norm(norm) for _, norm in pairs})


def _fold_scales(model: nn.Module, example: Tensor) -> None:
    """Fold the scales that a run on the example shows to depend on one layer each."""
    for layer, scale in _recorded(model, example).foldable_scales(model):
        factors = scale.owner.get_parameter(scale.name).double().flatten()
        weight = layer.weight.double() * factors.view(-1, *[1] * (layer.weight.ndim - 1))
        (layer.weight,) = _constants(layer.weight, weight)
        if layer.bias is not None:
            (layer.bias,) = _constants(layer.bias, layer.bias.double() * factors)
        scale.owner.register_parameter(scale.name, None)


def _constants(like: Tensor, *values: Tensor) -> list[nn.Parameter]:
    return [nn.Parameter(value.to(like.dtype), requires_grad=False) for value in values]


def _recorded(model: nn.Module, example: Tensor) -> _DataFlow:
    flow = _DataFlow()
    with flow:
        results = list(_tensors(model(example)))
    flow.count(results)
    return flow


def _num_foldable(model: nn.Module) -> tuple[int, int]:
    """The numbers of batch norms and of layer scales."""
    return sum(isinstance(module, _BatchNorm) for module in model.modules()), len(list(_scales(model)))


class _Scale(NamedTuple):
    """A layer scale: the module and the name of its parameter."""

    owner: ChannelScale
    name: str


def _scales(model: nn.Module) -> Iterator[_Scale]:
    for module in model.modules():
        if isinstance(module, ChannelScale):
            yield from (_Scale(module, name) for name in module.scales if getattr(module, name) is not None)


class _Output(NamedTuple):
    """The output of a layer with these parameters: the tensor and views of it, and the channels' axis in the last."""

    values: tuple[Tensor, ...]
    axis: int
    weight: Tensor
    bias: Tensor | None


_ScalableLayer = nn.Conv2d | nn.Linear | nn.LayerNorm
_PRODUCTS = {
    torch.mul,
    torch.Tensor.mul,
    torch.Tensor.__mul__,
    torch.Tensor.__rmul__,
    torch.multiply,
}
_RESHAPES = {
    torch.Tensor.flatten,
    torch.Tensor.reshape,
    torch.Tensor.view,
    torch.flatten,
    torch.reshape,
    torch.Tensor.contiguous,
    torch.Tensor.unflatten,
}
_PASSES = _RESHAPES | {F.dropout}
"""What may give the very tensor that it was given: dropout in evaluation, or a shape that it has already."""
_TRANSPOSES = {torch.Tensor.permute, torch.permute, torch.Tensor.transpose, torch.transpose}


class _DataFlow(TorchFunctionMode):
    """Records, while active, how the outputs of layers are used."""

    def __init__(self) -> None:
        super().__init__()
        # Keys are ids of parameters and buffers, which outlive the run, and of outputs, which are kept during it.
        self.uses: Counter[int] = Counter()
        self.outputs: dict[int, _Output] = {}
        self.factors: dict[int, tuple[Tensor, ...]] = {}
        self.normed: list[tuple[_Output, Tensor]] = []
        self.scaled: list[tuple[_Output, tuple[Tensor, ...]]] = []

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _PASSES and args and result is args[0]:
            return result
        if func is torch.Tensor.reshape_as:
            self.count(args[0])  # the other tensor only provides its shape
        elif next(_tensors(result), None) is not None or func is torch.Tensor.__setitem__:
            self.count([args, kwargs])
        if func in (F.conv2d, F.linear) and len(args) > 2:
            self._keep(_Output((result,), 1 if func is F.conv2d else result.ndim - 1, args[1], args[2]))
        elif func is F.layer_norm and kwargs and isinstance(kwargs.get("weight"), Tensor):
            if kwargs["weight"].ndim == 1:
                self._keep(_Output((result,), result.ndim - 1, kwargs["weight"], kwargs["bias"]))
        elif func is F.batch_norm and len(args) > 1 and isinstance(args[1], Tensor):
            source = self._source(args[0])
            if source is not None and source.axis == 1:
                self.normed.append((source, args[1]))
        elif func in _PRODUCTS and len(args) == 2:
            for value, factor in (args, args[::-1]):
                self._record_product(value, factor)
        elif args and (func in _RESHAPES or (func in _TRANSPOSES and not kwargs)):
            self._follow(func, args, result)
        return result

    def count(self, arguments: Any) -> None:
        """Count a use of each tensor in these arguments."""
        self.uses.update(id(tensor) for tensor in _tensors(arguments))

    def _source(self, value: Any) -> _Output | None:
        return self.outputs.get(id(value))

    def _keep(self, output: _Output) -> None:
        value = output.values[-1]
        self.outputs[id(value)] = output
        self.uses[id(value)] = 0  # a deleted tensor may have had this id

    def _follow(self, func: Callable[..., Any], args: Sequence[Any], result: Tensor) -> None:
        """Keep the result if it is a layer's output in another order or shape, or a parameter in another shape."""
        source = self._source(args[0])
        if source is not None:
            axis = _axis_behind(func, args, source.axis, result)
            if axis is not None:
                self._keep(source._replace(values=(*source.values, result), axis=axis))
        elif isinstance(args[0], nn.Parameter) and func in _RESHAPES:
            self.factors[id(result)] = (args[0], result)
            self.uses[id(result)] = 0

    def _record_product(self, value: Any, factor: Any) -> None:
        source = self._source(value)
        if source is None or not isinstance(factor, Tensor):
            return
        chain = self.factors.get(id(factor), (factor,))
        channels = value.shape[source.axis]
        # Broadcasting aligns dimensions at the end.
        along = factor.ndim - (value.ndim - source.axis)
        per_channel = 0 <= along < factor.ndim <= value.ndim and factor.shape[along] == factor.numel() == channels
        if isinstance(chain[0], nn.Parameter) and per_channel:
            self.scaled.append((source, chain))

    def _used_once(self, *tensors: Tensor | None) -> bool:
        return all(self.uses[id(tensor)] == 1 for tensor in tensors if tensor is not None)

    def foldable_norms(self, model: nn.Module) -> list[tuple[Layer, _BatchNorm]]:
        """Convolutions and linear layers of the model, each with the only norm that reads its output."""
        layers, norms = _by_weight(model, nn.Conv2d | nn.Linear), _by_weight(model, _BatchNorm, "running_mean")
        pairs = []
        for output, mean in self.normed:
            of_weight, of_mean = layers.get(id(output.weight), []), norms.get(id(mean), [])
            once = self._used_once(*output.values, output.weight, output.bias, mean)
            if once and len(of_weight) == len(of_mean) == 1 and _fits(of_weight[0], of_mean[0], output):
                pairs.append((of_weight[0], of_mean[0]))
        return pairs

    def foldable_scales(self, model: nn.Module) -> list[tuple[_ScalableLayer, _Scale]]:
        """Layers of the model, each with the only scale that reads its output."""
        layers = _by_weight(model, _ScalableLayer)
        scales = {id(scale.owner.get_parameter(scale.name)): scale for scale in _scales(model)}
        pairs = []
        for output, factors in self.scaled:
            of_weight, scale = layers.get(id(output.weight), []), scales.get(id(factors[0]))
            once = self._used_once(*output.values, output.weight, output.bias, *factors)
            if not once or len(of_weight) != 1 or scale is None:
                continue
            if _has_bias(of_weight[0], output) and not _hooked(of_weight[0], scale.owner):
                pairs.append((of_weight[0], scale))
        return pairs


def _axis_behind(func: Callable[..., Any], args: Sequence[Any], axis: int, result: Tensor) -> int | None:
    """The channels' axis after a change of order or shape; None if they are then mixed with others."""
    value, *rest = args
    if func in (torch.Tensor.transpose, torch.transpose):
        order = list(range(value.ndim))
        first, second = rest
        order[first], order[second] = order[second], order[first]
        return order.index(axis)
    if func in _TRANSPOSES:
        dims = rest[0] if isinstance(rest[0], tuple | list) else rest
        return [dim % value.ndim for dim in dims].index(axis)
    outer, channels = math.prod(value.shape[:axis]), value.shape[axis]
    found = [dim for dim in range(result.ndim) if result.shape[dim] == channels > 1]
    return next((dim for dim in found if math.prod(result.shape[:dim]) == outer), None)


def _by_weight(model: nn.Module, kind: Any, name: str = "weight") -> dict[int, list[Any]]:
    """Modules of a kind by the id of their weight, or of another of their tensors."""
    found: dict[int, list[Any]] = {}
    for module in model.modules():
        if isinstance(module, kind):
            found.setdefault(id(getattr(module, name)), []).append(module)
    return found


def _fits(layer: Layer, norm: _BatchNorm, output: _Output) -> bool:
    """Whether both modules are of known behaviour."""
    known = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, BatchNormAct2d, InPlaceBatchNormAct2d)
    return known and not _hooked(layer, norm) and _has_bias(layer, output) and norm.running_var is not None


def _has_bias(layer: _ScalableLayer, output: _Output) -> bool:
    """Whether the layer's own bias was added, not one made of it or of another."""
    return layer.bias is output.bias


def _hooked(*modules: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in modules)


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
