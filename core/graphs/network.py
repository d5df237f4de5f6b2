"""A model with what a graph has besides it: preprocessing before, and named outputs behind."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.graphs.preprocessing import Normalize, ResizeCropNormalize
from zoo.core.graphs.request import GraphRequest
from zoo.core.images.preprocess import Preprocess
from zoo.core.model.features import FeatureInfo
from zoo.core.model.folding import fold_into_layers

INPUT = "image"

_Before = Callable[[Tensor], Tensor]


class GraphNetwork(NamedTuple):
    """A network that takes a batch of images and gives the tensors of `outputs`, in this order.

    Args:
        module: images -> one tensor, or a tuple of them.
        in_chans, size: channels, height and width of the images that it computes with.
        outputs: the names of its outputs.
        takes_pixels: whether images are 8-bit numbers of any height and width; otherwise they are float32 of `size`.
        notes: what the user should know, one sentence each.
    """

    module: nn.Module
    in_chans: int
    size: tuple[int, int]
    outputs: tuple[str, ...]
    takes_pixels: bool = False
    notes: tuple[str, ...] = ()


def graph_network(model: Any, preprocess: Preprocess, request: GraphRequest) -> GraphNetwork:
    """The network of a request, in evaluation mode. In float32 and unfused it shares the model's parameters.

    Args:
        model: an `ImageModel`; for "features" a `FeatureListNet`.
        preprocess: the transform of the model's weights.
    """
    model.eval().requires_grad_(False)
    size = request.img_size or model.img_size or preprocess.size
    notes: tuple[str, ...] = ()
    if request.fuse:
        example = torch.randn(1, model.in_chans, *size, generator=torch.Generator().manual_seed(0))
        # Scales stay: runtimes gain nothing from folding them, and a graph shows nothing of a scale that was there.
        model, _, _, note = fold_into_layers(model, example, scales=False)
        notes = (note,) if note else ()
    if request.dtype == "float16":
        model = copy.deepcopy(model).half()
    before: _Before | None = None
    if request.preprocess != "none":
        before = (Normalize if request.preprocess == "normalize" else ResizeCropNormalize)(preprocess)
    outputs: tuple[str, ...] = (request.outputs,)
    if request.outputs == "features":
        outputs = level_names(model.feature_info)
    return GraphNetwork(
        _with_ends(model, before, next(model.parameters()).dtype, is_embedding=request.outputs == "embedding"),
        model.in_chans,
        size,
        outputs,
        request.preprocess == "full",
        notes,
    )


def plain_network(model: Any, in_chans: int, size: tuple[int, int], outputs: Sequence[str]) -> GraphNetwork:
    """The network of any model that gives a sequence of tensors, as it is. The model is in evaluation mode."""
    return GraphNetwork(_with_ends(model, None, torch.float32, is_embedding=False), in_chans, size, tuple(outputs))


def level_names(info: FeatureInfo) -> tuple[str, ...]:
    """A name for each level: its own, or its module's."""
    return tuple(own or module for own, module in zip(info.level_name(), info.module_name(), strict=True))


class _Ends:
    """The first base of a network's class: what stands before and behind the model's own `forward`."""

    before: _Before | None
    compute: torch.dtype
    is_embedding: bool

    def forward(self, image: Tensor) -> Any:
        x = (image if self.before is None else self.before(image)).to(self.compute)
        model: Any = self
        found = model.pool(model.forward_features(x)) if self.is_embedding else super().forward(x)  # type: ignore[misc]
        if isinstance(found, Tensor):
            return found.to(torch.float32)
        maps = tuple(m.to(torch.float32) for m in found)
        return maps if len(maps) > 1 else maps[0]


def _with_ends(model: nn.Module, before: _Before | None, compute: torch.dtype, *, is_embedding: bool) -> nn.Module:
    """A network that shares the model's modules, so that its parameters keep their names in checkpoints."""
    net = copy.copy(model)
    net.__class__ = type("GraphNet", (_Ends, type(model)), {})
    net.__dict__.update(before=before, compute=compute, is_embedding=is_embedding)
    return net


def example_images(network: GraphNetwork, preprocess: Preprocess, batch: int, size: Sequence[int]) -> Tensor:
    """Images for a network, the same at each call: noise within the range of pixels.

    Args:
        batch: their number.
        size: height and width.
    """
    generator = torch.Generator().manual_seed(batch)
    pixels = torch.rand(batch, network.in_chans, *size, generator=generator)
    if network.takes_pixels:
        return (pixels * 256).to(torch.uint8)
    return pixels if getattr(network.module, "before", None) else Normalize(preprocess)(pixels)
