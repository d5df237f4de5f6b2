"""Kinds of feature nets, and the copies that torch makes of them."""

import copy
import pickle

import pytest
import torch

import zoo

KINDS = ("list", "dict", "getter", "hook", "fx")


@pytest.fixture(params=KINDS)
def net(request):
    return zoo.create_model("test_resnet", features_only=True, out_indices=(1, 3), feature_cls=request.param).eval()


def as_list(maps):
    return list(maps.values()) if isinstance(maps, dict) else maps


def test_copies_are_nets_of_the_same_kind(net):
    x = torch.randn(1, 3, 64, 64)
    expected = as_list(net(x))
    replica = net._replicate_for_data_parallel()
    assert type(replica) is type(net)
    assert replica.feature_info is net.feature_info
    for twin in (copy.deepcopy(net), copy.copy(net), pickle.loads(pickle.dumps(net))):
        assert type(twin) is type(net)
        assert all(torch.equal(a, b) for a, b in zip(as_list(twin(x)), expected, strict=True))


def test_every_kind_gives_the_same_maps(net):
    x, seed = torch.randn(1, 3, 64, 64), 1
    net = zoo.create_model("test_resnet", features_only=True, out_indices=(1, 3), seed=seed).eval()
    expected = net(x)
    for kind in KINDS:
        other = zoo.create_model("test_resnet", features_only=True, out_indices=(1, 3), feature_cls=kind, seed=seed)
        assert all(torch.equal(a, b) for a, b in zip(as_list(other.eval()(x)), expected, strict=True))


def test_a_dict_has_the_levels_or_the_given_names():
    net = zoo.create_model("test_resnet", features_only=True, out_indices=(1, 3), feature_cls="dict")
    assert list(net(torch.randn(1, 3, 64, 64))) == ["1", "3"]
    named = zoo.models.FeatureDictNet(zoo.create_model("test_resnet"), (1, 3), out_map=("fine", "coarse"))
    assert list(named(torch.randn(1, 3, 64, 64))) == ["fine", "coarse"]


def test_a_getter_applies_the_norm():
    model = zoo.create_model("test_vit", seed=0).eval()
    x = torch.randn(1, 3, 160, 160)
    _, expected = model.forward_intermediates(x, [2], norm=True)
    net = zoo.models.FeatureGetterNet(model, [2], norm=True)
    assert torch.equal(net(x)[0], expected[0])
    assert not torch.equal(zoo.models.FeatureGetterNet(model, [2])(x)[0], expected[0])


class TestGraph:
    def test_it_ends_at_the_levels(self):
        net = zoo.create_model("test_resnet", features_only=True, out_indices=(1, 2), feature_cls="fx").eval()
        modules = [node.target for node in net.graph_module.graph.nodes if node.op == "call_module"]
        assert net.feature_info.module_name() == ["layer1", "layer2"]
        assert {path.partition(".")[0] for path in modules} == {"conv1", "bn1", "act1", "maxpool", "layer1", "layer2"}

    def test_other_values_and_modes_need_no_new_net(self):
        net = zoo.create_model("test_efficientnet", features_only=True, feature_cls="fx", seed=0).eval()
        other = zoo.create_model("test_efficientnet", features_only=True, seed=1).eval()
        x = torch.randn(2, 3, 64, 64)
        assert not torch.equal(net(x)[0], other(x)[0])
        net.load_state_dict(other.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(net(x), other(x), strict=True))
        for training in net.train(), other.train():
            training(x)
        assert all(torch.equal(a, b) for a, b in zip(net.eval()(x), other.eval()(x), strict=True))
        assert all(torch.equal(a, other.state_dict()[name]) for name, a in net.state_dict().items())

    def test_it_loads_like_a_list(self, tmp_path):
        model = zoo.create_model("test_vit", seed=0)
        torch.save(model.state_dict(), tmp_path / "vit.pth")
        options = {"checkpoint_path": tmp_path / "vit.pth", "features_only": True, "in_chans": 5}
        graph, listed = (zoo.create_model("test_vit", feature_cls=kind, **options).eval() for kind in ("fx", "list"))
        x = torch.randn(1, 5, 160, 160)
        assert all(torch.equal(a, b) for a, b in zip(graph(x), listed(x), strict=True))

    def test_what_torch_makes_of_it(self):
        net = zoo.create_model("test_vit", features_only=True, out_indices=[1], feature_cls="fx").eval()
        x = torch.randn(2, 3, 160, 160)
        expected = net(x)[0]
        program = torch.export.export(net, (x,), dynamic_shapes=[{0: torch.export.Dim.DYNAMIC}])
        assert torch.allclose(program.module()(x[:1])[0], expected[:1], atol=1e-5)
        assert torch.allclose(torch.fx.symbolic_trace(net)(x)[0], expected, atol=1e-6)
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(x)[0], expected, atol=1e-6)


def test_a_traced_network_can_be_pickled():
    model = zoo.create_model("test_efficientnet", seed=0).eval()
    graph = pickle.loads(pickle.dumps(torch.fx.symbolic_trace(model)))
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(graph(x), model(x))


def test_an_unknown_kind_names_those_that_there_are():
    with pytest.raises(zoo.ZooError, match="'list', 'dict', 'getter', 'hook', 'fx'"):
        zoo.create_model("test_resnet", features_only=True, feature_cls="tree")


def test_other_levels_of_the_same_network():
    info = zoo.create_model("test_resnet", features_only=True, out_indices=(1, 3)).feature_info
    assert info.from_other((0,)).out_indices == (0,)
    assert info.from_other((0,)).channels() == [info[0]["num_chs"]]
