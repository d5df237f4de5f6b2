"""Published accuracies: the file is what the published tables say."""

from __future__ import annotations

import json

import pytest

from zoo.core.architectures import accuracy, registry
from zoo.core.architectures.accuracy import ACCURACY_PATH, Accuracy, accuracy_at, published_accuracies

from golden.make_accuracy import lines


def test_the_file_holds_the_published_tables():
    assert json.loads(ACCURACY_PATH.read_text())["accuracies"] == lines()


def test_one_tag():
    # The rows of resnet50d.ra2_in1k in results-imagenet.csv and results-imagenet-real.csv.
    assert published_accuracies("resnet50d.ra2_in1k") == (
        Accuracy(224, 0.875, "bicubic", 80.546, 95.16, 86.005, 96.987),
        Accuracy(288, 0.95, "bicubic", 81.354, 95.742, 86.752, 97.372),
    )
    assert accuracy_at("resnet50d.ra2_in1k", 288).top1 == 81.354
    assert accuracy_at("resnet50d.ra2_in1k", 256) is None
    assert published_accuracies("resnet50d.nobody") == ()


@pytest.mark.parametrize("name", ["resnet50d.ra2_in1k", "nothing"])
def test_looking_up_many_finds_the_same(name: str):
    alone = accuracy_at(name, 288)
    assert accuracy.of_many(name, 288) == alone


def test_a_published_tag_has_its_accuracy_at_the_size_of_its_config():
    """So a tag's accuracy and its input size in one row belong together."""
    named = set(registry.list_models(include_tags=True))
    tags = [name for name in lines() if name in named]
    assert len(tags) > 1000
    for name in tags:
        assert accuracy_at(name, registry.get_pretrained_cfg(name).input_size[1]) is not None, name
