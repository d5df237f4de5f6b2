"""Resized checkpoints against timm itself, where it is installed beside zoo."""

import numpy as np
import pytest
import torch

from zoo.core.errors import InvalidInputError
from zoo.core.resize.plan import plan_resizes

try:
    import timm
except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
    pytest.skip(f"timm does not import: {error}", allow_module_level=True)

NARROW = {"depth": 1, "embed_dim": 48, "num_heads": 2}
SWIN = {"embed_dim": 24, "depths": (1, 1, 1, 1)}
RESIZED_BY_TIMM = [
    ("vit_tiny_patch16_224", {"depth": 1}, 384),
    ("vit_tiny_patch16_224", {"depth": 1}, (160, 288)),
    ("vit_base_patch14_reg4_dinov2", NARROW, 224),
    ("flexivit_small", {"depth": 1}, 128),
    ("vit_base_patch16_radio_v3", NARROW, 384),
    ("vit_large_patch16_radio_v3", NARROW, 384),
    ("deit_tiny_patch16_224", {"depth": 1}, 96),
    ("deit_tiny_distilled_patch16_224", {"depth": 1}, 384),
    ("deit3_small_patch16_224", {"depth": 1}, 256),
    ("beit_base_patch16_224", NARROW, 384),
    ("beit_base_patch16_224", NARROW, (96, 160)),
    ("eva02_tiny_patch14_224", {"depth": 1}, 336),
    ("vit_tiny_r_s16_p8_224", {"depth": 1}, 384),
    ("vitamin_small_224", {"depth": 1}, 256),
    ("vit_relpos_small_patch16_224", {"depth": 1, "rel_pos_type": "bias"}, 320),
    ("vit_relpos_small_patch16_224", {"depth": 1, "rel_pos_type": "bias", "class_token": True}, 160),
    ("swin_tiny_patch4_window7_224", SWIN, 384),
    ("swin_tiny_patch4_window7_224", SWIN, 96),
    ("swin_s3_base_224", {"embed_dim": 96, "depths": (1, 1, 1, 1)}, 448),
    ("swin_tiny_patch4_window7_224", SWIN, (192, 96)),
    ("test_maxvit", {}, 224),
    ("maxvit_tiny_tf_224", {"depths": (1, 1, 1, 1), "embed_dim": (32, 32, 64, 64)}, 288),
    ("coatnet_nano_cc_224", {"depths": (1, 1, 1, 1)}, (320, 256)),
    ("efficientvit_m0", {}, 448),
    ("efficientvit_m0", {}, 128),
    ("mvitv2_tiny", {}, 320),
    ("mvitv2_tiny", {}, 160),
    ("tnt_s_patch16_224", {"depth": 1}, 192),
]

# Their embeddings are sized, and timm's own loader fails on them; what matters is that it loads zoo's.
RESIZED_BY_ZOO = [
    ("cait_xxs24_224", {"depth": 1}, 384),
    ("convit_tiny", {"depth": 1}, 256),
    ("crossvit_tiny_240", {}, 480),
    ("crossvit_15_dagger_408", {}, 816),
    ("hiera_tiny_224", {"stages": (1, 1, 1, 1)}, (224, 320)),
    ("nest_tiny", {}, 448),
    ("pit_ti_224", {}, 256),
    ("visformer_tiny", {}, (224, 160)),
    ("volo_d1_224", {}, 384),
]

SIZE_FREE = ["xcit_nano_12_p16_224", "naflexvit_base_patch16_gap", "hiera_small_abswin_256", "swinv2_tiny_window8_256",
             "vit_small_patch16_rope_224", "coat_lite_tiny", "twins_pcpvt_small", "sequencer2d_s"]  # fmt: skip


def build(name, options=(), **sizes):
    torch.manual_seed(0)
    return timm.create_model(name, **dict(options), **sizes).eval()


def resized(name, model, **sizes):
    """The model's state dict with the planned resizes applied, and the plan."""
    state = model.state_dict()
    plan = plan_resizes(
        timm.models._registry._model_to_module[name],
        {key: tuple(value.shape) for key, value in state.items()},
        source_size=model.pretrained_cfg["input_size"][1:],
        architecture=name,
        **sizes,
    )
    arrays = {key: torch.from_numpy(resize.apply(state[key].numpy())) for key, resize in plan.items()}
    for key, resize in plan.items():
        assert arrays[key].shape == resize.new_shape
    return {**state, **arrays}, plan


def loaded_by_timm(name, options, state, **sizes):
    overlay = {"state_dict": state}
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **options, **sizes).state_dict()


def assert_same_weights(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, expected in theirs.items():
        np.testing.assert_allclose(
            ours[key].numpy(), expected.numpy(), rtol=1e-5, atol=1e-5 * float(expected.abs().max()), err_msg=key
        )


@pytest.mark.parametrize(("name", "options", "img_size"), RESIZED_BY_TIMM)
def test_image_sizes_as_timms_loader(name, options, img_size):
    model = build(name, options)
    ours, plan = resized(name, model, img_size=img_size)
    assert_same_weights(ours, loaded_by_timm(name, options, model.state_dict(), img_size=img_size))
    assert all(resize.as_reference for resize in plan.values())


@pytest.mark.parametrize(
    ("name", "options", "patch_size", "img_size"),
    [
        ("vit_tiny_patch16_224", {"depth": 1}, 32, 224),
        ("vit_base_patch16_radio_v3", NARROW, 14, 224),
        ("flexivit_small", {"depth": 1}, 8, 240),
        ("flexivit_small", {"depth": 1}, 30, 240),
        ("vit_tiny_patch16_224", {"depth": 1}, 8, 384),
        ("deit_tiny_distilled_patch16_224", {"depth": 1}, 14, 224),
        ("beit_base_patch16_224", NARROW, 32, 256),
        ("eva02_tiny_patch14_224", {"depth": 1}, 16, 224),
        ("swin_tiny_patch4_window7_224", SWIN, 8, 224),
        ("swinv2_tiny_window8_256", SWIN, 8, 256),
    ],
)
def test_patch_sizes_as_timms_loader(name, options, patch_size, img_size):
    model = build(name, options)
    ours, plan = resized(name, model, img_size=img_size, patch_size=patch_size)
    theirs = loaded_by_timm(name, options, model.state_dict(), img_size=img_size, patch_size=patch_size)
    assert "patch_embed.proj.weight" in plan
    assert_same_weights(ours, theirs)


@pytest.mark.parametrize(("name", "options", "img_size"), RESIZED_BY_ZOO)
def test_timm_loads_what_it_does_not_resize_itself(name, options, img_size):
    model = build(name, options)
    ours, plan = resized(name, model, img_size=img_size)
    with pytest.raises(RuntimeError, match="size mismatch"):
        loaded_by_timm(name, options, model.state_dict(), img_size=img_size)
    build(name, options, img_size=img_size).load_state_dict(ours)
    assert plan
    assert not any(resize.as_reference for resize in plan.values())


@pytest.mark.parametrize(
    ("name", "options", "sizes"),
    [
        ("cait_xxs24_224", {"depth": 1}, {"patch_size": 8}),
        ("convit_tiny", {"depth": 1}, {"patch_size": 32}),
        ("vit_relpos_small_patch16_224", {"depth": 1, "rel_pos_type": "bias"}, {"patch_size": 32}),
        ("samvit_base_patch16_224", {"depth": 4, "global_attn_indexes": (0, 1, 2, 3)}, {"patch_size": 32}),
        ("naflexvit_base_patch16_gap", {"depth": 1}, {"patch_size": 8}),
    ],
)
def test_patch_sizes_that_timms_loader_does_not_resize_have_timms_shapes(name, options, sizes):
    with torch.device("meta"):
        old, new = timm.create_model(name, **options), timm.create_model(name, **options, **sizes)
    shapes = {key: tuple(value.shape) for key, value in old.state_dict().items()}
    family = timm.models._registry._model_to_module[name]
    source = old.pretrained_cfg["input_size"][1:]
    plan = plan_resizes(family, shapes, source_size=source, architecture=name, **sizes)
    planned = {**shapes, **{key: resize.new_shape for key, resize in plan.items()}}
    assert planned == {key: tuple(value.shape) for key, value in new.state_dict().items()}
    assert plan


def test_sam_computes_what_timm_computes_when_it_resizes_in_its_forward_pass():
    options = {"depth": 8, "embed_dim": 48, "num_heads": 2, "global_attn_indexes": (1, 3, 5, 7), "use_abs_pos": True}
    name, size = "samvit_base_patch16_224", (320, 256)
    model = build(name, options)
    torch.nn.init.normal_(model.pos_embed)
    for key, parameter in model.named_parameters():
        if "rel_pos" in key:
            torch.nn.init.normal_(parameter)
    ours, plan = resized(name, model, img_size=size)
    new = build(name, options, img_size=size)
    new.load_state_dict(ours)
    x = torch.randn(1, 3, *size)
    with torch.inference_mode():
        torch.testing.assert_close(new(x), model(x), rtol=1e-4, atol=1e-5)
    assert len(plan) == 1 + 2 * 4


@pytest.mark.parametrize("name", SIZE_FREE)
def test_families_without_sized_tensors_have_nothing_to_resize(name):
    with torch.device("meta"):
        model = timm.create_model(name)
        size = 2 * model.pretrained_cfg["input_size"][1]
        bigger = timm.create_model(name, img_size=size)
    assert resized(name, model, img_size=size)[1] == {}
    assert [v.shape for v in model.state_dict().values()] == [v.shape for v in bigger.state_dict().values()]


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("levit_128s", r"stages\.0\.blocks\.0\.attn\.attention_biases"),
        ("efficientformer_l1", "attention_biases"),
        ("efficientformerv2_s0", "attention_biases"),
        ("gcvit_xxtiny", "relative_position_bias_table"),
        ("gmlp_s16_224", r"gate\.proj\.weight"),
        ("botnet26t_256", "height_rel"),
        ("lambda_resnet26rpt_256", "pos_emb"),
    ],
)
def test_a_sized_tensor_without_a_rule_is_refused_by_name(name, tensor):
    with torch.device("meta"):
        model = timm.create_model(name)
    with pytest.raises(InvalidInputError, match=tensor):
        resized(name, model, img_size=2 * model.pretrained_cfg["input_size"][1])


def test_halonets_blocks_do_not_depend_on_the_image():
    with torch.device("meta"):
        model = timm.create_model("halonet26t")
    assert resized("halonet26t", model, img_size=512)[1] == {}


def test_a_window_cut_to_a_small_map_grows_back():
    options = {**SWIN, "num_heads": (1, 1, 1, 1)}
    name = "swin_base_patch4_window12_384"
    small = build(name, options, img_size=224)
    state = small.state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    plan = plan_resizes("swin_transformer", shapes, source_size=224, img_size=384, architecture=name)
    assert {key: r.new_shape for key, r in plan.items()} == {
        "layers.3.blocks.0.attn.relative_position_bias_table": (23 * 23, 1)
    }
    ours = {**state, **{key: torch.from_numpy(r.apply(state[key].numpy())) for key, r in plan.items()}}
    assert_same_weights(ours, loaded_by_timm(name, options, state, img_size=384))


def test_an_attention_pool_computes_what_timm_computes_when_it_resizes_in_its_forward_pass():
    model = build("resnet50_clip", {"num_classes": 8})
    torch.nn.init.normal_(model.head.pos_embed)
    ours, plan = resized("resnet50_clip", model, img_size=(256, 192))
    new = build("resnet50_clip", {"num_classes": 8}, img_size=(256, 192))
    new.load_state_dict(ours)
    x = torch.randn(1, 3, 256, 192)
    with torch.inference_mode():
        torch.testing.assert_close(new(x), model(x), rtol=1e-4, atol=1e-5)
    assert list(plan) == ["head.pos_embed"]


@pytest.mark.parametrize("new", [(8, 8), (32, 24)])
def test_linear_patches_as_timms_interpolator(new):
    weight = torch.randn(12, 16 * 16 * 3)
    interpolate = timm.layers.PatchEmbedInterpolator(base_patch_size=(16, 16), in_chans=3, embed_dim=12)
    expected = interpolate.resample_linear_weight(weight, new).numpy()
    plan = plan_resizes("naflexvit", {"embeds.proj.weight": weight.shape}, source_size=384, patch_size=new)
    ours = plan["embeds.proj.weight"].apply(weight.numpy())
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
