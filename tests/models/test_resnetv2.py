"""Big Transfer's published arrays and its classifier."""

import torch

import zoo
from zoo.core.model.match import repair_keys


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_npz_keys_and_kernels():
    model = zoo.create_model("resnetv2_50x1_bit", device="meta")
    kernel = random(1, 1, 4, 6)
    pairs = {
        "resnet/root_block/standardized_conv2d/kernel": "stem.conv.weight",
        "resnet/block1/unit01/a/proj/standardized_conv2d/kernel": "stages.0.blocks.0.downsample.conv.weight",
        "resnet/block1/unit01/a/standardized_conv2d/kernel": "stages.0.blocks.0.conv1.weight",
        "resnet/block3/unit06/b/standardized_conv2d/kernel": "stages.2.blocks.5.conv2.weight",
        "resnet/block4/unit03/c/group_norm/gamma": "stages.3.blocks.2.norm3.weight",
        "resnet/block4/unit03/c/group_norm/beta": "stages.3.blocks.2.norm3.bias",
        "resnet/group_norm/gamma": "norm.weight",
        "resnet/head/conv2d/kernel": "head.fc.weight",
        "resnet/head/conv2d/bias": "head.fc.bias",
    }
    arrays = {key: kernel if key.endswith("kernel") else random(6) for key in pairs}
    repaired, unused = repair_keys(model, arrays)
    assert list(repaired) == list(pairs.values())
    assert set(repaired) <= set(model.state_dict())
    assert not unused
    assert torch.equal(repaired["head.fc.weight"][..., 0, 0], kernel[0, 0].T)


def test_the_classifier_is_linear():
    head = zoo.create_model("resnetv2_50x1_bit", num_classes=3).get_classifier().double()
    x = random(2, 2048)
    expected = x @ head.weight[..., 0, 0].T + head.bias
    assert torch.allclose(head(x), expected)
