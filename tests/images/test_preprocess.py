"""The evaluation transform against arithmetic written out here, and against timm where it is installed."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.core.architectures.records import IMAGENET_MEAN, IMAGENET_STD, PretrainedCfg
from zoo.core.errors import InvalidInputError
from zoo.core.images.preprocess import INTERPOLATIONS, Preprocess
from zoo.core.images.rasters.raster import Raster

DATA = Path(__file__).parents[1] / "data"
MEAN = np.array(IMAGENET_MEAN, np.float32)[:, None, None]
STD = np.array(IMAGENET_STD, np.float32)[:, None, None]


@pytest.fixture(scope="module")
def cat() -> Image.Image:
    return Image.open(DATA / "chelsea.png").convert("RGB")  # 451 x 300


def tensor(preprocess: Preprocess, image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(preprocess.array(image))


def normalised(image: Image.Image) -> torch.Tensor:
    values = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return torch.from_numpy((values - MEAN) / STD)


def test_center_brings_the_short_side_to_256_and_cuts_224(cat: Image.Image) -> None:
    # floor(224 / 0.875) = 256; int(256 * 451 / 300) = 384; offsets (384 - 224) / 2 = 80 and (256 - 224) / 2 = 16
    expected = cat.resize((384, 256), Image.Resampling.BICUBIC).crop((80, 16, 80 + 224, 16 + 224))
    assert torch.equal(tensor(Preprocess.from_cfg(PretrainedCfg()), cat), normalised(expected))


def test_center_in_portrait(cat: Image.Image) -> None:
    portrait = cat.transpose(Image.Transpose.ROTATE_90)
    expected = portrait.resize((256, 384), Image.Resampling.BICUBIC).crop((16, 80, 16 + 224, 80 + 224))
    assert torch.equal(tensor(Preprocess(), portrait), normalised(expected))


def test_center_for_a_target_that_is_not_square(cat: Image.Image) -> None:
    # Target 128 x 320 (height x width): 300/128 = 2.34, 451/320 = 1.409: the width decides.
    resized = cat.resize((320, round(300 / (451 / 320))), Image.Resampling.BILINEAR)  # 320 x 213
    top = round((213 - 128) / 2)  # 42.5 goes to the even 42
    expected = resized.crop((0, top, 320, top + 128))
    got = tensor(Preprocess(size=(128, 320), crop_pct=1.0, interpolation="bilinear"), cat)
    assert torch.equal(got, normalised(expected))


def test_squash_ignores_the_aspect_ratio(cat: Image.Image) -> None:
    expected = cat.resize((240, 240), Image.Resampling.LANCZOS)
    got = tensor(Preprocess(size=(240, 240), crop_pct=1.0, crop_mode="squash", interpolation="lanczos"), cat)
    assert torch.equal(got, normalised(expected))


def test_border_pads_with_the_mean_colour(cat: Image.Image) -> None:
    # 451/224 decides: 224 x round(300 * 224 / 451) = 149; 75 rows are missing, 37 above and 38 below.
    colour = tuple(round(255 * m) for m in IMAGENET_MEAN)
    canvas = Image.new("RGB", (224, 224), colour)
    canvas.paste(cat.resize((224, 149), Image.Resampling.BICUBIC), (0, 37))
    assert torch.equal(tensor(Preprocess(crop_pct=1.0, crop_mode="border"), cat), normalised(canvas))


@pytest.mark.parametrize("interpolation", sorted(INTERPOLATIONS))
def test_every_interpolation_is_pillows_of_that_name(cat: Image.Image, interpolation: str) -> None:
    expected = cat.resize((64, 64), Image.Resampling[interpolation.upper()])
    got = tensor(Preprocess(size=(64, 64), crop_pct=1.0, crop_mode="squash", interpolation=interpolation), cat)
    assert torch.equal(got, normalised(expected))


def test_float_bands_agree_with_the_8_bit_path_to_two_levels(cat: Image.Image) -> None:
    deep = Raster(pixels=np.asarray(cat).transpose(2, 0, 1).astype(np.uint16) * 257, white=65535.0)
    difference = (tensor(Preprocess(), cat) - tensor(Preprocess(), deep)).abs() * torch.from_numpy(STD)
    # The 8-bit path rounds after the horizontal and after the vertical pass.
    assert difference.max().item() <= 2 / 255


def test_bands_are_independent_and_keep_their_order(cat: Image.Image) -> None:
    bands = np.asarray(cat).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    mean, std = (0.1, 0.2, 0.3, 0.4, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1)
    got = Preprocess.from_cfg({"mean": mean, "std": std}, in_chans=5).array(
        Raster(pixels=bands[[0, 1, 2, 0, 1]], white=1.0)
    )
    for band, source in enumerate([0, 1, 2, 0, 1]):
        alone = Preprocess(mean=(mean[band],), std=(std[band],)).array(
            Raster(pixels=bands[source : source + 1], white=1.0)
        )
        np.testing.assert_array_equal(got[band : band + 1], alone)


def test_grey_takes_the_average_of_mean_and_std(cat: Image.Image) -> None:
    preprocess = Preprocess.from_cfg(PretrainedCfg(), in_chans=1)
    assert preprocess.mean == (pytest.approx((0.485 + 0.456 + 0.406) / 3),)
    assert preprocess.std == (pytest.approx((0.229 + 0.224 + 0.225) / 3),)
    assert preprocess.array(cat.convert("L")).shape == (1, 224, 224)


def test_a_config_for_as_many_channels_is_taken_as_it_is() -> None:
    cfg = {"mean": [0.5] * 25, "std": [0.25] * 25}
    assert Preprocess.from_cfg(cfg, in_chans=25).mean == (0.5,) * 25


def test_an_rgb_config_does_not_serve_25_channels() -> None:
    with pytest.raises(InvalidInputError, match=r"25 channels.*3"):
        Preprocess.from_cfg(PretrainedCfg(), in_chans=25)


def test_an_image_of_another_channel_count_is_refused(cat: Image.Image) -> None:
    with pytest.raises(InvalidInputError, match=r"3 channel.*reads 1"):
        Preprocess.from_cfg(PretrainedCfg(), in_chans=1).array(cat)


def test_test_size_is_used_on_request_only() -> None:
    cfg = PretrainedCfg(test_input_size=(3, 288, 288), test_crop_pct=1.0)
    assert (Preprocess.from_cfg(cfg).size, Preprocess.from_cfg(cfg).crop_pct) == ((224, 224), 0.875)
    assert (Preprocess.from_cfg(cfg, test=True).size, Preprocess.from_cfg(cfg, test=True).crop_pct) == ((288, 288), 1.0)


@pytest.mark.parametrize(
    "cfg",
    [
        {"interpolation": "best"},
        {"crop_mode": "corner"},
        {"crop_pct": -1.0},
        {"input_size": (3, 0, 224)},
        {"std": (0.0, 0.2, 0.2)},
        {"mean": (float("nan"), 0.2, 0.2)},
        {"mean": "red"},
        {"interpolation": ["bicubic"]},
    ],
    ids=lambda cfg: next(iter(cfg)),
)
def test_a_config_that_makes_no_sense_is_refused(cfg: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Preprocess.from_cfg(cfg)


def test_an_elongated_image_does_not_exhaust_memory() -> None:
    with pytest.raises(InvalidInputError, match="elongated"):
        Preprocess().array(Image.new("RGB", (1_000_000, 1)))


def test_equals_timm(cat: Image.Image) -> None:
    timm_data = pytest.importorskip("timm.data", exc_type=Exception)
    images = [cat, cat.transpose(Image.Transpose.ROTATE_90), cat.resize((37, 91)), cat.resize((224, 224))]
    sizes, fractions, modes = [(224, 224), (256, 192), (97, 131)], [0.875, 1.0, 0.95], ["center", "squash", "border"]
    for image, size, crop_pct, mode in product(images, sizes, fractions, modes):
        cfg = {"input_size": (3, *size), "crop_pct": crop_pct, "crop_mode": mode, "interpolation": "bicubic"}
        cfg |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        assert torch.equal(timm_data.create_transform(**cfg)(image), tensor(Preprocess.from_cfg(cfg), image)), cfg
