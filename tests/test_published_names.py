"""The lines that users of the published models API write, with zoo in its place."""

import subprocess
import sys

import pytest
import torch

import zoo
from zoo.published_names import PUBLISHED

LINES = """
from zoo.models import create_model, list_models, is_model, model_entrypoint, list_modules, register_model
from zoo.models.registry import register_model, model_entrypoint
from zoo.models import registry
from zoo.models.helpers import load_pretrained, load_checkpoint, load_state_dict, adapt_input_conv
from zoo.models.features import FeatureInfo
from zoo.models import resnet50
from zoo.models.resnet import ResNet, BasicBlock, Bottleneck, default_cfgs, resnet50
from zoo.models.vision_transformer import VisionTransformer, vit_small_patch16_224
from zoo.data import resolve_data_config, create_transform, IMAGENET_DEFAULT_MEAN
from zoo.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from zoo.data.config import resolve_data_config
from zoo.data.transforms_factory import create_transform
from zoo.layers import resample_abs_pos_embed, resample_patch_embed, DropPath
""".strip().splitlines()


@pytest.mark.parametrize("line", LINES)
def test_lines_that_users_write(line):
    exec(line, {})


@pytest.mark.parametrize("module", PUBLISHED)
def test_every_name_of_the_table_is_there(module):
    imported = __import__(module, fromlist=["_"])
    for name in PUBLISHED[module]:
        assert getattr(imported, name) is not None
        assert name in dir(imported)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = imported.no_such_name


@pytest.mark.parametrize("module", ["zoo", *PUBLISHED])
def test_importing_it_costs_neither_torch_nor_numpy(module):
    program = f"import sys, {module}; print(*{{'torch', 'numpy', 'PIL', 'huggingface_hub'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_modules_are_attributes_of_the_package():
    program = "import zoo; m = zoo.models; print(zoo.data.DEFAULT_CROP_PCT, m.helpers.__name__, m.is_model('vgg11'))"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "0.875 zoo.models.helpers True"


@pytest.mark.parametrize(
    ("name", "family"),
    [("VisionTransformer", "vision_transformer"), ("SwinTransformer", "swin_transformer"), ("ResNet", "resnet"),
     ("CoaT", "coat"), ("VOLO", "volo"), ("MobileNetV3", "mobilenetv3")],
)  # fmt: skip
def test_a_class_of_models_and_its_module_are_attributes(name, family):
    program = f"import zoo; print(zoo.models.{name} is zoo.models.{family}.{name})"
    found = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"


def test_switches_for_exporters_change_nothing():
    plain = zoo.create_model("resnet18", device="meta")
    switched = zoo.create_model("resnet18", device="meta", exportable=True, scriptable=True, no_jit=True)
    assert list(switched.state_dict()) == list(plain.state_dict())


def test_blocks_have_their_class():
    from zoo.models.resnet import BasicBlock, Bottleneck

    assert isinstance(zoo.create_model("resnet18", device="meta").layer1[0], BasicBlock)
    assert isinstance(zoo.create_model("resnet50", device="meta").layer1[0], Bottleneck)
    assert (BasicBlock.expansion, Bottleneck.expansion) == (1, 4)


def test_the_constructor_takes_a_block_and_layers():
    from zoo.models.resnet import BasicBlock, Bottleneck, ResNet

    torch.manual_seed(0)
    shapes = {key: value.shape for key, value in zoo.create_model("resnet34", in_chans=1).state_dict().items()}
    model = ResNet(BasicBlock, layers=[3, 4, 6, 3], in_chans=1)
    assert {key: value.shape for key, value in model.state_dict().items()} == shapes
    assert all(value.isfinite().all() for value in model.state_dict().values())
    wide = ResNet(Bottleneck, [1, 1, 1, 1], 10, base_width=128)
    assert wide(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    with pytest.raises(TypeError, match="no_such_option"):
        ResNet(BasicBlock, [1, 1, 1, 1], no_such_option=3)


@pytest.mark.parametrize("name", ["timm/resnet18", r"C:\models\a", "./a", "ftp:resnet18", "hf-hub:", "local-dir:"])
def test_no_name_of_a_model(name):
    from zoo.models import parse_model_name

    with pytest.raises(ValueError, match="expected"):
        parse_model_name(name)


def test_pooling_compares_as_its_name():
    assert zoo.create_model("vit_tiny_patch16_224", device="meta").global_pool == "token"
    assert zoo.create_model("resnet18", device="meta").global_pool != "max"


def test_names():
    from zoo.models import get_arch_name, parse_model_name, safe_model_name, split_model_name_tag

    assert parse_model_name("hf-hub:timm/resnet18.a1_in1k") == ("hf-hub", "timm/resnet18.a1_in1k")
    assert parse_model_name("local-dir:/data/model") == ("local-dir", "/data/model")
    assert parse_model_name("resnet18.a1_in1k") == (None, "resnet18.a1_in1k")
    assert parse_model_name(r"local-dir:C:\models\a#1") == ("local-dir", r"C:\models\a#1")
    assert parse_model_name("HF_hub:owner/repo@main") == ("hf-hub", "owner/repo@main")
    assert safe_model_name("hf-hub:timm/resnet18.a1_in1k") == "timm_resnet18_a1_in1k"
    assert get_arch_name("resnet18.a1_in1k") == "resnet18"
    assert split_model_name_tag("resnet18", "none") == ("resnet18", "none")


def test_generated_configs_put_the_first_with_weights_first():
    from zoo.models import generate_default_cfgs

    rows = {"mine.a": {}, "mine.b": {"url": "https://example.org/b.pth"}, "mine.c": {"file": "c"}}
    cfgs = generate_default_cfgs(rows)
    assert list(cfgs["mine"].tags) == ["b", "a", "c"]
    assert cfgs["mine"].default.tag == "b"
    assert generate_default_cfgs({"mine.a": {"file": "a"}, "mine.b*": {"file": "b"}})["mine"].default.tag == "b"


class TestAdaptInputConv:
    def test_one_channel_is_the_sum(self):
        from zoo.models import adapt_input_conv

        weight = torch.randn(4, 3, 7, 7)
        assert torch.allclose(adapt_input_conv(1, weight), weight.sum(1, keepdim=True), atol=1e-6)
        assert adapt_input_conv(3, weight) is weight

    def test_more_channels_repeat_and_scale(self):
        from zoo.models import adapt_input_conv

        weight = torch.randn(4, 3, 3, 3)
        assert torch.equal(adapt_input_conv(5, weight), weight[:, [0, 1, 2, 0, 1]] * (3 / 5))
        assert adapt_input_conv(5, weight.half()).dtype == torch.float16

    def test_groups_of_channels_are_summed_each(self):
        from zoo.models import adapt_input_conv

        weight = torch.randn(4, 12, 3, 3)
        expected = weight.unflatten(1, (4, 3)).sum(2)
        assert torch.allclose(adapt_input_conv(1, weight), expected, atol=1e-6)
        with pytest.raises(zoo.ZooError, match="12"):
            adapt_input_conv(5, weight)


def test_position_embeddings_and_patches():
    from zoo.layers import resample_abs_pos_embed, resample_patch_embed

    positions = torch.randn(1, 1 + 14 * 14, 8)
    resized = resample_abs_pos_embed(positions, (7, 10))
    image = positions[:, 1:].unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(image, size=(7, 10), mode="bicubic", antialias=True)
    assert torch.equal(resized[:, :1], positions[:, :1])
    assert torch.allclose(resized[:, 1:], expected.flatten(2).transpose(1, 2))
    kernel = torch.randn(5, 3, 16, 16)
    assert resample_patch_embed(kernel, (16, 16)) is kernel
    assert resample_patch_embed(kernel, (8, 12)).shape == (5, 3, 8, 12)
