"""Variants of CoAtNet, MaxViT and their relatives, and their published weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from zoo.core.architectures.records import (
    HALF,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SizedTensors,
    SizeFacts,
    Spec,
    Weights,
)


@dataclass(frozen=True, kw_only=True)
class MaxxVitSpec(Spec):
    """One network: channels and depths of its four stages, and what their blocks are.

    `block_type` has for each stage a kind of block, or the kinds of its blocks, of which the last goes on: "C" is a
    convolution, "T" attention over the whole map, "M" a convolution and attention within windows and grids, "PM" the
    same with both side by side. `conv_type` is "mbconv" or "convnext".

    Of MBConv: widths follow the block's output with `expand_output`, else its input; `conv_bias` gives the last
    convolution and the shortcut biases; `stride_mode` is "pool" in front of the block or "dw" in the depthwise
    convolution; the first norm has an activation with `pre_norm_act`; squeeze-and-excitation stands in front of the
    second norm with `se_early`. `pad_type` is that of `make_conv`.

    Of attention: heads have `dim_head` channels, which lie together in one layer for queries, keys and values with
    `head_first`. Where the channels change, all three have the new number with `expand_first`. `rel_pos_type` is
    "bias", "bias_tf" (laid out as in TensorFlow) or "mlp", a perceptron with `rel_pos_dim` hidden channels.
    `no_block_attn` leaves the attention within windows out. `init_values` and `conv_init_values` are layer scales.
    """

    model_class: ClassVar[str] = "MaxxVit"
    classifier: ClassVar[str | tuple[str, ...]] = "head.fc"
    sizes: ClassVar[SizeFacts] = SizeFacts(
        tensors=(
            SizedTensors(r".+\.attn_(block|grid)\..+\.relative_position_bias_table", "partition_table"),
            SizedTensors(r"stages\.\d\.blocks\.\d+\.attn\..+\.relative_position_bias_table", "stage_table"),
        ),
    )
    choices = {
        "conv_type": ("mbconv", "convnext"),
        "stride_mode": ("pool", "dw"),
        "pool_type": ("avg2", "max"),
        "rel_pos_type": ("bias", "bias_tf", "mlp"),
        "weight_init": ("vit_eff", "normal"),
    }

    embed_dim: tuple[int, ...]
    depths: tuple[int, ...]
    stem_width: tuple[int, int]
    block_type: tuple[str | tuple[str, ...], ...] = ("C", "C", "T", "T")
    stem_bias: bool = False
    head_hidden_size: int = 0
    weight_init: str = "vit_eff"
    img_size: int | tuple[int, int] = 224

    conv_type: str = "mbconv"
    expand_output: bool = True
    conv_bias: bool = True
    stride_mode: str = "dw"
    pool_type: str = "avg2"
    pre_norm_act: bool = False
    se_early: bool = False
    se_ratio: float = 0.25
    se_act_layer: str = "silu"
    conv_act_layer: str = "gelu"
    conv_norm_eps: float = 1e-5
    conv_init_values: float = 0.0
    pad_type: str = ""

    dim_head: int = 32
    head_first: bool = True
    expand_first: bool = True
    shortcut_bias: bool = True
    rel_pos_type: str = "bias"
    rel_pos_dim: int = 512
    no_block_attn: bool = False
    init_values: float = 0.0
    act_layer: str = "gelu"
    norm_layer: str = "layernorm"
    norm_eps: float = 1e-6

    @property
    def first_conv(self) -> str:
        return "stem.conv1"

    @property
    def partition(self) -> tuple[int, int]:
        """Rows and columns of a window and of a grid: a cell for every 32 pixels."""
        height, width = (self.img_size, self.img_size) if isinstance(self.img_size, int) else self.img_size
        return height // 32, width // 32


def net(
    width: int,
    depths: tuple[int, ...],
    stem: tuple[int, int] | None = None,
    base: dict[str, Any] | None = None,
    **more: Any,
) -> MaxxVitSpec:
    """Stages of `width`, and double that in each further one."""
    options = {"embed_dim": (width, 2 * width, 4 * width, 8 * width), "stem_width": stem or (width // 2, width)}
    return MaxxVitSpec(**{**options, "depths": depths, **(base or {}), **more})


# timm's own: widths of MBConv follow its input, widths of attention too.
MAX: dict[str, Any] = {"expand_output": False, "conv_bias": False, "conv_act_layer": "silu", "expand_first": False}
MAX["se_ratio"] = 1 / 16
COAT = MAX | {"stride_mode": "pool", "pre_norm_act": True, "se_ratio": 0.25, "se_act_layer": "relu"}
NEW_COAT = MAX | {"conv_bias": True, "se_ratio": 0.25}
DW = {"stride_mode": "dw"}
EARLY = {"se_early": True, "shortcut_bias": False}
SILU = {"stride_mode": "dw", "se_act_layer": "silu"}
MLP = {"rel_pos_type": "mlp"}
NEXT = {"conv_type": "convnext", "expand_first": False, "conv_norm_eps": 1e-6, **MLP}
NEXT |= {"conv_init_values": 1e-6, "init_values": 1e-6}
M = {"block_type": ("M",) * 4}
TF = M | {
    "stem_bias": True,
    "conv_norm_eps": 1e-3,
    "conv_act_layer": "gelu_tanh",
    "pad_type": "same",
    "norm_eps": 1e-5,
    "act_layer": "gelu_tanh",
    "head_first": False,
    "rel_pos_type": "bias_tf",
}
TEST = {"embed_dim": (32, 64, 96, 128), "img_size": 160}


def paper(
    width: int, depths: tuple[int, ...], stem: int = 0, base: dict[str, Any] | None = None, **more: Any
) -> MaxxVitSpec:
    """A network of the papers: one width of the stem, and a layer in front of the classifier."""
    stem = stem or width
    return net(width, depths, (stem, stem), {"head_hidden_size": 8 * width, **(base or {})}, **more)


D0, D1, D2 = (2, 3, 7, 2), (2, 6, 14, 2), (3, 4, 6, 3)
MAX_NANO, MAX_TINY = (1, 2, 3, 1), (2, 2, 5, 2)

NETWORKS = {
    "coatnet_pico_rw": net(64, (2, 3, 5, 2), base=NEW_COAT),
    "coatnet_nano_rw": net(64, D2, base=NEW_COAT, stride_mode="pool"),
    "coatnet_0_rw": net(96, D0, (32, 64), COAT | EARLY),
    "coatnet_1_rw": net(96, D1, (32, 64), COAT | EARLY | DW),
    "coatnet_2_rw": net(128, D1, base=COAT | SILU),
    "coatnet_3_rw": net(192, D1, base=COAT | SILU, init_values=1e-6),
    "coatnet_bn_0_rw": net(96, D0, (32, 64), COAT | EARLY | DW, norm_layer="batchnorm"),
    "coatnet_rmlp_nano_rw": net(64, D2, base=NEW_COAT | MLP, rel_pos_dim=384),
    "coatnet_rmlp_0_rw": net(96, D0, (32, 64), COAT | DW | MLP),
    "coatnet_rmlp_1_rw": net(96, D1, (32, 64), COAT | EARLY | MLP, pool_type="max", rel_pos_dim=384),
    "coatnet_rmlp_1_rw2": net(96, D1, (32, 64), COAT | DW | MLP),
    "coatnet_rmlp_2_rw": net(128, D1, base=COAT | SILU | MLP, init_values=1e-6),
    "coatnet_rmlp_3_rw": net(192, D1, base=COAT | SILU | MLP, init_values=1e-6),
    "coatnet_nano_cc": net(64, D2, base=COAT, block_type=("C", "C", ("C", "T"), ("C", "T"))),
    "coatnext_nano_rw": net(
        64, D2, base=NEXT, weight_init="normal", rel_pos_type="bias", conv_init_values=1e-5, init_values=0.0
    ),
    "coatnet_0": paper(96, (2, 3, 5, 2), 64),
    "coatnet_1": paper(96, D1, 64),
    "coatnet_2": paper(128, D1),
    "coatnet_3": paper(192, D1),
    "coatnet_4": paper(192, (2, 12, 28, 2)),
    "coatnet_5": paper(256, (2, 12, 28, 2), 192, embed_dim=(256, 512, 1280, 2048)),
    "maxvit_pico_rw": net(32, MAX_TINY, (24, 32), MAX | M),
    "maxvit_nano_rw": net(64, MAX_NANO, base=MAX | M),
    "maxvit_tiny_rw": net(64, MAX_TINY, base=MAX | M),
    "maxvit_tiny_pm": net(64, MAX_TINY, base=MAX, block_type=("PM",) * 4),
    "maxvit_rmlp_pico_rw": net(32, MAX_TINY, (24, 32), MAX | M | MLP),
    "maxvit_rmlp_nano_rw": net(64, MAX_NANO, base=MAX | M | MLP),
    "maxvit_rmlp_tiny_rw": net(64, MAX_TINY, base=MAX | M | MLP),
    "maxvit_rmlp_small_rw": net(96, MAX_TINY, (32, 64), MAX | M | MLP, init_values=1e-6),
    "maxvit_rmlp_base_rw": net(96, D1, (32, 64), MAX | M | MLP, head_hidden_size=768),
    "maxxvit_rmlp_nano_rw": net(64, MAX_NANO, base=NEXT | M, weight_init="normal"),
    "maxxvit_rmlp_tiny_rw": net(64, MAX_TINY, base=NEXT | M),
    "maxxvit_rmlp_small_rw": net(96, MAX_TINY, base=NEXT | M),
    "maxxvitv2_nano_rw": net(
        96, MAX_NANO, base=NEXT | M, weight_init="normal", no_block_attn=True, rel_pos_type="bias"
    ),
    "maxxvitv2_rmlp_base_rw": net(128, (2, 6, 12, 2), base=NEXT | M, no_block_attn=True),
    "maxxvitv2_rmlp_large_rw": net(160, (2, 6, 16, 2), base=NEXT | M, no_block_attn=True, head_hidden_size=1280),
    "maxvit_tiny_tf": paper(64, MAX_TINY, base=TF),
    "maxvit_small_tf": paper(96, MAX_TINY, 64, TF),
    "maxvit_base_tf": paper(96, D1, 64, TF),
    "maxvit_large_tf": paper(128, D1, base=TF),
    "maxvit_xlarge_tf": paper(192, D1, base=TF),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights-maxx/"

SW = Weights(fixed_input_size=True, crop_pct=0.95, mean=HALF, std=HALF)
SW_256 = SW.but(input_size=256)
SW_384 = SW.but(input_size=384, crop_pct=1.0, crop_mode="squash")
SW_512 = SW_384.but(input_size=512)
UNTRAINED = SW.but(hub_id="")
UNTRAINED_256 = SW_256.but(hub_id="")

WEIGHTS = {
    "coatnet_0_224.untrained": UNTRAINED,
    "coatnet_0_rw_224.sw_in1k": SW.but(url=URL + "coatnet_0_rw_224_sw-a6439706.pth"),
    "coatnet_1_224.untrained": UNTRAINED,
    "coatnet_1_rw_224.sw_in1k": SW.but(url=URL + "coatnet_1_rw_224_sw-5cae1ea8.pth"),
    "coatnet_2_224.untrained": UNTRAINED,
    "coatnet_2_rw_224.sw_in12k_ft_in1k": SW,
    "coatnet_2_rw_224.sw_in12k": SW.but(num_classes=11821),
    "coatnet_3_224.untrained": UNTRAINED,
    "coatnet_3_rw_224.sw_in12k": SW.but(num_classes=11821),
    "coatnet_4_224.untrained": UNTRAINED,
    "coatnet_5_224.untrained": UNTRAINED,
    "coatnet_bn_0_rw_224.sw_in1k": SW.but(
        url=URL + "coatnet_bn_0_rw_224_sw-c228e218.pth", mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    "coatnet_nano_cc_224.untrained": UNTRAINED,
    "coatnet_nano_rw_224.sw_in1k": SW.but(url=URL + "coatnet_nano_rw_224_sw-f53093b4.pth", crop_pct=0.9),
    "coatnet_pico_rw_224.untrained": UNTRAINED,
    "coatnet_rmlp_0_rw_224.untrained": UNTRAINED,
    "coatnet_rmlp_1_rw2_224.sw_in12k_ft_in1k": SW,
    "coatnet_rmlp_1_rw2_224.sw_in12k": SW.but(num_classes=11821),
    "coatnet_rmlp_1_rw_224.sw_in1k": SW.but(url=URL + "coatnet_rmlp_1_rw_224_sw-9051e6c3.pth"),
    "coatnet_rmlp_2_rw_224.sw_in12k_ft_in1k": SW,
    "coatnet_rmlp_2_rw_224.sw_in1k": SW.but(url=URL + "coatnet_rmlp_2_rw_224_sw-5ccfac55.pth"),
    "coatnet_rmlp_2_rw_224.sw_in12k": SW.but(num_classes=11821),
    "coatnet_rmlp_2_rw_384.sw_in12k_ft_in1k": SW_384,
    "coatnet_rmlp_3_rw_224.untrained": UNTRAINED,
    "coatnet_rmlp_nano_rw_224.sw_in1k": SW.but(url=URL + "coatnet_rmlp_nano_rw_224_sw-bd1d51b3.pth", crop_pct=0.9),
    "coatnext_nano_rw_224.sw_in1k": SW.but(url=URL + "coatnext_nano_rw_224_ad-22cb71c2.pth", crop_pct=0.9),
    "maxvit_base_tf_224.in1k": SW.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "maxvit_base_tf_224.in21k": SW.but(num_classes=21843),
    "maxvit_base_tf_384.in1k": SW_384,
    "maxvit_base_tf_384.in21k_ft_in1k": SW_384,
    "maxvit_base_tf_512.in1k": SW_512,
    "maxvit_base_tf_512.in21k_ft_in1k": SW_512,
    "maxvit_large_tf_224.in1k": SW.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "maxvit_large_tf_224.in21k": SW.but(num_classes=21843),
    "maxvit_large_tf_384.in1k": SW_384,
    "maxvit_large_tf_384.in21k_ft_in1k": SW_384,
    "maxvit_large_tf_512.in1k": SW_512,
    "maxvit_large_tf_512.in21k_ft_in1k": SW_512.but(pool_size=(7, 7)),
    "maxvit_nano_rw_256.sw_in1k": SW_256.but(url=URL + "maxvit_nano_rw_256_sw-fb127241.pth"),
    "maxvit_pico_rw_256.untrained": UNTRAINED_256,
    "maxvit_rmlp_base_rw_224.sw_in12k_ft_in1k": SW,
    "maxvit_rmlp_base_rw_224.sw_in12k": SW.but(num_classes=11821),
    "maxvit_rmlp_base_rw_384.sw_in12k_ft_in1k": SW_384,
    "maxvit_rmlp_nano_rw_256.sw_in1k": SW_256.but(url=URL + "maxvit_rmlp_nano_rw_256_sw-c17bb0d6.pth"),
    "maxvit_rmlp_pico_rw_256.sw_in1k": SW_256.but(url=URL + "maxvit_rmlp_pico_rw_256_sw-8d82f2c6.pth"),
    "maxvit_rmlp_small_rw_224.sw_in1k": SW.but(url=URL + "maxvit_rmlp_small_rw_224_sw-6ef0ae4f.pth", crop_pct=0.9),
    "maxvit_rmlp_small_rw_256.untrained": UNTRAINED_256,
    "maxvit_rmlp_tiny_rw_256.sw_in1k": SW_256.but(url=URL + "maxvit_rmlp_tiny_rw_256_sw-bbef0ff5.pth"),
    "maxvit_small_tf_224.in1k": SW.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "maxvit_small_tf_384.in1k": SW_384,
    "maxvit_small_tf_512.in1k": SW_512,
    "maxvit_tiny_pm_256.untrained": UNTRAINED_256,
    "maxvit_tiny_rw_224.sw_in1k": SW.but(url=URL + "maxvit_tiny_rw_224_sw-7d0dffeb.pth"),
    "maxvit_tiny_rw_256.untrained": UNTRAINED_256,
    "maxvit_tiny_tf_224.in1k": SW.but(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "maxvit_tiny_tf_384.in1k": SW_384,
    "maxvit_tiny_tf_512.in1k": SW_512,
    "maxvit_xlarge_tf_224.in21k": SW.but(num_classes=21843),
    "maxvit_xlarge_tf_384.in21k_ft_in1k": SW_384,
    "maxvit_xlarge_tf_512.in21k_ft_in1k": SW_512,
    "maxxvit_rmlp_nano_rw_256.sw_in1k": SW_256.but(url=URL + "maxxvit_rmlp_nano_rw_256_sw-0325d459.pth"),
    "maxxvit_rmlp_small_rw_256.sw_in1k": SW_256.but(url=URL + "maxxvit_rmlp_small_rw_256_sw-37e217ff.pth"),
    "maxxvit_rmlp_tiny_rw_256.untrained": UNTRAINED_256,
    "maxxvitv2_nano_rw_256.sw_in1k": SW_256,
    "maxxvitv2_rmlp_base_rw_224.sw_in12k_ft_in1k": SW,
    "maxxvitv2_rmlp_base_rw_224.sw_in12k": SW.but(num_classes=11821),
    "maxxvitv2_rmlp_base_rw_384.sw_in12k_ft_in1k": SW_384,
    "maxxvitv2_rmlp_large_rw_224.untrained": UNTRAINED,
    "test_coatnet.untrained": UNTRAINED.but(input_size=160),
    "test_maxvit.untrained": UNTRAINED.but(input_size=160),
}


def at_size(name: str) -> MaxxVitSpec:
    """The network of a name that ends in the side of the images."""
    network, _, side = name.rpartition("_")
    return replace(NETWORKS[network], img_size=int(side))


VARIANTS = {
    **{name: at_size(name) for name in dict.fromkeys(tag.partition(".")[0] for tag in WEIGHTS) if "test_" not in name},
    "test_maxvit": net(32, (1, 1, 1, 1), (16, 32), MAX | M | TEST),
    "test_coatnet": net(32, (1, 1, 2, 1), (16, 32), NEW_COAT | TEST, stride_mode="pool"),
}
