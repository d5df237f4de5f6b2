"""Facts of architectures by their names, against what timm says and against published shapes."""

import subprocess
import sys

import pytest

import zoo
from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.names import split_model_name_tag
from zoo.core.architectures.published import (
    classifier_names,
    family_of,
    find_cfg,
    input_layer_names,
    num_features,
    task_layers_of,
)
from zoo.core.architectures.records import IMAGENET_STD, module_paths
from zoo.core.channels.input_layers import InputLayout
from zoo.core.errors import NotFoundError, UnknownModelError

# Patch embedding, convolutions, several branches; one head, two.
SAMPLE = (
    "edgenext_small", "efficientformerv2_s0", "efficientvit_b0", "fastvit_t8", "iformer_t", "nextvit_small",
    "tiny_vit_21m_224",
)  # fmt: skip

PATCHES = ("naflexvit_base_patch16_gap", "gemma4_vit_167m")
"""Linear layers of 16 x 16 patches, colour last and colour first."""


def test_what_follows_from_a_name():
    # Names and sizes of TinyViT's release: widths up to 576, 21,841 classes of ImageNet-22k.
    layers = task_layers_of("tiny_vit_21m_224")
    assert layers is not None
    assert (layers.family, layers.first_conv, layers.classifier) == ("tiny_vit", "patch_embed.conv1.conv", "head.fc")
    assert (num_features("tiny_vit_21m_224"), find_cfg("tiny_vit_21m_224").tag) == (576, "dist_in22k")
    cfg = find_cfg("tiny_vit_21m_224.dist_in22k")
    assert (cfg.architecture, cfg.num_classes, cfg.crop_pct) == ("tiny_vit_21m_224", 21841, 0.95)
    assert cfg.hf_hub_id == "timm/tiny_vit_21m_224.dist_in22k"
    assert find_cfg("tiny_vit_21m_224.in1k").num_classes == 1000
    assert find_cfg("nextvit_small").std == IMAGENET_STD
    assert find_cfg("nextvit_small").pool_size == (7, 7)
    assert find_cfg("fastvit_t8").first_conv == ("stem.0.conv_kxk.0.conv", "stem.0.conv_scale.conv")


def test_the_layers_that_depend_on_the_task_of_any_published_architecture():
    for name in (*SAMPLE, "iformer_l2", "csatv2", "resnet34", "tresnet_m", "levit_128s"):
        layers, cfg = task_layers_of(name), find_cfg(name)
        assert layers is not None
        assert (layers.architecture, layers.family) == (name, family_of(name))
        assert (layers.first_conv or None, layers.classifier) == (cfg.first_conv or None, cfg.classifier)
        assert layers.input_size == cfg.input_size
    layouts = {name: task_layers_of(name).input_layout for name in (*PATCHES, *SAMPLE, "tresnet_m", "resnet34")}
    assert {name: layout for name, layout in layouts.items() if layout != "conv"} == {
        "naflexvit_base_patch16_gap": "blocks:256",
        "gemma4_vit_167m": "planes:256",
        "tresnet_m": "blocks:16",
    }
    assert task_layers_of("no_such_net") is None


def test_an_architecture_without_published_weights():
    cfg = find_cfg("iformer_l2")
    assert (cfg.tag, cfg.has_weights, cfg.first_conv) == (UNTRAINED, False, "stem.conv1.c")


@pytest.mark.parametrize("name", ["", "no_such_net", "tiny_vit", "schema_version", '"', "a\nb"])
def test_no_such_architecture(name):
    assert task_layers_of(name) is None
    assert family_of(name) is None
    assert num_features(name) is None
    with pytest.raises(UnknownModelError):
        find_cfg(name)


def test_unknown_names_and_tags_are_told_with_what_there_is():
    with pytest.raises(UnknownModelError, match="tiny_vit_21m_224"):
        find_cfg("tiny_vit_21_224")
    with pytest.raises(NotFoundError, match="no tag 'x'; its tags are: dist_in22k, dist_in22k_ft_in1k, in1k"):
        find_cfg("tiny_vit_21m_224.x")


def test_any_published_architecture_is_found():
    assert find_cfg("resnet34") == registry.get_pretrained_cfg("resnet34")
    assert find_cfg("resnet34.a2_in1k").tag == "a2_in1k"
    assert find_cfg("nextvit_small.bd_in1k") == find_cfg("nextvit_small")
    with pytest.warns(FutureWarning, match=r"nest_base_jx"):
        assert find_cfg("jx_nest_base").architecture == "nest_base_jx"
    with pytest.warns(FutureWarning, match=r"resnet50\.tv_in1k"):
        assert find_cfg("tv_resnet50").name == "resnet50.tv_in1k"
    with pytest.raises(UnknownModelError, match="Did you mean resnet34"):
        find_cfg("resnte34")
    with pytest.raises(NotFoundError, match=r"no tag 'a1_in1'.*Did you mean resnet34\.a1_in1k\?"):
        find_cfg("resnet34.a1_in1")


def test_a_users_model_goes_before_a_published_one(monkeypatch):
    monkeypatch.setattr(registry, "_user_models", {"nextvit_small": lambda pretrained=False: None})
    with pytest.raises(NotFoundError, match="nextvit_small was registered without a default config"):
        find_cfg("nextvit_small")


def test_old_names_have_a_successor_that_exists():
    from zoo.core.architectures.aliases import ALIASES

    for old, successor in ALIASES.items():
        name, tag = split_model_name_tag(successor)
        assert not tag or tag in registry.cfgs_by_tag(name), old


def test_the_names_of_input_layers_and_classifiers_cover_every_architecture():
    layers, heads = input_layer_names(), classifier_names()
    assert layers.most_common(1)[0][0] == "patch_embed.proj"
    assert layers["body.conv1.conv"] >= len(registry.variants("tresnet"))
    resnets = registry.variants("resnet").values()
    assert layers["conv1"] >= sum(spec.first_conv == "conv1" for spec in resnets) > 20
    assert heads["fc"] >= len(resnets)
    for name in SAMPLE:
        cfg = find_cfg(name)
        assert all(layers[path] for path in module_paths(cfg.first_conv))
        assert all(heads[path] for path in module_paths(cfg.classifier))


COUNTING = (
    "import sys, json; parsed, loads = [], json.loads;"
    "json.loads = lambda text, **options: (parsed.append(len(text)), loads(text, **options))[1]"
)
"""Records how many characters of JSON are parsed at once: a row has a few thousand, a table a hundred thousand."""


def test_the_layers_of_all_architectures_are_read_without_parsing_a_row_or_importing_one():
    code = (
        f"{COUNTING}; from zoo.core.architectures import published;"
        "assert published.input_layer_names()['conv1'] > 20 and len(published.task_layers()) > 50;"
        "assert published.task_layers_of('resnet34').first_conv == 'conv1';"
        "assert max(parsed) < 10_000;"
        "rows = ('zoo.core.architectures.configs', 'zoo.core.architectures.records');"
        "assert not {name for name in sys.modules if name.startswith(rows)}"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_a_lookup_parses_one_row_and_imports_nothing_heavy():
    code = (
        f"{COUNTING}; from zoo.core.architectures import published;"
        "assert published.find_cfg('tiny_vit_21m_224').architecture == 'tiny_vit_21m_224';"
        "assert max(parsed) < 10_000;"
        "assert not {'torch', 'numpy', 'PIL', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@pytest.fixture(scope="module")
def timm():
    try:
        import timm
    except Exception as error:  # its torchvision may be built for another torch, which fails in ways of its own
        pytest.skip(f"timm does not import: {error}")
    return timm


class TestAgainstTimm:
    def test_every_name_is_built(self, timm):
        assert set(timm.list_models()) <= set(zoo.list_models())

    @pytest.mark.parametrize("name", PATCHES)
    def test_an_entry_of_the_input_axis_belongs_to_the_channel_that_the_layout_says(self, timm, name):
        layers = task_layers_of(name)
        assert layers is not None
        layout = InputLayout.parse(layers.input_layout)
        channels = channels_of_input_entries(timm, name, layers.first_conv)
        assert len(channels) == 3 * layout.count
        for entry, channel in enumerate(channels):
            assert channel == (entry // layout.count if layout.kind == "planes" else entry % 3)


class LayerReachedError(Exception):
    """Its input has been recorded; the rest of the network is not needed."""


def channels_of_input_entries(timm, name, first_conv):
    """Which channel of the image each entry on the input axis of a layer reads, by showing it one value a channel."""
    import torch

    with torch.device("meta"):
        model = timm.create_model(name)
    model.to_empty(device="cpu")
    seen = []

    def record(layer, inputs):
        seen.append(inputs[0])
        raise LayerReachedError

    model.get_submodule(first_conv).register_forward_pre_hook(record)
    with pytest.raises(LayerReachedError):
        model(torch.arange(3.0).reshape(1, 3, 1, 1).expand(1, 3, 64, 64))
    entries = seen[0].movedim(1, -1) if seen[0].ndim == 4 else seen[0]
    # A network may scale its input first, so the order of the values counts and not the values.
    return entries.reshape(-1, entries.shape[-1])[0].unique(return_inverse=True)[1].tolist()
