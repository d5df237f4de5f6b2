"""Vision transformers for images of any proportions: patches side by side give what each image gives by itself."""

import pytest
import torch

import zoo
from zoo.core.errors import UsageError
from zoo.models.naflexvit import repair_keys
from zoo.models.patch_model import image_patches

SMALL = {"embed_dim": 24, "num_heads": 3, "depth": 2, "num_classes": 5, "seed": 0}
GRIDS = ((3, 4), (5, 2), (4, 4))


def batch_of(images):
    """The images' patches, padded to equally many."""
    grids = [(image.shape[1] // 16, image.shape[2] // 16) for image in images]
    length = max(rows * columns for rows, columns in grids)
    batch = {
        "patches": torch.randn(len(images), length, 768),
        "patch_coord": torch.zeros(len(images), length, 2, dtype=torch.long),
        "patch_valid": torch.zeros(len(images), length, dtype=torch.bool),
    }
    for one, (image, (rows, columns)) in enumerate(zip(images, grids, strict=True)):
        count = rows * columns
        batch["patches"][one, :count] = image_patches(image[None], 16)
        batch["patch_coord"][one, :count] = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        batch["patch_valid"][one, :count] = True
    return batch


@pytest.fixture
def images():
    torch.manual_seed(0)
    return [torch.randn(3, 16 * rows, 16 * columns) for rows, columns in GRIDS]


@pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "token", "map"])
@pytest.mark.parametrize("positions", [{}, {"pos_factorized": True}, {"pos_keep_proportions": True}], ids=str)
def test_each_image_gives_what_it_gives_by_itself(images, pool, positions):
    options = {**SMALL, **positions, "global_pool": pool, "class_token": True}
    model = zoo.create_model("naflexvit_base_patch16_gap", **options).eval()
    with torch.inference_mode():
        found, alone = model(batch_of(images)), torch.cat([model(image[None]) for image in images])
        assert torch.allclose(found, alone, atol=1e-5)
        batch = batch_of(images)
        out = model.forward_features(batch)
    assert out["patches"].shape == (3, 5 + 16, 24)
    assert torch.equal(out["patch_valid"], batch["patch_valid"])


def test_the_parts_of_a_batch_may_be_arguments(images):
    model = zoo.create_model("naflexvit_base_patch16_gap", **SMALL).eval()
    batch = batch_of(images)
    patches, coordinates, valid = batch["patches"], batch["patch_coord"], batch["patch_valid"]
    with torch.inference_mode():
        expected = model(batch)
        assert torch.equal(model(patches, patch_coord=coordinates, patch_valid=valid), expected)
        assert not torch.equal(model(patches, coordinates), expected)  # what is missing counts as a patch then
        assert torch.equal(torch.fx.symbolic_trace(model)(images[0][None]), model(images[0][None]))


def test_patches_may_be_left_out_in_training(images):
    model = zoo.create_model("naflexvit_base_patch16_map", patch_drop_rate=0.5, **SMALL).train()
    out = model.forward_features(batch_of(images))
    assert out["patches"].shape == (3, 1 + 8, 24)
    assert out["patch_valid"].shape == (3, 8)
    model(batch_of(images)).sum().backward()


@pytest.mark.parametrize("name", ["naflexvit_base_patch16_gap", "gemma4_vit_167m_enc"])
def test_intermediate_tokens_of_patches_are_those_of_each_image(images, name):
    options = {key: value for key, value in SMALL.items() if key != "num_classes"}
    model, batch = zoo.create_model(name, **options | {"embed_dim": 48}).eval(), batch_of(images)
    features = model.forward_features(batch["patches"], batch["patch_coord"], batch["patch_valid"])
    features = features["patches"] if isinstance(features, dict) else features  # one gives tokens for a language model
    out = model.forward_intermediates(batch, output_fmt="NLC", return_prefix_tokens=True, output_dict=True)
    assert torch.equal(out["image_features"], features)
    assert torch.equal(out["patch_valid"], batch["patch_valid"])
    final, levels = model.forward_intermediates(batch, output_fmt="NLC", return_prefix_tokens=True)
    assert torch.equal(final, features)
    for number, image in enumerate(images):
        alone = model.forward_intermediates(image[None], output_fmt="NLC", intermediates_only=True)
        for level, expected in enumerate(alone):
            found = out["image_intermediates"][level][number, : expected.shape[1]]
            assert torch.allclose(found, expected[0], atol=1e-5)
    if model.num_prefix_tokens:
        pairs = zip(out["image_intermediates"], out["image_intermediates_prefix"], strict=True)
        assert all(
            torch.equal(a, b) for one, other in zip(levels, pairs, strict=True) for a, b in zip(one, other, strict=True)
        )


def test_patches_that_are_left_out_must_be_told(images):
    model = zoo.create_model("naflexvit_base_patch16_gap", patch_drop_rate=0.5, **SMALL).train()
    with pytest.raises(UsageError, match="patch dropout"):
        model.forward_intermediates(batch_of(images), output_fmt="NLC")
    out = model.forward_intermediates(batch_of(images), output_fmt="NLC", output_dict=True)
    assert out["patch_valid"].shape == out["image_intermediates"][-1].shape[:2] == (3, 8)


def test_all_patches_are_valid_where_nothing_says_so():
    model = zoo.create_model("naflexvit_base_patch16_gap", **SMALL).eval()
    batch = batch_of([torch.randn(3, 32, 32)] * 2)
    valid = batch.pop("patch_valid")
    assert torch.equal(model(batch), model(batch | {"patch_valid": valid}))


def test_what_is_no_batch_is_refused(images):
    model = zoo.create_model("naflexvit_base_patch16_gap", **SMALL).eval()
    with pytest.raises(UsageError, match="'patch_coord'"):
        model({"patches": torch.zeros(1, 4, 768)})
    with pytest.raises(UsageError, match="must be NLC, found NCHW"):
        model.forward_intermediates(batch_of(images))
    with pytest.raises(UsageError, match="multiples of 16"):
        model(torch.zeros(1, 3, 40, 32))


@pytest.mark.parametrize("embedded", [False, True], ids=["patches alone", "prefix too"])
def test_a_vision_transformer_of_square_images_loads(embedded):
    model = zoo.create_model("naflexvit_base_patch16_radio_v3", pos_grid=(4, 4), **SMALL)
    ours = model.state_dict()
    theirs = {key.removeprefix("embeds."): value for key, value in ours.items()}
    theirs["patch_embed.proj.weight"] = theirs.pop("proj.weight").unflatten(1, (16, 16, 3)).permute(0, 3, 1, 2)
    theirs["patch_embed.proj.bias"] = theirs.pop("proj.bias")
    theirs["pos_embed"] = theirs["pos_embed"].flatten(1, 2)
    if embedded:
        theirs["pos_embed"] = torch.cat([torch.ones(1, 8, 24), theirs["pos_embed"]], 1)
    found = repair_keys(theirs, model)
    assert found.keys() == ours.keys()
    moved = float(embedded)
    assert all(torch.equal(found[key], ours[key] + moved * key.endswith("_token")) for key in ours)
