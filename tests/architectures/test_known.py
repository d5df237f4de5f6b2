"""The facts of architectures that zoo cannot build yet, against what timm says and against published shapes."""

import json
import subprocess
import sys

import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures import registry
from zoo.core.architectures.default_cfgs import UNTRAINED
from zoo.core.architectures.fingerprint import fingerprint
from zoo.core.architectures.known import KNOWN_PATH, find_known, known_names, known_with_fingerprint
from zoo.core.architectures.names import split_model_name_tag
from zoo.core.architectures.published import (
    classifier_inputs,
    classifier_names,
    family_of,
    find_cfg,
    input_layer_names,
    task_layers_of,
)
from zoo.core.architectures.records import IMAGENET_STD, module_paths
from zoo.core.errors import ExitCode, NotFoundError, UnknownModelError

# Patch embedding, convolution, space to depth, linear patches, several branches; one head, two, none.
SAMPLE = (
    "caformer_s18", "coat_tiny", "efficientformerv2_s0", "fastvit_t8", "gemma4_vit_167m",
    "hgnetv2_b0", "naflexvit_base_patch16_gap", "poolformer_s12", "qwen3_vit_88m_enc", "xcit_nano_12_p16_224",
)  # fmt: skip

# timm 1.0.31 names one head of these two; both have a row a class.
TWO_HEADS = {"levit_384_s8", "levit_conv_384_s8"}


def test_every_row_is_complete():
    for name in known_names():
        known = find_known(name)
        assert known is not None
        assert known.name == name
        assert known.family
        assert known.first_conv or known.family == "csatv2"
        assert known.classifier or name.endswith("_enc")
        assert known.num_features > 0
        assert known.input_blocks == 1 or known.family in ("naflexvit", "gemma4_vit")
        assert len(bytes.fromhex(known.fingerprint)) == 8
        assert known.tags
        assert known.default_tag != UNTRAINED or len(known.tags) == 1


def test_the_file_holds_the_names_in_order_and_none_that_zoo_builds():
    listed = list(json.loads(KNOWN_PATH.read_text())["architectures"])
    assert listed == sorted(set(listed))
    assert sorted(known_names()) == listed
    assert not [name for name in listed if registry.is_model(name)]
    names = known_names()
    assert (
        names.index("xcit_large_24_p8_224") < names.index("xcit_medium_24_p8_224") < names.index("xcit_nano_12_p8_224")
    )


def test_a_row_and_what_follows_from_it():
    # Names and sizes of SigLIP 2's release: 16 x 16 patches with three colours each, width 768, no classes.
    known = find_known("naflexvit_base_patch16_siglip")
    assert known is not None
    assert (known.family, known.first_conv, known.classifier) == ("naflexvit", "embeds.proj", "head")
    assert (known.num_features, known.input_blocks, known.default_tag) == (768, 256, "v2_webli")
    cfg = find_cfg("naflexvit_base_patch16_siglip.v2_webli")
    assert (cfg.architecture, cfg.num_classes, cfg.mean) == ("naflexvit_base_patch16_siglip", 0, (0.5, 0.5, 0.5))
    assert cfg.hf_hub_id == "timm/naflexvit_base_patch16_siglip.v2_webli"
    assert find_cfg("naflexvit_base_patch16_gap").num_classes == 1000
    assert find_cfg("caformer_s18").std == IMAGENET_STD
    assert find_cfg("caformer_s18").pool_size == (7, 7)


def test_the_layout_of_input_layers():
    layouts = {
        "naflexvit_base_patch16_gap": (256, False),  # a linear layer of 16 x 16 patches, colour last
        "gemma4_vit_167m": (256, True),  # the same, colour first
        "qwen3_vit_88m_enc": (1, False),
    }
    for name, layout in layouts.items():
        known = find_known(name)
        assert known is not None
        assert (known.input_blocks, known.channels_first) == layout
    several = find_known("fastvit_t8")
    assert several is not None
    assert several.first_conv == ("stem.0.conv_kxk.0.conv", "stem.0.conv_scale.conv")


def test_the_layers_that_depend_on_the_task_of_any_published_architecture():
    for name in (*SAMPLE, "coatnet_0_224", "csatv2", "resnet34", "tresnet_m", "levit_128s"):
        layers, cfg = task_layers_of(name), find_cfg(name)
        assert layers is not None
        assert (layers.architecture, layers.family) == (name, family_of(name))
        assert (layers.first_conv, layers.classifier) == (cfg.first_conv, cfg.classifier)
        assert layers.input_size == cfg.input_size
    layouts = {name: task_layers_of(name).input_layout for name in (*SAMPLE, "tresnet_m", "resnet34")}
    assert {name: layout for name, layout in layouts.items() if layout != "conv"} == {
        "naflexvit_base_patch16_gap": "blocks:256",
        "gemma4_vit_167m": "planes:256",
        "tresnet_m": "blocks:16",
    }
    assert task_layers_of("no_such_net") is None


def test_an_architecture_without_published_weights():
    cfg = find_cfg("coatnet_0_224")
    assert (cfg.tag, cfg.has_weights, cfg.first_conv) == (UNTRAINED, False, "stem.conv1")


@pytest.mark.parametrize("name", ["", "no_such_net", "beit", "schema_version", '"', "a\nb", "beit_base_patch16_224.x"])
def test_no_such_architecture(name):
    assert find_known(name) is None


def test_unknown_names_and_tags_are_told_with_what_there_is():
    with pytest.raises(UnknownModelError, match="beit_base_patch16_224"):
        find_cfg("beit_bas_patch16_224")
    with pytest.raises(NotFoundError, match="no tag 'x'; its tags are: in22k_ft_in22k_in1k, in22k_ft_in22k"):
        find_cfg("beit_base_patch16_224.x")


def test_any_published_architecture_is_found():
    assert find_cfg("resnet34") == registry.get_pretrained_cfg("resnet34")
    assert find_cfg("resnet34.a2_in1k").tag == "a2_in1k"
    assert find_cfg("caformer_s18.sail_in1k") == find_cfg("caformer_s18")
    with pytest.warns(FutureWarning, match=r"nest_base_jx"):
        assert find_cfg("jx_nest_base").architecture == "nest_base_jx"
    with pytest.warns(FutureWarning, match=r"resnet50\.tv_in1k"):
        assert find_cfg("tv_resnet50").name == "resnet50.tv_in1k"
    with pytest.raises(UnknownModelError, match="Did you mean resnet34"):
        find_cfg("resnte34")
    with pytest.raises(NotFoundError, match=r"no tag 'a1_in1'.*Did you mean resnet34\.a1_in1k\?"):
        find_cfg("resnet34.a1_in1")


def test_a_users_model_goes_before_what_is_known(monkeypatch):
    monkeypatch.setattr(registry, "_user_models", {"caformer_s18": lambda pretrained=False: None})
    with pytest.raises(NotFoundError, match="caformer_s18 was registered without a default config"):
        find_cfg("caformer_s18")


def test_old_names_have_a_successor_that_exists():
    from zoo.core.architectures.aliases import ALIASES

    for old, successor in ALIASES.items():
        name, tag = split_model_name_tag(successor)
        tags = find_known(name).tags if find_known(name) else registry.cfgs_by_tag(name)
        assert not tag or tag in tags, old


def test_a_fingerprint_names_its_architectures():
    # With the proportions of images kept or not, the tensors are the same.
    known = find_known("naflexvit_base_patch16_gap")
    assert known is not None
    assert known_with_fingerprint(known.fingerprint) == ["naflexvit_base_patch16_gap", "naflexvit_base_patch16_par_gap"]
    assert known_with_fingerprint("0" * 16) == []


def test_the_names_of_input_layers_and_classifiers_cover_every_architecture():
    layers, heads = input_layer_names(), classifier_names()
    assert layers.most_common(1)[0][0] == "patch_embed.proj"
    assert layers["body.conv1.conv"] >= len(registry.variants("tresnet"))
    resnets = registry.variants("resnet").values()
    assert layers["conv1"] >= sum(spec.first_conv == "conv1" for spec in resnets) > 20
    assert heads["fc"] >= len(resnets)
    for name in SAMPLE:
        known = find_known(name)
        assert known is not None
        assert all(layers[path] for path in module_paths(known.first_conv))
        assert all(heads[path] for path in module_paths(known.classifier))


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (
            ["info", "gemma4_vit_167m"],
            "zoo knows the weights of gemma4_vit_167m but cannot build the model yet.",
            "zoo adapt-weights gemma4_vit_167m --in-chans N",
        ),
        (
            ["create", "caformer_s18.sail_in1k", "--num-classes", "3"],
            "zoo knows the weights of caformer_s18 but cannot build the model yet.",
            "zoo adapt-weights caformer_s18 --in-chans N",
        ),
        (
            ["info", "coatnet_0_224"],
            "zoo knows coatnet_0_224 but cannot build the model yet.",
            "zoo adapt-weights coatnet_0_224 --weights FILE",
        ),
        (["info", "csatv2"], "zoo knows the weights of csatv2 but cannot build the model yet.", "zoo list"),
        (["info", "jx_nest_base"], "zoo knows the weights of nest_base_jx but cannot build the model yet.", "adapt"),
        (["info", "beit_bas_patch16_224"], "No model is called 'beit_bas_patch16_224'.", "Did you mean"),
    ],
)
def test_commands_that_need_the_model_say_why_they_cannot(words, sentence, hint, capsys):
    assert errors.run(app, words) == ExitCode.NOT_FOUND
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert hint in said.err


def test_the_layers_of_all_architectures_are_read_without_parsing_a_row_or_importing_one():
    code = (
        "import sys; from zoo.core.architectures import known, published, registry;"
        "assert published.input_layer_names()['conv1'] > 20 and len(published.task_layers()) > 50;"
        "assert published.task_layers_of('resnet34').first_conv == 'conv1';"
        "assert not ({'_rows'} & {*known._known.__dict__, *registry._index.__dict__});"
        "rows = ('zoo.core.architectures.configs', 'zoo.core.architectures.records');"
        "assert not {name for name in sys.modules if name.startswith(rows)}"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_a_lookup_parses_one_row_and_imports_nothing_heavy():
    code = (
        "import sys; from zoo.core.architectures import known, published;"
        "assert published.find_cfg('gemma4_vit_167m').architecture == 'gemma4_vit_167m';"
        "assert '_rows' not in known._known.__dict__;"
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
    def test_every_name_is_known(self, timm):
        built = {name for family in registry.families() for name in registry.variants(family)}
        assert set(timm.list_models()) - built == set(known_names())

    def test_default_configs(self, timm):
        keys = (
            "hf_hub_id", "url", "input_size", "test_input_size", "min_input_size", "fixed_input_size", "interpolation",
            "crop_pct", "test_crop_pct", "crop_mode", "mean", "std", "num_classes", "pool_size", "first_conv",
            "classifier", "license", "origin_url", "paper_ids", "paper_name", "custom_load", "notes",
        )  # fmt: skip
        for name in set(timm.list_models()) & set(known_names()):
            expected = {c.tag or UNTRAINED: c for c in timm.models.get_arch_pretrained_cfgs(name).values()}
            known = find_known(name)
            assert known is not None
            found = known.cfgs_by_tag()
            assert list(found) == list(expected), name
            for tag, cfg in found.items():
                for key in keys:
                    if key == "classifier" and name in TWO_HEADS:
                        continue
                    theirs, ours = getattr(expected[tag], key), getattr(cfg, key)
                    if key in ("first_conv", "classifier"):
                        theirs, ours = module_paths(theirs), module_paths(ours)
                    theirs = tuple(theirs) if isinstance(theirs, list) else theirs
                    assert (theirs or None) == (ours or None), (name, tag, key)

    @pytest.mark.parametrize("name", SAMPLE)
    def test_tensors(self, timm, name):
        import torch

        with torch.device("meta"):
            three, five = (timm.create_model(name, in_chans=channels).state_dict() for channels in (3, 5))
        known = find_known(name)
        assert known is not None
        layers = module_paths(known.first_conv)
        for model in (three, five):
            shapes = {key: tensor.shape for key, tensor in model.items()}
            assert fingerprint(shapes, layers, module_paths(known.classifier)) == known.fingerprint
        changed = {key for key in three if three[key].shape != five[key].shape}
        assert changed == {f"{layer}.weight" for layer in layers}
        assert {three[key].shape[1] for key in changed} <= {3 * known.input_blocks}
        assert {five[key].shape[1] for key in changed} <= {5 * known.input_blocks}

    @pytest.mark.parametrize("name", [*SAMPLE, "dla34", "efficientvit_b0", "eva02_tiny_patch14_224"])
    def test_classifiers(self, timm, name):
        import torch

        with torch.device("meta"):
            shapes = {
                key: tuple(value.shape) for key, value in timm.create_model(name, num_classes=7).state_dict().items()
            }
        for path, inputs in classifier_inputs(name).items():
            inside = {key: shape for key, shape in shapes.items() if key.startswith(f"{path}.")}
            assert inside == {f"{path}.weight": (7, *inputs), f"{path}.bias": (7,)}

    @pytest.mark.parametrize("name", ["naflexvit_base_patch16_gap", "gemma4_vit_167m"])
    def test_an_entry_of_the_input_axis_belongs_to_the_channel_that_the_layout_says(self, timm, name):
        known = find_known(name)
        assert known is not None
        channels = channels_of_input_entries(timm, name, known.first_conv)
        assert len(channels) == 3 * known.input_blocks
        for entry, channel in enumerate(channels):
            assert channel == (entry // known.input_blocks if known.channels_first else entry % 3)


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
