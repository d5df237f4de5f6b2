"""Vision transformers over a convolutional network: published files of other layouts, sizes of map and image."""

import pickle

import numpy as np
import pytest
import torch

import zoo
from zoo.core.errors import UsageError


def google_backbone(state):
    """What Google's arrays call the backbone's tensors, the inverse of the facts."""
    arrays = {}
    for key, value in state.items():
        if not key.startswith("patch_embed.backbone."):
            continue
        *path, layer, kind = key.removeprefix("patch_embed.backbone.").split(".")
        names = {"conv": "conv_root", "norm": "gn_root"} if path in ([], ["stem"]) else {}
        before = ""
        if path[:1] == ["stages"]:
            before = f"block{int(path[1]) + 1}/unit{int(path[3]) + 1:02}/"
            names = {"conv": "conv_proj", "norm": "gn_proj"} if path[4:] else {}
            names |= {f"norm{i}": f"gn{i}" for i in (1, 2, 3)}
        value = value.numpy()
        if value.ndim == 4:
            arrays[f"{before}{names.get(layer, layer)}/kernel"] = value.transpose(2, 3, 1, 0)
        else:
            kind = "scale" if kind == "weight" else kind
            arrays[f"{before}{names.get(layer, layer)}/{kind}"] = value.reshape(1, 1, 1, -1)
    return arrays


@pytest.mark.parametrize("name", ["vit_tiny_r_s16_p8_224", "vit_small_r26_s32_224"])
def test_google_arrays(name, tmp_path):
    sizes = {"depth": 0, "num_classes": 5}
    model = zoo.create_model(name, seed=0, **sizes)
    state = model.state_dict()
    arrays = google_backbone(state) | {
        "embedding/kernel": state["patch_embed.proj.weight"].permute(2, 3, 1, 0).numpy(),
        "embedding/bias": state["patch_embed.proj.bias"].numpy(),
        "cls": state["cls_token"].numpy(),
        "Transformer/posembed_input/pos_embedding": state["pos_embed"].numpy(),
        "Transformer/encoder_norm/scale": state["norm.weight"].numpy(),
        "Transformer/encoder_norm/bias": state["norm.bias"].numpy(),
        "head/kernel": state["head.weight"].T.numpy(),
        "head/bias": state["head.bias"].numpy(),
    }
    np.savez(tmp_path / "hybrid.npz", **arrays)
    found = zoo.create_model(name, checkpoint_path=tmp_path / "hybrid.npz", **sizes).state_dict()
    assert all(torch.equal(found[key], value) for key, value in state.items())


def test_mobileclip(tmp_path):
    model = zoo.create_model("vit_base_mci_224", depth=1, seed=0)
    state = model.state_dict()
    theirs = {"text_encoder.embedding_layer.weight": torch.zeros(3), "logit_scale": torch.zeros(())}
    renames = {
        "patch_embed.backbone.": "patch_emb.", "blocks.": "transformer.", ".attn.proj.": ".pre_norm_mha.1.out_proj.",
        ".attn.qkv.": ".pre_norm_mha.1.qkv_proj.", ".norm1.": ".pre_norm_mha.0.", ".norm2.": ".pre_norm_ffn.0.",
        ".mlp.fc1.": ".pre_norm_ffn.1.", ".mlp.fc2.": ".pre_norm_ffn.4.", ".conv.": ".block.conv.",
        ".bn.": ".block.norm.",
    }  # fmt: skip
    for key, value in state.items():
        name = f"post_transformer_{key}" if key.startswith("norm.") else key
        for new, old in renames.items():
            name = name.replace(new, old)
        theirs[f"image_encoder.model.{name}"] = value
    first = "image_encoder.model."
    theirs[f"{first}pos_embed.pos_embed.pos_embed"] = theirs.pop(f"{first}pos_embed").unsqueeze(0)
    theirs[f"{first}classifier.proj"] = theirs.pop(f"{first}head.weight").T
    del theirs[f"{first}head.bias"]
    torch.save(theirs, tmp_path / "mobileclip.pt")
    found = zoo.create_model("vit_base_mci_224", depth=1, checkpoint_path=tmp_path / "mobileclip.pt").state_dict()
    expected = state | {"head.bias": torch.zeros(512)}
    assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_a_map_has_a_cell_for_every_stride_that_begins():
    model = zoo.create_model("vit_small_r26_s32_224", img_size=(72, 40), depth=1, device="meta")
    assert model.patch_embed.grid_size == (3, 2)
    assert model(torch.empty(1, 3, 72, 40, device="meta")).shape == (1, 1000)
    with pytest.raises(UsageError, match="72 x 40"):
        model(torch.empty(1, 3, 64, 40, device="meta"))


@pytest.mark.parametrize("pad", [False, True])
def test_images_of_any_size(pad):
    options = {"dynamic_img_size": True, "dynamic_img_pad": pad, "depth": 1, "device": "meta"}
    model = zoo.create_model("vit_tiny_r_s16_p8_224", **options)
    maps = model.forward_intermediates(torch.empty(1, 3, 80, 96, device="meta"), intermediates_only=True)
    assert maps[0].shape[2:] == ((3, 3) if pad else (2, 3))


def test_initial_values_of_the_backbone():
    state = zoo.create_model("vit_small_r26_s32_224", depth=1, seed=0).state_dict()
    assert not state["patch_embed.backbone.stages.1.blocks.0.norm3.weight"].any()
    kernel = state["patch_embed.backbone.stages.1.blocks.0.conv2.weight"]
    assert kernel.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_a_model_over_a_network_with_a_head_of_its_own_is_pickled():
    model = zoo.create_model("vit_small_resnet50d_s16_224", img_size=32, depth=1, seed=0).eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), model(x))
