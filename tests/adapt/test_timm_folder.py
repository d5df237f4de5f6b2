"""timm loads the folders that `--format timm` writes, with no flags, for stems of every kind. Needs timm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.core.adapt.job import OutputRequest
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.sources import adapt_weights
from zoo.core.architectures.published import find_cfg
from zoo.core.architectures.records import module_paths
from zoo.core.errors import UsageError

try:
    import timm
except Exception as error:
    pytest.skip(f"timm does not import: {error}", allow_module_level=True)

NAMES = [
    "resnet18",  # one 7x7 convolution
    "resnet10t",  # a deep stem
    "efficientnet_lite0",
    "mobilenetv3_small_050",
    "convnext_atto",  # a patchify stem
    "vit_tiny_patch16_224",  # a patch embedding
    "deit_tiny_distilled_patch16_224",  # two heads
    "tresnet_m",  # space to depth
    "mobileone_s0",  # branches: 3x3 and a 1x1 scale
    "repvgg_a0",  # branches: 3x3 and 1x1
    "fastvit_t8",  # branches, reparametrised
    "crossvit_tiny_240",  # two patch embeddings
    "levit_128s",  # four convolutions before the tokens
    "densenet121",
    "regnetx_002",
    "edgenext_xx_small",
    "xcit_nano_12_p16_224",
    "pit_ti_224",
    "mixer_s32_224",
    "poolformer_s12",
    "mobilevit_xxs",
    "tiny_vit_5m_224",
    "efficientformerv2_s0",
    "repvit_m0_9",
    "hgnetv2_b0",
    "ghostnet_050",
    "inception_v3",
    "test_nfnet",  # weight-standardised convolution
    "coat_tiny",  # four patch embeddings in a row
    "visformer_tiny",
]


def random_checkpoint(name: str, path: Path) -> None:
    torch.manual_seed(0)
    save_file({k: v.clone() for k, v in timm.create_model(name).state_dict().items()}, path)


@pytest.mark.parametrize("name", NAMES)
def test_timm_builds_and_loads_the_folder(name: str, tmp_path: Path):
    source = tmp_path / "source.safetensors"
    random_checkpoint(name, source)
    folder = tmp_path / "adapted"
    report = adapt_weights(
        name, AdaptRequest(in_chans=5), OutputRequest(path=folder, file_format="timm", verify=True), weights=source
    )
    assert all(check.ok for check in report.checks)

    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    written = load_file(folder / "model.safetensors")
    loaded = model.state_dict()
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[key], written[key]) for key in written)

    cfg, expected = model.pretrained_cfg, find_cfg(name)
    assert tuple(cfg["input_size"]) == (5, *expected.input_size[1:])
    assert list(cfg["mean"]) == [expected.mean[i % 3] for i in range(5)]

    # timm's own adaptation of the same file is the same, bit for bit; for space to depth it has none.
    if name == "tresnet_m":
        return
    theirs = timm.create_model(name, pretrained=True, in_chans=5, pretrained_cfg_overlay={"file": str(source)})
    assert all(torch.equal(value, written[key]) for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("headless", [False, True], ids=["head", "trunk"])
@pytest.mark.parametrize("name", NAMES)
def test_a_new_classifier_has_the_classes_asked_for(name: str, headless: bool, tmp_path: Path):
    """From a head of another size and from none; timm takes every tensor as it is in the file, and gives 7 outputs."""
    source = tmp_path / "source.safetensors"
    random_checkpoint(name, source)
    if headless:
        heads = tuple(f"{path}." for path in module_paths(find_cfg(name).classifier))
        save_file({key: value for key, value in load_file(source).items() if not key.startswith(heads)}, source)
    output = OutputRequest(path=tmp_path / "adapted", file_format="timm")
    adapt_weights(name, AdaptRequest(in_chans=5, num_classes=7), output, weights=source)
    model = timm.create_model(f"local-dir:{tmp_path / 'adapted'}", pretrained=True).eval()
    written = load_file(tmp_path / "adapted" / "model.safetensors")
    loaded = model.state_dict()
    assert loaded.keys() == written.keys()
    assert all(torch.equal(loaded[key], value) for key, value in written.items())
    with torch.inference_mode():
        assert model(torch.zeros(1, *model.pretrained_cfg["input_size"])).shape == (1, 7)


def test_a_model_published_without_a_classifier_gets_one(tmp_path: Path):
    name = "vit_small_patch14_dinov2"
    random_checkpoint(name, tmp_path / "source.safetensors")
    output = OutputRequest(path=tmp_path / "adapted", file_format="timm")
    adapt_weights(name, AdaptRequest(num_classes=7), output, weights=tmp_path / "source.safetensors")
    model = timm.create_model(f"local-dir:{tmp_path / 'adapted'}", pretrained=True)
    assert model.head.weight.shape == (7, 384)
    written = load_file(tmp_path / "adapted" / "model.safetensors")
    assert torch.equal(model.head.weight, written["head.weight"])


def test_a_thirteen_channel_source_stays_what_it_is(tmp_path: Path):
    """Where timm would throw the stem away, or crash."""
    torch.manual_seed(0)
    state = timm.create_model("resnet18", in_chans=13).state_dict()
    save_file(state, tmp_path / "source.safetensors")
    output = OutputRequest(path=tmp_path / "adapted", file_format="timm", verify=True)
    adapt_weights("resnet18", AdaptRequest(in_chans=13), output, weights=tmp_path / "source.safetensors")
    model = timm.create_model(f"local-dir:{tmp_path / 'adapted'}", pretrained=True)
    assert torch.equal(model.conv1.weight, state["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "img_size"),
    [
        ("vit_tiny_patch16_224", 160),
        ("deit_tiny_distilled_patch16_224", 256),
        ("swin_tiny_patch4_window7_224", 256),
        ("xcit_nano_12_p16_224", 320),
        ("resnet18", 320),
    ],
)
def test_another_image_size_is_the_one_that_timm_would_make(name: str, img_size: int, tmp_path: Path):
    source = tmp_path / "source.safetensors"
    random_checkpoint(name, source)
    folder = tmp_path / "adapted"
    request = AdaptRequest(in_chans=4, img_size=(img_size, img_size))
    adapt_weights(name, request, OutputRequest(path=folder, file_format="timm", verify=True), weights=source)
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert tuple(model.pretrained_cfg["input_size"]) == (4, img_size, img_size)
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 4, img_size, img_size)).shape == (1, 1000)

    options = {} if name in ("resnet18", "xcit_nano_12_p16_224") else {"img_size": img_size}
    overlay = {"file": str(source)}
    theirs = timm.create_model(name, pretrained=True, in_chans=4, pretrained_cfg_overlay=overlay, **options)
    written = load_file(folder / "model.safetensors")
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(written[key], value, rtol=1e-5, atol=1e-6)


def test_another_patch_size_is_the_one_that_timm_would_make(tmp_path: Path):
    source = tmp_path / "source.safetensors"
    random_checkpoint("vit_tiny_patch16_224", source)
    folder = tmp_path / "adapted"
    request = AdaptRequest(in_chans=3, patch_size=14)
    output = OutputRequest(path=folder, file_format="timm", verify=True)
    adapt_weights("vit_tiny_patch16_224", request, output, weights=source)
    overlay = {"file": str(source)}
    theirs = timm.create_model("vit_tiny_patch16_224", pretrained=True, pretrained_cfg_overlay=overlay, patch_size=14)
    ours = timm.create_model(f"local-dir:{folder}", pretrained=True).state_dict()
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours[key], value, rtol=1e-4, atol=1e-5)


def test_a_linear_patch_embedding_in_two_passes(tmp_path: Path):
    source = tmp_path / "source.safetensors"
    random_checkpoint("naflexvit_base_patch16_gap", source)
    smaller = tmp_path / "smaller.safetensors"
    both = AdaptRequest(in_chans=5, patch_size=8)
    with pytest.raises(UsageError, match="in one step"):
        adapt_weights("naflexvit_base_patch16_gap", both, OutputRequest(path=smaller), weights=source)
    output = OutputRequest(path=smaller, verify=True)
    adapt_weights("naflexvit_base_patch16_gap", AdaptRequest(patch_size=8), output, weights=source)
    five = OutputRequest(path=tmp_path / "five", file_format="timm", verify=True)
    report = adapt_weights(smaller, AdaptRequest(in_chans=5, method="balanced"), five)
    assert any("f_N(tile(x)) = f_C(x)" in check.name for check in report.checks)
    model = timm.create_model(f"local-dir:{tmp_path / 'five'}", pretrained=True)
    assert model.embeds.proj.weight.shape == (768, 8 * 8 * 5)
