"""What an independent implementation says of each architecture; written by make_golden.py."""

import csv
import gzip
import json
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path

import zoo
from zoo.core.architectures import registry

SMALL = 9_000_000
"""Parameters up to which the forward pass belongs to the quick run."""

HERE = Path(__file__).parent


@cache
def golden(family):
    """Facts of one family: name -> keys, params, features, default configs, outputs."""
    with gzip.open(HERE / f"{family}.json.gz", "rt") as file:
        return json.load(file)


def published_results(table):
    """The rows of one of timm's tables of results, as text: model, img_size, top1, top5, crop_pct, interpolation."""
    with gzip.open(HERE / "accuracy" / f"{table}.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


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


def takes(family, option):
    """Whether the constructor of a family has this keyword, or the spec of its first variant this field."""
    return has_option(family, next(iter(registry.variants(family).values())), option)


def has_option(family, spec, option):
    """As `takes`, for one variant."""
    model_class = getattr(import_module(f"zoo.models.{family}"), spec.model_class)
    return option in signature(model_class).parameters or hasattr(spec, option)


def build(name, **options):
    """A model for images of the size that its outputs were recorded for; in the form that they were, if it is large."""
    family, spec = registry.find_spec(name)
    recorded = golden(family)[name]["outputs"]
    options = golden(family)[name].get("built_with", {}) | options
    if recorded and takes(family, "img_size") and has_option(family, spec, "img_size"):
        options = {"img_size": tuple(recorded["input_size"][1:]), **options}
    return zoo.create_model(name, **options)
