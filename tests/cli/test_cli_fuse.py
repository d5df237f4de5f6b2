"""`zoo convert --fuse`: what it writes, what it says of it, how it fails."""

from __future__ import annotations

import gzip
import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model, reparameterize
from zoo.cli import errors
from zoo.cli.app import app

from feature_checks import difference, noise, with_statistics
from golden import HERE

NAME = "lcnetv2_small"


def zoo(*words: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = errors.run(app, list(map(str, words)))
    return code, out.getvalue(), err.getvalue()


def done(*words: object) -> dict:
    code, out, err = zoo(*words, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(code: int, *words: object) -> str:
    found, out, err = zoo(*words)
    assert (found, out) == (code, ""), err
    assert "Traceback" not in err
    return err


@pytest.fixture(scope="module")
def model():
    return with_statistics(create_model(NAME, seed=0))


@pytest.fixture(scope="module")
def plain(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.pth"
    torch.save(model.state_dict(), path)
    return path


def stated(path: Path) -> dict:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["zoo"])


def test_the_file_has_timms_tensors_and_says_what_it_is(model, plain, tmp_path):
    target = tmp_path / "fused.safetensors"
    report = done("convert", plain, "--fuse", "-o", target)
    assert (report["status"], report["architecture"]) == ("written", NAME)
    assert report["fused"]["difference"] <= 1e-12
    assert report["fused"]["rounding"] <= 1e-5
    with gzip.open(HERE / "fused.json.gz", "rt") as file:
        expected = json.load(file)[NAME]
    state = load_file(target)
    assert {key: list(value.shape) for key, value in state.items()} == expected
    # Rounded once from float64, as the library does from float32 weights.
    joined = reparameterize(model).state_dict()
    assert all(torch.equal(value, joined[key]) for key, value in state.items())
    facts = stated(target)
    assert (facts["architecture"], facts["reparameterized"]) == (NAME, True)
    assert facts["first_conv"] == "stem.0.conv"
    images = noise(1, 3, 96, 96)
    loaded = create_model(NAME, checkpoint_path=target).eval()
    with torch.inference_mode():
        assert difference([loaded(images)], [model(images)]) <= 1e-5


def test_what_it_prints(plain, tmp_path):
    code, out, err = zoo("convert", plain, "--fuse", "-o", tmp_path / "fused.safetensors")
    assert code == 0
    assert "fused: outputs differ by " in out
    assert "inference_mode=True" in err


def test_layers_and_classifiers_that_moved_are_stated(tmp_path):
    source, target = tmp_path / "plain.safetensors", tmp_path / "fused.safetensors"
    save_file(with_statistics(create_model("shvit_s1", num_classes=7, seed=0)).state_dict(), source)
    done("convert", source, "--fuse", "-o", target)
    facts = stated(target)
    assert (facts["first_conv"], facts["classifier"], facts["num_classes"]) == ("patch_embed.0", "head", 7)
    code, out, err = zoo("convert", source, "--fuse", "-o", target)
    assert (code, "unchanged" in out) == (0, True)
    assert "reparameterize_model(create_model('shvit_s1').eval())" in err


def test_an_adapted_file_keeps_what_it_states(plain, tmp_path):
    adapted, target = tmp_path / "adapted.safetensors", tmp_path / "fused.safetensors"
    bands = ("--sensor", "sentinel2", "--bands", "B2,B3,B4,B8")
    done("adapt-weights", NAME, "--weights", plain, *bands, "--num-classes", 6, "-o", adapted)
    done("convert", adapted, "--fuse", "-o", target)
    before, after = stated(adapted), stated(target)
    for key in ("bands", "in_chans", "num_classes", "mean", "std", "input_size"):
        assert after[key] == before[key]
    assert after["origin"]["previous"] == before["origin"]
    fused = create_model(NAME, checkpoint_path=target)
    assert (fused.in_chans, fused.num_classes, fused.is_reparameterized) == (4, 6, True)


@pytest.mark.parametrize(
    ("stored", "option", "written"), [("float16", "", "float16"), ("float32", "bfloat16", "bfloat16")]
)
def test_dtypes(model, tmp_path, stored, option, written):
    source, target = tmp_path / "plain.safetensors", tmp_path / "fused.safetensors"
    state = {
        key: value.to(getattr(torch, stored)) if value.is_floating_point() else value
        for key, value in model.state_dict().items()
    }
    save_file(state, source)
    report = done("convert", source, "--fuse", *(["--dtype", option] if option else []), "-o", target)
    found = {str(value.dtype) for value in load_file(target).values() if value.is_floating_point()}
    assert found == {f"torch.{written}"}
    assert report["fused"]["difference"] <= 1e-12
    assert 1e-7 <= report["fused"]["rounding"] <= 0.1


def test_a_dry_run_writes_nothing(plain, tmp_path):
    target = tmp_path / "fused.safetensors"
    assert done("convert", plain, "--fuse", "--dry-run", "-o", target)["status"] == "planned"
    assert not target.exists()


def test_what_cannot_be_joined(plain, tmp_path):
    target = tmp_path / "fused.safetensors"
    save_file(create_model("test_resnet", seed=0).state_dict(), tmp_path / "resnet.safetensors")
    assert "published in one form" in refused(2, "convert", tmp_path / "resnet.safetensors", "--fuse", "-o", target)
    assert "timm's layout" in refused(2, "convert", plain, "--fuse", "--to", "torchvision", "-o", target)
    torch.save({"a.weight": torch.zeros(2, 2)}, tmp_path / "unknown.pth")
    assert "--arch" in refused(4, "convert", tmp_path / "unknown.pth", "--fuse", "-o", target)
    assert not target.exists()
    done("convert", plain, "--fuse", "-o", target)
    assert "fused already" in refused(2, "convert", target, "--fuse", "-o", tmp_path / "again.safetensors")
    save_file(load_file(target), tmp_path / "nameless.safetensors")
    assert "fused already" in refused(
        2, "convert", tmp_path / "nameless.safetensors", "--fuse", "-o", tmp_path / "again.safetensors"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_prove_nothing(model, tmp_path, value):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state["stem.0.conv.weight"][0] = value
    save_file(state, tmp_path / "broken.safetensors")
    said = refused(4, "convert", tmp_path / "broken.safetensors", "--fuse", "-o", tmp_path / "fused.safetensors")
    assert "not finite" in said
    assert not (tmp_path / "fused.safetensors").exists()


def test_numbers_beyond_the_dtype(model, tmp_path):
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state["classifier.bias"][0] = 1e6
    save_file(state, tmp_path / "large.safetensors")
    target = tmp_path / "fused.safetensors"
    said = refused(4, "convert", tmp_path / "large.safetensors", "--fuse", "--dtype", "float16", "-o", target)
    assert "beyond F16" in said
    done("convert", tmp_path / "large.safetensors", "--fuse", "-o", target)


def test_a_file_of_another_model(model, tmp_path):
    state = model.state_dict()
    torch.save({key: value for key, value in state.items() if key != "conv_head.weight"}, tmp_path / "short.pth")
    said = refused(4, "convert", tmp_path / "short.pth", "--arch", NAME, "--fuse", "-o", tmp_path / "f.safetensors")
    assert "missing (conv_head.weight)" in said
    state["classifier.extra"] = torch.zeros(1)
    headless = {key: value for key, value in state.items() if key != "classifier.weight"}
    save_file(headless, tmp_path / "headless.safetensors")
    report = done(
        "convert", tmp_path / "headless.safetensors", "--arch", NAME, "--fuse", "-o", tmp_path / "f.safetensors"
    )
    assert set(report["dropped"]) == {"classifier.extra", "classifier.bias"}
