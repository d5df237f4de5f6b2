"""Detectron2's files: the arrays that it pickles, by its own names, against the equations of its bottleneck."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import zoo
from zoo.core.convert.job import ConvertRequest, convert

BLOCKS = {2: 3, 3: 4, 4: 6, 5: 3}
EPSILON = 1e-5


def trunk_of(random: np.random.Generator) -> dict[str, np.ndarray]:
    """A ResNet-50 by Detectron2's names: every value random."""
    arrays: dict[str, np.ndarray] = {}

    def convolution(name: str, outputs: int, inputs: int, side: int) -> None:
        shape = (outputs, inputs, side, side)
        arrays[f"{name}.weight"] = (random.standard_normal(shape) * (inputs * side * side) ** -0.5).astype("f4")
        for statistic, base in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            arrays[f"{name}.norm.{statistic}"] = (base + 0.1 * random.random(outputs)).astype("f4")

    convolution("stem.conv1", 64, 3, 7)
    inputs = 64
    for stage, count in BLOCKS.items():
        width = 64 * 2 ** (stage - 2)
        for block in range(count):
            at = f"res{stage}.{block}."
            if block == 0:
                convolution(f"{at}shortcut", 4 * width, inputs, 1)
            for number, (side, outputs) in enumerate(((1, width), (3, width), (1, 4 * width)), 1):
                convolution(f"{at}conv{number}", outputs, (inputs, width, width)[number - 1], side)
            inputs = 4 * width
    return arrays


def maps_of(arrays: dict[str, np.ndarray], x: torch.Tensor, *, stride_in_1x1: bool) -> torch.Tensor:
    """The map behind res5 (He et al., arXiv:1512.03385), with the stride in either convolution."""
    values = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def layer(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = values[f"{name}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        mean, variance, scale, shift = (
            values[f"{name}.norm.{statistic}"] for statistic in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=EPSILON)

    x = F.max_pool2d(layer("stem.conv1", x, 2).relu(), 3, 2, 1)
    for stage, count in BLOCKS.items():
        for block in range(count):
            at, stride = f"res{stage}.{block}.", 2 if stage > 2 and block == 0 else 1
            first, second = (stride, 1) if stride_in_1x1 else (1, stride)
            out = layer(f"{at}conv1", x, first).relu()
            out = layer(f"{at}conv3", layer(f"{at}conv2", out, second).relu())
            x = (out + (layer(f"{at}shortcut", x, stride) if block == 0 else x)).relu()
    return x


def loaded(path, tmp_path, **model):
    report = convert(path, ConvertRequest(output=tmp_path / "timm.safetensors", architecture="resnet50"))
    created = zoo.create_model(
        "resnet50", pretrained=True, pretrained_cfg_overlay={"file": str(tmp_path / "timm.safetensors")}, **model
    )
    return report, created.eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


DETECTORS = {
    "FPN": ("backbone.bottom_up.", ("backbone.fpn_lateral2.weight", "proposal_generator.rpn_head.conv.weight")),
    "segmenter": ("backbone.", ("sem_seg_head.predictor.weight", "pixel_mean", "pixel_std")),
    "trunk": ("", ()),
}


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_trunk_gives_the_map_that_detectron2_computes(detector, image, tmp_path):
    prefix, others = DETECTORS[detector]
    arrays = trunk_of(np.random.default_rng(0))
    whole = {prefix + name: array for name, array in arrays.items()} | {name: np.ones(3, "f4") for name in others}
    with open(tmp_path / "model_final.pkl", "wb") as file:
        pickle.dump({"model": whole, "__author__": "Detectron2 Model Zoo"}, file)
    report, ours = loaded(tmp_path / "model_final.pkl", tmp_path, num_classes=0)
    assert (report.from_layout, set(report.dropped)) == ("detectron2", set(others))
    assert bool(others) == any("read blue" in note for note in report.notes)  # which a detector may, and does not say
    with torch.inference_mode():
        expected = maps_of(arrays, image, stride_in_1x1=False)
        found = ours.forward_features(image)
        other = maps_of(arrays, image, stride_in_1x1=True)
    scale = expected.abs().max()
    assert torch.allclose(found / scale, expected / scale, atol=1e-5, rtol=0)
    assert (other - expected).abs().max() / scale > 0.01


def test_the_arrays_of_caffe2(image, tmp_path):
    """R-50.pkl: norms without statistics, a classifier, and a stride that timm's model has elsewhere."""
    arrays = trunk_of(np.random.default_rng(0))
    theirs = {"fc1000_w": np.ones((5, 2048), "f4"), "fc1000_b": np.arange(5, dtype="f4"), "conv1_b": np.zeros(64, "f4")}
    names = {"conv1": "branch2a", "conv2": "branch2b", "conv3": "branch2c", "shortcut": "branch1"}
    for name in list(arrays):
        if name.endswith("running_mean"):
            arrays[name] = np.zeros_like(arrays[name])
        elif name.endswith("running_var"):
            arrays[name] = np.full_like(arrays[name], 1 - EPSILON)
        else:
            *place, last = name.removesuffix(".weight").removesuffix(".bias").removesuffix(".norm").split(".")
            kind = "bn_s" if name.endswith("norm.weight") else "bn_b" if name.endswith("norm.bias") else "w"
            if place == ["stem"]:
                theirs["conv1_w" if kind == "w" else f"res_conv1_{kind}"] = arrays[name]
            else:
                theirs[f"{place[0]}_{place[1]}_{names[last]}_{kind}"] = arrays[name]
    with open(tmp_path / "R-50.pkl", "wb") as file:
        pickle.dump({"model": theirs, "__author__": "MSRA", "matching_heuristics": True}, file)
    report, ours = loaded(tmp_path / "R-50.pkl", tmp_path)
    assert any("strides in the first 1x1" in note for note in report.notes)
    for stage in (ours.layer2, ours.layer3, ours.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    with torch.inference_mode():
        expected, found = maps_of(arrays, image, stride_in_1x1=True), ours.forward_features(image)
        logits = ours(image)
    scale = expected.abs().max()
    assert torch.allclose(found / scale, expected / scale, atol=1e-5, rtol=0)
    assert torch.allclose(logits.diff(), torch.ones(2, 4), atol=1e-3)
