"""Initial values of networks of tokens."""

from __future__ import annotations

import torch.nn as nn

from zoo.models.layers.mlp import GluMlp, SwiGLU


def init_linear(module: nn.Module, deviation: float = 0.02) -> None:
    """A linear layer as in vision transformers (arXiv:2010.11929): normal, cut at two, no bias; gates start open.

    Other modules stay as they are.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=deviation)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, GluMlp | SwiGLU):
        module.init_gate()


def init_patch_embedding(convolution: nn.Conv2d) -> None:
    """LeCun's normal distribution, cut at two deviations, and no bias: as jax initialises a layer."""
    # Cutting makes the distribution narrower by this factor.
    deviation = convolution.weight[0].numel() ** -0.5 / 0.87962566
    nn.init.trunc_normal_(convolution.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def init_as_jax(name: str, module: nn.Module) -> None:
    """Xavier's uniform linear layers, LeCun's normal patch embedding; biases are zero, in perceptrons next to it.

    Other modules stay as they are.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None and "mlp" in name:
            nn.init.normal_(module.bias, std=1e-6)
        elif module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        init_patch_embedding(module)
