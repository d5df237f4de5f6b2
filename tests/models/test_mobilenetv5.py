"""MobileNetV5: Gemma 3n's files, the size of the fused map, the network without a head."""

import pytest
import torch

import zoo
from zoo.core.architectures.block_rows import FusedMBConv
from zoo.core.errors import UsageError
from zoo.core.model.match import repair_keys


def tiny(name="mobilenetv5_base", **options):
    stages = tuple((FusedMBConv(channels=8, stride=2, expand=1),) for _ in range(4))
    return zoo.create_model(name, stages=stages, stem_size=8, num_features=16, **options).eval()


def test_gemmas_files_hold_more_than_the_encoder():
    model = zoo.create_model("mobilenetv5_300m_enc", device="meta")
    ours = model.state_dict()
    theirs = {f"model.vision_tower.timm_model.{key}": value for key, value in ours.items()}
    repaired, unused = repair_keys(model, {**theirs, "model.language_model.norm.weight": torch.zeros(1)})
    assert repaired.keys() == ours.keys()
    assert list(unused) == ["model.language_model.norm.weight"]


@pytest.mark.parametrize("side", [64, 96, 512, 1024])
def test_the_fused_map_has_one_size(side):
    with torch.inference_mode():
        assert tiny().forward_features(torch.randn(1, 3, side, side)).shape == (1, 16, 16, 16)


def test_the_encoder_gives_the_fused_map():
    encoder = tiny("mobilenetv5_300m_enc")
    with torch.inference_mode():
        assert encoder(torch.randn(1, 3, 64, 64)).shape == (1, 16, 16, 16)
    with pytest.raises(UsageError):
        encoder.reset_classifier(10)


def test_pruning_to_the_last_level_drops_the_fusion():
    model = tiny()
    model.prune_intermediate_layers([-1])
    with torch.inference_mode():
        assert model.forward_features(torch.randn(1, 3, 64, 64)).shape == (1, 8, 2, 2)
