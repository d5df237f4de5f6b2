"""What the relatives of ResNet have of their own: attention between paths, groups in a row, default dropout."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.layers.conv_norm_act import conv_factory
from zoo.models.layers.path_attention import SelectiveKernel, SplitAttention, weighted_sum


def test_weighted_sum_of_paths():
    paths, weights = torch.randn(3, 2, 4, 5, 6), torch.rand(2, 3, 4)
    expected = torch.einsum("pnchw,npc->nchw", paths, weights)
    assert torch.allclose(weighted_sum(list(paths), weights), expected, atol=1e-6)


def test_split_attention_distributes_each_channel_over_its_paths():
    layer = SplitAttention(8, 8, groups=2, radix=4, norm=torch.nn.BatchNorm2d).eval()
    weights = layer.weigh(torch.randn(3, 8, 1, 1))
    assert weights.shape == (3, 4, 8)
    assert torch.allclose(weights.sum(1), torch.ones(3, 8))


def test_split_attention_of_one_path_is_a_gate():
    weights = SplitAttention(8, 8, radix=1, norm=torch.nn.BatchNorm2d).eval().weigh(torch.randn(3, 8, 1, 1))
    assert weights.shape == (3, 1, 8)
    assert not torch.allclose(weights, torch.ones(3, 1, 8))


@pytest.mark.parametrize("split_input", [True, False])
def test_selective_kernel_distributes_each_channel_over_two_kernels(split_input):
    layer = SelectiveKernel(8, 6, 2, conv=conv_factory("batchnorm", "relu"), split_input=split_input).eval()
    assert [path.conv.dilation for path in layer.paths] == [(1, 1), (2, 2)]
    assert {path.conv.in_channels for path in layer.paths} == {4 if split_input else 8}
    assert layer(torch.randn(2, 8, 10, 10)).shape == (2, 6, 5, 5)
    assert torch.allclose(layer.attn(torch.randn(2, 6, 1, 1)).sum(1), torch.ones(2, 6))


def test_a_group_reads_the_one_before_only_in_blocks_that_keep_the_shape():
    blocks = zoo.create_model("res2net50_26w_4s", device="meta").layer2
    assert [block.adds for block in blocks] == [False, True, True, True]
    assert [len(block.convs) for block in blocks] == [3] * 4


@pytest.mark.parametrize("name", ["res2net50_26w_4s", "resnest14d", "legacy_seresnet18"])
def test_blocks_without_anti_aliasing_say_so(name):
    with pytest.raises(UsageError, match="aa_layer"):
        zoo.create_model(name, device="meta", aa_layer="blur")


def test_the_first_senet_drops_out_by_default():
    assert zoo.create_model("legacy_seresnet18", device="meta").drop_rate == 0.2
    assert zoo.create_model("legacy_seresnet18", device="meta", drop_rate=0.0).drop_rate == 0.0


@pytest.mark.parametrize("name", ["res2next50", "resnest14d", "skresnet18", "legacy_seresnet18"])
def test_regularised_training_gives_every_parameter_a_gradient(name):
    torch.manual_seed(0)
    model = zoo.create_model(name, drop_path_rate=0.1, drop_block_rate=0.1, num_classes=3, zero_init_last=False).train()
    model(torch.randn(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
