"""Write tests/golden/resized/tables.json: tensors that timm, an independent implementation, resized.

    pip install timm==1.0.31 torchvision
    PYTHONPATH=tests python -m golden.make_resized

The tests compare zoo with this file and need no timm. Values before are `golden.resized.wave`.
"""

import json
from pathlib import Path

import timm
import torch
from timm.layers import resample_abs_pos_embed, resample_abs_pos_embed_nhwc, resample_patch_embed
from timm.models._registry import _model_to_module

from golden.resized import wave

FILE = Path(__file__).with_name("resized") / "tables.json"
NARROW = {"depth": 1, "embed_dim": 2, "num_heads": 1, "num_classes": 0, "patch_size": 4}
BEIT = {**NARROW, "num_heads": 2}
SWIN = {"depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1), "embed_dim": 2, "num_classes": 0, "patch_size": 4}
DIGITS = 6
SIZED = ("_token", "pos_embed", "patch_embed.proj.weight", "relative_position_bias_table")
"""Endings of the names that the plan looks at."""

BY_THE_LOADER = [
    # architecture, options, image size before, after, tensors, patch size after
    ("vit_tiny_patch16_224", NARROW, (28, 28), (16, 48), ["pos_embed"], None),
    ("deit_tiny_distilled_patch16_224", NARROW, (28, 28), (40, 20), ["pos_embed"], None),
    ("deit3_small_patch16_224", NARROW, (28, 28), (16, 48), ["pos_embed"], None),
    ("flexivit_small", NARROW, (28, 28), (20, 40), ["pos_embed"], None),
    ("beit_base_patch16_224", BEIT, (16, 16), (12, 24), ["blocks.0.attn.relative_position_bias_table"], None),
    ("swin_tiny_patch4_window7_224", SWIN, (112, 112), (64, 256),
     [f"layers.{stage}.blocks.0.attn.relative_position_bias_table" for stage in (2, 3)], None),
    ("vit_tiny_patch16_224", NARROW, (32, 32), (32, 32), ["patch_embed.proj.weight", "pos_embed"], 8),
    ("vit_tiny_patch16_224", {**NARROW, "patch_size": 6}, (36, 36), (36, 36), ["patch_embed.proj.weight"], 4),
]  # fmt: skip


def case(architecture, shapes, source, target, name, new_patch, after):
    """One resized tensor, as the tests read it."""
    return {
        "family": _model_to_module[architecture],
        "architecture": architecture,
        "shapes": {key: list(shape) for key, shape in shapes.items()},
        "source_size": source,
        "img_size": target,
        "patch_size": new_patch,
        "tensor": name,
        "shape": list(after.shape),
        "values": [float(f"{value:.{DIGITS}g}") for value in after.flatten().tolist()],
    }


def by_the_loader(architecture, options, source, target, names, new_patch):
    """Tensors as timm's loader of pretrained weights fits them to a model of another size."""
    model = timm.create_model(architecture, img_size=source, **options)
    state = {key: torch.from_numpy(wave(value.shape)) for key, value in model.state_dict().items()}
    sizes = {"img_size": target, **options, **({"patch_size": new_patch} if new_patch else {})}
    overlay = {"state_dict": state, "num_classes": 0}
    loaded = timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay=overlay, **sizes).state_dict()
    shapes = {key: tuple(value.shape) for key, value in state.items() if key.endswith(SIZED)}
    return [case(architecture, shapes, source, target, name, new_patch, loaded[name]) for name in names]


def from_a_stated_size(prefix):
    """A table of 4 x 12 positions for 6 x 6: timm's loader takes every table for a square, its function does not."""
    table = wave((1, prefix + 48, 2))
    after = resample_abs_pos_embed(torch.from_numpy(table), new_size=[6, 6], old_size=[4, 12], num_prefix_tokens=prefix)
    tokens = {"cls_token": (1, 1, 2), "dist_token": (1, 1, 2)}
    shapes = {"pos_embed": table.shape, "patch_embed.proj.weight": (2, 3, 4, 4)}
    shapes |= dict(list(tokens.items())[:prefix])
    architecture = "deit_tiny_distilled_patch16_224" if prefix == 2 else "vit_tiny_patch16_224"
    return case(architecture, shapes, (16, 48), (24, 24), "pos_embed", None, after)


def as_a_map():
    """SAM's table keeps its grid as axes."""
    table = wave((1, 4, 12, 3))
    after = resample_abs_pos_embed_nhwc(torch.from_numpy(table), new_size=[6, 9])
    shapes = {"pos_embed": table.shape, "patch_embed.proj.weight": (3, 3, 4, 4)}
    return case("samvit_base_patch16", shapes, (16, 48), (24, 36), "pos_embed", None, after)


def of_an_oblong_patch():
    kernel = wave((2, 3, 8, 8))
    after = resample_patch_embed(torch.from_numpy(kernel), new_size=[6, 6])
    shapes = {"patch_embed.proj.weight": kernel.shape}
    return case("vit_tiny_patch16_224", shapes, (48, 48), (48, 48), "patch_embed.proj.weight", 6, after)


if __name__ == "__main__":
    cases = [found for row in BY_THE_LOADER for found in by_the_loader(*row)]
    cases += [*map(from_a_stated_size, (0, 1, 2)), as_a_map(), of_an_oblong_patch()]
    FILE.write_text("[\n" + ",\n".join(json.dumps(found) for found in cases) + "\n]\n")
