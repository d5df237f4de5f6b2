"""What VGG, DenseNet, the Inceptions and Xceptions have of their own: published key names, heads, levels in blocks."""

import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.core.model.match import repair_keys
from zoo.models.inception_v3 import unused_keys as unused_in_inception


def small_vgg(**options):
    return zoo.create_model("vgg11", repeats=(1, 1), channels=(4, 8), mlp_ratio=0.01, seed=0, **options).eval()


def test_torchvisions_linear_classifier_becomes_convolutions():
    """torchvision flattens a 7x7 map and has three linear layers."""
    model = small_vgg(num_classes=5)
    hidden = model.pre_logits.fc1.out_channels
    state = {k: t for k, t in model.state_dict().items() if k.startswith("features.")}
    for number, (outputs, inputs) in {0: (hidden, 8 * 49), 3: (4096, hidden), 6: (5, 4096)}.items():
        state[f"classifier.{number}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        state[f"classifier.{number}.bias"] = torch.randn(outputs)
    model.load_state_dict(repair_keys(model, state)[0])
    image = torch.randn(2, 3, 28, 28)
    with torch.inference_mode():
        x = model.forward_features(image)
        assert x.shape[2:] == (7, 7)
        x = x.flatten(1)
        for number in (0, 3, 6):
            x = F.linear(x, state[f"classifier.{number}.weight"], state[f"classifier.{number}.bias"])
            x = x if number == 6 else x.relu()
        assert torch.allclose(model(image), x, atol=1e-4)


def test_vgg_keeps_its_hidden_layers_where_only_the_trunk_is_cut():
    model = small_vgg(num_classes=5)
    x = torch.randn(1, 3, 32, 32)
    expected = model(x)
    assert model.prune_intermediate_layers([-1], prune_head=False) == [2]
    assert torch.equal(model(x), expected)


def test_dotted_names_of_dense_layers():
    """torchvision's densenet files have norm.1 and conv.2 where modules are called norm1 and conv2."""
    model = zoo.create_model("densenet121", block_config=(2, 2), growth_rate=8, seed=0)
    own = model.state_dict()
    theirs = {}
    for key, value in own.items():
        if "denselayer" in key:
            for part in ("norm1", "conv1", "norm2", "conv2"):
                key = key.replace(f".{part}.", f".{part[:-1]}.{part[-1]}.")
        theirs[key] = value
    assert "features.denseblock1.denselayer2.norm.1.weight" in theirs
    assert repair_keys(model, theirs)[0].keys() == own.keys()


class TestAuxiliaryClassifier:
    def test_is_left_out_of_a_file_only_where_the_model_has_none(self):
        keys = ["fc.bias", "AuxLogits.fc.bias"]
        without = zoo.create_model("inception_v3", device="meta")
        with_aux = zoo.create_model("inception_v3", device="meta", aux_logits=True)
        assert unused_in_inception(keys, without) == {"AuxLogits.fc.bias"}
        assert unused_in_inception(keys, with_aux) == set()

    def test_gives_a_second_output_of_its_own(self):
        model = zoo.create_model("inception_v3", aux_logits=True, num_classes=4, seed=0).eval()
        x = torch.randn(1, 3, 299, 299)
        with torch.inference_mode():
            logits, aux = model(x)
            expected = model.forward_head(model.forward_features(x))
        assert torch.equal(logits, expected)
        assert aux.shape == (1, 4)
        model.reset_classifier(7)
        assert model.AuxLogits.fc.out_features == model.fc.out_features == 7


class TestLevelsInsideBlocks:
    @pytest.mark.parametrize("name", ["legacy_xception", "xception41"])
    def test_a_block_still_answers_to_hooks(self, name):
        model = zoo.create_model(name, seed=0).eval()
        path = "block2" if name == "legacy_xception" else "blocks.1"
        x = torch.randn(1, 3, 64, 64)
        with torch.inference_mode():
            (found,) = zoo.FeatureHookNet(model, modules=[path])(x)
            for name, step in model.steps():
                x = step(x)
                if name == path:
                    break
        assert torch.equal(found, x)

    def test_dilation_keeps_the_shortcuts(self):
        """The last block of xception71's entry flow has as many channels as it reads: only its stride asks for one."""
        shapes = [
            {k: t.shape for k, t in zoo.create_model("xception71", device="meta", **options).state_dict().items()}
            for options in ({}, {"output_stride": 8})
        ]
        assert shapes[0] == shapes[1]
