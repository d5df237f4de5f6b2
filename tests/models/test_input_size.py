"""A model made one for images of another size, in place."""

import pytest
import torch

import zoo
from zoo.core.architectures import registry

from golden import smallest, takes


def sized_families():
    return [family for family in registry.families() if takes(family, "img_size")]


@pytest.mark.parametrize("name", ["test_vit", "test_maxvit", "swin_tiny_patch4_window7_224"])
def test_weights_are_resized_as_in_loading(name, tmp_path):
    model = zoo.create_model(name, seed=0)
    zoo.models.save_for_hf(model, tmp_path / "model")
    side = model.img_size[0] + 32
    extra = {"window_size": 8} if "swin" in name else {}
    loaded = zoo.create_model(
        name, checkpoint_path=tmp_path / "model" / "model.safetensors", img_size=side, **extra
    ).eval()
    model.eval().set_input_size(side, **extra)
    assert model.img_size == (side, side)
    x = torch.randn(1, 3, side, side)
    assert torch.allclose(model(x), loaded(x), atol=1e-5)


@pytest.mark.parametrize("family", sized_families())
def test_the_same_size_changes_nothing(family):
    model = zoo.create_model(smallest(family), device="meta", num_classes=3)
    if model.img_size is None:
        pytest.skip("takes images of any size")
    before = {key: (value.shape, value.dtype) for key, value in model.state_dict().items()}
    model.set_input_size(model.img_size)
    assert {key: (value.shape, value.dtype) for key, value in model.state_dict().items()} == before


def test_what_was_changed_since_the_model_was_built_stays():
    model = zoo.create_model("test_vit", seed=0).eval()
    model.reset_classifier(5, "avg")
    model.set_grad_checkpointing()
    model.cls_token.requires_grad_(False)
    model.double().set_input_size(96)
    assert not model.training
    assert model.grad_checkpointing
    assert not model.cls_token.requires_grad
    assert model.pos_embed.requires_grad
    assert model.global_pool == "avg"
    assert model(torch.zeros(1, 3, 96, 96, dtype=torch.double)).shape == (1, 5)


def test_windows_keep_their_share_of_the_map():
    model = zoo.create_model("swin_tiny_patch4_window7_224", device="meta")
    model.set_input_size(448)
    assert model.spec.window_size == ((14, 14),) * 4
    model.set_input_size((256, 192), window_ratio=8)
    assert model.spec.window_size == ((8, 6),) * 4


def test_a_model_for_any_size_has_none_to_set():
    with pytest.raises(zoo.ZooError, match="any size"):
        zoo.create_model("resnet18", device="meta").set_input_size(256)
    with pytest.raises(TypeError, match="no_such_size"):
        zoo.create_model("test_vit", device="meta").set_input_size(96, no_such_size=3)


def test_tokens_as_dino_gives_them():
    model = zoo.create_model("test_vit", seed=0).eval()
    x = torch.randn(1, 3, 160, 160)
    tokens = model.get_intermediate_layers(x, n=2, norm=True)
    assert [t.shape for t in tokens] == [(1, 100, 64)] * 2
    assert torch.allclose(tokens[1], model.forward_features(x)[:, 1:])
    ((last, prefix),) = model.get_intermediate_layers(x, n=[5], reshape=True, return_prefix_tokens=True)
    assert (last.shape, prefix.shape) == ((1, 64, 10, 10), (1, 1, 64))
