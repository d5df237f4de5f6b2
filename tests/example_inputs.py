"""What the documentation's examples begin with: stand-ins, with random values, for the files and weights they name.

An example that names another file needs a row in INPUTS. What a file holds is what its name says in the examples: `r34`
a ResNet-34, `checkpoint.pth` what a training run leaves, and so on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save, save_file

from zoo import create_model
from zoo.core.adapt_file import OutputRequest
from zoo.core.adapt_request import AdaptRequest
from zoo.core.adapt_weights import adapt_weights
from zoo.core.bands import parse_bands
from zoo.core.layouts.engine import from_timm
from zoo.core.save import tensors_of
from zoo.core.stored_tensor import StoredTensor

PHOTOS = Path(__file__).parent / "data"
State = dict[str, torch.Tensor]


@cache
def state_of(architecture: str) -> State:
    """Random weights of an architecture."""
    return create_model(architecture, seed=0).state_dict()  # type: ignore[no-any-return]


def published_bytes(architecture: str) -> bytes:
    """Its weights as the Hub has them."""
    return save(state_of(architecture), {"format": "pt"})


def _resnet34(path: Path) -> None:
    save_file(state_of("resnet34"), path, {"format": "pt"})


def _adapted(architecture: str, request: AdaptRequest) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        plain = path.with_name("plain of " + path.name)
        save_file(state_of(architecture), plain)
        adapt_weights(architecture, request, OutputRequest(path=path, sync=False), weights=plain)
        plain.unlink()

    return make


def _training_checkpoint(path: Path) -> None:
    """What a loop over a DataParallel model saves."""
    state = {f"module.{name}": tensor for name, tensor in state_of("mobilenetv3_small_050").items()}
    momentum = {"state": {0: {"momentum_buffer": torch.zeros(8)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": momentum}, path)


def _dino(path: Path) -> None:
    """DINO's own training file: student and teacher side by side."""
    trunk = {name: tensor for name, tensor in state_of("vit_tiny_patch16_224").items() if not name.startswith("head.")}
    torch.save(
        {
            "student": {f"module.backbone.{name}": tensor for name, tensor in trunk.items()},
            "teacher": {f"backbone.{name}": tensor for name, tensor in trunk.items()},
            "epoch": 3,
            "dino_loss": {"center": torch.zeros(1, 8)},
        },
        path,
    )


def _torchvision_vit(path: Path) -> None:
    """Zeros of half precision: its size is what takes time."""
    shapes = {name: tuple(p.shape) for name, p in create_model("vit_base_patch16_224").state_dict().items()}
    zeros = [StoredTensor(name, "F16", shape, bytes(2 * prod(shape))) for name, shape in shapes.items()]
    torch.save(tensors_of(from_timm("torchvision", zeros)), path)


def _photographs(path: Path) -> None:
    """JPEG and PNG files."""
    from PIL import Image

    path.mkdir()
    shutil.copy(PHOTOS / "coffee.png", path)
    with Image.open(PHOTOS / "chelsea.png") as image:
        image.convert("RGB").save(path / "chelsea.jpg")


def _photograph(path: Path) -> None:
    from PIL import Image

    with Image.open(PHOTOS / "coffee.png") as image:
        image.convert("RGB").save(path)


def _scenes(path: Path) -> None:
    """Two rasters of 13 bands of 16 bits, as Sentinel-2 has them."""
    import tifffile

    path.mkdir()
    random = np.random.default_rng(0)
    for name in ("T32UQD.tif", "T32UQE.tif"):
        bands = random.integers(0, 10_000, (13, 256, 300), dtype=np.uint16)
        tifffile.imwrite(path / name, bands, planarconfig="separate", photometric="minisblack")


INPUTS: dict[str, Callable[[Path], None]] = {
    "resnet34.safetensors": _resnet34,
    "model.safetensors": _resnet34,
    "unknown.safetensors": lambda path: save_file(state_of("mobilenetv3_small_050"), path),
    "r34_25ch.safetensors": _adapted("resnet34", AdaptRequest(in_chans=25)),
    "r34_grey.safetensors": _adapted("resnet34", AdaptRequest(in_chans=1)),
    "s2.safetensors": _adapted("resnet34", AdaptRequest(bands=tuple(parse_bands("B2,B3,B4,B8", "sentinel2")))),
    "r18_4.safetensors": _adapted("resnet18", AdaptRequest(in_chans=4)),
    "mine.pth": lambda path: torch.save(state_of("resnet34"), path),
    "model.pth": lambda path: torch.save(state_of("resnet34"), path),
    # A trunk, as a run with another task leaves it.
    "finetuned.pth": lambda path: torch.save(
        {name: tensor for name, tensor in state_of("resnet34").items() if not name.startswith("fc.")}, path
    ),
    "checkpoint.pth": _training_checkpoint,
    "dino.pth": _dino,
    "vit_b_16-c867db91.pth": _torchvision_vit,
    "vit.safetensors": lambda path: save_file(state_of("vit_tiny_patch16_224"), path),
    "photos": _photographs,
    "a.jpg": _photograph,
    "b.png": _photograph,
    "scenes": _scenes,
}
