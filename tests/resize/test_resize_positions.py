"""Resizing single tensors and planning it for a whole file, against torch and by hand. timm: test_resize_timm."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.resize.plan import fits_size, image_size_of, plan_resizes
from zoo.core.resize.positions import (
    resize_bias_table,
    resize_blocks,
    resize_grid,
    resize_offset_biases,
    resize_patch_kernel,
    resize_patch_linear,
    resize_relative_axis,
    resize_tokens,
)

from golden import golden


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("new", [(24, 24), (7, 7), (10, 18)])
def test_tokens_are_a_map_behind_a_kept_prefix(new):
    array = random(1, 2 + 14 * 14, 6)
    ours = resize_tokens(array, (14, 14), new)
    image = torch.from_numpy(array[:, 2:].reshape(1, 14, 14, 6)).permute(0, 3, 1, 2)
    expected = F.interpolate(image, size=new, mode="bicubic", antialias=True).flatten(2).transpose(1, 2).numpy()
    assert np.array_equal(ours[:, :2], array[:, :2])
    np.testing.assert_allclose(ours[:, 2:], expected, atol=1e-5)


def test_maps_in_both_layouts_agree():
    array = random(1, 8, 10, 5)
    last = resize_grid(array, (12, 7), axes=(1, 2))
    first = resize_grid(array.transpose(0, 3, 1, 2), (12, 7), axes=(2, 3))
    assert np.array_equal(last, first.transpose(0, 2, 3, 1))


def test_blocks_are_resized_as_one_map():
    # 2 x 2 blocks of 3 x 3 positions whose value is the place in the whole map of 6 x 6.
    whole = random(6, 6)
    cut = np.stack([whole[i : i + 3, j : j + 3].ravel() for i in (0, 3) for j in (0, 3)])[None, ..., None]
    ours = resize_blocks(cut, new_tokens=25)
    expected = F.interpolate(torch.from_numpy(whole)[None, None], size=(10, 10), mode="bicubic")[0, 0].numpy()
    pieces = np.stack([expected[i : i + 5, j : j + 5].ravel() for i in (0, 5) for j in (0, 5)])
    np.testing.assert_allclose(ours[0, ..., 0], pieces, atol=1e-5)


def test_bias_tables_keep_their_centre_and_the_rows_of_the_class_token():
    table = random(13 * 13 + 3, 4)
    resized = resize_bias_table(table, (7, 7), (12, 9))
    assert resized.shape == (23 * 17 + 3, 4)
    assert np.array_equal(resized[-3:], table[-3:])
    grid, old = resized[:-3].reshape(23, 17, 4), table[:-3].reshape(13, 13, 4)
    np.testing.assert_allclose(grid[10:13, 7:10], old[5:8, 5:8], rtol=1e-6)  # steps of one around the centre
    np.testing.assert_allclose(grid[::22, ::16], old[::12, ::12], atol=1e-4)  # the corners are the corners


def test_both_layouts_of_bias_tables_agree():
    table = random(5 * 5, 3)
    flat = resize_bias_table(table, (3, 3), (5, 4))
    heads_first = resize_bias_table(table.T.reshape(3, 5, 5), (3, 3), (5, 4))
    assert np.array_equal(flat.T.reshape(3, 9, 7), heads_first)


def test_offsets_and_axes():
    biases, axis = random(4, 16), random(13, 6)
    expected = F.interpolate(torch.from_numpy(biases).reshape(1, 4, 4, 4), size=7, mode="bicubic", antialias=True)
    np.testing.assert_allclose(resize_offset_biases(biases, (4, 4), (7, 7)), expected.reshape(4, 49), atol=1e-5)
    expected = F.interpolate(torch.from_numpy(axis.T)[None], size=27, mode="linear")[0].T
    np.testing.assert_allclose(resize_relative_axis(axis, 27), expected, atol=1e-5)


def test_linear_patches_are_the_kernels_with_channels_last():
    kernel = random(5, 3, 16, 16)
    linear = resize_patch_linear(kernel.transpose(0, 2, 3, 1).reshape(5, -1), (16, 16), (8, 12))
    expected = resize_patch_kernel(kernel, (8, 12)).transpose(0, 2, 3, 1).reshape(5, -1)
    np.testing.assert_allclose(linear, expected, rtol=1e-6)


# ---------------------------------------------------------------- plans

VIT = {"cls_token": (1, 1, 8), "pos_embed": (1, 197, 8), "patch_embed.proj.weight": (8, 3, 16, 16), "norm.weight": (8,)}


def plan(family, shapes, **sizes):
    return {name: resize.new_shape for name, resize in plan_resizes(family, shapes, **sizes).items()}


def test_only_what_depends_on_the_size_is_planned():
    assert plan("vision_transformer", VIT, source_size=224, img_size=384) == {"pos_embed": (1, 577, 8)}
    assert plan("vision_transformer", VIT, source_size=224, img_size=224) == {}
    assert plan("vision_transformer", VIT, source_size=224) == {}
    assert plan("vision_transformer", VIT, source_size=224, img_size=(224, 448)) == {"pos_embed": (1, 393, 8)}


def test_a_patch_size_changes_the_kernel_and_the_grid():
    kernel, finer = (8, 3, 8, 8), {"pos_embed": (1, 785, 8)}
    both = plan("vision_transformer", VIT, source_size=224, patch_size=8)
    assert both == {"patch_embed.proj.weight": kernel, **finer}
    same_grid = plan("vision_transformer", VIT, source_size=224, img_size=112, patch_size=8)
    assert same_grid == {"patch_embed.proj.weight": kernel}


def test_as_many_tokens_in_another_grid_are_resized():
    shapes = {**VIT, "pos_embed": (1, 64 + 1, 8)}
    resizes = plan_resizes("vision_transformer", shapes, source_size=128, img_size=(64, 256))
    array = random(1, 65, 8)
    resized = resizes["pos_embed"].apply(array)
    assert resized.shape == array.shape
    assert not np.allclose(resized[:, 1:], array[:, 1:])


def test_an_embedding_without_the_class_token_is_told_from_one_with_it():
    assert plan("vision_transformer", {**VIT, "pos_embed": (1, 196, 8)}, source_size=224, img_size=256) == {
        "pos_embed": (1, 256, 8)
    }


def test_a_square_grid_is_taken_where_the_source_size_is_wrong():
    assert plan("vision_transformer", {**VIT, "pos_embed": (1, 577, 8)}, source_size=224, img_size=512) == {
        "pos_embed": (1, 1025, 8)
    }


def test_convolutional_networks_have_nothing_to_resize():
    assert plan("resnet", {"conv1.weight": (64, 3, 7, 7)}, source_size=224, img_size=512) == {}


@pytest.mark.parametrize(
    ("family", "shapes", "sizes", "named"),
    [
        ("levit", {"stages.0.blocks.0.attn.attention_biases": (4, 196)}, {"img_size": 384}, "attention_biases"),
        ("vision_transformer", {**VIT, "pos_embed": (1, 200, 8)}, {"img_size": 384}, "pos_embed"),
        ("vision_transformer", {**VIT, "pos_embed": (197, 8)}, {"img_size": 384}, "pos_embed"),
        ("vision_transformer", {**VIT, "pos_embed": (1, 197, 0)}, {"img_size": 384}, "pos_embed"),
        ("vision_transformer", VIT, {"img_size": 8}, "pos_embed"),
        ("volo", {"pos_embed": (1, 14, 14, 8)}, {"img_size": 225}, "multiple of 16"),
        ("swin_transformer", {"layers.0.blocks.0.attn.relative_position_bias_table": (170, 3),
                              "patch_embed.proj.weight": (8, 3, 4, 4)}, {"img_size": 384}, "layers.0"),
        ("resnet", {"conv1.weight": (64, 3, 7, 7)}, {"patch_size": 8}, "patch"),
        ("vision_transformer", {**VIT, "patch_embed.proj.weight": (8, 3, 0, 16)}, {"patch_size": 8}, "patch"),
    ],
)  # fmt: skip
def test_what_cannot_be_resized_is_an_input_error_that_names_it(family, shapes, sizes, named):
    with pytest.raises(InvalidInputError, match=named) as caught:
        plan_resizes(family, shapes, source_size=224, **sizes)
    assert caught.value.hint


@pytest.mark.parametrize("size", [0, -224, (224, 0), 1 << 20])
def test_sizes_that_no_image_has_are_usage_errors(size):
    with pytest.raises(UsageError):
        plan_resizes("vision_transformer", VIT, source_size=224, img_size=size)


def test_an_array_of_another_shape_is_refused():
    resize = plan_resizes("vision_transformer", VIT, source_size=224, img_size=384)["pos_embed"]
    with pytest.raises(InvalidInputError, match=r"197"):
        resize.apply(random(1, 196, 8))


# ---------------------------------------------------------------- positions that are not square

KERNEL = {"patch_embed.proj.weight": (8, 3, 16, 16)}
TINY = "vit_tiny_patch16_224"


def oblong(*, prefix=1, grid=(14, 28), **tokens):
    return {"pos_embed": (1, prefix + grid[0] * grid[1], 8), **KERNEL, **tokens}


CLS = {"cls_token": (1, 1, 8)}
CLS_AND_REG = {**CLS, "reg_token": (1, 4, 8)}


@pytest.mark.parametrize(
    "shapes",
    [
        oblong(**CLS),
        oblong(prefix=0, **CLS),
        oblong(prefix=0),
        oblong(prefix=5, **CLS_AND_REG),
        oblong(prefix=0, **CLS_AND_REG),
        oblong(prefix=2, **CLS, dist_token=(1, 1, 8)),
    ],
)
def test_a_stated_size_tells_the_grid_beside_any_prefix(shapes):
    plan = plan_resizes("vision_transformer", shapes, source_size=(224, 448), stated=True, img_size=(128, 512))
    prefix = shapes["pos_embed"][1] - 14 * 28
    array = random(*shapes["pos_embed"])
    resized = plan["pos_embed"].apply(array)
    image = torch.from_numpy(array[:, prefix:].reshape(1, 14, 28, 8)).permute(0, 3, 1, 2)
    expected = F.interpolate(image, size=(8, 32), mode="bicubic", antialias=True).flatten(2).transpose(1, 2).numpy()
    assert np.array_equal(resized[:, :prefix], array[:, :prefix])
    np.testing.assert_allclose(resized[:, prefix:], expected, atol=1e-5)


def test_the_same_tokens_turned_are_another_table():
    shapes = oblong(**CLS)
    array = random(*shapes["pos_embed"])
    wide, high = (
        plan_resizes("vision_transformer", shapes, source_size=size, stated=True, img_size=224)["pos_embed"].apply(
            array
        )
        for size in ((224, 448), (448, 224))
    )
    assert wide.shape == high.shape == (1, 197, 8)
    assert not np.allclose(wide[:, 1:], high[:, 1:])


def test_without_a_statement_the_grids_that_could_be_are_told_with_an_example_that_works():
    with pytest.raises(InvalidInputError) as caught:
        plan_resizes("vision_transformer", oblong(**CLS), source_size=224, img_size=(128, 512))
    assert "393 positions" in str(caught.value)
    assert "14 x 28 + 1, 8 x 49 + 1, 7 x 56 + 1" in str(caught.value)  # 392 = 2 * 2 * 2 * 7 * 7
    assert "--source-size 224,448" in (caught.value.hint or "")
    assert fits_size("vision_transformer", oblong(**CLS), (224, 448))


@pytest.mark.parametrize("size", [(224, 224), (100, 100), (224, 400), (448, 448)])
def test_a_statement_that_contradicts_the_table_is_an_error(size):
    for img_size in (None, 256):
        with pytest.raises(InvalidInputError, match=r"images of .* were stated, but it has 393 positions"):
            plan_resizes("vision_transformer", oblong(**CLS), source_size=size, stated=True, img_size=img_size)
    assert not fits_size("vision_transformer", oblong(**CLS), size)


def test_a_square_is_not_taken_where_another_size_is_stated():
    square = {**VIT, "pos_embed": (1, 577, 8)}
    assert image_size_of("vision_transformer", square, source_size=224) == (384, 384)
    with pytest.raises(InvalidInputError, match="24 x 24"):
        image_size_of("vision_transformer", square, source_size=224, stated=True)


def test_the_size_asked_for_is_that_of_the_table_where_it_has_as_many_positions():
    assert image_size_of("vision_transformer", oblong(**CLS), source_size=224, img_size=(224, 448)) == (224, 448)
    assert plan("vision_transformer", oblong(**CLS), source_size=224, img_size=(224, 448)) == {}


def test_a_class_token_is_not_taken_for_a_cell():
    """13 * 15 + 1 = 14 * 14: an architecture whose class token has a position leaves no square."""
    shapes = oblong(grid=(13, 15), **CLS)
    assert shapes["pos_embed"] == (1, 196, 8)
    for source_size in (224, 384):
        with pytest.raises(InvalidInputError, match=r"13 x 15 \+ 1"):
            image_size_of("vision_transformer", shapes, source_size=source_size, architecture=TINY)
    without = "vit_base_patch14_reg4_dinov2"  # its prefix tokens have none
    assert image_size_of("vision_transformer", shapes, source_size=384, architecture=without) == (224, 224)
    assert image_size_of("vision_transformer", shapes, source_size=384, embeds_prefix=False) == (224, 224)


@pytest.mark.parametrize("family", ["vision_transformer", "deit"])
def test_every_architecture_is_for_its_own_size(family):
    """By the shapes that timm's models have, for the size that timm builds them for."""
    wrong = {}
    for name, facts in golden(family).items():
        shapes = {key: tuple(shape) for key, (shape, _) in facts["keys"].items()}
        sizes = {tuple(cfg["input_size"][1:]) for cfg in facts["cfgs"].values()}
        found = {image_size_of(family, shapes, source_size=size, architecture=name) for size in sizes}
        if not found & sizes:
            wrong[name] = (sizes, found)
    assert not wrong


def test_maps_tell_their_grid_themselves():
    shapes = {"pos_embed": (1, 8, 32, 8), **KERNEL}
    assert plan("vision_transformer_sam", shapes, source_size=224, img_size=(128, 512)) == {}
    assert plan("vision_transformer_sam", shapes, source_size=224, img_size=64)["pos_embed"] == (1, 4, 4, 8)
    assert image_size_of("vision_transformer_sam", shapes, source_size=224) == (128, 512)
    with pytest.raises(InvalidInputError, match="8 x 32"):
        plan("vision_transformer_sam", shapes, source_size=224, stated=True)
    assert plan("volo", {"pos_embed": (1, 8, 32, 8)}, source_size=224, img_size=(64, 64)) == {"pos_embed": (1, 4, 4, 8)}
    stage = {"pos_embed2": (1, 8, 14, 28)}
    assert plan("visformer", stage, source_size=224, img_size=(448, 224)) == {"pos_embed2": (1, 8, 28, 14)}


TABLE = "blocks.0.attn.relative_position_bias_table"


@pytest.mark.parametrize("extra", [0, 3])
def test_tables_of_a_whole_oblong_grid(extra):
    shapes = {TABLE: ((2 * 4 - 1) * (2 * 12 - 1) + extra, 2), **KERNEL}
    found = plan("beit", shapes, source_size=(64, 192), stated=True, img_size=96)
    assert found == {TABLE: (11 * 11 + extra, 2)}
    with pytest.raises(InvalidInputError, match="4 x 12") as caught:
        plan("beit", shapes, source_size=224, img_size=96)
    assert "--source-size" in (caught.value.hint or "")
    with pytest.raises(InvalidInputError, match="stated"):
        plan("beit", shapes, source_size=96, stated=True)


WINDOW = "layers.0.blocks.0.attn.relative_position_bias_table"
SWIN = {"patch_embed.proj.weight": (8, 3, 4, 4)}


def test_swins_window_is_cut_by_an_oblong_map():
    last = WINDOW.replace("layers.0", "layers.3")
    shapes = {WINDOW: (169, 1), last: (7 * 13, 1), **SWIN}  # 4 x 7 on a map of 4 x 16
    assert plan("swin_transformer", shapes, source_size=(128, 512), stated=True, img_size=224) == {last: (169, 1)}
    with pytest.raises(InvalidInputError) as caught:
        plan("swin_transformer", shapes, source_size=224, img_size=256)
    assert "--source-size" in (caught.value.hint or "")


def test_swins_windows_may_be_oblong():
    shapes = {WINDOW: (7 * 15, 1), **SWIN}  # 4 x 8, or another with as many rows
    assert plan("swin_transformer", shapes, source_size=256, stated=True, img_size=(256, 320)) == {}
    with pytest.raises(InvalidInputError, match="4 x 8"):
        plan("swin_transformer", shapes, source_size=256, stated=True, img_size=(16, 256))
    assert plan("swin_transformer", shapes, source_size=256, img_size=512, windows=[(4, 8)]) == {}


@pytest.mark.parametrize(("name", "scale"), [("crossvit_9_240", 224 / 240), ("crossvit_15_dagger_408", 384 / 408)])
def test_both_scales_of_an_oblong_image(name, scale):
    side = 240 if "240" in name else 408

    def tokens(height, width):
        coarse = int(height * scale) // 16 * (int(width * scale) // 16)
        return {"pos_embed_0": (1, 1 + height // 12 * (width // 12), 4), "pos_embed_1": (1, 1 + coarse, 8)}

    source, target = (side, 2 * side), (2 * side, side)
    found = plan("crossvit", tokens(*source), source_size=source, stated=True, img_size=target, architecture=name)
    assert found == tokens(*target)
    with pytest.raises(InvalidInputError, match="--source-size"):
        plan("crossvit", tokens(*source), source_size=side, img_size=2 * side, architecture=name)


@pytest.mark.parametrize(
    ("family", "shapes"),
    [
        ("levit", {"stages.0.blocks.0.attn.attention_biases": (4, 196)}),
        ("mlp_mixer", {"blocks.0.mlp_tokens.fc1.weight": (384, 196)}),
    ],
)
def test_what_cannot_be_resized_is_no_error_where_the_size_stays(family, shapes):
    assert plan(family, shapes, source_size=224, stated=True) == {}


def test_numbers_of_positions_without_bound_take_no_time():
    shapes = {**VIT, "pos_embed": (1, 10**15 + 37, 8)}
    with pytest.raises(InvalidInputError, match="positions"):
        image_size_of("vision_transformer", shapes, source_size=224)
