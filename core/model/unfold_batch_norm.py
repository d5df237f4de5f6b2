"""Give back the batch norms that an exporter folded into the layers before them, so that a checkpoint is whole again.

Graphs for inference hold `y = W' x + b'`, a layer with a norm folded into it (`core/model/fold_batch_norm.py`). The
network has both: the layer takes W', and the norm a scale of 1, a shift of b', a mean of 0, and a variance of 1 - eps,
so that it divides by 1. What the norms were in training is lost, and what the network computes is the same.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.model.fold_batch_norm import layers_before_norms

StateDict = Mapping[str, Tensor]


def unfold_batch_norms(model: nn.Module, tensors: StateDict, input_size: tuple[int, int, int]) -> dict[str, Tensor]:
    """The tensors with those of the norms that were folded; as they are if none was.

    Args:
        model: of the architecture, in evaluation mode, on any device.
        tensors: by the names of this architecture. Each folded norm left its shift as the bias of its layer.
        input_size: (channels, height, width) of images that the model takes.
    """
    wanted = model.state_dict()
    unfolded = dict(tensors)
    missing = {name.rpartition(".")[0] for name in wanted.keys() - tensors.keys() if name.endswith(".running_var")}
    if not missing:
        return unfolded
    modules = dict(model.named_modules())
    device = next(model.parameters()).device
    for layer, norm in layers_before_norms(model, torch.empty(1, *input_size, device=device)):
        shift = unfolded.get(f"{layer}.bias")
        if norm not in missing or shift is None or f"{norm}.bias" not in wanted:
            continue
        one, zero = torch.ones_like(shift), torch.zeros_like(shift)
        has_bias = f"{layer}.bias" in wanted
        if not has_bias:
            del unfolded[f"{layer}.bias"]
        unfolded |= {
            f"{norm}.weight": one,
            f"{norm}.bias": zero if has_bias else shift,
            f"{norm}.running_mean": zero,
            f"{norm}.running_var": one - modules[norm].eps,
        }
    return unfolded
