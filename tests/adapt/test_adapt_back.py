"""To other channels and back to three: where docs/adaptation.md defines it, the weights are what they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file

from zoo.cli import errors
from zoo.cli.app import app

from machine import published_bytes

INPUT = "conv1.0.weight"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "net.safetensors"
    path.write_bytes(published_bytes())
    return path


def adapted(source: Path, name: str, *words: object) -> Path:
    """What `zoo adapt-weights` makes of the file, beside it; it may take the place of an older one."""
    target = source.with_name(f"{name}.safetensors")
    options = ["-o", target, "--force", "--no-sync", "--quiet"]
    assert errors.run(app, [str(word) for word in ("adapt-weights", source, *words, *options)]) == 0
    return target


def there_and_back(source: Path, there: list[object], back: list[object]) -> tuple[np.ndarray, np.ndarray]:
    """The input layer before and after; nothing else may have changed, nor the mean and deviation of the channels."""
    path = adapted(adapted(source, "there", *there), "back", *back)
    before, after = load_file(source), load_file(path)
    assert after.keys() == before.keys()
    assert all(np.array_equal(after[key], value) for key, value in before.items() if key != INPUT)
    with safe_open(path, framework="np") as file:
        stated = json.loads(file.metadata()["zoo"])
    assert stated["mean"] == pytest.approx(IMAGENET_MEAN)  # what a file that says nothing is taken for
    assert stated["std"] == pytest.approx(IMAGENET_STD)
    return before[INPUT], after[INPUT]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["repeat", "balanced", "zero"]), in_chans=st.integers(3, 40))
def test_f_more_channels_and_back_to_three_restores(source: Path, method: str, in_chans: int):
    options: list[object] = ["--method", method, "--in-chans"]
    before, after = there_and_back(source, [*options, in_chans], [*options, 3])
    if method == "zero" or in_chans == 3:
        assert np.array_equal(after, before)
    else:  # two factors that are each other's inverse but for rounding, or as many sums as there are copies
        assert np.allclose(after, before, rtol=1e-6, atol=1e-7)


# Factors that are powers of two, and a sum of two halves: nothing is rounded.
@pytest.mark.parametrize(("method", "in_chans"), [("repeat", 6), ("repeat", 12), ("repeat", 24), ("balanced", 6)])
def test_f_powers_of_two_are_restored_bit_for_bit(source: Path, method: str, in_chans: int):
    options: list[object] = ["--method", method, "--in-chans"]
    before, after = there_and_back(source, [*options, in_chans], [*options, 3])
    assert np.array_equal(after, before)


@pytest.mark.parametrize(("sensor", "bands"), [("sentinel2", "B2,B3,B4,B8"), ("landsat8", "B1,B2,B3,B4,B5,B6,B7")])
def test_f_bands_that_are_kept_come_back(source: Path, sensor: str, bands: str):
    there = ["--sensor", sensor, "--bands", bands, "--missing-bands", "zero"]
    back = ["--from-sensor", sensor, "--from-bands", bands, "--bands", "red,green,blue"]
    before, after = there_and_back(source, there, back)
    assert np.array_equal(after, before)


@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "luma"])
def test_f_what_one_channel_forgot_does_not_come_back(source: Path, method: str):
    before = load_file(source)[INPUT]
    one = adapted(source, "there", "--in-chans", 1, "--method", method)
    after = load_file(adapted(one, "back", "--in-chans", 3))[INPUT]
    assert not np.allclose(after, before, atol=1e-2)
    assert np.array_equal(after[:, 0], after[:, 2])  # three greys
