"""Give back the batch norms that an exporter folded into the layers before them, so that a checkpoint is whole again.

Graphs for inference hold `y = W' x + b'`, a layer with a norm folded into it (`core/model/folding.py`). The
network has both: the layer takes W', and the norm a scale of 1, a shift of b', a mean of 0, and a variance of 1 - eps,
so that it divides by 1. What the norms were in training is lost, and what the network computes is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.model.folding import layers_before_norms

StateDict = MutableMapping[str, Tensor]


def unfold_batch_norms(model: nn.Module, tensors: StateDict) -> StateDict:
    """The tensors with those of the norms that were folded; as they are if none was.

    Args:
        model: of the architecture, on any device; its `pretrained_cfg` says which images it takes.
        tensors: by the names of this architecture. Each folded norm left its shift as the bias of its layer.
    """
    wanted = model.state_dict()
    missing = {name.rpartition(".")[0] for name in wanted.keys() - tensors.keys() if name.endswith(".running_var")}
    cfg = getattr(model, "pretrained_cfg", None) or {}
    input_size = cfg.get("input_size")
    if not (missing and input_size):
        return tensors
    from zoo.core.identify.identify import fused_architectures_of

    if cfg.get("architecture") in fused_architectures_of({name: tuple(value.shape) for name, value in tensors.items()}):
        return tensors  # the published form for inference, which another class computes
    unfolded, modules = dict(tensors), dict(model.named_modules())
    for layer, norm in _layers_before_norms(model, input_size):
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


def told_of_unfolded(before: Iterable[str], after: Iterable[str]) -> str:
    """The sentence about norms that were given back, by the names of tensors before and after; "" if none was."""
    given, found = (sum(name.endswith(".running_var") for name in names) for names in (before, after))
    if found <= given:
        return ""
    counted = f"{found - given} batch norms were" if found - given > 1 else "one batch norm was"
    return f"{counted} folded into the layer before; what stands for it only shifts, so train it in evaluation mode"


def _layers_before_norms(model: nn.Module, input_size: tuple[int, int, int]) -> list[tuple[str, str]]:
    device = next(model.parameters()).device
    trains = model.training
    try:
        return layers_before_norms(model.eval(), torch.empty(1, *input_size, device=device))
    finally:
        model.train(trains)
