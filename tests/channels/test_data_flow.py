"""Which layers read the image, told from names and shapes alone: on modules of torch, and on the recorded shapes of
published architectures whose names were replaced by numbers."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest
from torch import nn

from zoo.core.architectures import registry
from zoo.core.channels.data_flow import image_readers, readers_beside

Shapes = dict[str, tuple[int, ...]]

GOLDEN = Path(__file__).parents[1] / "golden"


def shapes_of(module: nn.Module) -> Shapes:
    return {name: tuple(t.shape) for name, t in module.state_dict().items() if t.is_floating_point()}


def sure(shapes: Shapes) -> list[str]:
    return [layer.weight for layer in image_readers(shapes).sure]


def conv(reads: int, makes: int, kernel: int = 3, **options: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(reads, makes, kernel, bias=False, **options), nn.BatchNorm2d(makes), nn.ReLU())


# ---------------------------------------------------------------- modules of torch


class UNet(nn.Module):
    """Convolutions with biases, transposed ones in the decoder, and maps put together."""

    def __init__(self, chans: int, classes: int, width: int = 16) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(chans, width, 3), nn.Conv2d(width, 2 * width, 3)
        self.deep = nn.Conv2d(2 * width, 4 * width, 3)
        self.up2, self.up1 = nn.ConvTranspose2d(4 * width, 2 * width, 2), nn.ConvTranspose2d(2 * width, width, 2)
        self.join2, self.join1 = nn.Conv2d(4 * width, 2 * width, 3), nn.Conv2d(2 * width, width, 3)
        self.out = nn.Conv2d(width, classes, 1)


class DecoderFirst(nn.Module):
    """Its modules are not in the order in which the image goes through them."""

    def __init__(self, chans: int) -> None:
        super().__init__()
        self.decoder = nn.Sequential(nn.Conv2d(128, 64, 3), nn.Conv2d(64, 2, 1))
        self.encoder = nn.Sequential(conv(chans, 48), conv(48, 128))


class TwoBranches(nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.fine, self.coarse = conv(first, 32), conv(second, 32, 5)
        self.body = nn.Sequential(conv(64, 96), nn.Flatten(), nn.Linear(96, 10))


class TwoEncoders(nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.encoder_a = nn.Sequential(conv(first, 64, 7), conv(64, 64), conv(64, 128))
        self.encoder_b = nn.Sequential(conv(second, 64, 7), conv(64, 64), conv(64, 128))
        self.fuse = nn.Conv2d(256, 128, 1)


def mobile(chans: int) -> nn.Module:
    """Depth-wise separable convolutions with squeeze and excitation to as few channels as an image may have."""

    def block(width: int, makes: int) -> nn.Sequential:
        squeeze = nn.Sequential(nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1))
        return nn.Sequential(conv(width, width, 3, groups=width), squeeze, conv(width, makes, 1))

    return nn.Sequential(conv(chans, 32), block(32, 16), block(16, 24), block(24, 24), nn.Flatten(), nn.Linear(24, 5))


def resnext(chans: int) -> nn.Module:
    def block(reads: int, width: int) -> nn.Sequential:
        return nn.Sequential(conv(reads, width, 1), conv(width, width, 3, groups=32), conv(width, 256, 1))

    return nn.Sequential(conv(chans, 64, 7), block(64, 128), block(256, 128), block(256, 256))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = conv(5, 24), conv(5, 24)
        self.body = conv(24, 48)


class Auxiliary(nn.Module):
    """A backbone, and a small branch for two radar bands."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(conv(13, 64, 7), conv(64, 128), conv(128, 256))
        self.radar = nn.Sequential(conv(2, 24, 5), conv(24, 128, 3))


SINGLE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "sequential": (lambda: nn.Sequential(conv(3, 64, 7), conv(64, 64), conv(64, 128)), "0.0.weight"),
    "sequential of 13 channels": (lambda: nn.Sequential(conv(13, 64, 7), conv(64, 64), conv(64, 128)), "0.0.weight"),
    "sequential of 1 channel": (lambda: nn.Sequential(conv(1, 64, 7), conv(64, 64), conv(64, 128)), "0.0.weight"),
    "plain, without norms": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3)), "0.weight"),
    "U-Net of 3 channels and classes": (lambda: UNet(3, 3), "down1.weight"),
    "U-Net of 10 channels": (lambda: UNet(10, 2), "down1.weight"),
    "U-Net of 1 channel": (lambda: UNet(1, 1), "down1.weight"),
    "depth-wise ones": (lambda: mobile(3), "0.0.weight"),
    "depth-wise ones, 5 channels": (lambda: mobile(5), "0.0.weight"),
    "depth-wise ones, 4 channels as squeezed": (lambda: mobile(4), "0.0.weight"),
    "groups": (lambda: resnext(3), "0.0.weight"),
    "groups, 13 channels": (lambda: resnext(13), "0.0.weight"),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(2, 24, 3), nn.BatchNorm3d(24), nn.Conv3d(24, 48, 3)), "0.weight"),
    "classes as many as channels": (
        lambda: nn.Sequential(conv(12, 48), conv(48, 96), nn.Flatten(), nn.Linear(96, 12)), "0.0.weight",
    ),
    "patches": (
        lambda: nn.ModuleDict({"embed": nn.Conv2d(9, 192, 16, 16), "block": nn.TransformerEncoderLayer(192, 3)}),
        "embed.weight",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SINGLE)
def test_the_one_layer_that_reads_the_image(kind: str):
    make, weight = SINGLE[kind]
    shapes = shapes_of(make())
    assert sure(shapes) == [weight]
    assert readers_beside(shapes, [weight]) == []


@pytest.mark.parametrize("kind", SINGLE)
def test_a_file_that_is_sorted_by_name_tells_no_order_and_nothing_wrong(kind: str):
    make, weight = SINGLE[kind]
    found = sure(dict(sorted(shapes_of(make()).items())))
    assert found in ([weight], [])


@pytest.mark.parametrize(("module", "weights"), [
    (TwoBranches(3, 3), ["fine.0.weight", "coarse.0.weight"]),
    (TwoBranches(3, 5), ["fine.0.weight", "coarse.0.weight"]),
    (TwoEncoders(3, 3), ["encoder_a.0.0.weight", "encoder_b.0.0.weight"]),
    (TwoEncoders(3, 1), ["encoder_a.0.0.weight", "encoder_b.0.0.weight"]),
    (TwoEncoders(13, 2), ["encoder_a.0.0.weight", "encoder_b.0.0.weight"]),
    (Siamese(), ["left.0.weight", "right.0.weight"]),
    (Auxiliary(), ["backbone.0.0.weight", "radar.0.0.weight"]),
], ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "")  # fmt: skip
def test_every_layer_that_reads_an_image(module: nn.Module, weights: list[str]):
    shapes = shapes_of(module)
    for given in (shapes, dict(sorted(shapes.items()))):
        assert sorted(sure(given)) == sorted(weights)
    assert [layer.weight for layer in readers_beside(shapes, weights[:1])] == weights[1:]


def test_groups_of_bands_of_unequal_size():
    shapes = {f"patch_embed.{i}.proj.weight": (192, bands, 8, 8) for i, bands in enumerate((4, 4, 2, 1))}
    shapes |= {"blocks.0.attn.qkv.weight": (576, 192), "blocks.0.mlp.fc1.weight": (768, 192)}
    weights = [name for name in shapes if name.startswith("patch")]
    assert sure(shapes) == weights
    assert [layer.weight for layer in readers_beside(shapes, weights[:1])] == weights[1:]


def test_a_copy_whose_names_lost_their_dots():
    shapes = shapes_of(nn.Sequential(conv(3, 64, 7), conv(64, 64), conv(64, 128)))
    shapes |= {f"model_ema.{name.replace('.', '')}": shape for name, shape in shapes.items()}
    assert sure(shapes) == ["0.0.weight", "model_ema.00weight"]


def test_what_cannot_be_told_is_not_sure():
    # A generator: what looks like its first layer makes the image.
    generator = nn.Sequential(*(nn.ConvTranspose2d(a, b, 4, bias=False) for a, b in ((100, 256), (256, 64), (64, 3))))
    assert sure(shapes_of(generator)) == []
    assert sure(dict(sorted(shapes_of(DecoderFirst(3)).items()))) in (["encoder.0.0.weight"], [])
    assert image_readers({}) == ((), ())
    assert sure({"head.weight": (10, 3)}) == []


def test_the_time_to_look_is_bounded():
    many = {f"a{i}.b.c.weight": (8 + i % 50, 2 + i % 63, 3, 3) for i in range(1_900)}
    assert len(image_readers(many | {f"z{i}.weight": (i + 1, 70) for i in range(17_000)}).sure) < 1_900
    assert image_readers({f"a{i}.weight": (8, 3, 3, 3) for i in range(30_000)}) == ((), ())


# ---------------------------------------------------------------- published architectures


def recorded() -> Iterator[tuple[str, Shapes, dict[str, list[int]]]]:
    """Name, floating-point shapes, and shapes of input weights for five channels of every tenth architecture, as timm
    gave them."""
    records = [
        item
        for path in sorted(GOLDEN.glob("*.json.gz"))
        if path.name.partition(".")[0] in registry.families()
        for item in json.loads(gzip.decompress(path.read_bytes())).items()
    ]
    for name, record in records[::10]:
        if any(shape[1] != 5 for shape in record["in_chans_5"].values()):
            continue  # blocks of pixels, more than an image has channels
        shapes = {key: tuple(shape) for key, (shape, dtype) in record["keys"].items() if dtype.startswith("float")}
        yield name, shapes, record["in_chans_5"]


def obscured(name: str) -> str:
    """A name whose modules' names say nothing, not even their order."""
    *modules, leaf = name.split(".")
    return ".".join([*(f"m{crc32(module.encode()):08x}" for module in modules), leaf])


@pytest.mark.parametrize(("in_chans", "share"), [(3, 0.95), (13, 0.9), (4, 0.8)])
def test_stems_of_published_architectures_without_their_names(in_chans: int, share: float):
    """Four channels may be a group's: fewer are sure where neither names nor their order tell anything."""
    right = 0
    records = list(recorded())
    for name, shapes, inputs in records:
        for weight, (out, _, *kernel) in inputs.items():
            shapes[weight] = (out, in_chans, *kernel)
        found = sure(dict(sorted((obscured(key), shape) for key, shape in shapes.items())))
        wanted = sorted(map(obscured, inputs))
        assert set(wanted) <= set(found) or not found, name
        right += found == wanted
    assert len(records) > 60
    assert right > share * len(records)
