"""EVA and its kin: checkpoints under the authors' names, and what only rotary positions bring."""

import pytest
import torch

import zoo
from zoo.core.model.match import repair_keys
from zoo.models.eva import Eva


def build(name, **options):
    return zoo.create_model(name, device="meta", depth=2, **options)


def repaired(model, tensors):
    return repair_keys(model, tensors)[0]


def renamed(tensors, rows):
    for ours, theirs in rows:
        tensors = {key.replace(ours, theirs): value for key, value in tensors.items()}
    return tensors


def shapes(tensors):
    return {key: value.shape for key, value in tensors.items()}


def test_eva02_within_clip():
    model = build("eva02_base_patch16_clip_224")
    rows = [("mlp.norm", "mlp.ffn_ln"), ("attn.norm", "attn.inner_attn_ln"), ("fc1_g", "w1"), ("fc1_x", "w2"),
            ("mlp.fc2", "mlp.w3"), ("q_proj.bias", "q_bias"), ("v_proj.bias", "v_bias")]  # fmt: skip
    theirs = {f"visual.{key}": value for key, value in renamed(model.state_dict(), rows).items()}
    theirs |= {"visual.rope.freqs_cos": torch.zeros(1), "visual.blocks.0.attn.rope.freqs_sin": torch.zeros(1)}
    theirs |= {"text.token_embedding.weight": torch.zeros(1), "logit_scale": torch.zeros(())}
    assert shapes(repaired(model, theirs)) == shapes(model.state_dict())


def test_the_norm_of_pretraining_becomes_that_behind_the_pooling():
    model = build("eva02_tiny_patch14_224", num_classes=0)
    theirs = renamed(model.state_dict(), [("fc_norm", "norm"), ("mlp.fc1", "mlp.w12"), ("mlp.fc2", "mlp.w3")])
    theirs |= {"mask_token": torch.zeros(1), "lm_head.weight": torch.zeros(1)}
    assert shapes(repaired(model, theirs)) == shapes(model.state_dict())


@pytest.mark.parametrize("name", ["vit_tiny_patch16_dinov3_qkvb", "vit_small_patch16_dinov3"])
def test_dinov3_has_one_bias(name):
    model = build(name, num_classes=0)
    rows = [("reg_token", "storage_tokens"), ("gamma_1", "ls1.gamma"), ("gamma_2", "ls2.gamma")]
    theirs = renamed(model.state_dict(), rows)
    width = model.num_features
    for layer in ("blocks.0.attn.", "blocks.1.attn."):
        parts = [theirs.pop(f"{layer}{one}_bias", torch.full((width,), value, device="cpu"))
                 for one, value in (("q", 1.0), ("v", 2.0))]  # fmt: skip
        theirs[f"{layer}qkv.bias"] = torch.cat([parts[0].new_ones(width), parts[1].new_zeros(width), parts[1]])
        theirs[f"{layer}qkv.bias_mask"] = torch.zeros(1)
    theirs |= {
        "mask_token": torch.zeros(1),
        "rope_embed.periods": torch.zeros(1),
        "projectors.a.weight": torch.zeros(1),
    }
    assert shapes(repaired(model, theirs)) == shapes(model.state_dict())


def test_perception_encoder():
    model = build("vit_pe_core_tiny_patch16_384", init_values=0.1)
    ours = model.state_dict()
    rows = [("patch_embed.proj", "conv1"), ("blocks.", "transformer.resblocks."), ("norm_pre", "ln_pre"),
            (".norm1", ".ln_1"), (".norm2", ".ln_2"), (".gamma_1", ".ls_1.gamma"), (".gamma_2", ".ls_2.gamma"),
            ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), (".qkv.", ".in_proj_"), ("attn.proj", "attn.out_proj"),
            ("attn_pool.norm", "attn_pool.layernorm"), ("attn_pool.proj", "attn_pool.attn.out_proj"),
            ("attn_pool.latent", "attn_pool.probe")]  # fmt: skip
    theirs = renamed(ours, rows)
    theirs = {f"ln_post.{key[5:]}" if key.startswith("norm.") else key: value for key, value in theirs.items()}
    theirs["positional_embedding"] = theirs.pop("pos_embed")[0]
    theirs["class_embedding"] = theirs.pop("cls_token")[0, 0]
    theirs["proj"] = theirs.pop("head.weight").T
    del theirs["head.bias"]
    for kind in ("weight", "bias"):
        parts = [theirs.pop(f"attn_pool.{part}.{kind}") for part in ("q", "kv")]
        theirs[f"attn_pool.attn.in_proj_{kind}"] = torch.cat(parts)
    theirs = {f"visual.{key}": value for key, value in theirs.items()} | {"logit_scale": torch.zeros(())}
    assert shapes(repaired(model, theirs)) == shapes(ours)


def test_sapiens2():
    model = build("vit_base_patch16_sapiens2")
    rows = [("reg_token", "storage_tokens"), ("patch_embed.proj.", "patch_embed.projection."), ("q_proj", "wq"),
            ("k_proj", "wk"), ("v_proj", "wv"), ("gamma_1", "attn.gamma.weight"), ("mlp.fc1", "ffn.w12"),
            ("mlp.fc2", "ffn.w3"), (".norm1.", ".ln1."), (".norm2.", ".ln2.")]  # fmt: skip
    theirs = renamed(model.state_dict(), rows)
    theirs = {f"ln1.{key[5:]}" if key.startswith("norm.") else key: value for key, value in theirs.items()}
    assert shapes(repaired(model, theirs | {"mask_token": torch.zeros(1)})) == shapes(model.state_dict())


def test_its_own_keys_stay():
    model = build("vit_small_patch16_rope_mixed_ape_224")
    assert shapes(repaired(model, model.state_dict())) == shapes(model.state_dict())


@pytest.mark.parametrize("rope", ["axial", "mixed", "centred"])
def test_patches_that_are_left_out_take_their_positions_along(rope):
    """A sample whose patches are all kept, in another order, gives what it gives in its own order."""
    options = {"embed_dim": 24, "depth": 2, "num_heads": 3, "reg_tokens": 1, "embed_positions": False, "rope": rope}
    model = zoo.create_model("eva02_tiny_patch14_224", img_size=56, patch_drop_rate=0.5, seed=0, **options).train()
    x = torch.randn(2, 3, 56, 56)
    assert model.forward_features(x).shape == (2, 2 + 8, 24)
    model.patch_drop.rate = 1e-20  # none is left out, but their order is random
    kept = model.forward_features(x).sum(1)
    assert torch.allclose(kept, model.eval().forward_features(x).sum(1), atol=1e-5)


def test_heads_share_keys_in_the_middle_alone():
    model = build("vit_large_patch16_sapiens2", num_full_blocks=0)
    assert model.blocks[0].attn.num_kv_heads == 8
    model = zoo.create_model("vit_large_patch16_sapiens2", device="meta")
    assert isinstance(model, Eva)
    assert [block.attn.num_kv_heads for block in model.blocks] == [16] * 8 + [8] * 8 + [16] * 8


def test_pooling_by_attention_reads_the_class_token_and_averages_do_not():
    model = zoo.create_model("vit_pe_core_tiny_patch16_384", img_size=64, depth=1, seed=0).eval()
    tokens = model.forward_features(torch.randn(1, 3, 64, 64))
    other = tokens.clone()
    other[:, 0] += 1
    assert not torch.allclose(model.forward_head(tokens), model.forward_head(other))
    model.reset_classifier(2, "avg")
    assert torch.equal(model.forward_head(tokens), model.forward_head(other))


def test_initial_values_shrink_with_the_depth():
    model = zoo.create_model("eva02_tiny_patch14_224", img_size=56, num_classes=10, seed=0)
    deviations = [block.mlp.fc2.weight.std().item() for block in (model.blocks[0], model.blocks[7])]
    assert deviations[0] == pytest.approx(0.02 / 2**0.5, rel=0.05)
    assert deviations[1] == pytest.approx(0.02 / 4, rel=0.05)
    assert model.head.weight.std().item() == pytest.approx(2e-5, rel=0.05)
    assert model.blocks[0].mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
