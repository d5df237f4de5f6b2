"""Guesses by shapes alone: networks with foreign names, and networks that are no image model's."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import pytest

from zoo.core.architectures import registry
from zoo.core.architectures.line_table import LineTable
from zoo.core.architectures.records import module_paths
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.identify.identify import identify
from zoo.core.identify.similar_shapes import SHAPES_PATH, SHAPES_SECTION, find_similar_shapes, shape_digests

from golden import golden

Shapes = dict[str, tuple[int, ...]]

# One or two of 30 families.
FOREIGN = (
    "resnet18", "resnet50", "resnet101", "wide_resnet50_2", "resnext50_32x4d", "seresnet50", "densenet121",
    "densenet201", "vgg11", "vgg16_bn", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0",
    "efficientnet_b3", "efficientnetv2_rw_s", "regnetx_032", "regnety_016", "convnext_tiny", "convnext_base",
    "convnextv2_nano", "vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224",
    "vit_base_patch32_224", "vit_large_patch16_224", "swin_tiny_patch4_window7_224",
    "swin_base_patch4_window12_384", "swinv2_tiny_window8_256", "inception_v3", "inception_v4", "xception41",
    "dpn68", "dla34", "hrnet_w18", "res2net50_26w_4s", "resnest50d", "ghostnet_100", "nfnet_f0", "repvgg_b0",
    "maxvit_tiny_tf_224", "coat_tiny", "pvt_v2_b2", "poolformer_s12", "focalnet_tiny_srf", "davit_tiny",
    "cait_xxs24_224", "xcit_nano_12_p16_224", "twins_svt_small", "levit_128", "mixer_b16_224",
)  # fmt: skip


def family_of(name: str) -> str:
    return registry.find_spec(name)[0]


def tensors(shapes: Shapes) -> dict[str, StoredTensor]:
    return {
        name: StoredTensor(name, "F32", shape, Computed(4 * prod(shape), lambda: ())) for name, shape in shapes.items()
    }


def renamed(name: str, ecosystem: int) -> Shapes:
    """The shapes of an architecture under names that mean nothing; in one ecosystem kernels have their outputs last."""
    found: Shapes = {}
    for number, (shape, _) in enumerate(golden(family_of(name))[name]["keys"].values()):
        sizes = tuple(shape)
        if ecosystem and len(sizes) == 4:
            sizes = (*sizes[2:], sizes[1], sizes[0])
        elif ecosystem and len(sizes) == 2:
            sizes = sizes[::-1]
        if sizes:  # no counters
            found[f"w.{number}"] = sizes
    return found


def test_there_are_fifty():
    assert len(set(FOREIGN)) == 50


@pytest.mark.parametrize("number", range(len(FOREIGN)), ids=FOREIGN)
def test_a_foreign_network_is_among_the_first_three(number: int):
    name = FOREIGN[number]
    found = find_similar_shapes(renamed(name, number % 2))
    assert any(name in one.architectures for one in found[:3]), [one.architectures[:3] for one in found]


@pytest.mark.parametrize("number", range(0, len(FOREIGN), 10))
def test_the_guess_is_said_to_be_one(number: int):
    found = identify(tensors(renamed(FOREIGN[number], number % 2)))
    assert any(FOREIGN[number] in one.architectures for one in found[:3])
    assert {(one.match, one.layout) for one in found} == {("similar", "unknown")}


@pytest.mark.parametrize("name", FOREIGN[::7])
def test_the_table_holds_what_the_shapes_give(name: str):
    family, spec = registry.find_spec(name)
    shapes = {key: tuple(shape) for key, (shape, _) in golden(family)[name]["keys"].items()}
    layers = module_paths(spec.first_conv), module_paths(spec.classifier)
    assert LineTable(SHAPES_PATH, SHAPES_SECTION)[name] == shape_digests(shapes, *layers)


# ---------------------------------------------------------------- networks that are no image models


def others() -> Iterator[tuple[str, Shapes]]:
    """200 networks of text, sound, tables, graphs, control and generation, by the sizes that their papers give."""
    for width, depth in (
        (128, 2),
        (256, 4),
        (384, 12),
        (512, 4),
        (768, 6),
        (768, 12),
        (1024, 24),
        (1280, 36),
        (1600, 48),
    ):
        yield f"bert-{width}-{depth}", _transformer(width, depth, 4, {"word": (30522, width), "position": (512, width)})
        yield (
            f"gpt2-{width}-{depth}",
            _transformer(width, depth, 4, {"wte": (50257, width)}, fused=True, outputs_last=True),
        )
        yield f"t5-{width}-{depth}", _transformer(width, depth, 4, {"shared": (32128, width), "relative": (32, 8)})
        yield f"llama-{width}-{depth}", _transformer(width, depth, 8 / 3, {"embed": (32000, width)}, gated=True)
        yield f"decoder-{width}-{depth}", _transformer(width, 2 * depth, 4, {"embed": (8000, width)}, cross=True)
        yield f"wav2vec2-{width}-{depth}", _transformer(width, depth, 4, _audio(width))
        yield (
            f"whisper-{width}-{depth}",
            _transformer(width, 2 * depth, 4, {"conv1": (width, 80, 3), "conv2": (width, width, 3)}),
        )
        yield (
            f"protein-{width}-{depth}",
            _transformer(width, depth, 4, {"embed": (33, width), "contact": (1, 20 * depth)}),
        )
    for width in (64, 128, 256, 512, 1024):
        for depth in (2, 3, 6):
            yield (
                f"mlp-{width}-{depth}",
                {f"l{i}": (width, width) for i in range(depth)} | {"in": (width, 17), "out": (1, width)},
            )
            yield f"lstm-{width}-{depth}", {f"{w}{i}": (4 * width, width) for i in range(depth) for w in ("ih", "hh")}
            yield f"gcn-{width}-{depth}", {f"g{i}": (width, width) for i in range(depth)} | {"in": (1433, width)}
            yield f"nerf-{width}-{depth}", {f"d{i}": (width, width + 60 * (i == 4)) for i in range(depth + 6)}
            yield (
                f"wavenet-{width}-{depth}",
                {f"c{i}": (2 * width, width, 2) for i in range(10 * depth)} | {"in": (width, 1, 1)},
            )
    for width in (64, 128, 192, 320):
        yield f"unet-{width}", _unet(width)
        yield (
            f"dcgan-{width}",
            {f"up{i}": (width * 2 ** (3 - i), width * 2 ** max(2 - i, 0), 4, 4) for i in range(4)}
            | {"in": (100, 8 * width, 4, 4)},
        )
        yield (
            f"vqvae-{width}",
            {f"r{i}": (width, width, 3, 3) for i in range(12)} | {"in": (width, 3, 4, 4), "codes": (512, 64)},
        )
        yield (
            f"atari-{width}",
            {"c0": (32, 4, 8, 8), "c1": (64, 32, 4, 4), "c2": (64, 64, 3, 3), "fc": (512, 3136), "pi": (width, 512)},
        )
        yield (
            f"go-{width}",
            {f"b{i}": (width, width, 3, 3) for i in range(40)} | {"in": (width, 17, 3, 3), "policy": (362, 722)},
        )
        yield f"flow-{width}", {f"f{i}": (width, width, 3, 3) for i in range(6)} | {"in": (width, 2, 7, 7)}
        yield (
            f"superresolution-{width}",
            {f"s{i}": (width, width, 3, 3) for i in range(34)}
            | {"in": (width, 3, 3, 3), "up": (4 * width, width, 3, 3)},
        )
        yield (
            f"vggish-{width}",
            {
                "c0": (width, 1, 3, 3),
                "c1": (2 * width, width, 3, 3),
                "c2": (4 * width, 2 * width, 3, 3),
                "fc": (4096, 12288),
            },
        )
    for items in (1000, 20_000, 300_000):
        for width in (16, 32, 64, 128):
            yield (
                f"recommender-{items}-{width}",
                {"user": (items, width), "item": (items // 2, width), "fc": (64, 2 * width), "out": (1, 64)},
            )
            yield (
                f"dlrm-{items}-{width}",
                {f"e{i}": (items // (i + 1), width) for i in range(26)} | {"top": (512, 27 * 13)},
            )
    for hidden in (48, 96, 144, 200):
        yield (
            f"tacotron-{hidden}",
            {f"c{i}": (4 * hidden, 4 * hidden, 5) for i in range(6)}
            | {"lstm": (16 * hidden, 4 * hidden), "mel": (80, 4 * hidden)},
        )
        yield (
            f"deepspeech-{hidden}",
            {"c0": (32, 1, 41, 11), "c1": (32, 32, 21, 11)} | {f"g{i}": (12 * hidden, 4 * hidden) for i in range(10)},
        )
        yield (
            f"alphafold-{hidden}",
            {f"t{i}": (hidden, hidden) for i in range(64)} | {f"o{i}": (4 * hidden, hidden) for i in range(16)},
        )
        yield (
            f"mamba-{hidden}",
            {f"in{i}": (16 * hidden, 4 * hidden) for i in range(24)}
            | {f"x{i}": (8 * hidden, 1, 4) for i in range(24)}
            | {"embed": (50280, 4 * hidden)},
        )


def _transformer(
    width: int, depth: int, ratio: float, others: Shapes, *, fused=False, outputs_last=False, gated=False, cross=False
) -> Shapes:
    hidden = int(width * ratio)
    shapes = dict(others)
    for i in range(depth):
        layers = {"qkv": (3 * width, width)} if fused else dict.fromkeys("qkv", (width, width))
        layers |= {"o": (width, width), "up": (hidden, width), "down": (width, hidden)}
        layers |= {"gate": (hidden, width)} if gated else {}
        layers |= {f"cross{n}": (width, width) for n in range(4)} if cross else {}
        for name, shape in layers.items():
            shapes[f"h.{i}.{name}"] = shape[::-1] if outputs_last else shape
            shapes[f"h.{i}.{name}.bias"] = shape[:1]
    return shapes


def _audio(width: int) -> Shapes:
    return {f"conv{i}": (512, 1 if i == 0 else 512, (10, 3, 3, 3, 3, 2, 2)[i]) for i in range(7)} | {
        "project": (width, 512)
    }


def _unet(width: int) -> Shapes:
    shapes: Shapes = {"in": (width, 4, 3, 3), "out": (4, width, 3, 3), "time": (4 * width, width)}
    for level, factor in enumerate((1, 2, 4, 4)):
        inner = width * factor
        for block in range(4):
            shapes |= {f"{level}.{block}.{n}": (inner, inner, 3, 3) for n in "ab"}
            shapes |= {f"{level}.{block}.attn.{n}": (inner, inner) for n in ("q", "k", "v", "o")}
            shapes[f"{level}.{block}.text"] = (inner, 768)
    return shapes


OTHERS = dict(others())


def test_there_are_two_hundred():
    assert len(OTHERS) >= 200


@pytest.mark.parametrize("name", OTHERS)
def test_nothing_is_said_of_other_networks(name: str):
    assert find_similar_shapes(OTHERS[name]) == []


@pytest.mark.parametrize("name", list(OTHERS)[::10])
def test_their_names_say_nothing_either(name: str):
    assert identify(tensors(OTHERS[name])) == []
