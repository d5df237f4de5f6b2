"""Multi-scale features: the levels of a model, and a model that returns their maps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.fx import GraphModule, Tracer

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel
from zoo.models.layers.memory_order import in_order_of
from zoo.models.level_indices import resolve_indices


class FeatureInfo:
    """The levels of a model (`num_chs`, `reduction` relative to the input, `module` path) and the requested ones."""

    def __init__(self, feature_info: Sequence[dict[str, Any]], out_indices: int | Sequence[int] | None = None) -> None:
        self.info = [dict(level, index=i) for i, level in enumerate(feature_info)]
        # A network returns its maps in one order, finest first.
        self.out_indices = tuple(sorted(set(resolve_indices(len(self.info), out_indices))))

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """Values of `key`: for the requested levels (None), for one level, or for several."""
        if idx is None:
            return [self.info[i][key] for i in self.out_indices]
        return self.info[idx][key] if isinstance(idx, int) else [self.info[i][key] for i in idx]

    def get_dicts(self, keys: Sequence[str] | None = None, idx: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """The levels as dicts, restricted to `keys` if given."""
        levels = [self.info[i] for i in (self.out_indices if idx is None else idx)]
        return [{k: level[k] for k in keys} if keys else dict(level) for level in levels]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("module", idx)

    def level_name(self, idx: int | Sequence[int] | None = None) -> Any:
        """The names of levels that share a module with others; '' for any other level."""
        return [level.get("name", "") for level in self.get_dicts(idx=[idx] if isinstance(idx, int) else idx)]

    def __getitem__(self, item: int) -> dict[str, Any]:
        return self.info[item]

    def __len__(self) -> int:
        return len(self.info)

    def from_other(self, out_indices: int | Sequence[int] | None) -> FeatureInfo:
        """The same levels, with others requested."""
        return FeatureInfo(self.info, out_indices)

    def __repr__(self) -> str:
        return f"FeatureInfo({self.info}, out_indices={self.out_indices})"


class FeatureNet(nn.Module):
    """A model turned into one that returns feature maps. It keeps the model's class as a base, its keys and its
    modules.

    `FeatureListNet(model, ...)` returns a new model that shares the weights of the given one, which stays unchanged.
    """

    feature_info: FeatureInfo
    _model_class: type[ImageModel]

    def __init__(self, *_given: Any, **_options: Any) -> None:
        """Do nothing: `__new__` returns a finished model."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The combined class is made on demand, so a pickle names its two parts instead.
        return _new_feature_net, (_kind(type(self)), self._model_class), self.__dict__


def _kind(net_class: type) -> type[FeatureNet]:
    return next(base for base in net_class.__mro__ if base in FEATURE_CLASSES.values())


_combined_classes: dict[tuple[type[FeatureNet], type[ImageModel]], type[FeatureNet]] = {}


def _combined(kind: type[FeatureNet], model_class: type[ImageModel]) -> type[FeatureNet]:
    pair = kind, model_class
    if pair not in _combined_classes:
        members = {"_model_class": model_class, "__module__": kind.__module__}
        _combined_classes[pair] = type(kind.__name__, pair, members)
    return _combined_classes[pair]


def _new_feature_net(kind: type[FeatureNet], model_class: type[ImageModel]) -> FeatureNet:
    return object.__new__(_combined(kind, model_class))


def _share(kind: type[FeatureNet], model: nn.Module) -> Any:
    """A feature net of this kind that uses the model's own weights."""
    if not isinstance(model, ImageModel):
        raise UsageError(f"Feature extraction needs one of zoo's models, found a {type(model).__name__}.")
    net = _new_feature_net(kind, type(model))
    net.__dict__.update(_copy_module(model).__dict__)
    return net


def _copy_module(module: nn.Module, copies: dict[nn.Module, nn.Module] | None = None) -> nn.Module:
    """Copy the module tree, sharing parameters; a module that occurs in several places stays one module."""
    copies = {} if copies is None else copies
    if module in copies:
        return copies[module]
    twin = copies[module] = copy.copy(module)
    for key, value in module.__dict__.items():
        if isinstance(value, dict):  # parameters, buffers, hooks
            twin.__dict__[key] = copy.copy(value)
    twin.__dict__["_modules"] = {n: m if m is None else _copy_module(m, copies) for n, m in module._modules.items()}
    return twin


class FeatureListNet(FeatureNet):
    """Image (N, C, H, W) -> list of maps (N, channels, H / reduction, W / reduction), finest first.

    Only the parts that the levels at `out_indices` need are kept and run.
    """

    def __new__(
        cls, model: nn.Module | None = None, out_indices: int | Sequence[int] | None = None, **options: Any
    ) -> Any:
        if model is None:  # a copy of a finished net, whose content the caller puts in: DataParallel, deepcopy
            return object.__new__(cls)
        net = _share(cls, model)
        net.set_options(**options)
        if out_indices is None:
            out_indices = net.default_out_indices
        net.feature_info = FeatureInfo(net.feature_info, out_indices)
        net.prune_intermediate_layers(net.feature_info.out_indices, prune_norm=not net.norms_maps)
        return net

    norms_maps = False

    def set_options(self) -> None:
        """Keep what a kind of net takes besides the levels."""

    def forward(self, x: Tensor) -> Any:
        indices = self.feature_info.out_indices
        return self.forward_intermediates(x, indices, stop_early=True, intermediates_only=True)  # type: ignore[operator]


class FeatureDictNet(FeatureListNet):
    """Image (N, C, H, W) -> dict of maps by name, finest first.

    Args:
        out_map: the names, one for each level asked for; by default the levels' indices as text.
    """

    out_map: tuple[str, ...] | None = None

    def set_options(self, out_map: Sequence[int | str] | None = None) -> None:
        self.out_map = None if out_map is None else tuple(map(str, out_map))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        names = self.out_map or tuple(map(str, self.feature_info.out_indices))
        if len(names) != len(self.feature_info.out_indices):
            raise UsageError(f"out_map names {len(names)} maps, and there are {len(self.feature_info.out_indices)}.")
        return dict(zip(names, super().forward(x), strict=True))


class FeatureGetterNet(FeatureListNet):
    """As `FeatureListNet`; with `norm`, the trunk's final norm is applied to each map."""

    def set_options(self, norm: bool = False) -> None:
        self.norms_maps = norm

    def forward(self, x: Tensor) -> list[Tensor]:
        indices = self.feature_info.out_indices
        return self.forward_intermediates(  # type: ignore[operator, no-any-return]
            x, indices, norm=self.norms_maps, stop_early=not self.norms_maps, intermediates_only=True
        )


class FeatureGraphNet(FeatureListNet):
    """As `FeatureListNet`, whose forward is a graph of torch.fx that ends at the levels asked for.

    The graph is traced when it is first needed, one for training and one for evaluation, and runs on the net's own
    modules. `graph_module` gives it for other tools.
    """

    traced: dict[bool, Callable[..., Any]]

    def set_options(self) -> None:
        self.traced = {}

    @property
    def graph_module(self) -> GraphModule:
        """The graph of the net's present mode, training or evaluation, with the net's own parts and weights."""
        source = _new_feature_net(FeatureListNet, self._model_class)
        source.__dict__.update(self.__dict__)
        graph = Tracer().trace(source)
        for name in source.__dict__.keys() - self.__dict__.keys():  # a constant that the trace has computed
            self.register_buffer(name, source.__dict__[name], persistent=False)
        return GraphModule(source, graph, class_name="FeatureGraph")

    def forward(self, x: Tensor) -> Any:
        # The compiler traces by itself; what is computed a second time to save memory is no part of a graph.
        if torch.compiler.is_compiling() or self.grad_checkpointing:
            return super().forward(x)
        if self.training not in self.traced:
            # A graph module has a class of its own, whose forward needs no more than an object with its modules.
            self.traced[self.training] = type(self.graph_module).forward
        return self.traced[self.training](self, x)

    def __reduce_ex__(self, protocol: Any) -> Any:
        make, arguments, state = super().__reduce_ex__(protocol)
        return make, arguments, {**state, "traced": {}}


LIST_HINT = "Read the levels with feature_cls='list'."


class FeatureHookNet(FeatureNet):
    """Outputs of any modules by name, read with forward hooks: image -> list of tensors in the order of the names.

    Args:
        model: one of zoo's models.
        out_indices: levels of `feature_info`, returned as maps; ignored if `modules` is given.
        modules: module paths, e.g. `["layer1.0.conv1", "layer3"]`; their outputs are returned unchanged.
    """

    hooked: tuple[str, ...]
    reads_levels: bool

    def __new__(
        cls,
        model: nn.Module | None = None,
        out_indices: int | Sequence[int] | None = None,
        modules: Sequence[str] | None = None,
    ) -> Any:
        if model is None:
            return object.__new__(cls)
        net = _share(FeatureHookNet, model)
        if out_indices is None:
            out_indices = net.default_out_indices
        net.feature_info = FeatureInfo(net.feature_info, None if modules else out_indices)
        net.reads_levels = not modules
        net.hooked = tuple(modules or net.feature_info.module_name())
        known = dict(net.named_modules())
        for name in net.hooked:
            if name not in known:
                raise UsageError(f"{type(model).__name__} has no module {name!r} to read features from.")
        return net

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
                if not isinstance(output, Tensor):
                    raise UsageError(f"{name} gives several tensors, which a hook cannot tell apart.", hint=LIST_HINT)
                # Later layers may modify their input in place.
                outputs[name] = in_order_of(x, output.clone())

            return hook

        handles = [self.get_submodule(name).register_forward_hook(keep(name)) for name in self.hooked]
        try:
            self.forward_features(x)  # type: ignore[operator]
        finally:
            for handle in handles:
                handle.remove()
        found = [outputs[name] for name in self.hooked]
        if not self.reads_levels:
            return found
        levels, size = self.feature_info.out_indices, (x.shape[2], x.shape[3])
        states = [self.level_state(output, level) for output, level in zip(found, levels, strict=True)]  # type: ignore[operator]
        return [self.feature_map(state, size, level) for state, level in zip(states, levels, strict=True)]  # type: ignore[operator]


FEATURE_CLASSES: dict[str, type[FeatureNet]] = {
    "list": FeatureListNet,
    "dict": FeatureDictNet,
    "getter": FeatureGetterNet,
    "hook": FeatureHookNet,
    "fx": FeatureGraphNet,
}
"""What `feature_cls` of `create_model` may be."""
