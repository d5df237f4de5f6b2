"""Big Transfer's arrays of ResNets (https://github.com/google-research/big_transfer): kernels with inputs first."""

from __future__ import annotations

from zoo.core.architectures.records import HALF
from zoo.core.layouts.table import Table, Twins

_RESNET = """
stem.conv.weight               resnet/root_block/standardized_conv2d/kernel   | transpose 3 2 0 1
stages.{s}.blocks.{b}.         resnet/block{s+1}/unit{b+1:02}/
  downsample.conv.weight         a/proj/standardized_conv2d/kernel   | transpose 3 2 0 1
  conv{k+1}.weight               {k:a}/standardized_conv2d/kernel    | transpose 3 2 0 1
  norm{k+1}.weight               {k:a}/group_norm/gamma
  norm{k+1}.bias                 {k:a}/group_norm/beta
norm.weight                    resnet/group_norm/gamma
norm.bias                      resnet/group_norm/beta
head.fc.weight                 resnet/head/conv2d/kernel      | transpose 3 2 0 1
head.fc.bias                   resnet/head/conv2d/bias
"""

TABLES = (Table("ResNet V2", _RESNET, (Twins("resnetv2_*_bit*"),), HALF, HALF),)
