"""Detectron2's ResNets (https://github.com/facebookresearch/detectron2), and the arrays of Detectron, in Caffe2.

Trunks converted from torchvision stride in the 3x3 convolution of a block, as timm's do. Those of MSRA stride in the
1x1 before it, and read blue, green and red from 0 to 255; their names are Caffe2's, and their norms have no statistics.
"""

from __future__ import annotations

from zoo.core.layouts.table import Table, Twins, below

_RESNET = """
bn1.*                          stem.conv1.norm.*
conv1.*                        stem.conv1.*
layer{s}.{b}.                  res{s+1}.{b}.
  bn{k}.*                        conv{k}.norm.*
  conv{k}.*                      conv{k}.*
  downsample.1.*                 shortcut.norm.*
  downsample.0.*                 shortcut.*
"""

_FPN = """
-                              backbone.fpn_**              | dropped the feature pyramid
-                              backbone.top_block.**        | dropped the feature pyramid
"""
_HEADS = """
-                              proposal_generator.**        | dropped the detector
-                              roi_heads.**                 | dropped the detector
-                              sem_seg_head.**              | dropped the decoder
-                              head.**                      | dropped the detector
-                              anchor_generator.**          | dropped the detector
-                              pixel_mean                   | dropped it prepares the images
-                              pixel_std                    | dropped it prepares the images
"""
# The last stage of a C4 detector computes on regions.
_C4_HEADS = """
layer4.{b}.                    roi_heads.res5.{b}.
  bn{k}.*                        conv{k}.norm.*
  conv{k}.*                      conv{k}.*
  downsample.1.*                 shortcut.norm.*
  downsample.0.*                 shortcut.*
""" + _HEADS.replace(
    "-                              roi_heads.**                 | dropped the detector\n",
    "-                              roi_heads.box_predictor.**   | dropped the detector\n"
    "-                              roi_heads.mask_head.**       | dropped the detector\n",
)

_NORM = """
  BN.weight                      THEIRS_s
  BN.bias                        THEIRS_b
  BN.running_mean                -                            | zeros BN.weight
  BN.running_var                 -                            | unit_variance BN.weight
"""


def _norm(timm: str, theirs: str) -> str:
    return _NORM.replace("BN", timm).replace("THEIRS", theirs)


_CAFFE2 = f"""
conv1.weight                   conv1_w
{_norm("bn1", "res_conv1_bn").replace("  bn1", "bn1")}
layer{{s}}.{{b}}.              res{{s+1}}_{{b}}_
  conv1.weight                   branch2a_w
{_norm("bn1", "branch2a_bn")}
  conv2.weight                   branch2b_w
{_norm("bn2", "branch2b_bn")}
  conv3.weight                   branch2c_w
{_norm("bn3", "branch2c_bn")}
  downsample.0.weight            branch1_w
{_norm("downsample.1", "branch1_bn")}
fc.weight                      fc1000_w
fc.bias                        fc1000_b
-                              conv1_b                      | dropped the norm behind it has a bias of its own
"""
_BGR_MEAN = (103.530 / 255, 116.280 / 255, 123.675 / 255)
_NOTE = "it strides in the first 1x1 convolution of a block, timm's model in the 3x3: outputs differ until it is tuned"
_EITHER_NOTE = (
    "if its trunk is of MSRA, as most of Detectron2's detectors, it strides in the first 1x1 convolution and read blue,"
    " green and red from 0 to 255; torchvision's trunks compute as timm's"
)

_TWINS = (Twins("resnet[0-9]* resnext*"),)


def _in(prefix: str) -> str:
    return below(prefix, _RESNET)


TABLES = (
    Table("ResNet", f"{_in('')}\nfc.*  stem.fc.*", _TWINS),
    Table("ResNet below a feature pyramid", _in("backbone.bottom_up.") + _FPN + _HEADS, _TWINS, note=_EITHER_NOTE),
    Table("ResNet C4", _C4_HEADS + _in("backbone."), _TWINS, note=_EITHER_NOTE),
    Table("ResNet in a segmenter", _in("backbone.") + _HEADS, _TWINS, note=_EITHER_NOTE),
    Table(
        "ResNet of Caffe2",
        _CAFFE2,
        (),
        _BGR_MEAN,
        (1 / 255, 1 / 255, 1 / 255),
        _NOTE,
        fits=lambda _: False,
        bands=("blue", "green", "red"),
    ),
)
