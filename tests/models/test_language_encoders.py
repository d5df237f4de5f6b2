"""Image encoders of language models: by themselves, inside a classifier, and their own files."""

import pytest
import torch
from test_naflexvit import batch_of

import zoo
from zoo.core.errors import UsageError
from zoo.core.model.match import repair_keys

GEMMA = {"embed_dim": 24, "depth": 2, "num_heads": 3, "intermediate_size": 32, "position_embedding_size": 16}
GEMMA_NAMES = {
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "norm3": "pre_feedforward_layernorm",
    "norm4": "post_feedforward_layernorm",
}


def gemma(name="gemma4_vit_167m", **options):
    return zoo.create_model(name, seed=0, **GEMMA, **options).eval()


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_patches_side_by_side_give_what_each_image_gives(pool):
    images = [torch.rand(3, 48, 96), torch.rand(3, 48, 48)]
    model = gemma(num_classes=5, global_pool=pool)
    with torch.inference_mode():
        found, alone = model(batch_of(images)), torch.cat([model(image[None]) for image in images])
    assert torch.allclose(found, alone, atol=1e-5)


@pytest.mark.parametrize("size", ["167m", "570m"])
def test_the_encoder_ends_with_averages_of_squares(size):
    model = gemma(f"gemma4_vit_{size}_enc")
    image = torch.rand(2, 3, 96, 144)
    with torch.inference_mode():
        tokens = model.forward_features(image)
        expected = torch.nn.functional.avg_pool2d(tokens.mT.unflatten(2, (6, 9)), 3).flatten(2).mT * 24**0.5
        assert torch.allclose(model(image), expected, atol=1e-5)
        assert torch.allclose(model(batch_of(list(image))), expected, atol=1e-5)
        inside = gemma(f"gemma4_vit_{size}", encoder_pool="soft", num_classes=3)
        assert inside.forward_features(image).shape == expected.shape
        assert inside(image).shape == (2, 3)
    with pytest.raises(UsageError, match="squares of 3"):
        model(torch.rand(1, 3, 96, 112))
    with pytest.raises(UsageError, match="without a classifier"):
        model.reset_classifier(10)


@pytest.mark.parametrize("form", ["", "_enc"])
def test_gemmas_files_hold_more_than_the_encoder(form):
    model = gemma(f"gemma4_vit_167m{form}")
    ours = model.state_dict()
    theirs = {"model.language_model.norm.weight": torch.zeros(1), "model.vision_tower.rotary_emb.f": torch.zeros(1)}
    for key, value in ours.items():
        name = key.removeprefix("encoder.").replace("patch_embed.", "patch_embedder.").replace(".attn.", ".self_attn.")
        name = name.replace("blocks.", "encoder.layers.")
        for new, old in GEMMA_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
        theirs[f"model.vision_tower.{name}"] = value
    repaired, unused = repair_keys(model, theirs)
    assert {key: id(value) for key, value in repaired.items()} == {key: id(value) for key, value in ours.items()}
    assert len(unused) == 2


def test_an_encoder_goes_into_a_classifier_and_out_of_it():
    classifier, encoder = gemma(num_classes=3), gemma("gemma4_vit_167m_enc")
    inside, _ = repair_keys(classifier, encoder.state_dict())
    assert set(classifier.state_dict()) - set(inside) == {"head.weight", "head.bias"}
    outside, unused = repair_keys(encoder, classifier.state_dict())
    assert set(outside) == set(encoder.state_dict())
    assert set(unused) == {"head.weight", "head.bias"}


QWEN = {"embed_dim": 24, "depth": 2, "num_heads": 3, "out_features": 10, "pos_embed_grid_size": 4}
DEEPSEEK = {"embed_dim": 24, "depth": 2, "num_heads": 3, "out_features": 10}


def old_name(key, tower, renamed):
    for new, old in renamed.items():
        key = key.replace(new, old)
    return key if key.startswith("aligner.") else tower + key


@pytest.mark.parametrize("name", ["qwen3_vit_88m", "qwen3_vit_88m_merge", "qwen3_vit_88m_enc"])
@pytest.mark.parametrize("tower", ["model.visual.", "vlm.model.visual."])
def test_qwens_files_have_patches_of_two_frames(name, tower):
    model, source = (zoo.create_model(n, seed=0, **QWEN) for n in (name, "qwen3_vit_88m_enc"))
    state = source.state_dict()
    names = {key: old_name(key, tower, {".fc": ".linear_fc", "pos_embed": "pos_embed.weight"}) for key in state}
    theirs = {names[key]: value for key, value in state.items()}
    kernel = state["patch_embed.proj.weight"]
    theirs[f"{tower}patch_embed.proj.weight"] = torch.stack([0.25 * kernel, 0.75 * kernel], 2)
    theirs[f"{tower}pos_embed.weight"] = state["pos_embed"][0]
    beside = {f"{tower}deepstack_merger_list.0.norm.weight", "lm_head.weight"}
    repaired, unused = repair_keys(model, theirs | {key: torch.zeros(1) for key in beside})
    model.load_state_dict(repaired)
    inside = model.state_dict()
    for key, value in state.items():
        if model.spec.has_projector or "merger" not in key:
            torch.testing.assert_close(inside[f"{model.inside}{key}"], value)
    assert beside <= set(unused)


@pytest.mark.parametrize("name", ["deepseek_vit_412m", "deepseek_vit_412m_align", "deepseek_vit_412m_enc"])
def test_deepseeks_files_have_linear_patches(name):
    model, source = (zoo.create_model(n, seed=0, **DEEPSEEK) for n in (name, "deepseek_vit_412m_enc"))
    state = source.state_dict()
    renamed = {".qkv.": ".wqkv.", ".attn.proj.": ".attn.wo.", "mlp.fc": "mlp.w", "aligner.fc": "aligner.w"}
    theirs = {old_name(key, "vision.", renamed): value for key, value in state.items()}
    theirs["vision.patch_embed.proj.weight"] = state["patch_embed.proj.weight"].flatten(1)
    beside = {"norm.weight", "head.weight", "layers.0.attn.wo.weight"}
    repaired, unused = repair_keys(model, theirs | {key: torch.zeros(1) for key in beside})
    model.load_state_dict(repaired)
    inside = model.state_dict()
    for key, value in state.items():
        if model.spec.has_projector or "aligner" not in key:
            assert torch.equal(inside[f"{model.inside}{key}"], value)
    assert beside <= set(unused)


@pytest.mark.parametrize(
    ("name", "options", "size", "tokens"),
    [("qwen3_vit_88m", QWEN, (64, 96), 6), ("deepseek_vit_412m", DEEPSEEK, (70, 98), 6)],
)
def test_the_projector_puts_squares_of_patches_together(name, options, size, tokens):
    image = torch.randn(2, 3, *size)
    encoder = zoo.create_model(f"{name}_enc", seed=0, **options).eval()
    projected = "merge" if "qwen" in name else "align"
    inside = zoo.create_model(name, encoder_pool=projected, num_classes=4, **options).eval()
    inside.load_state_dict({f"encoder.{k}": v for k, v in encoder.state_dict().items()}, strict=False)
    with torch.inference_mode():
        assert encoder(image).shape == (2, tokens, 10)
        assert encoder(image).shape[-1] == encoder.head_hidden_size
        assert torch.equal(inside.forward_features(image), encoder(image))
        assert inside(image).shape == (2, 4)
        assert encoder.forward_features(image).shape[1] == 24


def test_a_grid_that_the_projector_does_not_fill():
    with pytest.raises(UsageError, match="reads 2 x 2 patches"):
        zoo.create_model("qwen3_vit_88m_enc", **QWEN).eval()(torch.randn(1, 3, 48, 64))
    padded = zoo.create_model("deepseek_vit_412m", dynamic_img_pad=True, **DEEPSEEK).eval()
    assert padded.forward_features(torch.randn(1, 3, 50, 71)).shape[2:] == (4, 6)
