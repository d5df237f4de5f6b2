"""What the documentation's examples begin with: stand-ins, with random values, for the files and weights they name.

An example that names another file needs a row in INPUTS. A file holds what its name says in the examples, of the
architecture that the line names, else of a ResNet-34.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save, save_file

from zoo import create_model
from zoo.core.adapt.job import OutputRequest
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.sources import adapt_weights
from zoo.core.channels.bands import parse_bands
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.engine import from_timm
from zoo.core.model.save import tensors_of

PHOTOS = Path(__file__).parent / "data"
State = dict[str, torch.Tensor]


Maker = Callable[[Path, str], None]
"""Writes a file, or a folder, of an architecture."""


@cache
def state_of(architecture: str, num_classes: int | None = None) -> State:
    """Random weights of an architecture."""
    return create_model(architecture, seed=0, num_classes=num_classes).state_dict()  # type: ignore[no-any-return]


def published_bytes(architecture: str) -> bytes:
    """Its weights as the Hub has them."""
    return save(state_of(architecture), {"format": "pt"})


def checkpoint_bytes(architecture: str) -> bytes:
    """Its weights as `torch.save` writes them."""
    file = BytesIO()
    torch.save(state_of(architecture), file)
    return file.getvalue()


def _safetensors(path: Path, architecture: str) -> None:
    save_file(state_of(architecture), path, {"format": "pt"})


def _torch(path: Path, architecture: str) -> None:
    path.write_bytes(checkpoint_bytes(architecture))


def _finetuned(path: Path, architecture: str) -> None:
    torch.save(state_of(architecture, 10), path)


def _four_bands(path: Path, architecture: str) -> None:
    torch.save(create_model(architecture, in_chans=4, seed=0).state_dict(), path)


def _adapted(request: AdaptRequest) -> Maker:
    def make(path: Path, architecture: str) -> None:
        plain = path.with_name("plain of " + path.name)
        _safetensors(plain, architecture)
        adapt_weights(architecture, request, OutputRequest(path=path, sync=False), weights=plain)
        plain.unlink()

    return make


def _training_checkpoint(path: Path, _: str) -> None:
    """What a loop over a DataParallel model saves."""
    state = {f"module.{name}": tensor for name, tensor in state_of("mobilenetv3_small_050").items()}
    momentum = {"state": {0: {"momentum_buffer": torch.zeros(8)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": momentum}, path)


def _dino(path: Path, _: str) -> None:
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


def _torchvision_vit(path: Path, _: str) -> None:
    """Zeros of half precision: its size is what takes time."""
    shapes = {name: tuple(p.shape) for name, p in create_model("vit_base_patch16_224").state_dict().items()}
    zeros = [StoredTensor(name, "F16", shape, bytes(2 * prod(shape))) for name, shape in shapes.items()]
    torch.save(tensors_of(from_timm("torchvision", zeros)), path)


def _photographs(path: Path, _: str) -> None:
    """JPEG and PNG files."""
    from PIL import Image

    path.mkdir()
    shutil.copy(PHOTOS / "coffee.png", path)
    with Image.open(PHOTOS / "chelsea.png") as image:
        image.convert("RGB").save(path / "chelsea.jpg")


def _photograph(path: Path, _: str) -> None:
    from PIL import Image

    with Image.open(PHOTOS / "coffee.png") as image:
        image.convert("RGB").save(path)


def _scene(path: Path, _: str = "") -> None:
    """A raster of 13 bands of 16 bits, as Sentinel-2 has them."""
    import tifffile

    bands = np.random.default_rng(0).integers(0, 10_000, (13, 256, 300), dtype=np.uint16)
    tifffile.imwrite(path, bands, planarconfig="separate", photometric="minisblack")


def _scenes(path: Path, _: str) -> None:
    path.mkdir()
    for name in ("T32UQD.tif", "T32UQE.tif"):
        _scene(path / name)


def _classes(path: Path, _: str) -> None:
    """Photographs in folders that are called by the WordNet ids of their classes."""
    for label, name in (("n02123045", "chelsea.png"), ("n07920052", "coffee.png")):
        (path / label).mkdir(parents=True)
        shutil.copy(PHOTOS / name, path / label)


def _table(path: Path, _: str) -> None:
    """Paths and labels of photographs."""
    path.write_text(f"path,class\n{PHOTOS / 'chelsea.png'},281\n{PHOTOS / 'coffee.png'},967\n", encoding="utf-8")


def _cubes(path: Path, _: str) -> None:
    """Images of 25 bands, in folders of two classes."""
    for label in ("maize", "wheat"):
        (path / label).mkdir(parents=True)
        np.save(path / label / "1.npy", np.random.default_rng(0).random((25, 64, 64), dtype=np.float32))


def _names(path: Path, _: str) -> None:
    """A name for each of a thousand classes."""
    names = ["maize", "wheat", *(f"class {number}" for number in range(2, 1000))]
    path.write_text("\n".join(names) + "\n", encoding="utf-8")


_GREY = _adapted(AdaptRequest(in_chans=1))

INPUTS: dict[str, Maker] = {
    "resnet34.safetensors": _safetensors,
    "r34.safetensors": _safetensors,
    "model.safetensors": _safetensors,
    "vit.safetensors": lambda path, _: _safetensors(path, "vit_tiny_patch16_224"),
    "unknown.safetensors": lambda path, _: _safetensors(path, "mobilenetv3_small_050"),
    "r34_25ch.safetensors": _adapted(AdaptRequest(in_chans=25)),
    "r34_grey.safetensors": _GREY,
    "grey.safetensors": _GREY,
    "r18_4.safetensors": _adapted(AdaptRequest(in_chans=4)),
    "s2.safetensors": _adapted(AdaptRequest(bands=tuple(parse_bands("B2,B3,B4,B8", "sentinel2")))),
    "r34.pth": _torch,
    "mine.pth": _torch,
    "model.pth": _torch,
    "theirs.pth": _four_bands,
    "finetuned.pth": _finetuned,
    "tuned.pth": _finetuned,
    "checkpoint.pth": _training_checkpoint,
    "net.pth": _training_checkpoint,
    **{f"epoch_{number}.pth": _training_checkpoint for number in (1, 2, 3)},
    "a.safetensors": _safetensors,
    "b.safetensors": _safetensors,
    "dino.pth": _dino,
    "mobileone_s0.pth": lambda path, _: _torch(path, "mobileone_s0"),
    "vit_b_16-c867db91.pth": _torchvision_vit,
    "photos": _photographs,
    "a.jpg": _photograph,
    "b.png": _photograph,
    "scenes": _scenes,
    "scene.tif": _scene,
    "val": _classes,
    "val.csv": _table,
    "cubes": _cubes,
    "classes.txt": _names,
}
