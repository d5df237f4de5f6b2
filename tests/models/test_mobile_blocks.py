"""The pieces of mobile networks against their formulas and the papers' tables."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import zoo
from zoo.core.architectures.block_rows import (
    FusedMBConv,
    MBConv,
    UniversalBottleneck,
    make_divisible,
    scale_repeats,
    scale_stages,
)
from zoo.core.architectures.configs.efficientnet import VARIANTS
from zoo.core.errors import UsageError
from zoo.models.layers.channel_attention import GlobalContext
from zoo.models.layers.cond_conv import CondConv2d
from zoo.models.layers.conv_same import Conv2dSame, make_conv, pad_same
from zoo.models.layers.mbconv import BlockStyle, make_block
from zoo.models.layers.mixed_conv import MixedConv2d, split_channels
from zoo.models.layers.mobile_attention import MultiQueryAttention2d
from zoo.models.layers.norm_act import EvoNormS0, norm_act_factory
from zoo.models.layers.pool import BlurPool2d
from zoo.models.layers.stages import BlockPlace


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class TestCompoundScaling:
    # Widths and depths of the authors' released models (github.com/tensorflow/tpu, models/official/efficientnet).
    PUBLISHED = {
        "efficientnet_b0": (32, [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1], 1280),
        "efficientnet_b3": (40, [24, 32, 48, 96, 136, 232, 384], [2, 3, 3, 5, 5, 6, 2], 1536),
        "efficientnet_b7": (64, [32, 48, 80, 160, 224, 384, 640], [4, 7, 7, 10, 10, 13, 4], 2560),
    }

    @pytest.mark.parametrize("name", PUBLISHED)
    def test_efficientnet(self, name):
        stem, widths, depths, head = self.PUBLISHED[name]
        spec = VARIANTS[name]
        stages = spec.scaled_stages()
        assert [stage[0].channels for stage in stages] == widths
        assert [len(stage) for stage in stages] == depths
        assert (spec.stem_channels, spec.head_channels) == (stem, head)

    def test_only_the_first_block_of_a_stage_strides(self):
        (stage,) = scale_stages([MBConv(repeat=3, channels=24, stride=2, expand=6)])
        assert [row.stride for row in stage] == [2, 1, 1]

    def test_rows_of_one_stage_share_its_depth(self):
        assert scale_repeats([1, 3], 1.0) == [1, 3]
        assert sum(scale_repeats([1, 3], 1.5)) == 6
        assert scale_repeats([1], 0.3, "round") == [1]

    def test_kept_ends(self):
        row = MBConv(repeat=2, channels=8, expand=1)
        assert [len(s) for s in scale_stages([row, row, row], depth=2.0, keep_ends=True)] == [2, 4, 2]

    def test_channels_never_lose_more_than_a_tenth(self):
        assert make_divisible(11) == 16  # 8 would be 27 % less
        assert make_divisible(11, round_limit=0.0) == 8
        assert make_divisible(3) == 8

    def test_wrong_depths_are_refused(self):
        row = FusedMBConv(channels=8, expand=1)
        with pytest.raises(UsageError, match="2 stages"):
            scale_stages([row, row], depth=(1.0,))
        with pytest.raises(UsageError, match="depth_trunc"):
            scale_repeats([1], 1.0, "floor")


# Parameter counts that torchvision's model pages publish for the same architectures.
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("efficientnet_b0", 5_288_548),
        ("efficientnet_b4", 19_341_616),
        ("efficientnet_b7", 66_347_960),
        ("efficientnetv2_m", 54_139_356),
        ("mobilenetv2_100", 3_504_872),
        ("mnasnet_050", 2_218_512),
        ("mobilenetv3_large_100", 5_483_032),
        ("mobilenetv3_small_100", 2_542_856),
    ],
)
def test_published_parameter_counts(name, params):
    model = zoo.create_model(name, device="meta")
    assert sum(p.numel() for p in model.parameters()) == params


class TestSamePadding:
    @pytest.mark.parametrize(
        ("size", "kernel", "stride", "dilation", "before", "after"),
        [
            (4, 3, 2, 1, 0, 1),
            (5, 3, 2, 1, 1, 1),
            (6, 5, 2, 1, 1, 2),
            (7, 3, 1, 2, 2, 2),
            (8, 2, 2, 1, 0, 0),
            (5, 1, 2, 1, 0, 0),
        ],
    )
    def test_amounts_are_those_of_tensorflow(self, size, kernel, stride, dilation, before, after):
        x = torch.ones(1, 1, size, 1)
        padded = pad_same(x, (kernel, 1), (stride, 1), (dilation, 1))
        assert padded.flatten().tolist() == [0.0] * before + [1.0] * size + [0.0] * after

    def test_padding_is_fixed_where_the_input_size_does_not_matter(self):
        assert type(make_conv(4, 4, 3, 1, pad_type="same")) is torch.nn.Conv2d
        assert type(make_conv(4, 4, 3, 2, pad_type="same")) is Conv2dSame
        assert type(make_conv(4, 4, 3, 2)) is torch.nn.Conv2d

    @pytest.mark.parametrize("size", [7, 8, 9])
    def test_output_size_is_the_input_over_the_stride_rounded_up(self, size):
        assert make_conv(1, 1, 5, 2, pad_type="same")(torch.zeros(1, 1, size, size)).shape[-1] == -(-size // 2)


@pytest.mark.parametrize("pad_type", ["", "same"])
def test_cond_conv_is_each_samples_own_convolution(pad_type):
    conv = CondConv2d(4, 8, 3, 2, experts=3, groups=2, pad_type=pad_type).double()
    x, routing = random(2, 4, 9, 10), random(2, 3, seed=1).sigmoid()
    kernels = torch.einsum("ne,ek->nk", routing, conv.weight).view(2, 8, 2, 3, 3)
    for sample, kernel, found in zip(x, kernels, conv(x, routing), strict=True):
        # 9 rows need a pixel on both sides; SAME gives the 10 columns one on the right only.
        padded = F.pad(sample, (0, 1, 1, 1) if pad_type else (1, 1, 1, 1))
        torch.testing.assert_close(found, F.conv2d(padded[None], kernel, stride=2, groups=2)[0])


def test_mixed_conv_gives_each_kernel_its_share():
    conv = MixedConv2d(10, 10, (3, 5, 7), depthwise=True).double()
    assert split_channels(10, 3) == [4, 3, 3]
    assert list(conv.state_dict()) == ["0.weight", "1.weight", "2.weight"]
    x = random(1, 10, 8, 8)
    expected = F.conv2d(x[:, 4:7], conv[1].weight, padding=2, groups=3)
    torch.testing.assert_close(conv(x)[:, 4:7], expected)


def test_evonorm_s0():
    norm = EvoNormS0(6, act="relu", eps=1e-5, group_size=3).double()
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.copy_(random(6, seed=3))
    x = random(2, 6, 4, 5)
    a, (weight, bias, v) = x.numpy(), (p.detach().numpy()[:, None, None] for p in (norm.weight, norm.bias, norm.v))
    std = np.sqrt(a.reshape(2, 2, -1).var(2) + 1e-5).repeat(3, axis=1)[..., None, None]
    expected = a / (1 + np.exp(-v * a)) / std * weight + bias
    np.testing.assert_allclose(norm(x).detach().numpy(), expected, rtol=1e-6)  # statistics are float32


def test_evonorm_without_activation_only_scales():
    norm = EvoNormS0(32, act="identity")
    x = torch.randn(1, 32, 2, 2)
    assert torch.equal(norm(x), x)
    assert "v" not in norm.state_dict()


@pytest.mark.parametrize("name", ["batchnorm", "groupnorm", "layernorm"])
def test_norm_and_activation_have_the_norms_keys(name):
    layer = norm_act_factory(name, "relu", group_size=4)(8)
    assert {"weight", "bias"} <= set(layer.state_dict()) <= {
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked"
    }  # fmt: skip
    assert layer(torch.randn(2, 8, 3, 3)).min() == 0
    assert norm_act_factory(name, "relu", group_size=4)(8, act="identity")(torch.randn(2, 8, 3, 3)).min() < 0


def test_group_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="groups of 5"):
        norm_act_factory("groupnorm", "relu", group_size=5)(8)


def test_global_context_of_even_attention_is_the_mean():
    block = GlobalContext(4, 2, "relu").double()
    torch.nn.init.zeros_(block.conv_attn.weight)
    x = random(2, 4, 3, 5)
    torch.testing.assert_close(block(x), x * block.mlp_scale(x.mean((2, 3), keepdim=True)).sigmoid())


def test_blur_pool_pads_with_zeros_or_the_image():
    x = torch.ones(1, 2, 4, 4)
    assert torch.equal(BlurPool2d(2)(x), torch.ones(1, 2, 2, 2))
    assert BlurPool2d(2, pad_mode="constant")(x)[0, 0, 0, 0] == 9 / 16


class TestEfficientNet:
    @pytest.mark.parametrize(("stride", "reductions"), [(16, [2, 4, 8, 16, 16]), (8, [2, 4, 8, 8, 8])])
    def test_output_stride(self, stride, reductions):
        net = zoo.create_model("mnasnet_050", features_only=True, output_stride=stride)
        assert net.feature_info.reduction() == reductions
        assert [64 // m.shape[-1] for m in net(torch.zeros(1, 3, 64, 64))] == reductions

    def test_levels_start_at_the_stem_where_the_first_stage_halves(self):
        net = zoo.create_model("efficientnet_x_b3", features_only=True, out_indices=(0, 1))
        assert net.feature_info.module_name() == ["bn1", "blocks.1"]
        assert [m.shape[1:] for m in net(torch.zeros(1, 3, 32, 32))] == [(40, 16, 16), (32, 8, 8)]

    @pytest.mark.parametrize("option", ["pad_type", "aa_layer", "se_layer"])
    def test_unknown_choices_are_refused(self, option):
        with pytest.raises(UsageError, match=f"{option} must be one of"):
            zoo.create_model("efficientnet_b0", **{option: "other"})

    def test_initial_weights_follow_the_fan_out(self):
        model = zoo.create_model("efficientnet_b0", seed=0)
        head = model.conv_head.weight
        assert head.std().item() == pytest.approx((2 / head.shape[0]) ** 0.5, rel=0.01)
        depthwise = model.blocks[5][1].conv_dw.weight
        assert depthwise.std().item() == pytest.approx((2 / 25) ** 0.5, rel=0.02)
        assert model.classifier.weight.abs().max().item() == pytest.approx(1000**-0.5, rel=0.01)

    def test_published_fbnet_weights_come_with_the_epsilon_they_were_trained_with(self, tmp_path):
        untrained = zoo.create_model("fbnetc_100", seed=0)
        save_file(untrained.state_dict(), tmp_path / "w.safetensors")
        overlay = {"file": str(tmp_path / "w.safetensors")}
        pretrained = zoo.create_model("fbnetc_100", pretrained=True, pretrained_cfg_overlay=overlay)
        assert (untrained.bn1.eps, pretrained.bn1.eps) == (1e-5, 1e-3)
        chosen = zoo.create_model("fbnetc_100", pretrained=True, pretrained_cfg_overlay=overlay, bn_eps=1e-4)
        assert chosen.bn1.eps == 1e-4


@pytest.mark.parametrize("kv_stride", [1, 2])
def test_multi_query_attention(kv_stride):
    """Against the definition (arXiv:1911.02150, section 3), head by head and position by position."""
    heads, width = 3, 4
    norm_act = norm_act_factory("batchnorm", "relu")
    layer = MultiQueryAttention2d(
        6, 5, num_heads=heads, head_dim=width, kv_stride=kv_stride, kernel=3, norm_act=norm_act
    )
    layer.double().eval()
    x = random(2, 6, 4, 4)
    with torch.inference_mode():
        found = layer(x)
        queries, keys, values = (part(x).flatten(2) for part in (layer.query, layer.key, layer.value))
        assert keys.shape[2] == 16 // kv_stride**2
        mixed = torch.zeros(2, heads * width, 16, dtype=torch.float64)
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            for position in range(16):
                scores = (queries[:, own, position, None] * keys).sum(1) / width**0.5
                mixed[:, own, position] = (scores.softmax(1)[:, None] * values).sum(2)
        torch.testing.assert_close(found, layer.output(mixed.unflatten(2, (4, 4))))


@pytest.mark.parametrize(
    ("start", "kernel", "strided"), [(3, 5, "dw_mid"), (3, 0, "dw_start"), (0, 5, "dw_mid"), (0, 0, "")]
)
def test_universal_inverted_bottleneck(start, kernel, strided):
    """The four blocks of arXiv:2404.10518, figure 4; the stride is on the last depthwise convolution."""
    style = BlockStyle(norm_act_factory("batchnorm", "relu"), "relu")
    row = UniversalBottleneck(channels=16, start_kernel=start, kernel=kernel, stride=2, expand=4)
    if not strided:
        with pytest.raises(UsageError, match="nothing to stride"):
            make_block(style, row, BlockPlace(8, 16))
        row = UniversalBottleneck(channels=16, start_kernel=start, kernel=kernel, expand=4)
    block = make_block(style, row, BlockPlace(8, 16)).eval()
    convs = {name: m for name, m in block.named_modules() if isinstance(m, torch.nn.Conv2d)}
    assert [name.split(".")[0] for name in convs] == [
        name for name, present in (("dw_start", start), ("pw_exp", 1), ("dw_mid", kernel), ("pw_proj", 1)) if present
    ]
    assert {name.split(".")[0] for name, conv in convs.items() if conv.stride == (2, 2)} == {strided} - {""}
    assert block(torch.randn(1, 8, 8, 8)).shape == ((1, 16, 4, 4) if strided else (1, 16, 8, 8))
    linear = [name for name, m in block.named_modules() if hasattr(m, "act") and isinstance(m.act, torch.nn.Identity)]
    assert "pw_proj.bn" in linear
    assert "pw_exp.bn" not in linear


def test_hidden_widths_of_attention_in_mobilenetv3():
    """A quarter of the expanded channels to a multiple of 8 (torchvision's squeeze widths of mobilenet_v3_small)."""
    model = zoo.create_model("mobilenetv3_small_100", device="meta")
    found = [m.conv_reduce.out_channels for m in model.modules() if hasattr(m, "conv_reduce")]
    assert found == [8, 24, 64, 64, 32, 40, 72, 144, 144]


def test_the_head_after_the_pooling_keeps_its_width():
    model = zoo.create_model("mobilenetv3_small_050", num_classes=5)
    with pytest.raises(UsageError, match="288 pooled channels"):
        model.reset_classifier(5, "catavgmax")
    model.reset_classifier(3, "max")
    assert model.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 3)
    assert (model.num_features, model.head_hidden_size) == (288, 1024)
