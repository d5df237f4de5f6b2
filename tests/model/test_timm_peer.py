"""Against timm itself, where it is installed beside zoo."""

import math
import random
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry

from golden import smallest

try:
    import timm
except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
    pytest.skip(f"timm does not import: {error}", allow_module_level=True)

MODELS = ("test_resnet", "test_efficientnet")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("in_chans", [1, 2, 4, 25])
def test_timm_loads_what_adapt_weights_writes(name, in_chans, tmp_path):
    source, adapted = tmp_path / "source.safetensors", tmp_path / "adapted.safetensors"
    save_file(timm.create_model(name).state_dict(), source)
    words = ["adapt-weights", name, "--weights", str(source), "--in-chans", str(in_chans), "-o", str(adapted)]
    assert errors.run(app, words) == 0
    ours = timm.create_model(name, in_chans=in_chans, checkpoint_path=str(adapted)).state_dict()
    options = {"pretrained": True, "pretrained_cfg_overlay": {"file": str(source)}}
    theirs = timm.create_model(name, in_chans=in_chans, **options).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("name", ["test_vit", "naflexvit_base_patch16_gap"])
@pytest.mark.parametrize("options", [{}, {"return_prefix_tokens": True, "norm": True}, {"intermediates_only": True}])
def test_dicts_of_intermediates_are_timms(name, options):
    small = {"embed_dim": 48, "depth": 3, "num_heads": 3} if "naflex" in name else {}
    theirs, ours = timm.create_model(name, **small).eval(), zoo.create_model(name, **small).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *ours.pretrained_cfg["input_size"][1:])
    with torch.inference_mode():
        found, expected = (m.forward_intermediates(x, output_dict=True, **options) for m in (ours, theirs))
    assert found.keys() == expected.keys()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("test_resnet", {"act_layer": nn.SiLU}),
        ("test_efficientnet", {"act_layer": nn.ReLU}),
        ("test_vit", {"act_layer": partial(nn.GELU, approximate="tanh"), "norm_layer": nn.LayerNorm}),
        ("test_vit", {"norm_layer": partial(nn.LayerNorm, eps=1e-3), "init_values": 0.1}),
        ("test_vit", {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 3.0}),
        ("test_vit", {"mlp_layer": timm.layers.SwiGLU, "act_layer": nn.SiLU, "reg_tokens": 4, "class_token": False}),
    ],
)
def test_layers_by_their_classes_are_timms(name, options):
    """What the pages of encoders tell to write: UNI 2, Virchow 2 and others pass classes of torch and of timm."""
    options = {"global_pool": "avg"} | options if "class_token" in options else options
    theirs, ours = timm.create_model(name, **options).eval(), zoo.create_model(name, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 3, *ours.pretrained_cfg["input_size"][1:])
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("stride", [8, 16])
def test_dilated_networks_give_timms_maps(name, stride):
    theirs = timm.create_model(name, output_stride=stride, features_only=True).eval()
    ours = zoo.create_model(name, output_stride=stride, features_only=True).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(1, 3, 97, 130)
    with torch.inference_mode():
        for found, expected in zip(ours(x), theirs(x), strict=True):
            assert torch.allclose(found, expected, atol=1e-5 * math.ceil(expected.abs().max()))
    assert ours.feature_info.reduction() == theirs.feature_info.reduction()


def transform_settings():
    """A hundred settings of the evaluation transform, over images of several shapes."""
    generator = random.Random(0)
    for number in range(100):
        size = generator.choice([224, 96, 384, (224, 160), (3, 128, 192), (3, 240, 240)])
        yield pytest.param(
            {
                "input_size": size,
                "interpolation": generator.choice(["nearest", "bilinear", "bicubic", "box", "hamming", "lanczos"]),
                "crop_pct": generator.choice([None, 0.8, 0.875, 0.95, 1.0]),
                "crop_mode": generator.choice([None, "center", "squash", "border"]),
                "crop_border_pixels": generator.choice([None, None, 4]),
                "mean": generator.choice([(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)]),
                "std": generator.choice([(0.5, 0.5, 0.5), (0.229, 0.224, 0.225)]),
                "normalize": generator.random() < 0.8,
            },
            generator.choice([(300, 260), (97, 331), (640, 480), (50, 61)]),
            id=str(number),
        )


@pytest.mark.parametrize(("settings", "size"), transform_settings())
def test_transforms_are_timms_bit_for_bit(settings, size):
    from timm.data import create_transform as theirs

    from zoo.data import create_transform as ours

    pixels = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image = Image.fromarray(pixels)
    expected, found = theirs(**settings)(image), ours(**settings)(image)
    assert expected.dtype == found.dtype
    assert torch.equal(expected, found)


def test_data_configs_are_timms_for_every_tag():
    from timm.data import resolve_data_config as theirs

    from zoo.data import resolve_data_config as ours

    names = sorted(set(zoo.list_pretrained()) & set(timm.list_pretrained()))
    assert len(names) > 1000
    for name in names:
        cfgs = zoo.get_pretrained_cfg(name).to_dict(), timm.get_pretrained_cfg(name).to_dict()
        for use_test_size in (False, True):
            found = ours(pretrained_cfg=cfgs[0], use_test_size=use_test_size)
            assert found == theirs(pretrained_cfg=cfgs[1], use_test_size=use_test_size), name


def test_folders_for_the_hub_load_both_ways(tmp_path):
    options = {"init_values": 1e-5, "num_classes": 0, "dynamic_img_size": True}
    ours, theirs = zoo.create_model("test_vit", seed=0, **options), timm.create_model("test_vit", **options)
    zoo.models.save_for_hf(ours, tmp_path / "zoo")
    timm.models.save_for_hf(theirs, tmp_path / "timm", model_args=options, safe_serialization=True)
    x = torch.randn(1, 3, 192, 160)
    for model, folder, other in ((ours, "zoo", timm), (theirs, "timm", zoo)):
        again = other.create_model(f"local-dir:{tmp_path / folder}", pretrained=True).eval()
        with torch.inference_mode():
            assert torch.allclose(again(x), model.eval()(x), atol=1e-5)


SIZES = [
    ("test_vit", {"img_size": (96, 128)}),
    ("vit_tiny_patch16_224", {"img_size": 112, "patch_size": 8}),
    ("test_maxvit", {"img_size": 192}),
    ("swin_tiny_patch4_window7_224", {"img_size": 256}),
    ("swin_tiny_patch4_window7_224", {"img_size": (256, 192), "window_ratio": 8}),
    ("swinv2_cr_tiny_224", {"img_size": 256}),
    ("vit_tiny_patch16_dinov3_qkvb", {"img_size": (192, 224)}),
    ("efficientvit_m0", {"img_size": 256}),
]


@pytest.mark.parametrize(("name", "sizes"), SIZES)
def test_a_new_input_size_gives_timms_numbers(name, sizes):
    theirs = timm.create_model(name).eval()
    ours = zoo.create_model(name).eval()
    ours.load_state_dict(theirs.state_dict())
    theirs.set_input_size(**sizes)
    ours.set_input_size(**sizes)
    side = sizes["img_size"]
    x = torch.randn(1, 3, *((side, side) if isinstance(side, int) else side))
    with torch.inference_mode():
        expected = theirs(x)
        assert torch.allclose(ours(x), expected, atol=1e-4 * expected.abs().max().item())


ATTRIBUTES = (
    "default_cfg", "drop_rate", "embed_dim", "feature_info", "forward_features", "forward_head",
    "forward_intermediates",
    "get_classifier", "get_intermediate_layers", "global_pool", "grad_checkpointing", "group_matcher",
    "head_hidden_size", "no_weight_decay", "num_classes", "num_features", "num_prefix_tokens", "pretrained_cfg",
    "prune_intermediate_layers", "reset_classifier", "set_grad_checkpointing", "set_input_size",
)  # fmt: skip


@pytest.mark.parametrize("family", registry.families())
def test_models_have_what_timms_have(family):
    name = smallest(family)
    if not timm.is_model(name):
        pytest.skip(f"timm has no {name}")
    with torch.device("meta"):
        theirs = timm.create_model(name)
    ours = zoo.create_model(name, device="meta")
    missing = [a for a in ATTRIBUTES if hasattr(theirs, a) and not hasattr(ours, a)]
    if hasattr(theirs, "patch_embed"):
        grid = [a for a in ("grid_size", "patch_size", "num_patches") if hasattr(theirs.patch_embed, a)]
        missing += [f"patch_embed.{a}" for a in grid if not hasattr(ours.patch_embed, a)]
    assert not missing
    for attribute in ("num_features", "head_hidden_size", "num_prefix_tokens", "global_pool"):
        expected = getattr(theirs, attribute, None)
        if isinstance(expected, int | str):
            assert getattr(ours, attribute) == expected, attribute
    if hasattr(theirs, "embed_dim"):
        assert as_list(ours.embed_dim) == as_list(theirs.embed_dim)


def as_list(value):
    return [value] if isinstance(value, int) else list(value)
