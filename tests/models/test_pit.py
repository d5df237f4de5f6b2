"""PiT: its two classifiers, and files of its authors."""

import re

import torch

import zoo
from zoo.models.pit import repair_keys


def test_each_token_has_a_classifier():
    model = zoo.create_model("pit_ti_distilled_224", img_size=64, num_classes=5, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        first, second = model.forward_features(x).unbind(1)
        expected = (model.head(first) + model.head_dist(second)) / 2
        torch.testing.assert_close(model(x), expected)
        torch.testing.assert_close(model.pool(model.forward_features(x)), (first + second) / 2)
    model.train().set_distilled_training()
    assert [logits.shape for logits in model(x)] == [(2, 5)] * 2


def test_files_of_the_authors():
    model = zoo.create_model("pit_ti_distilled_224", device="meta")
    own = list(model.state_dict())
    pooling = re.compile(r"^transformers\.([12])\.pool\.")
    theirs = {pooling.sub(lambda stage: f"pools.{int(stage[1]) - 1}.", name): torch.zeros(1) for name in own}
    assert {"pools.0.conv.weight", "pools.1.fc.bias", "transformers.2.blocks.3.attn.qkv.weight"} <= set(theirs)
    assert list(repair_keys(theirs, model)) == own
