"""Keras applications (https://keras.io/api/applications/), from .h5, .weights.h5 and .keras (extra `keras`).

Kernels have their outputs last. The first layer behind VGG's maps reads them with the channels last. Preprocessing that
is a layer of the network is left out: EfficientNet reads pixels from 0 to 255. Their ResNets stride in other layers
than timm's, and MobileNet V1 and V2 pad on one side alone, so no table has them.
"""

from __future__ import annotations

from zoo.core.layouts.table import Shapes, Table, Twins

_DENSE = "transpose 1 0"
_KERNEL = "transpose 3 2 0 1"
_DEPTHWISE = "transpose 2 3 0 1"


def _norm(timm: str, theirs: str, indent: str = "  ") -> str:
    pairs = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    rows = [f"{indent}{timm}.{ours}   {theirs}/{name}" for ours, name in pairs.items()]
    return "\n".join((*rows, f"{indent}{timm}.num_batches_tracked   -   | dropped Keras counts no batches"))


def _layer(timm: str, theirs: str, change: str, indent: str = "  ") -> str:
    return f"{indent}{timm}.weight   {theirs}/kernel   | {change}\n{indent}{timm}.bias   {theirs}/bias"


def _vgg(convolutions: tuple[int, ...]) -> str:
    """The rows of a network with so many convolutions before each pooling."""
    rows, place = [], 0
    for stage, count in enumerate(convolutions, 1):
        for number in range(1, count + 1):
            rows.append(_layer(f"features.{place}", f"block{stage}_conv{number}", _KERNEL, ""))
            place += 2
        place += 1
    return "\n".join(
        (
            *rows,
            _layer("pre_logits.fc1", "fc1", "map_rows 7 7", ""),
            _layer("pre_logits.fc2", "fc2", "map_rows 1 1", ""),
            _layer("head.fc", "predictions", _DENSE, ""),
        )
    )


_DENSENET = f"""
features.conv0.weight          conv1_conv/kernel              | {_KERNEL}
{_norm("features.norm0", "conv1_bn", "")}
features.denseblock{{s}}.denselayer{{b}}.      conv{{s+1}}_block{{b}}_
{_norm("norm1", "0_bn")}
  conv1.weight                   1_conv/kernel                | {_KERNEL}
{_norm("norm2", "1_bn")}
  conv2.weight                   2_conv/kernel                | {_KERNEL}
features.transition{{s}}.      pool{{s+1}}_
{_norm("norm", "bn")}
  conv.weight                    conv/kernel                  | {_KERNEL}
{_norm("features.norm5", "bn", "")}
{_layer("classifier", "predictions", _DENSE, "")}
"""

_SQUEEZE_EXCITE = f"""
{_layer("se.conv_reduce", "se_reduce", _KERNEL)}
{_layer("se.conv_expand", "se_expand", _KERNEL)}
"""


def _efficientnet(depthwise: str) -> str:
    return f"""
conv_stem.weight               stem_conv/kernel               | {_KERNEL}
{_norm("bn1", "stem_bn", "")}
conv_head.weight               top_conv/kernel                | {_KERNEL}
{_norm("bn2", "top_bn", "")}
{_layer("classifier", "predictions", _DENSE, "")}
-                              normalization/*                | dropped it prepares the images
blocks.{{s}}.{{b}}.            block{{s+1}}{{b:a}}_
  conv.weight                    project_conv/kernel          | {_KERNEL}
{_norm("bn1", "project_bn")}
blocks.{{s}}.{{b}}.            block{{s+1}}{{b:a}}_
  conv_exp.weight                expand_conv/kernel           | {_KERNEL}
{_norm("bn1", "expand_bn")}
  conv_pwl.weight                project_conv/kernel          | {_KERNEL}
{_norm("bn2", "project_bn")}
blocks.{{s}}.{{b}}.            block{{s+1}}{{b:a}}_
  conv_dw.weight                 {depthwise}/kernel           | {_DEPTHWISE}
{_norm("bn1", "bn")}
{_SQUEEZE_EXCITE}
  conv_pw.weight                 project_conv/kernel          | {_KERNEL}
{_norm("bn2", "project_bn")}
blocks.{{s}}.{{b}}.            block{{s+1}}{{b:a}}_
  conv_pw.weight                 expand_conv/kernel           | {_KERNEL}
{_norm("bn1", "expand_bn")}
  conv_dw.weight                 {depthwise}/kernel           | {_DEPTHWISE}
{_norm("bn2", "bn")}
{_SQUEEZE_EXCITE}
  conv_pwl.weight                project_conv/kernel          | {_KERNEL}
{_norm("bn3", "project_bn")}
"""


def _is_second_version(shapes: Shapes) -> bool:
    return any(name.endswith(".conv_exp.weight") for name in shapes)


TABLES = (
    Table("VGG16", _vgg((2, 2, 3, 3, 3)), (Twins("vgg16"),), fits=lambda shapes: "features.28.weight" in shapes),
    Table("VGG19", _vgg((2, 2, 4, 4, 4)), (Twins("vgg19"),), fits=lambda shapes: "features.34.weight" in shapes),
    Table("DenseNet", _DENSENET, (Twins("densenet*"),)),
    Table(
        "EfficientNet",
        _efficientnet("dwconv"),
        (Twins("tf_efficientnet_b*"),),
        fits=lambda shapes: not _is_second_version(shapes),
    ),
    Table("EfficientNetV2", _efficientnet("dwconv2"), (Twins("tf_efficientnetv2_*"),), fits=_is_second_version),
)
