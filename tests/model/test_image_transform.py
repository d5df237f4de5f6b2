"""The evaluation transform as a callable, against the formulas of Pillow and the mean and standard deviation."""

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.data import create_transform, resolve_data_config, resolve_model_data_config

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def photograph():
    values = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    return Image.fromarray(values)


def normalised(image):
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_a_photograph(photograph):
    transform = create_transform((3, 224, 224), interpolation="bicubic", crop_pct=0.875)
    resized = photograph.resize((int(256 * 300 / 260), 256), Image.Resampling.BICUBIC)
    left, top = round((resized.width - 224) / 2), 16
    expected = normalised(resized.crop((left, top, left + 224, top + 224)))
    assert torch.equal(transform(photograph), expected)
    assert torch.equal(transform(np.asarray(photograph)), expected)  # (height, width, bands)
    assert torch.equal(transform(torch.from_numpy(np.array(photograph)).permute(2, 0, 1)), expected)


def test_without_normalising_the_numbers_stay(photograph):
    pixels = create_transform(224, normalize=False)(photograph)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == (3, 224, 224)
    assert torch.equal(create_transform(224, use_prefetcher=True)(photograph), pixels)


def test_a_border_is_cut_off(photograph):
    cut = photograph.crop((10, 10, 290, 250))
    assert torch.equal(create_transform(64, crop_border_pixels=10)(photograph), create_transform(64)(cut))
    with pytest.raises(zoo.ZooError, match="border"):
        create_transform(64, crop_border_pixels=200)(photograph)


def test_many_bands_of_16_bits():
    raster = np.full((13, 40, 50), 10_000, np.uint16)
    transform = create_transform((13, 32, 32), mean=(0.25,) * 13, std=(0.5,) * 13, scale=20_000)
    assert torch.allclose(transform(raster), torch.full((13, 32, 32), 0.5))
    assert torch.allclose(transform(raster.transpose(1, 2, 0)), torch.full((13, 32, 32), 0.5))


@pytest.mark.parametrize("image", [Image.new("RGBA", (64, 64)), np.zeros((5, 64, 64), np.uint8), np.zeros(7)])
def test_other_channels_are_refused(image):
    with pytest.raises(zoo.ZooError, match="expected"):
        create_transform(64)(image)


def test_training_is_refused_by_the_name_of_who_has_it():
    with pytest.raises(zoo.ZooError) as refusal:
        create_transform(224, is_training=True, auto_augment="rand-m9-mstd0.5")
    assert "torchvision" in (refusal.value.hint or "")
    create_transform(224, is_training=False, auto_augment="rand-m9-mstd0.5", hflip=0.0)
    with pytest.raises(TypeError, match="no_such_argument"):
        create_transform(224, no_such_argument=1)


class TestDataConfig:
    def test_of_a_model(self):
        model = zoo.create_model("vit_tiny_patch16_224", device="meta")
        config = resolve_model_data_config(model)
        assert config == {
            "input_size": (3, 224, 224), "interpolation": "bicubic", "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5),
            "crop_pct": 0.9, "crop_mode": "center",
        }  # fmt: skip
        assert create_transform(**config)(Image.new("RGB", (300, 260))).shape == (3, 224, 224)

    def test_the_size_and_crop_of_the_test(self):
        cfg = {"input_size": (3, 224, 224), "test_input_size": (3, 288, 288), "crop_pct": 0.9, "test_crop_pct": 1.0}
        config = resolve_data_config(pretrained_cfg=cfg, use_test_size=True)
        assert (config["input_size"], config["crop_pct"]) == ((3, 288, 288), 1.0)
        assert resolve_data_config(pretrained_cfg=cfg)["input_size"] == (3, 224, 224)

    def test_the_callers_values_come_first(self):
        args = {"img_size": 96, "mean": [0.1], "std": [0.2, 0.3, 0.4], "crop_mode": "border", "interpolation": None}
        config = resolve_data_config(args, {"interpolation": "lanczos", "mean": (0, 0, 0)})
        assert config["input_size"] == (3, 96, 96)
        assert config["mean"] == (0.1, 0.1, 0.1)
        assert config["std"] == (0.2, 0.3, 0.4)
        assert (config["crop_mode"], config["interpolation"]) == ("border", "lanczos")

    def test_of_an_adapted_model(self):
        config = resolve_model_data_config(zoo.create_model("resnet18", in_chans=5, device="meta"))
        assert config["input_size"] == (5, 224, 224)
        assert len(config["mean"]) == len(config["std"]) == 5

    @pytest.mark.parametrize("args", [{"mean": [1, 2]}, {"img_size": (3, 4)}, {"input_size": (3, 4)}, None])
    def test_impossible_values(self, args):
        with pytest.raises(zoo.ZooError):
            resolve_data_config(args)
