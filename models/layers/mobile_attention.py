"""Attention for mobile networks: all heads share one set of keys and values, which may be of lower resolution."""

from __future__ import annotations

from collections import OrderedDict

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv_same import make_conv
from zoo.models.layers.norm_act import NormActFactory


class MultiQueryAttention2d(nn.Module):
    """Multi-query attention (Shazeer, arXiv:1911.02150) over the positions of (N, C, H, W).

    Args:
        channels, out_channels: of the map that comes in and the one that goes out.
        num_heads, head_dim: heads and the channels of each, in queries as in the shared keys and values.
        kv_stride: above 1, depthwise convolutions with this stride reduce the map that keys and values come from.
        kernel: of these convolutions.
        norm_act: makes the norm after them; called with the activation "identity".
        pad_type: "" or "same".
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        num_heads: int,
        head_dim: int,
        kv_stride: int,
        kernel: int,
        norm_act: NormActFactory,
        dilation: int = 1,
        pad_type: str = "",
    ) -> None:
        super().__init__()
        self.num_heads = num_heads

        def projection(width: int) -> nn.Sequential:
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            if kv_stride > 1:
                layers["down_conv"] = make_conv(
                    channels, channels, kernel, kv_stride, dilation=dilation, groups=channels, pad_type=pad_type
                )
                layers["norm"] = norm_act(channels, act="identity")
            layers["proj"] = nn.Conv2d(channels, width, 1, bias=False)
            return nn.Sequential(layers)

        self.query = nn.Sequential(OrderedDict(proj=nn.Conv2d(channels, num_heads * head_dim, 1, bias=False)))
        self.key = projection(head_dim)
        self.value = projection(head_dim)
        self.output = nn.Sequential(OrderedDict(proj=nn.Conv2d(num_heads * head_dim, out_channels, 1, bias=False)))

    def reset_parameters(self) -> None:
        """Xavier's uniform initialisation for each convolution (Glorot and Bengio, 2010)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        # The heads share keys and values, so their queries are one long sequence.
        queries = self.query(x).unflatten(1, (self.num_heads, -1)).flatten(3)  # (N, heads, head_dim, H W)
        queries = queries.transpose(2, 3).flatten(1, 2).unsqueeze(1)
        # Contiguous, because the faster kernels refuse other strides.
        keys, values = (part(x).flatten(2).mT.contiguous().unsqueeze(1) for part in (self.key, self.value))
        mixed = F.scaled_dot_product_attention(queries, keys, values).squeeze(1)
        mixed = mixed.unflatten(1, (self.num_heads, -1)).transpose(2, 3)
        return self.output(mixed.flatten(1, 2).unflatten(2, (height, width)))
