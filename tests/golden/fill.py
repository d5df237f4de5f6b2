"""Weights and inputs that follow from a tensor's name and shape alone.

Two implementations of one architecture get equal weights without sharing a file or a random generator, so their
outputs can be compared. The scale keeps activations near one through a deep network.
"""

import zlib

import numpy as np
import torch


def values(name, shape):
    """float64 numpy array: uniform in [-1, 1), scaled by what the last part of the name says it is."""
    noise = np.random.default_rng(zlib.crc32(name.encode())).random(shape) * 2 - 1
    role = name.rpartition(".")[2]
    if role == "running_mean" or role.endswith("bias"):
        return 0.1 * noise
    if role == "running_var" or len(shape) < 2:
        return 1 + 0.3 * noise
    fan_in = max(int(np.prod(shape[1:])), 1)
    return noise * np.sqrt(3 / fan_in)


@torch.no_grad()
def fill_(model):
    """Overwrite every floating-point tensor of the state dict; the model is float64 afterwards."""
    model.double()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(np.asarray(values(name, tuple(tensor.shape)))))
    return model


def image(shape):
    """float64 batch of one in [-1, 1)."""
    return torch.from_numpy(np.random.default_rng(0).random((1, *shape)) * 2 - 1)


def summary(tensor):
    """Shape, moments and nine evenly spaced samples of a tensor."""
    flat = tensor.detach().double().flatten()
    at = torch.linspace(0, flat.numel() - 1, min(9, flat.numel())).long()
    return {
        "shape": list(tensor.shape),
        "absmax": flat.abs().max().item(),
        "mean": flat.mean().item(),
        "sample": [round(v, 12) for v in flat[at].tolist()],
    }
