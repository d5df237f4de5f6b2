"""What an independent implementation says of each architecture; written by make_golden.py."""

import csv
import gzip
import json
from dataclasses import replace
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path

import zoo
from zoo.core.architectures import registry

SMALL = 9_000_000
"""Parameters up to which the forward pass belongs to the quick run."""

SMALL_FORMS = {
    "beit": {"depth": 4, "embed_dim": 96, "num_heads": 3}, "cait": {"depth": 4, "embed_dim": 96},
    "coat": {"serial_depths": (1, 1, 1, 1), "parallel_depth": 2}, "convit": {"depth": 5, "local_up_to_layer": 3},
    "convmixer": {"depth": 4, "embed_dim": 96}, "crossvit": {"embed_dim": (48, 96), "depth": (1, 2)},
    "csatv2": {"depths": (1, 1, 2, 2), "transformer_depths": (0, 0, 1, 1)},
    "davit": {"depths": (1, 1, 1, 1), "embed_dims": (24, 48, 96, 192)},
    "deepseek_vit": {"depth": 4, "embed_dim": 128, "num_heads": 4, "out_features": 160},
    "densenet": {"block_config": (2, 2, 2, 2)},
    "efficientformer": {"depths": (1, 1, 2, 2), "embed_dims": (24, 48, 64, 128)},
    "efficientformer_v2": {"depths": (1, 1, 3, 3)}, "efficientvit_msra": {"depth": (1, 1, 2)},
    "fastvit": {"layers": (1, 1, 2, 1)}, "focalnet": {"depths": (1, 1, 2, 1), "embed_dim": 24},
    "gcvit": {"depths": (2, 2, 2, 2), "embed_dim": 32},
    "gemma4_vit": {
        "depth": 4, "embed_dim": 128, "num_heads": 4, "intermediate_size": 256, "position_embedding_size": 256,
    },
    "hiera": {"stages": (1, 2, 2, 1), "embed_dim": 32}, "hrnet": {"first_width": 16, "width": 8},
    "hieradet_sam2": {"stages": (1, 2, 3, 1), "global_att_blocks": (4,), "embed_dim": 32},
    "inception_next": {"depths": (1, 1, 2, 1)},
    "mobilenetv5": {"channel_multiplier": 0.25}, "mvitv2": {"depths": (1, 2, 2, 1), "embed_dim": 32},
    "naflexvit": {"depth": 4, "embed_dim": 96, "num_heads": 3}, "nasnet": {"repeats": 2, "num_features": 1056},
    "nest": {"depths": (2, 2, 2), "embed_dims": (24, 48, 96)}, "nextvit": {"depths": (2, 2, 5, 2)},
    "pit": {"depth": (1, 2, 2)}, "pnasnet": {"repeats": 2, "stem_size": 32, "width": 60},
    "qwen3_vit": {"depth": 4, "embed_dim": 96, "num_heads": 3, "out_features": 128},
    "rdnet": {"num_init_features": 32, "growth_rates": ((32,), (40,), (48, 48), (64,))},
    "repvit": {"depth": (2, 2, 2, 2)}, "res2net": {"layers": (1, 1, 2, 1), "channels": (32, 64, 128, 256)},
    "resnest": {"channels": (32, 64, 128, 256)}, "resnetv2": {"channels": (32, 64, 128, 256)},
    "rexnet": {"depth_mult": 0.5}, "senet": {"channels": (32, 64, 128, 256)},
    "sequencer": {"layers": (1, 1, 1, 1)}, "sknet": {"channels": (32, 64, 128, 256)},
    "metaformer": {"depths": (1, 1, 2, 1), "dims": (32, 64, 96, 128)}, "swiftformer": {"layers": (2, 2, 2, 2)},
    "swin_transformer": {"depths": (2, 2, 2, 2), "embed_dim": 24},
    "swin_transformer_v2": {"depths": (2, 2, 2, 2), "embed_dim": 24},
    "swin_transformer_v2_cr": {"depths": (2, 2, 2, 2), "embed_dim": 24},
    "tiny_vit": {"depths": (1, 1, 2, 1)}, "tnt": {"depth": 4, "embed_dim": 96},
    "tresnet": {"layers": (1, 1, 2, 1), "width_factor": 0.5}, "twins": {"depths": (2, 2, 2, 2)},
    "vgg": {"channels": (16, 32, 64, 128, 128), "mlp_ratio": 0.125}, "visformer": {"depth": (2, 1, 1)},
    "vision_transformer_sam": {"depth": 4, "global_attn_indexes": (1, 3), "embed_dim": 96, "num_heads": 3},
    "vitamin": {"depth": 4, "conv_depths": (1, 1)},
    "volo": {"layers": (1, 1, 2, 1), "embed_dims": (96, 192, 192, 192), "num_heads": (3, 6, 6, 6)},
    "xception": {"blocks": ((32, 32), (64, 64), (96, 96), (96, 96, 96), (96, 128))},
    "xception_aligned": {"entry": ((64, 2), (96, 2), (128, 2)), "middle": 2}, "xcit": {"depth": 4},
}  # fmt: skip
"""Fields of a family's spec that leave few and narrow blocks of each kind."""
SMALL_FORMS["byoanet"] = {
    "stages": tuple(
        tuple(replace(blocks, block_size=2, halo_size=1) for blocks in stage[:2])
        for stage in registry.find_spec("halonet_h1")[1].stages
    )
}
SMALL_FORMS["selecsls"] = {
    "head": (240, 256, 256, 320),
    "stages": tuple(
        stage._replace(width=stage.width // 4, channels=stage.channels // 4)
        for stage in registry.find_spec("selecsls42")[1].stages
    ),
}
SHORT_SEQUENCES = {"inception_resnet_v2": ("repeat", "repeat_1", "repeat_2")}
"""Rows of blocks that no field of a spec makes shorter: two of each are left."""
SMALL_IMAGES = {"byoanet": 64, "inception_resnet_v2": 96, "inception_v3": 96, "inception_v4": 96}
"""Sides of images that are enough for these forms, where the recorded outputs are those of larger images."""

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


def image_size(model):
    """Height and width of images that are large enough for a network and its small form."""
    side = SMALL_IMAGES.get(registry.find_spec(model.pretrained_cfg["architecture"])[0])
    return (side, side) if side else tuple(recorded_outputs(model)["input_size"][1:])


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
    """The smallest variant of a family with few and narrow blocks: for what does not depend on their numbers."""
    model = build(smallest(family), **SMALL_FORMS.get(family, {}) | options)
    for path in SHORT_SEQUENCES.get(family, ()):
        setattr(model, path, getattr(model, path)[:2])
    return model
