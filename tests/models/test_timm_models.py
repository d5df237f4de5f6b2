"""One network of each family against timm itself, where it is installed: the calls that users make of a model."""

import math

import pytest
import torch

import zoo
from zoo.core.architectures import registry
from zoo.core.errors import UsageError

from golden import SMALL, golden, has_option, smallest, takes
from golden.fill import fill_, image

try:
    import timm
except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
    pytest.skip(f"timm does not import: {error}", allow_module_level=True)

TOLERANCE = 1e-6


def networks():
    """The smallest network of each family that timm has under this name."""
    for family in registry.families():
        name = smallest(family)
        if timm.is_model(name):
            marks = () if golden(family)[name]["params"] <= 3 * SMALL else pytest.mark.full
            yield pytest.param((family, name), marks=marks, id=family)


@pytest.fixture(params=list(networks()))
def network(request):
    return request.param


def sized_for(family, name, size):
    """The option that builds a network for images of this size, where it has one."""
    takes_size = takes(family, "img_size") and has_option(family, registry.variants(family)[name], "img_size")
    return {"img_size": size} if takes_size else {}


def timm_network(name, sized, **options):
    """timm's network; one of convolutions is built for no size, which zoo may take all the same."""
    try:
        return timm.create_model(name, **sized, **options)
    except TypeError:
        return timm.create_model(name, **options)


def pair(family, name, side=None, **options):
    """zoo's and timm's network with the same weights in float64, and an image of a size that both take."""
    _, height, width = golden(family)[name]["outputs"]["input_size"]
    if side is not None:
        height, width = side
    sized = sized_for(family, name, (height, width))
    ours = zoo.create_model(name, **sized, **options).eval()
    theirs = timm_network(name, sized, **options)
    fill_(theirs.eval())
    ours.double().load_state_dict(theirs.state_dict())
    return ours, theirs, image((options.get("in_chans", 3), height, width))


def assert_close(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= TOLERANCE * max(expected.abs().max().item(), 1e-12)


def test_other_channels_and_classes(network):
    family, name = network
    in_chans = 6 if registry.variants(family)[name].first_conv else 3  # fixed filters read the three colours
    ours, theirs, x = pair(family, name, in_chans=in_chans, num_classes=10)
    with torch.inference_mode():
        assert_close(ours(x), theirs(x))


def test_no_classifier(network):
    ours, theirs, x = pair(*network, num_classes=0)
    with torch.inference_mode():
        assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_another_pooling(network, pool):
    try:
        ours, theirs, x = pair(*network, global_pool=pool, num_classes=7)
    except (UsageError, TypeError, AssertionError, RuntimeError) as error:
        pytest.skip(f"one of the two has one pooling: {error}")
    with torch.inference_mode():
        assert_close(ours(x), theirs(x))


def test_another_image_size(network):
    family, name = network
    _, height, width = golden(family)[name]["outputs"]["input_size"]
    try:
        ours, theirs, x = pair(family, name, side=(2 * height, 2 * width))
        with torch.inference_mode():
            expected = theirs(x)
    except (UsageError, TypeError, RuntimeError) as error:  # of timm's network, too
        pytest.skip(f"the network is for one size: {error}")
    with torch.inference_mode():
        assert_close(ours(x), expected)


@pytest.mark.parametrize("indices", [(0, 2), (-1,)])
def test_features(network, indices):
    family, name = network
    _, _, x = pair(family, name)
    sized = sized_for(family, name, tuple(x.shape[2:]))
    ours = zoo.create_model(name, features_only=True, out_indices=indices, **sized).eval()
    try:
        theirs = timm_network(name, sized, features_only=True, out_indices=indices)
    except AssertionError as error:
        pytest.skip(f"timm's feature net is not built: {error}")
    whole = timm_network(name, sized)
    last_channels = getattr(whole, "output_fmt", "NCHW") == "NHWC"
    filled = fill_(whole).state_dict()
    names = {name: value for key, value in filled.items() for name in (key, key.removeprefix("body."))}
    state = {name.replace(".", "_"): value for name, value in names.items()}  # some nets of timm are flattened
    for net in (ours.double(), theirs.eval().double()):
        prefix = next((p for p in ("model.", "body.") if hasattr(net, p[:-1])), "")
        keys = net.state_dict().keys()
        net.load_state_dict({key: state[key.removeprefix(prefix).replace(".", "_")] for key in keys})
    assert ours.feature_info.channels() == theirs.feature_info.channels()
    assert [math.ceil(r) for r in ours.feature_info.reduction()] == list(theirs.feature_info.reduction())
    with torch.inference_mode():
        for found, expected in zip(ours(x), theirs(x), strict=True):
            # The shape tells the order of axes but for a map with as many channels as rows and columns.
            is_cube = found.shape[1] == found.shape[2] == found.shape[3]
            turned = last_channels if is_cube else found.shape != expected.shape
            assert_close(found, expected.permute(0, 3, 1, 2) if turned else expected)
