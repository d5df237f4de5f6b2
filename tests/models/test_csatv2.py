"""CSATv2: frequencies of an image, its gates, and files of its authors."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.core.errors import InvalidInputError, UsageError
from zoo.models.csatv2 import OneChannelBlock, repair_keys
from zoo.models.csatv2_stem import CosineTransform, FrequencyStem, zigzag


def test_the_zigzag_is_that_of_jpeg():
    assert zigzag(8)[:6] == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2)]
    assert zigzag(8)[-2:] == [(7, 6), (7, 7)]
    assert len(set(zigzag(8))) == 64


def test_the_filters_are_orthonormal():
    filters = CosineTransform(8).weights
    torch.testing.assert_close(filters @ filters.T, torch.eye(8))
    assert torch.allclose(filters[0], torch.tensor(8**-0.5))


def test_patches_are_transformed_down_and_across():
    transform = CosineTransform(8)
    transform.weights.copy_(torch.randn(8, 8))  # unlike cosines they tell the axes apart
    x = torch.randn(2, 3, 8, 4, 8)
    expected = torch.einsum("ur,nprbc,vc->npubv", transform.weights, x, transform.weights)
    torch.testing.assert_close(transform(x), expected, atol=1e-4, rtol=1e-4)


def test_a_grey_image_has_one_frequency_and_no_colour():
    stem = FrequencyStem(32)
    grey = ((torch.tensor(0.5) - stem.image_mean) / stem.image_std)[None, :, None, None].expand(1, 3, 16, 16)
    colours = stem.colours(grey)
    torch.testing.assert_close(colours[0, :, 0, 0], torch.tensor([127.5, 128.0, 128.0]))
    patches = colours.unflatten(3, (-1, 8)).unflatten(2, (-1, 8))
    found = stem.transform(patches)[0, 0, 0, :, 0]
    assert found[0, 0] == pytest.approx(8 * 127.5, rel=1e-5)
    assert found.flatten()[1:].abs().max() < 1e-3


@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 60, 64), (3, 64, 60)])
def test_other_images(shape):
    with pytest.raises(UsageError, match="three colours"):
        FrequencyStem(32)(torch.randn(1, *shape))


def test_the_block_of_one_channel_does_what_attention_among_images_does():
    """As published: scores of each image with each, whose tokens are all alike."""
    block, x = OneChannelBlock().double(), torch.randn(3, 7, 7, 1).double()
    torch.nn.init.normal_(block.norm1.bias)
    q, k, v = block.qkv(block.pos_embed(block.norm1(x))).flatten(1, 2).unbind(2)
    attended = x + ((q @ k.T).softmax(1) @ v).view(3, 7, 7, 1)
    torch.testing.assert_close(block(x), attended + block.mlp(block.norm2(attended)))


def authors_name(name, depths):
    name = re.sub(r"^head\.fc\.", "head.", name)
    name = re.sub(r"^head\.norm\.", "norm.", name)
    name = re.sub(r"^stem_dct\.", "dct.", name)
    name = re.sub(r"\.conv_(y|cb|cr)\.", lambda colour: f".{colour[1].capitalize()}_Conv.", name)
    name = name.replace(".grn.weight", ".grn.gamma").replace(".grn.bias", ".grn.beta")
    name = name.replace(".mlp.fc1.", ".ff.net.0.").replace(".mlp.fc2.", ".ff.net.3.")
    name = name.replace(".norm2.", ".ff_norm.")
    if ".attn.attn." in name:
        name = name.replace(".norm1.", ".attn_norm.").replace(".qkv.", ".attn.to_qkv.")
        name = name.replace(".attn.attn.", ".attention.attention.").replace(".pos_embed.", ".attn.pos_embed.")
    elif ".attn.conv." in name:
        name = name.replace(".attn.conv.", ".attention.conv.")
    else:
        name = (
            name.replace(".norm1.", ".attn_norm.")
            .replace(".qkv.", ".to_qkv.")
            .replace(".attn.proj.", ".attn.to_out.0.")
        )
        name = name.replace(".pos_embed.", ".attn.pos_embed.")

    def place(found):
        stage, position = int(found[1]), int(found[2])
        if stage and not position:
            return f"stages{stage}.{depths[stage - 1] + 1}."
        return f"stages{stage + 1}.{position - (stage > 0)}."

    return re.sub(r"^stages\.(\d)\.(\d+)\.", place, name)


@pytest.mark.parametrize("name", ["csatv2", "csatv2_21m"])
def test_files_of_the_authors(name):
    model = zoo.create_model(name, device="meta")
    own = model.state_dict()
    theirs = {authors_name(key, model.spec.depths): torch.zeros(value.shape) for key, value in own.items()}
    theirs = {key: value.view(1, 1, 1, -1) if ".grn." in key else value for key, value in theirs.items()}
    assert {"stages1.3.weight", "stages4.0.attention.attention.attn.to_qkv.weight"} <= set(theirs) or name != "csatv2"
    repaired = repair_keys(theirs, model)
    assert {key: value.shape for key, value in repaired.items()} == {key: value.shape for key, value in own.items()}
    assert list(repair_keys(own, model)) == list(own)


def test_a_file_gets_another_classifier_but_no_other_channels(tmp_path):
    source, target = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    state = zoo.create_model("csatv2", seed=0).state_dict()
    save_file(state, source)
    output = zoo.OutputRequest(path=target, verify=True, sync=False)
    report = zoo.adapt_weights("csatv2", zoo.AdaptRequest(num_classes=5), output, weights=source)
    assert (report.from_chans, report.in_chans, report.num_classes, report.method) == (3, 3, 5, "none")
    assert report.checks
    assert all(check.ok for check in report.checks)
    written = load_file(target)
    assert written["head.fc.weight"].shape == (5, 386)
    assert all(torch.equal(written[key], state[key]) for key in state if not key.startswith("head.fc."))
    model = zoo.create_model("csatv2", pretrained=True, pretrained_cfg_overlay={"file": str(target)}, num_classes=5)
    assert torch.equal(model.head.fc.weight, written["head.fc.weight"])
    with pytest.raises(InvalidInputError, match="no input layer to adapt"):
        zoo.adapt_weights("csatv2", zoo.AdaptRequest(in_chans=5), output, weights=source)
    drawn = zoo.OutputRequest(path=tmp_path / "drawn.safetensors", plot=tmp_path / "filters.png")
    with pytest.raises(UsageError, match="no input layer"):
        zoo.adapt_weights("csatv2", zoo.AdaptRequest(num_classes=5), drawn, weights=source)
