"""EfficientNet-PyTorch (https://github.com/lukemelas/EfficientNet-PyTorch) and the packages that use its names.

Its weights come from TensorFlow, with TensorFlow's padding and epsilon: they are timm's `tf_` architectures.
"""

from __future__ import annotations

from zoo.core.architectures.records import HALF
from zoo.core.layouts.table import Table, Twins

_SQUEEZE_EXCITE = """
  se.conv_reduce.*               _se_reduce.*
  se.conv_expand.*               _se_expand.*
"""

_EFFICIENTNET = f"""
conv_stem.*                    _conv_stem.*
bn1.*                          _bn0.*
conv_head.*                    _conv_head.*
bn2.*                          _bn1.*
blocks.{{s}}.{{b}}.            _blocks.{{s.b}}.
  conv_dw.*                      _depthwise_conv.*
  bn1.*                          _bn1.*
{_SQUEEZE_EXCITE}
  conv_pw.*                      _project_conv.*
  bn2.*                          _bn2.*
blocks.{{s}}.{{b}}.            _blocks.{{s.b}}.
  conv_pw.*                      _expand_conv.*
  bn1.*                          _bn0.*
  conv_dw.*                      _depthwise_conv.*
  bn2.*                          _bn1.*
{_SQUEEZE_EXCITE}
  conv_pwl.*                     _project_conv.*
  bn3.*                          _bn2.*
classifier.*                   _fc.*
"""

_LITE = _EFFICIENTNET.replace(_SQUEEZE_EXCITE, "")

TABLES = (
    # First, because the other table also has a place for its tensors.
    Table("EfficientNet-Lite", _LITE, (Twins("tf_efficientnet_lite*"),), HALF, HALF),
    Table("EfficientNet", _EFFICIENTNET, (Twins("tf_efficientnet_*"),)),
)
