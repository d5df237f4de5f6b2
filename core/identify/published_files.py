"""Weight files that are known by their digest, and with them their image preprocessing.

There are two sources: the rows of the registry, whose URLs hold the start of a file's sha256, and torchvision's table.
Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from zoo.core.architectures.records import HALF, IMAGENET_MEAN, IMAGENET_STD, PretrainedCfg
from zoo.core.architectures.registry import cfgs_of
from zoo.core.files.file_digest import hash_in_name

_TORCHVISION = """
224 224 bicubic
  regnet_y_128gf_lc_swag-cbe8ce12 regnet_y_16gf_lc_swag-f3ec0043 regnet_y_32gf_lc_swag-e1583746
  vit_b_16_lc_swag-4e70ced5 vit_h_14_lc_swag-c1eb923e vit_l_16_lc_swag-4d563306
224 230 bilinear
  convnext_small-0c510722
224 232 bicubic
  swin_t-704ceda3
224 232 bilinear
  convnext_base-6075fbad convnext_large-ea097f82 mobilenet_v2-7ebf99e0 mobilenet_v3_large-5c1a4163
  regnet_x_16gf-ba3796d7 regnet_x_1_6gf-a12f2b72 regnet_x_32gf-6eb8fdc6 regnet_x_3_2gf-7071aa85
  regnet_x_400mf-62229a5f regnet_x_800mf-94a99ebd regnet_x_8gf-2b70d774 regnet_y_16gf-3e4a00f9
  regnet_y_1_6gf-0d7bc02a regnet_y_32gf-8db6d4b5 regnet_y_3_2gf-9180c971 regnet_y_400mf-e6988f5f
  regnet_y_800mf-58fc7688 regnet_y_8gf-dc2b1b54 resnet101-cd907fc2 resnet152-f82ba261 resnet50-11ad3fa6
  resnext101_32x8d-110c445d resnext101_64x4d-173b62eb resnext50_32x4d-1a0047aa wide_resnet101_2-d733dc28
  wide_resnet50_2-9ba9bcbe
224 236 bilinear
  convnext_tiny-983f1562
224 238 bicubic
  swin_b-68c6b09e
224 242 bilinear
  vit_l_16-852ce7e3
224 246 bicubic
  swin_s-5e29d889
224 256 bicubic
  efficientnet_b0_rwightman-7f5810bc
224 256 bilinear
  densenet121-a639ec97 densenet161-8d451a50 densenet169-b2777c0a densenet201-c1103571 mobilenet_v2-b0353104
  mobilenet_v3_large-8738ca79 mobilenet_v3_small-047dcff4 regnet_x_16gf-2007eb11 regnet_x_1_6gf-e3633e7f
  regnet_x_32gf-9d47f8d0 regnet_x_3_2gf-f342aeae regnet_x_400mf-adf1edd5 regnet_x_800mf-ad17e45c
  regnet_x_8gf-03ceed89 regnet_y_16gf-9e6ed7dd regnet_y_1_6gf-b11a554e regnet_y_32gf-4dee3f7a
  regnet_y_3_2gf-b5a9779c regnet_y_400mf-c65dace8 regnet_y_800mf-1b27b58c regnet_y_8gf-d0d0e4a8
  resnet101-63fe2227 resnet152-394f9c45 resnet18-f37072fd resnet34-b627a593 resnet50-0676ba61
  resnext101_32x8d-8ba56ff5 resnext50_32x4d-7cdf4587 vgg11-8a719046 vgg11_bn-6002323d vgg13-19584684
  vgg13_bn-abd245e5 vgg16-397923af vgg16_bn-6c64b313 vgg19-dcbb9e9d vgg19_bn-c79401a0 vit_b_16-c867db91
  vit_b_32-d86f8d99 vit_l_32-c7638314 wide_resnet101_2-32ee1156 wide_resnet50_2-95faca4d
240 255 bilinear
  efficientnet_b1-c27df63c
240 256 bicubic
  efficientnet_b1_rwightman-bac287d4
288 288 bicubic
  efficientnet_b2_rwightman-c35c1473
299 342 bilinear
  inception_v3_google-0cc3c7bd
300 320 bicubic
  efficientnet_b3_rwightman-b3899882
380 384 bicubic
  efficientnet_b4_rwightman-23ab8bcd
384 384 bicubic
  regnet_y_128gf_swag-c8ce3e52 regnet_y_16gf_swag-43afe44d regnet_y_32gf_swag-04fdfa75 vit_b_16_swag-9ac1b537
384 384 bilinear
  efficientnet_v2_s-dd5fe13b
456 456 bicubic
  efficientnet_b5_lukemelas-1a07897c
480 480 bicubic half
  efficientnet_v2_l-59c71312
480 480 bilinear
  efficientnet_v2_m-dc08266a
512 512 bicubic
  vit_l_16_swag-4f3808c9
518 518 bicubic
  vit_h_14_swag-80465313
528 528 bicubic
  efficientnet_b6_lukemelas-24a108a5
600 600 bicubic
  efficientnet_b7_lukemelas-c5b4e57e
"""
"""torchvision's classification weights (`transforms` of https://pytorch.org/vision/stable/models.html), by file name:
after the hyphen comes the start of the sha256. The line above states the side of the crop, the image's shorter side
before cropping, the interpolation, and `half` if mean and std are not ImageNet's."""


class Published(NamedTuple):
    """A published file: its name without ending, and the config that describes its preprocessing."""

    name: str
    cfg: PretrainedCfg


def published_file(known: PretrainedCfg, sha256: str) -> Published | None:
    """The published file with this digest; None if no such file is known.

    Args:
        known: the config of an architecture; only its own published files are searched.
        sha256: digest of the whole file, in lower-case hex.
    """
    for name, cfg in _of_registry(known.architecture):
        if sha256.startswith(hash_in_name(f"{name}.pth")):
            return Published(name, cfg)
    return next((Published(n, cfg) for n, cfg in torchvision_files(known) if sha256.startswith(n[-8:])), None)


def _of_registry(architecture: str) -> Iterator[tuple[str, PretrainedCfg]]:
    for cfg in cfgs_of(architecture).values():
        for place in (cfg.package, cfg.url):
            file = place.rpartition("/")[2]
            if hash_in_name(file):
                yield file.partition(".pth")[0], cfg


def torchvision_files(known: PretrainedCfg) -> Iterator[tuple[str, PretrainedCfg]]:
    cfg = known
    for line in _TORCHVISION.strip().splitlines():
        if line.startswith(" "):
            yield from ((name, cfg) for name in line.split())
        else:
            crop, resized, interpolation, *half = line.split()
            cfg = PretrainedCfg(
                architecture=known.architecture,
                input_size=(3, int(crop), int(crop)),
                fixed_input_size=known.fixed_input_size,
                interpolation=interpolation,
                crop_pct=int(crop) * 1000 // int(resized) / 1000,  # rounded down: floor(crop / crop_pct) is `resized`
                first_conv=known.first_conv,
                classifier=known.classifier,
                mean=HALF if half else IMAGENET_MEAN,
                std=HALF if half else IMAGENET_STD,
            )
