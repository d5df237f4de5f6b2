"""RegNet's widths against the published tables, and torchvision's keys."""

import pytest

import zoo
from zoo.core.architectures.configs.regnet import VARIANTS, RegNetSpec
from zoo.core.errors import UsageError
from zoo.core.model.match import repair_keys

# Tables of arXiv:2003.13678 (appendix) and of the authors' model zoo (github.com/facebookresearch/pycls).
PUBLISHED = {
    "regnetx_002": ([24, 56, 152, 368], [1, 1, 4, 7], 8),
    "regnetx_032": ([96, 192, 432, 1008], [2, 6, 15, 2], 48),
    "regnetx_080": ([80, 240, 720, 1920], [2, 5, 15, 1], 120),
    "regnety_004": ([48, 104, 208, 440], [1, 3, 6, 6], 8),
    "regnety_160": ([224, 448, 1232, 3024], [2, 4, 11, 1], 112),
    "regnety_320": ([232, 696, 1392, 3712], [2, 5, 12, 1], 232),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_widths_and_depths(name):
    widths, depths, group_size = PUBLISHED[name]
    stages = VARIANTS[name].stages()
    assert [stage.channels for stage in stages] == widths
    assert [stage.depth for stage in stages] == depths
    assert {stage.group_size for stage in stages[1:]} == {group_size}


@pytest.mark.parametrize("change", [{"w0": 20}, {"wm": 1.0}, {"wa": -1.0}])
def test_parameters_without_a_network(change):
    values = {"depth": 4, "w0": 24, "wa": 30.0, "wm": 2.5, "group_size": 8, **change}
    with pytest.raises(UsageError, match="RegNet needs"):
        RegNetSpec(**values).stages()


def test_torchvisions_keys():
    model = zoo.create_model("regnety_004", device="meta")
    pairs = {
        "stem.0.weight": "stem.conv.weight",
        "stem.1.running_var": "stem.bn.running_var",
        "trunk_output.block1.block1-0.proj.0.weight": "s1.b1.downsample.conv.weight",
        "trunk_output.block2.block2-0.proj.1.bias": "s2.b1.downsample.bn.bias",
        "trunk_output.block2.block2-2.f.a.0.weight": "s2.b3.conv1.conv.weight",
        "trunk_output.block3.block3-5.f.b.1.weight": "s3.b6.conv2.bn.weight",
        "trunk_output.block4.block4-0.f.se.fc1.bias": "s4.b1.se.fc1.bias",
        "trunk_output.block4.block4-5.f.c.0.weight": "s4.b6.conv3.conv.weight",
        "trunk_output.block4.block4-5.f.c.1.num_batches_tracked": "s4.b6.conv3.bn.num_batches_tracked",
        "fc.bias": "head.fc.bias",
    }
    own = model.state_dict()
    repaired, unused = repair_keys(model, {theirs: own[ours] for theirs, ours in pairs.items()})
    assert (list(repaired), unused) == (list(pairs.values()), ())
    assert repair_keys(model, own) == (own, ())
