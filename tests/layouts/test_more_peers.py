"""More packages against zoo: OpenMMLab, segmentation_models_pytorch, newer models of transformers, lightly."""

from __future__ import annotations

import ast
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch
from layouts.test_layout_peers import (
    OUR_SMALL,
    SMALL,
    converted,
    published,
    randomised,
    same_outputs,
)
from layouts.test_layout_peers import transformers as transformers
from mm_backbones import backbones
from torch import nn
from torchvision_models import torchvision_models

import zoo
from zoo.core.errors import InvalidInputError
from zoo.core.layouts.engine import detect_layout, from_timm, match_layout, to_timm
from zoo.core.model.save import stored_tensors, tensors_of


def below(prefix: str, model: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in model.state_dict().items()}


def one_way(layout: str, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Their state dict in timm's layout, of which the way back must be refused."""
    stored = stored_tensors(state)
    assert detect_layout({tensor.name: tensor.shape for tensor in stored}) == layout
    found = to_timm(layout, stored)
    with pytest.raises(InvalidInputError, match="cannot be brought back"):
        from_timm(layout, found)
    return tensors_of(found)


# ---------------------------------------------------------------- OpenMMLab


@pytest.mark.parametrize(("package", "head"), [
    ("mmpretrain", "head.fc."), ("mmseg", "decode_head.conv_seg."), ("mmdet", "bbox_head.fc_cls."),
])  # fmt: skip
@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_of_openmmlab(package, head, depth):
    module = backbones(package)
    theirs = randomised(module.ResNet(depth))
    width = 512 if depth == 18 else 2048
    linear = randomised(nn.Linear(width, 7))
    state = below("backbone.", theirs) | below(head, linear)
    dropped = () if package == "mmpretrain" else {f"{head}weight", f"{head}bias"}
    found = converted(package, state, dropped=dropped)
    ours = zoo.create_model(f"resnet{depth}", num_classes=7 if package == "mmpretrain" else 0).eval()
    ours.load_state_dict(found)
    same_outputs(ours.forward_features, lambda x: theirs(x)[-1], 64)


def test_a_deep_stem_of_openmmlab():
    theirs = randomised(backbones("mmseg").ResNetV1c(depth=18, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1)))
    state = below("backbone.", theirs) | {"decode_head.conv_seg.bias": torch.zeros(3)}
    ours = zoo.create_model("resnet18d", avg_down=False, num_classes=0).eval()
    ours.load_state_dict(converted("mmseg", state, dropped={"decode_head.conv_seg.bias"}))
    same_outputs(ours.forward_features, lambda x: theirs(x)[-1], 64)


@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_vit_of_openmmlab(prefix):
    arch = {"embed_dims": 64, "num_layers": 2, "num_heads": 2, "feedforward_channels": 256}
    theirs = randomised(backbones("mmpretrain").VisionTransformer(arch, img_size=32, patch_size=16))
    ours = zoo.create_model("vit_base_patch16_224", num_classes=0, **OUR_SMALL).eval()
    state = below(prefix, theirs)
    stored = stored_tensors(state)
    assert detect_layout({tensor.name: tensor.shape for tensor in stored}) == "mmpretrain"
    found = to_timm("mmpretrain", stored)
    ours.load_state_dict(tensors_of(found))
    same_outputs(ours, lambda x: theirs(x)[0], 32)
    assert tensors_of(from_timm("mmpretrain", found)).keys() == below("backbone.", theirs).keys()


def test_vit_of_mmseg():
    arguments = {"embed_dims": 64, "num_layers": 2, "num_heads": 2, "mlp_ratio": 4, "final_norm": True}
    sizes = {"img_size": 32, "patch_size": 16, "norm_cfg": {"type": "LN", "eps": 1e-6}, "patch_bias": True}
    theirs = randomised(backbones("mmseg").VisionTransformer(output_cls_token=True, **sizes, **arguments))
    state = below("backbone.", theirs) | {"decode_head.conv_seg.bias": torch.zeros(3)}
    ours = zoo.create_model("vit_base_patch16_224", num_classes=0, **OUR_SMALL).eval()
    ours.load_state_dict(converted("mmseg", state, dropped={"decode_head.conv_seg.bias"}))
    same_outputs(ours, lambda x: theirs(x)[0][1], 32)


@pytest.mark.parametrize("package", ["mmpretrain", "mmseg", "mmdet"])
def test_swin_of_openmmlab(package):
    """A last stage of one block: where one window covers a map, two of the packages shift it nevertheless."""
    sizes = {"embed_dims": 24, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4)}
    arguments = {"arch": sizes} if package == "mmpretrain" else sizes
    theirs = randomised(backbones(package).SwinTransformer(**arguments))
    extra = {"mmpretrain": "neck.fc.bias", "mmseg": "decode_head.conv_seg.bias", "mmdet": "rpn_head.rpn_cls.bias"}
    state = below("backbone.", theirs) | {extra[package]: torch.zeros(3)}
    levels = {key for key in state if key.startswith(("backbone.norm0", "backbone.norm1", "backbone.norm2"))}
    found = converted(package, state, dropped={*levels, extra[package]})
    sizes["embed_dim"] = sizes.pop("embed_dims")
    ours = zoo.create_model("swin_tiny_patch4_window7_224", num_classes=0, **sizes).eval()
    ours.load_state_dict(found)
    same_outputs(ours.forward_features, lambda x: theirs(x)[-1], 224)


def test_swin_v2_of_openmmlab():
    sizes = {"embed_dims": 24, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4), "extra_norm_every_n_blocks": 0}
    theirs = backbones("mmpretrain").SwinTransformerV2(sizes, img_size=256, window_size=[8, 8, 8, 8])
    constants = {key: value.clone() for key, value in theirs.state_dict().items() if "relative_" in key}
    randomised(theirs)
    for key, value in theirs.state_dict().items():  # which shares the memory of the model
        if key in constants:
            value.copy_(constants[key])
    state = below("backbone.", theirs)
    narrow = {"embed_dim": 24, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4)}
    ours = zoo.create_model("swinv2_tiny_window8_256", num_classes=0, **narrow).eval()
    ours.load_state_dict(converted("mmpretrain", state, dropped={f"backbone.{key}" for key in constants}))
    same_outputs(ours.forward_features, lambda x: theirs(x)[-1], 256)


@pytest.mark.parametrize("second", [False, True])
def test_convnext_of_openmmlab(second):
    arch = {"depths": [1, 2, 1, 1], "channels": [8, 16, 24, 32]}
    arguments = {"use_grn": True, "layer_scale_init_value": 0.0} if second else {}
    theirs = randomised(backbones("mmpretrain").ConvNeXt(arch, **arguments))
    name = "convnextv2_tiny" if second else "convnext_tiny"
    ours = zoo.create_model(name, depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=0).eval()
    ours.load_state_dict(converted("mmpretrain", below("backbone.", theirs)))
    same_outputs(ours, lambda x: theirs(x)[-1], 64)


# ---------------------------------------------------------------- segmentation_models_pytorch


@pytest.fixture
def smp():
    torchvision_models()
    pytest.importorskip("timm")
    return pytest.importorskip("segmentation_models_pytorch")


OWN = {
    "resnet18": "resnet18",
    "se_resnet50": "legacy_seresnet50",
    "efficientnet-b0": "tf_efficientnet_b0",
    "vgg11_bn": "vgg11_bn",
    "densenet121": "densenet121",
    "mobilenet_v2": "mobilenetv2_100",
    "mobileone_s0": "mobileone_s0",
    "dpn68": "dpn68",
}
UNIVERSAL = (
    "resnet18", "convnext_atto", "efficientnet_b0", "mobilenetv3_small_050", "vgg11", "densenet121", "regnety_002",
    "swin_tiny_patch4_window7_224", "gernet_s", "hrnet_w18_small",
)  # fmt: skip


def unet_state(smp, name: str) -> tuple[nn.Module, dict[str, torch.Tensor], set[str]]:
    """An encoder, and the state dict of a network around it, of which only the encoder comes back."""
    encoder = randomised(smp.encoders.get_encoder(name, weights=None))
    state = below("encoder.", encoder)
    heads = {"decoder.blocks.0.conv1.0.weight": torch.ones(2, 2, 3, 3), "segmentation_head.0.bias": torch.ones(1)}
    return encoder, state | heads, set(heads)


@pytest.mark.parametrize("name", OWN)
def test_an_encoder_of_its_own(smp, name):
    encoder, state, dropped = unet_state(smp, name)
    found = converted("segmentation_models_pytorch", state, dropped=dropped)
    ours = zoo.create_model(OWN[name], num_classes=0).eval()
    missing = ours.state_dict().keys() - found.keys()
    assert all(key.startswith("pre_logits.") for key in missing)  # VGG's layers behind its last map
    ours.load_state_dict(found | {key: ours.state_dict()[key] for key in missing})
    trunk = ours.features if name.startswith("vgg") else ours.forward_features
    if name.startswith("efficientnet"):  # its encoder leaves the last convolution out
        trunk = lambda x: ours.blocks(ours.bn1(ours.conv_stem(x)))  # noqa: E731
    # Some encoders stop before the last activation.
    same_outputs(lambda x: trunk(x).relu(), lambda x: encoder(x)[-1].relu(), 96)


@pytest.mark.parametrize("name", UNIVERSAL)
def test_a_universal_encoder(smp, name):
    encoder, state, dropped = unet_state(smp, f"tu-{name}")
    found = converted("segmentation_models_pytorch_tu", state, dropped=dropped)
    ours = zoo.create_model(name, features_only=True, out_indices=(-1,)).eval()
    wanted = ours.state_dict().keys()
    assert wanted <= found.keys()
    ours.load_state_dict({key: found[key] for key in wanted})
    same_outputs(lambda x: ours(x)[-1], lambda x: encoder(x)[-1], 224 if "swin" in name else 96)


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize("head", [False, True])
def test_dinov2_with_registers_of_transformers(transformers, tmp_path, head):
    config = transformers.Dinov2WithRegistersConfig(**SMALL, num_register_tokens=4, num_labels=7)
    kind = transformers.Dinov2WithRegistersForImageClassification if head else transformers.Dinov2WithRegistersModel
    theirs = randomised(kind(config))
    trunk = theirs.dinov2_with_registers if head else theirs
    ours = zoo.create_model("vit_small_patch14_reg4_dinov2", **OUR_SMALL).eval()
    ours.load_state_dict(one_way("transformers", published(theirs, tmp_path)))
    same_outputs(ours.forward_features, lambda x: trunk(x).last_hidden_state, 32)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("memory", [False, True])
def test_dinov3_of_transformers(transformers, tmp_path, gated, memory):
    config = transformers.DINOv3ViTConfig(
        **SMALL,
        intermediate_size=256,
        num_register_tokens=4,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
    )
    theirs = randomised(transformers.DINOv3ViTModel(config))
    state = theirs.state_dict() if memory else published(theirs, tmp_path)
    name = "vit_huge_plus_patch16_dinov3_qkvb" if gated else "vit_small_patch16_dinov3_qkvb"
    ours = zoo.create_model(name, **OUR_SMALL, mlp_ratio=4).eval()
    layout = "transformers_5" if memory else "transformers"
    ours.load_state_dict(converted(layout, state, dropped={"embeddings.mask_token"}))
    same_outputs(ours.forward_features, lambda x: theirs(x).last_hidden_state, 32)


def test_dinov3_convnext_of_transformers(transformers, tmp_path):
    config = transformers.DINOv3ConvNextConfig(depths=[1, 2, 1, 1], hidden_sizes=[8, 16, 24, 32])
    theirs = randomised(transformers.DINOv3ConvNextModel(config))
    ours = zoo.create_model("convnext_tiny", depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=0).eval()
    found = tensors_of(to_timm("transformers", stored_tensors(published(theirs, tmp_path))))
    ours.load_state_dict(found)
    same_outputs(ours, lambda x: theirs(x).pooler_output, 64)


def test_swin_v2_of_transformers(transformers, tmp_path):
    narrow = {"embed_dim": 24, "depths": (2, 2, 1, 1), "num_heads": (1, 2, 2, 4)}
    config = transformers.Swinv2Config(image_size=256, window_size=8, num_labels=7, **narrow)
    theirs = randomised(transformers.Swinv2ForImageClassification(config))
    state = published(theirs, tmp_path)
    derived = {key for key in state if key.endswith(("relative_coords_table", "relative_position_index"))}
    ours = zoo.create_model("swinv2_tiny_window8_256", num_classes=7, **narrow).eval()
    ours.load_state_dict(converted("transformers", state, dropped=derived))
    same_outputs(ours, lambda x: theirs(x).logits, 256)


def test_siglip_2_for_any_size_of_transformers(transformers, tmp_path):
    sizes = {key: value for key, value in SMALL.items() if key != "image_size"}
    config = transformers.Siglip2VisionConfig(**sizes, num_patches=16, intermediate_size=256)
    theirs = randomised(transformers.Siglip2VisionModel(config))
    ours = zoo.create_model("naflexvit_base_patch16_siglip", num_classes=0, embed_dim=64, depth=2, num_heads=2).eval()
    found = converted("transformers", published(theirs, tmp_path))
    assert found["embeds.pos_embed"].shape == (1, 4, 4, 64)
    assert {key: value.shape for key, value in found.items() if "pos_embed" not in key} == {
        key: value.shape for key, value in ours.state_dict().items() if "pos_embed" not in key
    }


# ---------------------------------------------------------------- pretraining


@pytest.mark.parametrize("method", ["simclr", "byol"])
def test_a_trunk_of_lightly(method):
    heads = pytest.importorskip("lightly.models.modules.heads", exc_type=ImportError)
    resnet = randomised(torchvision_models().resnet18())
    theirs = nn.Sequential(*list(resnet.children())[:-1]).eval()
    if method == "simclr":
        beside = {"projection_head": heads.SimCLRProjectionHead(512, 64, 16)}
    else:
        beside = {
            "projection_head": heads.BYOLProjectionHead(512, 64, 16),
            "prediction_head": heads.BYOLPredictionHead(16, 64, 16),
            "backbone_momentum": nn.Sequential(*list(resnet.children())[:-1]),
        }
    extra = {key: value for name, module in beside.items() for key, value in below(f"{name}.", module).items()}
    found = converted("lightly", below("backbone.", theirs) | extra, dropped=set(extra))
    ours = zoo.create_model("resnet18", num_classes=0).eval()
    ours.load_state_dict(found)
    same_outputs(ours, lambda x: theirs(x).flatten(1), 64)


PREFIXES = {
    "moco": (
        "encoder_q.",
        ("encoder_k.conv1.weight", "queue", "queue_ptr", "encoder_q.fc.0.weight", "encoder_q.fc.2.bias"),
    ),
    "moco_v3": ("base_encoder.", ("momentum_encoder.conv1.weight", "base_encoder.fc.0.weight", "predictor.3.weight")),
    "simclr": ("encoder.", ("projector.0.weight", "projector.2.weight")),
    "byol": ("online_encoder.net.", ("target_encoder.net.conv1.weight", "online_predictor.0.weight")),
    "swav": ("", ("projection_head.0.weight", "projection_head.3.bias", "prototypes.weight")),
    "vicreg": ("backbone.", ("projector.0.weight", "projector.1.running_mean")),
}


@pytest.mark.parametrize("layout", PREFIXES)
def test_the_trunk_of_a_pretraining_is_what_it_was(layout):
    """The keys of the authors' checkpoints: the trunk alone comes back, and a classifier is not taken for a part."""
    prefix, others = PREFIXES[layout]
    trunk = zoo.create_model("resnet18", num_classes=0, seed=0)
    state = below(prefix, trunk) | {name: torch.ones(3, 4) for name in others}
    found = converted(layout, state, dropped=set(others))
    assert found.keys() == trunk.state_dict().keys()
    classified = stored_tensors(found | {"fc.weight": torch.ones(2, 512), "fc.bias": torch.ones(2)})
    back = tensors_of(from_timm(layout, classified))
    assert back.keys() == {prefix + key for key in found}


# ---------------------------------------------------------------- terratorch


@pytest.fixture(scope="module")
def prithvi():
    """The module of terratorch that has Prithvi's network, without the package around it."""
    package = find_spec("terratorch")
    if package is None or find_spec("timm") is None or find_spec("einops") is None:
        pytest.skip("terratorch, timm or einops is not installed")
    path = Path(package.submodule_search_locations[0]) / "models/backbones/prithvi_mae.py"
    spec = spec_from_file_location("prithvi_mae", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stated_by(prithvi):
    """The constants of the module beside it, which the package around it would import."""
    tree = ast.parse(Path(prithvi.__file__).with_name("prithvi_vit.py").read_text(encoding="utf-8"))
    constants = (node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.List))
    return {node.targets[0].id: ast.literal_eval(node.value) for node in constants if "PRITHVI" in node.targets[0].id}


@pytest.mark.parametrize(("frames", "family"), [(1, "Prithvi 2.0"), (3, "Prithvi 1.0"), (4, "Prithvi 2.0")])
@pytest.mark.parametrize("coordinates", [[], ["time", "location"]])
def test_prithvi_of_terratorch(prithvi, frames, family, coordinates):
    sizes = {"in_chans": 6, "embed_dim": 64, "depth": 2, "num_heads": 2}
    decoder = {"decoder_embed_dim": 32, "decoder_depth": 1, "decoder_num_heads": 2}
    theirs = prithvi.PrithviMAE(num_frames=frames, coords_encoding=coordinates, **sizes, **decoder)
    positions = theirs.encoder.pos_embed.clone()
    randomised(theirs)
    theirs.encoder.pos_embed.copy_(positions)  # sines and cosines, of which the frames have equal ones
    stored = stored_tensors(theirs.state_dict())
    matched = match_layout("prithvi", {tensor.name: tensor.shape for tensor in stored}, "theirs")
    assert matched.table.family == family
    assert [matched.table.mean, matched.table.std] == [
        tuple(stated_by(prithvi)[f"PRITHVI_V{family[-3]}_{what}"]) for what in ("MEAN", "STD")
    ]
    _, arguments = matched.table.twin(["vit_base_patch16_224"])
    arguments |= {key: sizes[key] for key in ("embed_dim", "depth", "num_heads")}
    ours = zoo.create_model("vit_base_patch16_224", num_classes=0, in_chans=6, **arguments).eval()
    ours.load_state_dict(one_way("prithvi", theirs.state_dict()))
    alone = prithvi.PrithviViT(num_frames=1, **sizes).eval()
    state = {key.removeprefix("encoder."): value for key, value in theirs.state_dict().items() if "encoder." in key}
    alone.load_state_dict({key: state[key] for key in alone.state_dict()} | {"pos_embed": alone.pos_embed})
    x = torch.randn(2, 6, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = alone.forward_features(x)[-1], ours.forward_features(x)
    assert torch.allclose(found, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)
