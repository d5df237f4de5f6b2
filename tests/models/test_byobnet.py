"""Byobnet: blocks against what they stand for, attentions against torch and explicit matrices, CLIP's own keys."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

import zoo
from zoo.core.errors import UsageError
from zoo.core.model.load import load_checkpoint
from zoo.models.layers.attention_pool2d import AttentionPool2d
from zoo.models.layers.bilinear_attention import BilinearTransform
from zoo.models.layers.multi_branch import MobileOneBlock, RepVggBlock
from zoo.models.layers.norm_act import norm_act_factory
from zoo.models.layers.stages import BlockPlace

from golden.fill import fill_

BATCH_NORM = norm_act_factory("batchnorm", "relu")
OPTIONS = {"norm_act": BATCH_NORM, "act": "identity"}


def folded(conv_weight, norm):
    """Kernel and bias of a convolution with the batch norm after it."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv_weight * scale.view(-1, 1, 1, 1), norm.bias - norm.running_mean * scale


def one_convolution(block, kernels):
    """The 3x3 kernel that the whole block amounts to."""
    channels, inputs = kernels[0].conv.weight.shape[:2]
    identity = torch.zeros(channels, inputs, 3, 3).double()
    for channel in range(channels):
        identity[channel, channel % inputs, 1, 1] = 1
    parts = [folded(identity, block.identity)]
    for branch in kernels:
        margin = (3 - branch.conv.weight.shape[2]) // 2
        parts.append(folded(F.pad(branch.conv.weight, [margin] * 4), branch.bn))
    return sum(kernel for kernel, _ in parts), sum(bias for _, bias in parts)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["rep", "one"])
def test_branches_are_one_convolution(kind, groups):
    if kind == "rep":
        block = fill_(RepVggBlock(BlockPlace(4, 4), groups=groups, **OPTIONS).eval())
        kernels = [block.conv_kxk, block.conv_1x1]
    else:
        block = fill_(MobileOneBlock(BlockPlace(4, 4), groups=groups, branches=3, **OPTIONS).eval())
        kernels = [*block.conv_kxk, block.conv_scale]
    x = torch.randn(2, 4, 6, 5).double()
    kernel, bias = one_convolution(block, kernels)
    assert torch.allclose(block(x), F.conv2d(x, kernel, bias, padding=1, groups=groups))


def test_attention_pooling_is_torchs_attention_of_the_mean():
    """CLIP's own code calls this function of torch's."""
    pool = fill_(AttentionPool2d(128, (3, 2)).eval())
    pool.proj = nn.Linear(128, 7).double()
    x = torch.randn(2, 128, 3, 2).double()
    tokens = x.flatten(2).permute(2, 0, 1)
    tokens = torch.cat([tokens.mean(0, keepdim=True), tokens]) + pool.pos_embed[:, None]
    expected, _ = F.multi_head_attention_forward(
        tokens[:1],
        tokens,
        tokens,
        embed_dim_to_check=128,
        num_heads=2,
        q_proj_weight=pool.q.weight,
        k_proj_weight=pool.k.weight,
        v_proj_weight=pool.v.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q.bias, pool.k.bias, pool.v.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.proj.weight,
        out_proj_bias=pool.proj.bias,
        use_separate_proj_weight=True,
        training=False,
        need_weights=False,
    )
    assert torch.allclose(pool.proj(pool(x)), expected[0])
    pool.set_pool_type("")
    assert pool(x).shape == x.shape
    with pytest.raises(UsageError, match="token"):
        pool.set_pool_type("avg")


def test_bilinear_transform_is_a_product_with_matrices():
    transform = fill_(BilinearTransform(4, 2, 2).eval())
    x = torch.randn(1, 4, 6, 8).double()
    maps = transform.conv1(x)
    p = transform.conv_p(F.adaptive_max_pool2d(maps, (2, 1))).reshape(2, 2, 2).sigmoid()
    q = transform.conv_q(F.adaptive_max_pool2d(maps, (1, 2))).reshape(2, 2, 2).sigmoid()
    p, q = p / p.sum(2, keepdim=True), q / q.sum(1, keepdim=True)
    mixed = []
    for channel in range(4):
        group = channel // 2
        rows = torch.kron(p[group], torch.eye(3).double())
        columns = torch.kron(q[group], torch.eye(4).double())
        mixed.append(rows @ x[0, channel] @ columns)
    assert torch.allclose(transform(x), transform.conv2(torch.stack(mixed)[None]))
    with pytest.raises(UsageError, match="multiple of 2"):
        transform(torch.randn(1, 4, 6, 7).double())


# ---------------------------------------------------------------- the ResNets of CLIP

SHALLOW = {"width_factor": 0.25, "num_classes": 16}
CLIP_PATHS = {
    "stem.conv1.conv.": "conv1.",
    "stem.conv1.bn.": "bn1.",
    "stem.conv2.conv.": "conv2.",
    "stem.conv2.bn.": "bn2.",
    "stem.conv3.conv.": "conv3.",
    "stem.conv3.bn.": "bn3.",
    "stages.0.": "layer1.",
    "stages.1.": "layer2.",
    "stages.2.": "layer3.",
    "stages.3.": "layer4.",
    "conv1_1x1.conv.": "conv1.",
    "conv1_1x1.bn.": "bn1.",
    "conv2_kxk.conv.": "conv2.",
    "conv2_kxk.bn.": "bn2.",
    "conv3_1x1.conv.": "conv3.",
    "conv3_1x1.bn.": "bn3.",
    "shortcut.conv.conv.": "downsample.0.",
    "shortcut.conv.bn.": "downsample.1.",
    "head.pos_embed": "attnpool.positional_embedding",
    "head.q.": "attnpool.q_proj.",
    "head.k.": "attnpool.k_proj.",
    "head.v.": "attnpool.v_proj.",
    "head.proj.": "attnpool.c_proj.",
}


def as_clip(state_dict):
    found = {"transformer.weight": torch.zeros(1)}
    for key, value in state_dict.items():
        for ours, theirs in CLIP_PATHS.items():
            key = key.replace(ours, theirs)
        found[f"visual.{key}"] = value
    return found


def test_clips_own_files(tmp_path):
    model = zoo.create_model("resnet50_clip", seed=1, **SHALLOW)
    torch.save(as_clip(model.state_dict()), tmp_path / "clip.pt")
    other = zoo.create_model("resnet50_clip", seed=2, **SHALLOW)
    load_checkpoint(other, tmp_path / "clip.pt")
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in model.state_dict().items())
    pooled = zoo.create_model("resnet50_clip_gap", seed=2, width_factor=0.25, num_classes=0)
    load_checkpoint(pooled, tmp_path / "clip.pt")
    assert torch.equal(pooled.stages[3][2].conv3_1x1.conv.weight, model.stages[3][2].conv3_1x1.conv.weight)


def test_the_image_size_gives_the_positions():
    model = zoo.create_model("resnet50_clip", img_size=(256, 128), device="meta")
    assert model.head.pos_embed.shape == (8 * 4 + 1, 2048)
    model.reset_classifier(0, "")
    assert model(torch.empty(1, 3, 256, 128, device="meta")).shape == (1, 2048, 8, 4)
    with pytest.raises(UsageError, match="num_classes=0"):
        model.reset_classifier(7, "")


def test_positions_follow_the_image_size_of_the_model(tmp_path):
    model = zoo.create_model("resnet50_clip", seed=1, **SHALLOW)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    larger = zoo.create_model("resnet50_clip", seed=2, img_size=288, **SHALLOW)
    load_checkpoint(larger, tmp_path / "weights.pth", img_size=(224, 224))
    images = torch.randn(1, 3, 288, 288)
    # The smaller model resamples the same positions at every image.
    assert torch.allclose(larger.eval()(images), model.eval()(images), atol=1e-4)
