"""Every architecture against timm's facts: keys, shapes, options, outputs. A new row is tested without an edit here."""

import copy
import shutil
from inspect import signature

import pytest
import torch

import zoo
from zoo.core.architectures import registry
from zoo.core.errors import UsageError

from golden import SMALL, all_names, build, build_small, golden, image_size, recorded_outputs, smallest, takes
from golden.fill import fill_, image, summary

TOLERANCE = 1e-9
"""Relative to the largest number of a float64 output."""
TOLERANCE_OF_EVONORM = 1e-6
"""The same where EvoNorm magnifies what another processor rounds otherwise."""

SMALL_GRAPHS = {
    "beit", "byobnet", "convmixer", "convnext", "cspnet", "deit", "densenet", "efficientnet", "mobilenetv3", "regnet",
    "resnet", "resnetv2", "senet", "vgg", "vision_transformer", "visformer",
}  # fmt: skip
"""Families whose graphs take little time to export; `make test-all` exports all."""


def forward_cases():
    for family, name in all_names():
        facts = golden(family).get(name, {})
        if facts.get("outputs"):
            marks = () if facts["params"] <= SMALL else pytest.mark.full
            yield pytest.param(name, facts["outputs"], marks=marks, id=name)


def shapes(name, **options):
    model = zoo.create_model(name, device="meta", **options)
    return {key: [list(t.shape), str(t.dtype).removeprefix("torch.")] for key, t in model.state_dict().items()}


def assert_equal_summary(found, expected, what, tolerance):
    assert found["shape"] == expected["shape"], what
    allowed = tolerance * max(expected["absmax"], 1e-12)
    assert abs(found["mean"] - expected["mean"]) <= allowed, what
    assert found["sample"] == pytest.approx(expected["sample"], abs=allowed), what


@pytest.mark.parametrize(("family", "name"), all_names())
def test_state_dict(family, name):
    """Of the network for 5 channels and 17 classes; what depends on neither is as in timm's for the default numbers."""
    facts = golden(family)[name]
    changed = facts["in_chans_5"] | facts["num_classes_17"]
    dtypes = {key: dtype for key, (_, dtype) in facts["keys"].items()}
    expected = {key: [shape, dtypes.get(key, "float32")] for key, shape in changed.items()}
    assert shapes(name, in_chans=5, num_classes=17) == facts["keys"] | expected


def default_cases():
    """Every architecture; `make test` takes the smallest of each family."""
    for family, name in all_names():
        yield pytest.param(family, name, marks=() if name == smallest(family) else pytest.mark.full)


@pytest.mark.parametrize(("family", "name"), list(default_cases()))
def test_state_dict_of_the_default_numbers(family, name):
    assert shapes(name) == golden(family)[name]["keys"]


@pytest.mark.parametrize(("name", "expected"), list(forward_cases()))
def test_outputs(name, expected):
    model = fill_(build(name, seed=0).eval())
    x = image(expected["input_size"])
    with torch.inference_mode():
        trunk, maps = model.forward_intermediates(x, model.default_out_indices)
        logits = model(x)
    tolerance = TOLERANCE_OF_EVONORM if any("EvoNorm" in type(m).__name__ for m in model.modules()) else TOLERANCE
    assert_equal_summary(summary(logits), expected["logits"], "logits", tolerance)
    if not isinstance(trunk, list):
        assert_equal_summary(summary(trunk), expected["trunk"], "trunk", tolerance)
    if isinstance(model.get_classifier(), torch.nn.Module):
        with torch.inference_mode():
            of_embedding = model.get_classifier()(model.pool(trunk))
        torch.testing.assert_close(of_embedding, logits)  # which are compared with recorded ones above
    for level, (found, wanted) in enumerate(zip(maps, expected["maps"], strict=True)):
        assert_equal_summary(summary(found), wanted, f"level {level}", tolerance)


@pytest.fixture(params=registry.families(), scope="module")
def family(request):
    return request.param


@pytest.fixture(scope="module")
def network(family):
    """A small network of a family, built once; a test gets a copy."""
    model = build_small(family, seed=0)
    for name, parameter in model.named_parameters():
        # A classifier that starts with zeros would show nothing.
        if name.startswith(model.classifier_paths) and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)
    return model


@pytest.fixture
def model(network):
    return copy.deepcopy(network)


@pytest.fixture
def evaluated(network):
    """The network itself, for tests that leave it as it is."""
    return network.eval()


def batch(model, size=None):
    """Two images: of the size that the outputs were recorded for, or smaller ones if a form for tests takes them."""
    return torch.randn(2, model.in_chans, *(size or image_size(model)), generator=torch.Generator().manual_seed(0))


def record_run(model):
    """Paths of the modules of a forward pass, in the order of their ends."""
    ran = []
    handles = [
        module.register_forward_hook(lambda _module, _inputs, _output, path=path: ran.append(path))
        for path, module in model.named_modules()
    ]
    with torch.inference_mode():
        model.eval()(batch(model))
    for handle in handles:
        handle.remove()
    return ran


def as_map(model, x):
    """What the trunk gives as a map: tokens lose their prefix and get a dummy axis, branches are put together."""
    if isinstance(x, list):
        cells = 1 if hasattr(model, "num_prefix_tokens") else 2  # tokens have their channels last
        return torch.cat([branch.mean(cells)[..., None, None] for branch in x], 1)
    return x[:, getattr(model, "num_prefix_tokens", 0) :].transpose(1, 2)[..., None] if x.ndim == 3 else x


def test_every_initial_value_is_set(family):
    """Memory that torch.empty leaves as it is would show as NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        model = build_small(family)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(t.isfinite().all() for t in model.state_dict().values())
    assert all(t.isfinite().all() for t in model.buffers())


def test_one_seed_gives_one_model(family, network):
    first, second = (build_small(family, seed=3).state_dict() for _ in range(2))
    other = network.state_dict()  # seed 0
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_every_parameter_gets_a_finite_gradient(model):
    model.train()
    model(batch(model)).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not without


def test_checkpointing_changes_no_gradient(model):
    x = batch(model)
    gradients = []
    for enable in (False, True):
        model.zero_grad()
        model.eval().set_grad_checkpointing(enable)
        model(x).sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6, rtol=1e-4) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("in_chans", [1, pytest.param(4, marks=pytest.mark.full), 25])
def test_input_channels(family, in_chans):
    model = build_small(family, in_chans=in_chans, num_classes=3).eval()
    if not model.spec.first_conv:  # fixed filters read the three colours
        with pytest.raises(UsageError, match="three colours"):
            model(batch(model))
        return
    assert model(batch(model)).shape == (2, 3)
    assert model.pretrained_cfg["input_size"][0] == len(model.pretrained_cfg["mean"]) == in_chans


def test_head_options(family, model):
    width = model.head_hidden_size
    model.eval()
    assert build_small(family, num_classes=0).eval()(batch(model)).shape == (2, width)
    model.reset_classifier(7)
    assert model(batch(model)).shape == (2, 7)
    model.reset_classifier(0, "")
    found = as_map(model, model(batch(model)))
    assert found.shape[:2] == (2, width)
    assert found.ndim == 4
    with pytest.raises(UsageError, match="num_classes=0"):
        model.reset_classifier(7, "")


def build_pooled(family, pool, **options):
    try:
        return build_small(family, global_pool=pool, **options).eval()
    except UsageError as error:
        pytest.skip(str(error))


def test_pooling_that_doubles_the_width(family, model):
    wide = build_pooled(family, "catavgmax", num_classes=5)
    weight = next(p for p in wide.get_classifier().parameters() if p.ndim > 1)  # a norm may stand before it
    assert weight.flatten(1).shape == (5, wide.head_hidden_size)
    assert wide(batch(wide)).shape == (2, 5)
    if model.head_hidden_size == model.num_features:  # else a layer stands between pooling and classifier
        assert wide.head_hidden_size == 2 * model.head_hidden_size


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "catavgmax"])
def test_pooling(family, pool):
    model = build_pooled(family, pool, num_classes=4, seed=0)
    with torch.inference_mode():
        trunk = model.forward_features(batch(model))
        pooled = model.forward_head(trunk, pre_logits=True)
        assert model.forward_head(trunk).shape == (2, 4)
        if isinstance(trunk, list):
            pytest.skip("each branch is pooled by itself")
        cells = as_map(model, trunk).flatten(2)
        average, maximum = cells.mean(2), cells.max(2).values
        expected = {
            "avg": average,
            "max": maximum,
            "avgmax": (average + maximum) / 2,
            "catavgmax": torch.cat([average, maximum], 1),
        }
        expected = model.before_classifier(expected[pool])
    if pooled.shape == expected.shape:  # a family may have a pooling of its own
        assert torch.allclose(pooled, expected, atol=1e-5)


class TestOrderOfExecution:
    """`steps` says what runs when; features are cut off and read by it."""

    def test_the_steps_run_in_the_order_that_they_are_stated_in(self, evaluated):
        stated = [path for path, _ in evaluated.steps()]
        # A module may run more than once in its step, which gives its last output.
        assert list(dict.fromkeys(path for path in record_run(evaluated) if path in stated)) == stated
        assert {level["module"] for level in evaluated.feature_info} <= set(stated)

    def test_levels_have_names_of_their_own(self, evaluated):
        names = [level.get("name", level["module"]) for level in evaluated.feature_info]
        assert len(set(names)) == len(names)

    def test_all_weights_that_a_level_keeps_run(self, evaluated):
        for level in range(len(evaluated.feature_info)):
            net = zoo.FeatureListNet(evaluated, [level])
            ran = set(record_run(net))
            left = {path for path, module in net.named_modules() if module._parameters and not list(module.children())}
            assert left <= ran, f"level {level}"


class TestFeatures:
    def test_maps_are_those_of_the_whole_model(self, evaluated):
        recorded = recorded_outputs(evaluated)
        x = batch(evaluated, recorded["input_size"][1:])
        with torch.inference_mode():
            _, maps = evaluated.forward_intermediates(x)
            for indices in ([0], [1, 2], [-1], [-2, -1]):
                net = zoo.FeatureListNet(evaluated, indices)
                found = net(x)
                assert all(torch.equal(f, maps[i]) for f, i in zip(found, indices, strict=True))
                assert [m.shape[1] for m in found] == net.feature_info.channels()
                if not evaluated.spec.is_padded:
                    expected = [recorded["maps"][i]["shape"][2:] for i in indices]
                    assert [list(m.shape[2:]) for m in found] == expected
                else:
                    assert [x.shape[2] // m.shape[2] for m in found] == net.feature_info.reduction()

    def test_only_what_is_needed_is_kept(self, evaluated):
        last = evaluated.feature_info[-1]["module"]
        # A pyramid may end in blocks of several levels.
        shallow = zoo.FeatureListNet(evaluated, [0 if evaluated.feature_info[1]["module"] == last else 1])
        kept = sum(p.numel() for p in shallow.parameters())
        assert kept < sum(p.numel() for p in zoo.FeatureListNet(evaluated, [-1]).parameters())
        assert set(shallow.state_dict()) < set(evaluated.state_dict())

    def test_the_given_model_stays_as_it_was(self, model):
        before = list(model.state_dict())
        zoo.FeatureListNet(model, [0])
        assert list(model.state_dict()) == before
        assert model.eval()(batch(model)).shape[1] == (model.num_classes or model.head_hidden_size)

    def test_hooks_give_the_same_maps(self, evaluated):
        x = batch(evaluated)
        if isinstance(evaluated.forward_features(x), list):
            pytest.skip("a step gives several tensors")
        with torch.inference_mode():
            by_list, by_hook = zoo.FeatureListNet(evaluated)(x), zoo.FeatureHookNet(evaluated)(x)
        assert [tuple(m.shape) for m in by_list] == [tuple(m.shape) for m in by_hook]
        assert not any(m._forward_hooks for m in evaluated.modules())

    def test_copies_and_pickles(self, evaluated):
        import pickle

        net = zoo.FeatureListNet(evaluated, [1, 2])
        x = batch(evaluated)
        with torch.inference_mode():
            expected = net(x)
            for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
                assert isinstance(twin, zoo.FeatureListNet)
                # Weights that lie elsewhere in memory may be multiplied in another order.
                for found, map_ in zip(twin(x), expected, strict=True):
                    assert (found - map_).abs().max() <= 1e-5 * map_.abs().max()

    def test_a_level_that_is_not_there(self, evaluated):
        for indices in ([99], [-99], []):
            with pytest.raises(UsageError, match="indices"):
                zoo.FeatureListNet(evaluated, indices)


@pytest.mark.parametrize("stride", [8, 16])
def test_output_stride(family, stride):
    if not takes(family, "output_stride"):
        pytest.skip("the reference has one stride too")
    name = smallest(family)
    model = zoo.create_model(name, output_stride=stride, features_only=True).eval()
    x = batch(model, recorded_outputs(model)["input_size"][1:])
    maps = model(x)
    assert model.feature_info.reduction()[-1] == stride
    assert [x.shape[2] // m.shape[2] for m in maps] == model.feature_info.reduction()
    # Dilation keeps the weights' shapes, so the published checkpoints still load.
    assert {
        k: t.shape for k, t in zoo.create_model(name, output_stride=stride, device="meta").state_dict().items()
    } == {k: t.shape for k, t in zoo.create_model(name, device="meta").state_dict().items()}


def export_cases():
    for family in registry.families():
        yield pytest.param(family, marks=() if family in SMALL_GRAPHS else pytest.mark.full, id=family)


@pytest.mark.filterwarnings("ignore:The tensor attribute")  # LSTMs list their parameters a second time
@pytest.mark.parametrize("family", list(export_cases()), indirect=True, scope="module")
def test_exports_a_graph_for_batches_of_any_size(model):
    model.eval()
    x = batch(model)
    program = torch.export.export(model, (x,), dynamic_shapes=[{0: torch.export.Dim.DYNAMIC}])
    images = torch.cat([x, x.flip(3), x.flip(2)])[:5]
    assert torch.allclose(program.module()(images), model(images), atol=1e-5)


def test_a_replica_for_data_parallel_has_its_own_tensors(model, monkeypatch):
    """As nn.DataParallel makes one for each GPU; here the broadcast copies on the CPU."""

    def copies(tensors, devices):
        return [[tensor.clone() for tensor in tensors] for _ in devices]

    monkeypatch.setattr("torch.nn.parallel.comm.broadcast_coalesced", copies)
    x = batch(model)
    with torch.inference_mode():
        expected = model.eval()(x)
        (replica,) = torch.nn.parallel.replicate(model, [0], detach=True)
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0)
        found = replica(x)
    torch.testing.assert_close(found, expected)


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("c++"), reason="inductor needs a C++ compiler")
def test_compiles_with_frozen_weights(model):
    """As for inference: weights become constants, which inductor folds and lays out anew."""
    model.eval()
    x = batch(model)
    with torch.inference_mode():
        expected = model(x)
        # torch traces into no LSTM, so the graph of such a network breaks there.
        whole = not any(isinstance(module, torch.nn.LSTM) for module in model.modules())
        compiled = torch.compile(model, fullgraph=whole, options={"freezing": True})
        found = compiled(x)
    torch._dynamo.reset()
    assert torch.allclose(found, expected, atol=1e-4 * max(1.0, expected.abs().max().item()))


class TestSymbolicTrace:
    """`torch.fx.symbolic_trace` as torchvision and FX quantisation call it: no leaf modules, no batch is seen."""

    def test_the_graph_computes_what_the_model_does(self, evaluated):
        graph, images = torch.fx.symbolic_trace(evaluated), batch(evaluated)
        with torch.inference_mode():
            assert torch.equal(graph(images), evaluated(images))

    def test_graphs_of_training_and_of_features(self, family):
        model = zoo.create_model(smallest(family), device="meta")
        graph = torch.fx.symbolic_trace(model.train())
        assert set(map(id, graph.parameters())) == set(map(id, model.parameters()))
        listed, net = (kind(model, [1]).eval() for kind in (zoo.FeatureListNet, zoo.models.FeatureGraphNet))
        assert set(map(id, net.graph_module.parameters())) <= set(map(id, listed.parameters()))


@pytest.fixture(scope="module")
def scaled(network):
    """A network in single precision whose numbers stay in the range of half precision, built once for a family."""
    model = fill_(copy.deepcopy(network)).float().eval()  # initial weights may grow where no norm has seen data
    with torch.inference_mode():
        if model(batch(model)).abs().max() > torch.finfo(torch.float16).max:
            for norm in model.modules():
                if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                    norm.momentum = 1.0  # it takes the statistics of the one batch as they are
            images = torch.cat([batch(model)] * 8)
            contrast = torch.linspace(0, 2, len(images)).view(-1, 1, 1, 1)  # unlike each other also when pooled
            model.train()(images * contrast)
    return model.eval()


@pytest.fixture
def filled(scaled):
    return copy.deepcopy(scaled)


@pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.full)])
def test_half_precision(filled, dtype):
    model, images = filled, batch(filled)
    with torch.inference_mode():
        expected = model.eval()(images)
        found = model.to(dtype)(images.to(dtype))
        # How far rounded weights and images alone bring it in single precision: a network may magnify differences.
        rounded = (model.float()(images.to(dtype).float()) - expected).abs().max()
    assert found.dtype == dtype
    assert (found.float() - expected).abs().max() < max(0.1 * expected.abs().max(), 3 * rounded)


def test_channels_last(filled):
    model = filled
    with torch.inference_mode():
        expected = model.eval()(batch(model))
        found = model.to(memory_format=torch.channels_last)(batch(model).contiguous(memory_format=torch.channels_last))
    assert torch.allclose(found, expected, atol=1e-4 * max(1.0, expected.abs().max().item()))


class TestOptions:
    def test_an_unknown_one_names_the_nearest(self):
        with pytest.raises(TypeError, match="num_classes"):
            zoo.create_model("test_resnet", num_class=3)

    def test_a_field_of_the_spec_can_be_overridden(self):
        assert isinstance(zoo.create_model("test_resnet", act_layer="silu").act1, torch.nn.SiLU)

    @pytest.mark.parametrize(
        "options",
        [
            {"in_chans": 0},
            {"in_chans": -3},
            {"num_classes": -1},
            {"output_stride": 7},
            {"stem_type": "depe"},
            {"aa_layer": "blurr"},
            {"act_layer": "rleu"},
            {"norm_layer": "batch"},
            {"global_pool": "mean"},
        ],
    )
    def test_impossible_values(self, options):
        with pytest.raises(UsageError):
            zoo.create_model("test_resnet", **options)

    def test_the_class_takes_a_spec_and_keywords(self):
        from zoo.core.architectures.configs.resnet import ResNetSpec
        from zoo.models.resnet import ResNet

        spec = ResNetSpec(block="basic", layers=(1, 1, 1, 1))
        model = ResNet(spec, in_chans=2, num_classes=3, output_stride=16)
        assert model(torch.randn(1, 2, 64, 64)).shape == (1, 3)
        with pytest.raises(TypeError, match="stem_widht"):
            ResNet(spec, stem_widht=32)
        assert "drop_block_rate" in signature(ResNet).parameters
        assert "num_classes" not in signature(model).parameters
