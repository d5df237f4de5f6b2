"""Any name builds: twenty of them are drawn anew every day."""

import datetime
import random

import pytest
import torch

import zoo

TODAY = datetime.date.today().isoformat()
SMALL = 30_000_000
"""Parameters up to which a model gets values, too."""


@pytest.mark.parametrize("name", sorted(random.Random(TODAY).sample(zoo.list_models(), 20)))
def test_a_name_builds(name):
    model = zoo.create_model(name, device="meta", num_classes=3)
    assert model.num_classes == 3 or not model.classifier_paths
    if sum(parameter.numel() for parameter in model.parameters()) < SMALL:
        model = zoo.create_model(name, seed=0)
        assert all(torch.isfinite(value).all() for value in model.state_dict().values())
