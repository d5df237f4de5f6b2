"""The rows of a ConvNeXt with its authors' names (https://github.com/facebookresearch/ConvNeXt and ConvNeXt-V2)."""

from __future__ import annotations

CONVNEXT = """
stem.{k}.*                     downsample_layers.0.{k}.*
stages.{s}.downsample.{k}.*    downsample_layers.{s}.{k}.*
stages.{s}.blocks.{b}.         stages.{s}.{b}.
  gamma                          gamma
  conv_dw.*                      dwconv.*
  norm.*                         norm.*
  mlp.fc{k}.*                    pwconv{k}.*
  mlp.grn.weight                 grn.gamma                    | led 3
  mlp.grn.bias                   grn.beta                     | led 3
head.norm.*                    norm.*
"""
