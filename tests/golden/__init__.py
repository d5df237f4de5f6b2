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

FEWER_BLOCKS = {
    "beit": {"depth": 4}, "cait": {"depth": 4}, "coat": {"serial_depths": (1, 1, 1, 1), "parallel_depth": 2},
    "convmixer": {"depth": 4}, "csatv2": {"depths": (1, 1, 2, 2), "transformer_depths": (0, 0, 1, 1)},
    "davit": {"depths": (1, 1, 1, 1)}, "deepseek_vit": {"depth": 4}, "densenet": {"block_config": (2, 2, 2, 2)},
    "efficientformer": {"depths": (1, 1, 2, 2)}, "efficientformer_v2": {"depths": (1, 1, 3, 3)},
    "efficientvit_msra": {"depth": (1, 1, 2)}, "focalnet": {"depths": (1, 1, 2, 1)}, "gcvit": {"depths": (2, 2, 2, 2)},
    "gemma4_vit": {"depth": 4}, "hiera": {"stages": (1, 2, 2, 1)},
    "hieradet_sam2": {"stages": (1, 2, 3, 1), "global_att_blocks": (4,)}, "mvitv2": {"depths": (1, 2, 2, 1)},
    "mobilenetv5": {"channel_multiplier": 0.25}, "naflexvit": {"depth": 4}, "nasnet": {"repeats": 2},
    "nest": {"depths": (2, 2, 2)}, "pnasnet": {"repeats": 2}, "qwen3_vit": {"depth": 4},
    "repvit": {"depth": (2, 2, 2, 2)}, "res2net": {"layers": (1, 1, 2, 1)}, "rexnet": {"depth_mult": 0.5},
    "sequencer": {"layers": (1, 1, 1, 1)}, "swin_transformer": {"depths": (2, 2, 2, 2)},
    "swin_transformer_v2": {"depths": (2, 2, 2, 2)}, "swin_transformer_v2_cr": {"depths": (2, 2, 2, 2)},
    "tiny_vit": {"depths": (1, 1, 2, 1)}, "tnt": {"depth": 4}, "tresnet": {"layers": (1, 1, 2, 1)},
    "twins": {"depths": (2, 2, 2, 2)}, "vgg": {"channels": (16, 32, 64, 128, 128), "mlp_ratio": 0.125},
    "visformer": {"depth": (2, 1, 1)}, "vision_transformer_sam": {"depth": 4, "global_attn_indexes": (1, 3)},
    "vitamin": {"depth": 4, "conv_depths": (1, 1)}, "volo": {"layers": (1, 1, 2, 1)}, "xcit": {"depth": 4},
}  # fmt: skip
"""Fields of a family's spec that leave few blocks, or narrow ones, of each kind."""
FEWER_BLOCKS["byoanet"] = {"stages": tuple(stage[:2] for stage in registry.find_spec("halonet_h1")[1].stages)}

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


def build_small(family, **options):
    """The smallest variant of a family with few blocks: for what does not depend on how many there are."""
    return build(smallest(family), **FEWER_BLOCKS.get(family, {}) | options)
