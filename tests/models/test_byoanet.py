"""What attention over maps computes, written out; and maps that it cannot read."""

import pytest
import torch

import zoo
from zoo.core.architectures.configs.byoanet import AttentionBlocks
from zoo.core.errors import UsageError
from zoo.models.byoanet import HaloAttention, LocalLambda, MapLambda


def initialised(layer):
    torch.manual_seed(0)
    for module in reversed(list(layer.modules())):
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return layer.eval()


def test_a_cell_attends_to_its_block_and_the_halo():
    row = AttentionBlocks("halo", 1, 8, num_heads=2, block_size=4, halo_size=1)
    layer = initialised(HaloAttention(8, row, stride=1))
    image = torch.randn(1, 8, 8, 12, requires_grad=True)
    layer(image)[0, :, 5, 6].sum().backward()
    seen = image.grad[0].abs().sum(0) > 0
    expected = torch.zeros(8, 12, dtype=torch.bool)
    expected[3:8, 3:9] = True  # the block of rows 4 to 7 and columns 4 to 7, and a cell around it
    assert torch.equal(seen, expected)


def test_the_convolution_of_values_is_that_of_the_kernel_as_it_is_kept():
    layer = initialised(LocalLambda(8, AttentionBlocks("lambda", 1, 8, head_dim=4, neighbours=3), stride=1))
    q, k, v = torch.randn(2, 4, 4, 30), torch.zeros(2, 4, 30), torch.randn(2, 2, 5, 6)
    around = layer.conv_lambda(v.permute(0, 2, 3, 1).unsqueeze(1))  # (N, K, H, W, V)
    expected = torch.einsum("nhkm,nkmv->nhvm", q, around.flatten(2, 3))
    torch.testing.assert_close(layer.apply_lambdas(q, k, v), expected)


def test_lambdas_of_a_whole_map_are_those_of_each_offset():
    layer = initialised(MapLambda(8, AttentionBlocks("lambda", 1, 8, head_dim=4, neighbours=0), stride=1, size=(3, 2)))
    q, k, v = torch.randn(2, 4, 4, 6), torch.randn(2, 4, 6), torch.randn(2, 2, 3, 2)
    cells = [(row, column) for row in range(3) for column in range(2)]
    offsets = [[layer.pos_emb[y - row + 2, x - column + 1] for y, x in cells] for row, column in cells]
    embedded = torch.stack([torch.stack(of_query) for of_query in offsets])  # (queries, keys, K)
    lambdas = torch.einsum("mjk,nvj->nmkv", embedded, v.flatten(2)) + (k @ v.flatten(2).mT).unsqueeze(1)
    torch.testing.assert_close(layer.apply_lambdas(q, k, v), torch.einsum("nhkm,nmkv->nhvm", q, lambdas))


@pytest.mark.parametrize("name", ["botnet26t_256", "lambda_resnet26rpt_256", "halonet26t"])
def test_an_image_that_its_layers_cannot_read(name):
    with pytest.raises(UsageError, match="map"):
        zoo.create_model(name, device="meta")(torch.empty(1, 3, 224, 224, device="meta"))


def test_positions_are_of_the_size_of_the_image():
    model = zoo.create_model("botnet26t_256", img_size=(128, 192), device="meta")
    assert model.img_size == (128, 192)
    assert model(torch.empty(2, 3, 128, 192, device="meta")).shape == (2, 1000)
    assert zoo.create_model("halonet26t", device="meta").img_size is None
