"""What an independent implementation says of each architecture; written by make_golden.py."""

import gzip
import json
from functools import cache
from pathlib import Path

from zoo.core.architectures import registry

HERE = Path(__file__).parent


@cache
def golden(family):
    """Facts of one family: name -> keys, params, features, default configs, outputs."""
    with gzip.open(HERE / f"{family}.json.gz", "rt") as file:
        return json.load(file)


def all_names():
    """Every architecture that zoo has, with its family."""
    return [(family, name) for family in registry.families() for name in registry.variants(family)]


def smallest(family):
    """The member of a family with the fewest parameters."""
    facts = golden(family)
    return min(facts, key=lambda name: facts[name]["params"])


def recorded_outputs(model):
    """What was recorded of a model's outputs, and for which size of image."""
    name = model.pretrained_cfg["architecture"]
    return golden(registry.find_spec(name)[0])[name]["outputs"]
