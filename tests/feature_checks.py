"""What the tests of feature export compute and compare with."""

import numpy as np
import torch
from torch import nn

from zoo.models.layers.layer_scale import ChannelScale

TOLERANCE = 1e-5


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def with_statistics(model):
    """Batch norms as training leaves them: no mean is 0, no variance 1."""
    generator = torch.Generator().manual_seed(0)
    for norm in batch_norms(model):
        norm.running_mean.normal_(0, 0.1, generator=generator)
        norm.running_var.uniform_(0.3, 3, generator=generator)
        norm.weight.uniform_(0.5, 1.5, generator=generator)
        norm.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


@torch.no_grad()
def with_scales(model):
    """Layer scales as training leaves them, not the tiny numbers that hide what a branch gives."""
    generator = torch.Generator().manual_seed(1)
    for scale in layer_scales(model):
        scale.uniform_(0.3, 1.5, generator=generator)
    return model.eval()


def layer_scales(model):
    owners = [m for m in model.modules() if isinstance(m, ChannelScale)]
    found = [getattr(owner, name) for owner in owners for name in owner.scales]
    return [scale for scale in found if scale is not None]


def batch_norms(model):
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def maps_of(features):
    """The maps of each level of `ImageFeatures`, images put together."""
    return [torch.from_numpy(np.stack(level)) for level in zip(*(image.maps for image in features), strict=True)]


def difference(found, expected):
    """The largest, as a part of the largest number in its map."""
    pairs = list(zip(found, expected, strict=True))
    assert all(a.shape == b.shape for a, b in pairs)
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs)


@torch.inference_mode()
def one_by_one(net, images):
    """The maps of a plain loop."""
    maps = [net(image[None]) for image in images]
    return [torch.cat(level) for level in zip(*maps, strict=True)]
