"""Foreign packages against zoo: their random weights give the same outputs here, and come back unchanged."""

from collections.abc import Collection
from contextlib import contextmanager
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torchvision_models import torchvision_models

import zoo
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.layouts.engine import detect_layout, from_timm, match_layout, to_timm
from zoo.core.model.save import DTYPE_NAMES, stored_tensors, tensors_of
from zoo.core.model.state_dict import read_state_dict

OUR_SMALL = {"embed_dim": 64, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 16}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with every parameter and statistic at a random value: no initial zero or one hides a wrong place."""
    generator, stored = torch.Generator().manual_seed(seed), model.state_dict().keys()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or name not in stored:
                continue  # constants are not stored
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith(("running_var",)):
                tensor.copy_(1 + 0.2 * noise.tanh())
            elif tensor.ndim < 2:
                tensor.add_(0.1 * noise)
            else:
                tensor.copy_(noise / max(tensor[0].numel(), 1) ** 0.5)
    model.eval()
    return model


def converted(
    layout: str, state: dict[str, torch.Tensor], *, detected: bool = True, dropped: Collection[str] = ()
) -> dict[str, torch.Tensor]:
    """Their state dict in timm's layout; the way back must give every tensor but the dropped ones bit by bit."""
    stored = stored_tensors(state)
    assert detect_layout({tensor.name: tensor.shape for tensor in stored}) == (layout if detected else None)
    found = to_timm(layout, stored)
    back = tensors_of(from_timm(layout, found))
    dropped = {key for key in state if key in dropped or key.startswith("AuxLogits.")}
    assert back.keys() == state.keys() - dropped
    assert all(torch.equal(value, state[key]) for key, value in back.items())
    return tensors_of(found)


def same_outputs(ours, theirs, size: int) -> None:
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected, found = theirs(x), ours(x)
    scale = expected.abs().max().clamp(min=1.0)
    assert torch.allclose(found / scale, expected / scale, atol=1e-5, rtol=0)
    assert expected.std() > 1e-3  # a constant would agree with anything


# ---------------------------------------------------------------- torchvision

EPSILON = {"bn_eps": 1e-3}
TORCHVISION = {
    "efficientnet_b0": ("efficientnet_b0", 96, {}),
    "efficientnet_v2_s": ("efficientnetv2_s", 96, EPSILON),
    "mobilenet_v2": ("mobilenetv2_100", 96, {}),
    "mobilenet_v3_small": ("mobilenetv3_small_100", 96, EPSILON),
    "mobilenet_v3_large": ("mobilenetv3_large_100", 96, EPSILON),
    "regnet_x_400mf": ("regnetx_004_tv", 96, {}),
    "regnet_y_400mf": ("regnety_004", 96, {}),
    "convnext_tiny": ("convnext_tiny", 64, {}),
    "swin_t": ("swin_tiny_patch4_window7_224", 224, {}),
    "inception_v3": ("inception_v3", 299, {}),
    "resnet18": ("resnet18", 64, {}),
    "densenet121": ("densenet121", 64, {}),
}
SAME_KEYS = ("resnet18", "densenet121")
# Others of each family, by keys and shapes.
ALSO_OF_TORCHVISION = {
    "resnext50_32x4d": "resnext50_32x4d",
    "wide_resnet101_2": "wide_resnet101_2",
    "densenet201": "densenet201",
    "efficientnet_b4": "efficientnet_b4",
    "efficientnet_b5": "efficientnet_b5",
    "efficientnet_b7": "efficientnet_b7",
    "efficientnet_v2_m": "efficientnetv2_m",
    "efficientnet_v2_l": "efficientnetv2_l",
    "regnet_x_32gf": "regnetx_320",
    "regnet_y_800mf": "regnety_008_tv",
    "regnet_y_16gf": "regnety_160",
    "convnext_large": "convnext_large",
    "vit_l_16": "vit_large_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "vgg13": "vgg13",
    "vgg16_bn": "vgg16_bn",
    "vgg19_bn": "vgg19_bn",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_model_of_torchvisions_gives_the_same_here(name):
    arguments = {"init_weights": False} if name == "inception_v3" else {}
    theirs = randomised(getattr(torchvision_models(), name)(**arguments))
    architecture, size, model_args = TORCHVISION[name]
    ours = zoo.create_model(architecture, **model_args).eval()
    ours.load_state_dict(converted("torchvision", theirs.state_dict(), detected=name not in SAME_KEYS))
    same_outputs(ours, theirs, size)


def test_a_small_vision_transformer_of_torchvisions():
    vit = torchvision_models().VisionTransformer
    theirs = randomised(vit(image_size=32, patch_size=16, num_layers=2, num_heads=2, hidden_dim=64, mlp_dim=256))
    ours = zoo.create_model("vit_base_patch16_224", **OUR_SMALL).eval()
    ours.load_state_dict(converted("torchvision", theirs.state_dict()))
    same_outputs(ours, theirs, 32)


@pytest.mark.parametrize("norm", [False, True])
def test_a_narrow_vgg_of_torchvisions(norm):
    vgg = torchvision_models().vgg
    channels = (8, 8, 16, 16, 16)
    features = vgg.make_layers([x for width in channels for x in (width, "M")], batch_norm=norm)
    theirs = vgg.VGG(features, init_weights=False)
    theirs.classifier[0], theirs.classifier[3] = nn.Linear(16 * 7 * 7, 64), nn.Linear(64, 4096)
    name, narrow = f"vgg11{'_bn' if norm else ''}", {"repeats": (1,) * 5, "channels": channels, "mlp_ratio": 64 / 4096}
    ours = zoo.create_model(name, **narrow).eval()
    ours.load_state_dict(converted("torchvision", randomised(theirs).state_dict()))
    same_outputs(ours, theirs, 224)


@contextmanager
def no_initial_values():
    """Random numbers of large layers take longer than everything else."""
    with pytest.MonkeyPatch.context() as patch:
        for function in ("normal_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "uniform_"):
            patch.setattr(torch.nn.init, function, lambda tensor, *args, **options: tensor)
        yield


@pytest.mark.parametrize("name", ALSO_OF_TORCHVISION)
def test_the_keys_and_shapes_of_torchvisions_become_ours(name):
    peer = getattr(torchvision_models(), name)
    # RegNet computes its widths with tensors, which the meta device has no values of.
    with torch.device("cpu" if name.startswith("regnet") else "meta"), no_initial_values():
        theirs = peer()
    stored = [without_values(key, value) for key, value in theirs.state_dict().items()]
    matched = match_layout("torchvision", {tensor.name: tensor.shape for tensor in stored}, "theirs")
    name, model_args = matched.table.twin([ALSO_OF_TORCHVISION[name]])
    found = to_timm("torchvision", [tensor for tensor in stored if "position_index" not in tensor.name])
    ours = zoo.create_model(name, num_classes=1000, device="meta", **model_args)
    assert {tensor.name: tensor.shape for tensor in found} == {k: tuple(v.shape) for k, v in ours.state_dict().items()}
    assert epsilons(ours) == epsilons(theirs)


def epsilons(model: nn.Module) -> set[float]:
    return {module.eps for module in model.modules() if isinstance(module, nn.LayerNorm | nn.BatchNorm2d)}


def without_values(name: str, tensor: torch.Tensor) -> StoredTensor:
    return StoredTensor(name, DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), Computed(tensor.nbytes, lambda: ()))


# ---------------------------------------------------------------- efficientnet_pytorch


@pytest.mark.parametrize(("name", "architecture"), [("b0", "tf_efficientnet_b0"), ("b4", "tf_efficientnet_b4")])
def test_a_model_of_efficientnet_pytorch_gives_the_same_here(name, architecture):
    peer = pytest.importorskip("efficientnet_pytorch")
    theirs = randomised(peer.EfficientNet.from_name(f"efficientnet-{name}", image_size=64))
    ours = zoo.create_model(architecture).eval()
    ours.load_state_dict(converted("efficientnet_pytorch", theirs.state_dict()))
    same_outputs(ours, theirs, 64)


# ---------------------------------------------------------------- transformers

SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}


def published(model, tmp_path) -> dict[str, torch.Tensor]:
    """The state dict as a file of transformers has it."""
    model.save_pretrained(tmp_path)
    return read_state_dict(tmp_path / "model.safetensors")


@pytest.fixture(params=["published", "in memory"])
def named(request, tmp_path):
    """What gives the layout and the state dict of a model whose names in memory are others since version 5."""

    def state_of(model):
        file, memory = published(model, tmp_path), model.state_dict()
        if request.param == "published":
            return "transformers", file
        return "transformers" if memory.keys() == file.keys() else "transformers_5", memory

    return state_of


@pytest.fixture
def transformers(monkeypatch):
    """The package; its image processors import torchvision where that is installed, so its operations come first."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    pytest.importorskip("transformers")
    if find_spec("torchvision"):
        torchvision_models()
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers


def test_vit_of_transformers(transformers, named):
    config = transformers.ViTConfig(**SMALL, intermediate_size=256, num_labels=7)
    theirs = randomised(transformers.ViTForImageClassification(config))
    ours = zoo.create_model("vit_base_patch16_224", num_classes=7, norm_eps=1e-12, **OUR_SMALL).eval()
    ours.load_state_dict(converted(*named(theirs)))
    same_outputs(ours, lambda x: theirs(x).logits, 32)


def test_deit_of_transformers(transformers, named):
    config = transformers.DeiTConfig(**SMALL, intermediate_size=256, num_labels=7)
    theirs = randomised(transformers.DeiTForImageClassificationWithTeacher(config))
    ours = zoo.create_model("deit_tiny_distilled_patch16_224", num_classes=7, norm_eps=1e-12, **OUR_SMALL).eval()
    ours.load_state_dict(converted(*named(theirs)))
    same_outputs(ours, lambda x: theirs(x).logits, 32)


@pytest.mark.parametrize("swiglu", [False, True])
def test_dinov2_of_transformers(transformers, named, swiglu):
    config = transformers.Dinov2Config(**SMALL, use_swiglu_ffn=swiglu)
    theirs = randomised(transformers.Dinov2Model(config))
    mlp = {"mlp_ratio": 352 / 64} if swiglu else {}
    name = "vit_giant_patch14_dinov2" if swiglu else "vit_small_patch14_dinov2"
    ours = zoo.create_model(name, **OUR_SMALL, **mlp).eval()
    ours.load_state_dict(converted(*named(theirs), dropped={"embeddings.mask_token"}))
    same_outputs(ours.forward_features, lambda x: theirs(x).last_hidden_state, 32)


def test_clip_vision_of_transformers(transformers, tmp_path):
    config = transformers.CLIPVisionConfig(**SMALL, intermediate_size=256, projection_dim=24)
    theirs = randomised(transformers.CLIPVisionModelWithProjection(config))
    ours = zoo.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=24, **OUR_SMALL).eval()
    ours.load_state_dict(converted("transformers", published(theirs, tmp_path)))
    same_outputs(ours, lambda x: theirs(x).image_embeds, 32)


def test_a_clip_of_transformers_leaves_its_text_tower_behind(transformers, tmp_path):
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
    vision = {**SMALL, "intermediate_size": 256, "hidden_act": "gelu"}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    theirs = randomised(transformers.CLIPModel(config))
    ours = zoo.create_model("vit_base_patch16_clip_224", num_classes=24, **OUR_SMALL).eval()
    state = published(theirs, tmp_path)
    dropped = {key for key in state if key.startswith(("text_", "logit_scale"))}
    ours.load_state_dict(converted("transformers", state, dropped=dropped))
    same_outputs(ours, lambda x: theirs.visual_projection(theirs.vision_model(x).pooler_output), 32)


def test_siglip_vision_of_transformers(transformers, tmp_path):
    config = transformers.SiglipVisionConfig(**SMALL, intermediate_size=256)
    theirs = randomised(transformers.SiglipVisionModel(config))
    ours = zoo.create_model("vit_so400m_patch16_siglip_256", num_classes=0, **OUR_SMALL, mlp_ratio=4.0).eval()
    ours.load_state_dict(converted("transformers", published(theirs, tmp_path)))
    same_outputs(ours, lambda x: theirs(x).pooler_output, 32)


def test_convnext_of_transformers(transformers, tmp_path):
    config = transformers.ConvNextConfig(depths=[1, 2, 1, 1], hidden_sizes=[8, 16, 24, 32], num_labels=7)
    theirs = randomised(transformers.ConvNextForImageClassification(config))
    ours = zoo.create_model("convnext_tiny", depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=7).eval()
    ours.load_state_dict(converted("transformers", published(theirs, tmp_path)))
    same_outputs(ours, lambda x: theirs(x).logits, 64)


def test_convnext_v2_of_transformers(transformers, tmp_path):
    config = transformers.ConvNextV2Config(depths=[1, 2, 1, 1], hidden_sizes=[8, 16, 24, 32], num_labels=7)
    theirs = randomised(transformers.ConvNextV2ForImageClassification(config))
    ours = zoo.create_model("convnextv2_tiny", depths=(1, 2, 1, 1), dims=(8, 16, 24, 32), num_classes=7).eval()
    ours.load_state_dict(converted("transformers", published(theirs, tmp_path)))
    same_outputs(ours, lambda x: theirs(x).logits, 64)


@pytest.mark.parametrize(("kind", "widths", "name"), [
    ("basic", [64, 128, 256, 512], "resnet18"), ("bottleneck", [256, 512, 1024, 2048], "resnet50"),
])  # fmt: skip
def test_resnet_of_transformers(transformers, tmp_path, kind, widths, name):
    depths = {"basic": [2, 2, 2, 2], "bottleneck": [3, 4, 6, 3]}[kind]
    config = transformers.ResNetConfig(layer_type=kind, depths=depths, hidden_sizes=widths, num_labels=7)
    theirs = randomised(transformers.ResNetForImageClassification(config))
    ours = zoo.create_model(name, num_classes=7).eval()
    ours.load_state_dict(converted("transformers", published(theirs, tmp_path)))
    same_outputs(ours, lambda x: theirs(x).logits, 64)


def test_swin_of_transformers(transformers, named):
    config = transformers.SwinConfig(image_size=224, num_labels=7)
    theirs = randomised(transformers.SwinForImageClassification(config))
    ours = zoo.create_model("swin_tiny_patch4_window7_224", num_classes=7).eval()
    ours.load_state_dict(converted(*named(theirs)))
    same_outputs(ours, lambda x: theirs(x).logits, 224)


# ---------------------------------------------------------------- open_clip

SMALL_TEXT = {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 1, "layers": 1}


@pytest.fixture
def open_clip():
    pytest.importorskip("open_clip")
    torchvision_models()
    import open_clip

    return open_clip


def test_a_vision_transformer_of_open_clip(open_clip):
    vision = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 32}
    theirs = randomised(open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=SMALL_TEXT, quick_gelu=True))
    ours = zoo.create_model("vit_base_patch16_clip_quickgelu_224", num_classes=24, **OUR_SMALL).eval()
    state = theirs.state_dict()
    ours.load_state_dict(converted("open_clip", state, dropped={key for key in state if "visual" not in key}))
    same_outputs(ours, theirs.encode_image, 32)


def test_a_resnet_of_open_clip(open_clip):
    vision = {"layers": [3, 4, 6, 3], "width": 64, "head_width": 64, "image_size": 224}
    theirs = randomised(open_clip.CLIP(embed_dim=1024, vision_cfg=vision, text_cfg=SMALL_TEXT, quick_gelu=True))
    ours = zoo.create_model("resnet50_clip", num_classes=1024).eval()
    state = theirs.state_dict()
    ours.load_state_dict(converted("open_clip", state, dropped={key for key in state if "visual" not in key}))
    same_outputs(ours, theirs.encode_image, 224)


def test_a_convnext_of_open_clip(open_clip):
    pytest.importorskip("timm")
    vision = {"timm_model_name": "convnext_atto", "timm_pool": "", "timm_proj": "linear", "image_size": 64}
    theirs = randomised(open_clip.CLIP(embed_dim=24, vision_cfg=vision, text_cfg=SMALL_TEXT))
    ours = zoo.create_model("convnext_atto", num_classes=24).eval()
    state = theirs.state_dict()
    ours.load_state_dict(converted("open_clip", state, dropped={key for key in state if "visual" not in key}))
    same_outputs(ours, theirs.encode_image, 64)
