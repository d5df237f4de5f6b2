"""Layers are chosen by name or by class, as users of timm write them."""

from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn

import zoo
from zoo.core.errors import UsageError
from zoo.layers import SwiGLU, SwiGLUPacked

VIT = "test_vit"


@pytest.mark.parametrize("layer", [nn.SiLU, nn.ReLU, nn.Hardswish, nn.Mish])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", VIT])
def test_an_activation(name, layer):
    found = Counter(type(module) for module in zoo.create_model(name, act_layer=layer, device="meta").modules())
    usual = Counter(type(module) for module in zoo.create_model(name, device="meta").modules())
    assert found[layer] >= usual.total() // 20


def test_an_activation_with_settings():
    model = zoo.create_model(VIT, act_layer=partial(nn.GELU, approximate="tanh"), device="meta")
    assert {module.approximate for module in model.modules() if isinstance(module, nn.GELU)} == {"tanh"}


@pytest.mark.parametrize(
    ("norm", "eps"), [(nn.LayerNorm, 1e-5), (partial(nn.LayerNorm, eps=1e-4), 1e-4), ("layernorm", 1e-6)]
)
def test_a_norm_brings_its_epsilon(norm, eps):
    model = zoo.create_model(VIT, norm_layer=norm, device="meta")
    assert {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm)} == {eps}


def test_encoders_of_pathology_are_built_with_the_arguments_on_their_pages():
    """UNI 2 and Virchow 2, narrower and shallower: gated perceptrons of DINOv2 with SiLU."""
    options = {
        "img_size": 56, "patch_size": 14, "depth": 1, "num_heads": 2, "init_values": 1e-5, "embed_dim": 48,
        "mlp_ratio": 2.66667 * 2, "num_classes": 0, "no_embed_class": True, "mlp_layer": SwiGLUPacked,
        "act_layer": nn.SiLU, "reg_tokens": 8, "dynamic_img_size": True,
    }  # fmt: skip
    model = zoo.create_model("vit_giant_patch14_224", **options, seed=0).eval()
    mlp, x = model.blocks[0].mlp, torch.randn(2, 3, 48)
    gate, value = mlp.fc1(x).chunk(2, -1)
    assert torch.allclose(mlp(x), mlp.fc2(torch.nn.functional.silu(gate) * value))
    assert mlp.fc1.weight.shape == (int(48 * 2.66667 * 2), 48)
    assert model(torch.randn(1, 3, 56, 70)).shape == (1, 48)


def test_a_perceptron_by_its_class():
    model = zoo.create_model(VIT, mlp_layer=SwiGLU, act_layer=nn.SiLU, device="meta")
    assert isinstance(model.blocks[0].mlp, SwiGLU)


@pytest.mark.parametrize(
    ("option", "layer"),
    [
        ("act_layer", nn.LSTM),
        ("act_layer", partial(nn.GELU, approximate="sigmoid")),
        ("mlp_layer", nn.Linear),
        ("norm_layer", nn.Identity),
        ("norm_layer", lambda channels: nn.LayerNorm(channels)),
    ],
)
def test_a_layer_without_a_name_is_refused(option, layer):
    with pytest.raises(UsageError, match=f"{option} takes a layer that has a name"):
        zoo.create_model(VIT, **{option: layer})


def test_a_file_states_the_name(tmp_path):
    model = zoo.create_model(VIT, act_layer=nn.SiLU, norm_layer=nn.LayerNorm)
    zoo.models.save_for_hf(model, tmp_path)
    again = zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert str(again) == str(model)
