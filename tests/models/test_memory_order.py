"""Convolutions run with the channels innermost in memory where that is faster; nobody sees it but by the clock."""

import pytest
import torch
import torch.nn as nn

import zoo

LAST = torch.channels_last
NAMES = ["test_resnet", "test_efficientnet", "mobilevit_xxs"]


@pytest.fixture
def orders():
    """Whether the convolutions of a model gave maps with the channels innermost, as they run."""
    found = []

    def watch(model):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _module, _inputs, map_: found.append(is_innermost(map_)))
        return found

    return watch


def is_innermost(x):
    return x.is_contiguous(memory_format=LAST) and not x.is_contiguous()


def images(count=1, size=448, **options):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("name", NAMES)
def test_numbers_and_order_of_what_comes_out(name, orders):
    """What the same network gives with gradients, where it runs as it is."""
    model = zoo.create_model(name, seed=0).eval()
    x = images()
    plain = [model(x), model.forward_features(x), *model.forward_intermediates(x)[1]]
    seen = orders(model)
    with torch.no_grad():
        found = [model(x), model.forward_features(x), *model.forward_intermediates(x)[1]]
    assert any(seen)
    for one, expected in zip(found, plain, strict=True):
        assert one.stride() == expected.stride()
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["list", "hook"])
def test_features_come_out_in_the_order_of_the_image(kind):
    net = zoo.create_model("test_resnet", features_only=True, feature_cls=kind, seed=0).eval()
    with torch.no_grad():
        assert all(one.is_contiguous() for one in net(images()))
        assert any(is_innermost(one) for one in net(images().contiguous(memory_format=LAST)))


@pytest.mark.parametrize(
    ("count", "size", "options", "gradients"),
    [(2, 224, {}, False), (1, 448, {"dtype": torch.float64}, False), (1, 448, {}, True)],
)
def test_few_pixels_other_dtypes_and_training_stay_as_they_are(orders, count, size, options, gradients):
    model = zoo.create_model("test_resnet", seed=0).to(options.get("dtype", torch.float32)).eval()
    seen = orders(model)
    with torch.set_grad_enabled(gradients):
        model(images(count, size, **options))
    assert seen
    assert not any(seen)


def test_graphs_have_the_order_of_whoever_runs_them():
    model, x = zoo.create_model("test_resnet", seed=0).eval(), images()
    with torch.no_grad():
        exported = torch.export.export(model, (x,))
        traced = torch.jit.trace(model, x, check_trace=False)
    assert "memory_format" not in exported.graph_module.code
    assert "contiguous" not in str(traced.inlined_graph)
