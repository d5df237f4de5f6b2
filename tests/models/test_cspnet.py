"""CSPNet, CSPNeXt and in-place activated batch norm against their formulas and published names."""

import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.core.errors import UsageError
from zoo.models.cspnext import SpatialPyramidPooling, repair_keys
from zoo.models.layers.conv_norm_act import ConvNormAct
from zoo.models.layers.norm_act import InPlaceBatchNormAct2d, norm_act_factory


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class TestInPlaceBatchNorm:
    @pytest.fixture
    def norm(self):
        norm = InPlaceBatchNormAct2d(4, "leaky_relu")
        with torch.no_grad():
            for seed, tensor in enumerate(norm.state_dict().values()):
                tensor.copy_(random(4, seed=seed).abs() + 0.1)
        return norm

    def test_is_batch_norm_and_a_leaky_relu(self, norm):
        x = random(2, 4, 5, 5)
        expected = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=1e-5)
        assert torch.equal(norm.eval()(x.clone()), torch.where(expected > 0, expected, 0.01 * expected))

    def test_trains_and_moves_its_statistics(self, norm):
        x = random(2, 4, 5, 5)
        before = norm.running_mean.clone()
        norm.train()(x.clone())
        torch.testing.assert_close(norm.running_mean, 0.9 * before + 0.1 * x.mean((0, 2, 3)))

    def test_counts_no_batches(self, norm):
        assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
        plain = dict(norm.state_dict())  # without the version that state_dict() carries
        assert str(InPlaceBatchNormAct2d(4, "leaky_relu").load_state_dict(plain)) == "<All keys matched successfully>"
        norm.reset_running_stats()
        assert norm.running_mean.tolist() == [0.0] * 4
        assert norm.running_var.tolist() == [1.0] * 4


def test_a_csp_stage_leaves_one_half_as_it_is():
    """With the transition an identity that copies, half of the stage's expanded map shows at the output."""
    stage = zoo.create_model("cspdarknet53", num_classes=0).eval().stages[1]
    x = random(1, 128, 8, 8)
    by, through = x.chunk(2, 1)
    with torch.inference_mode():
        joined = stage.join(x)
        assert torch.equal(joined[:, :64], by)
        assert torch.equal(joined[:, 64:], stage.conv_transition_b(stage.blocks(through)))
        simple = zoo.create_model("cs3darknet_s", num_classes=0).eval().stages[0]
        x = random(1, 64, 8, 8)
        assert torch.equal(simple.join(x)[:, 32:], x[:, 32:])


@pytest.mark.parametrize("name", ["cs3darknet_focus_s", "cs3darknet_s", "darknet17"])
def test_maps_halve_exactly(name):
    net = zoo.create_model(name, features_only=True).eval()
    sizes = [128 // m.shape[2] for m in net(random(1, 3, 128, 128))]
    assert sizes == net.feature_info.reduction() == [1, 2, 4, 8, 16, 32][-len(sizes) :]


def test_values_for_another_number_of_stages_are_refused():
    with pytest.raises(UsageError, match="4 stages"):
        zoo.create_model("cspresnet50", block_ratio=(1.0, 0.5), device="meta")
    with pytest.raises(UsageError, match="block_type"):
        zoo.create_model("cspresnet50", block_type="edgy", device="meta")


def test_spatial_pyramid_pooling_takes_maxima_over_three_windows():
    def conv(in_channels, channels, kernel):
        layer = ConvNormAct(in_channels, channels, kernel, norm_act=norm_act_factory("batchnorm", "identity"))
        torch.nn.init.dirac_(layer.conv.weight)
        return layer.eval()

    pooling = SpatialPyramidPooling(conv, 8)
    pooling.conv2 = torch.nn.Identity()
    x = random(1, 8, 15, 15)
    found = pooling(x)
    assert found.shape == (1, 16, 15, 15)
    kept = found[0, :4]
    for part, window in ((1, 5), (2, 9), (3, 13)):
        expected = kept[:, 7 - window // 2 : 8 + window // 2, 7 - window // 2 : 8 + window // 2].amax((1, 2))
        assert torch.equal(found[0, 4 * part : 4 * part + 4, 7, 7], expected)


def test_openmmlab_files():
    names = {
        "backbone.stem.0.conv.weight": "stem.0.conv.weight",
        "backbone.stage1.0.bn.bias": "stages.0.0.bn.bias",
        "stage4.2.attention.fc.weight": "stages.3.2.attention.fc.weight",
        "head.fc.weight": "head.fc.weight",
    }
    model = zoo.create_model("cspnext_tiny", device="meta")
    repaired = repair_keys(dict.fromkeys(names, torch.zeros(1)), model)
    assert list(repaired) == list(names.values())
    assert set(repaired) <= set(model.state_dict())
