"""Averages of weight files against numpy, and what is no average."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.average.job import AverageRequest, average
from zoo.core.average.mean import Averager, Mean, Scratch
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import Computed, StoredTensor

Arrays = dict[str, np.ndarray]


def arrays(seed: int, dtype: type = np.float32) -> Arrays:
    random = np.random.default_rng(seed)
    shapes = {"conv.weight": (5, 3, 7, 7), "bn.weight": (5,), "large.weight": (700, 500), "scale": (), "empty": (0, 4)}
    return {name: np.asarray(random.standard_normal(shape), dtype) for name, shape in shapes.items()}


def files(folder: Path, count: int, dtype: type = np.float32) -> tuple[list[Path], list[Arrays]]:
    contents = [arrays(seed, dtype) for seed in range(count)]
    paths = [folder / f"{number}.safetensors" for number in range(count)]
    for path, content in zip(paths, contents, strict=True):
        save_file(content, path)
    return paths, contents


def stacked(contents: list[Arrays], name: str) -> np.ndarray:
    return np.stack([content[name].astype(np.float64) for content in contents])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("count", [2, 3, 11])
def test_equal_weights_are_numpys_mean_bit_for_bit(tmp_path, count, dtype):
    paths, contents = files(tmp_path, count, dtype)
    report = average(paths, AverageRequest(output=tmp_path / "out.safetensors"))
    found = load_file(tmp_path / "out.safetensors")
    assert report.averaged == len(found) == 5
    for name, array in found.items():
        assert array.dtype == dtype
        assert np.array_equal(array, np.mean(stacked(contents, name), 0).astype(dtype))


@pytest.mark.parametrize("weights", [(0.5, 0.3, 0.2), (2.0, 0.0, 7.0)])
def test_weights_are_numpys_average_bit_for_bit(tmp_path, weights):
    paths, contents = files(tmp_path, 3)
    report = average(paths, AverageRequest(output=tmp_path / "out.npz", weights=weights))
    assert sum(report.shares) == pytest.approx(1, abs=1e-15)
    with np.load(tmp_path / "out.npz") as found:
        for name in contents[0]:
            expected = np.average(stacked(contents, name), 0, weights=weights).astype(np.float32)
            assert np.array_equal(found[name], expected)


def test_a_moving_average_is_its_recursion_bit_for_bit(tmp_path):
    paths, contents = files(tmp_path, 4)
    report = average(paths, AverageRequest(output=tmp_path / "out.safetensors", decay=0.9))
    assert report.shares == pytest.approx([0.9**3, 0.1 * 0.9**2, 0.1 * 0.9, 0.1])
    for name, array in load_file(tmp_path / "out.safetensors").items():
        first, *others = stacked(contents, name)
        for other in others:
            first = 0.9 * first + (1 - 0.9) * other
        assert np.array_equal(array, first.astype(np.float32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.complex64])
def test_other_dtypes_are_averaged_in_double_precision(tmp_path, dtype):
    generator = torch.Generator().manual_seed(0)
    wide = torch.complex64 if dtype.is_complex else torch.float32
    tensors = [torch.randn(300, 7, dtype=wide, generator=generator).to(dtype) for _ in range(3)]
    for number, tensor in enumerate(tensors):
        save_torch({"w": tensor}, tmp_path / f"{number}.safetensors")
    average([tmp_path / f"{n}.safetensors" for n in range(3)], AverageRequest(output=tmp_path / "out.safetensors"))
    exact = torch.complex128 if dtype.is_complex else torch.float64
    expected = (sum(tensor.to(exact) for tensor in tensors) / 3).to(dtype)
    assert torch.equal(load_torch(tmp_path / "out.safetensors")["w"], expected)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=2, max_size=9))
@settings(max_examples=50, deadline=None)
def test_an_average_lies_between_its_values(values):
    how = Mean(tuple(1.0 + number for number in range(len(values))))
    found = how.of((np.array([value], np.float32) for value in values), Scratch(1))[0]
    assert min(values) - 1e-9 <= found <= max(values) + 1e-9


def test_what_is_computed_while_it_is_read_gives_the_same_as_what_lies_in_a_file(tmp_path):
    first, second = (np.random.default_rng(seed).standard_normal((40, 30)).astype(np.float32) for seed in range(2))
    save_torch({"w": torch.from_numpy(first)}, tmp_path / "a.safetensors")
    torch.save({"w": torch.from_numpy(second.T.copy()).T}, tmp_path / "b.pth")  # transposed in its file
    average([tmp_path / "a.safetensors", tmp_path / "b.pth"], AverageRequest(output=tmp_path / "out.safetensors"))
    expected = np.mean(np.stack([first, second]).astype(np.float64), 0).astype(np.float32)
    assert np.array_equal(load_file(tmp_path / "out.safetensors")["w"], expected)


def test_tensors_that_are_written_in_another_order_get_their_own_values(tmp_path: Path):
    """Wider dtypes are written first, and pieces are computed ahead in the order of the files."""
    random = np.random.default_rng(3)
    shapes = {"a": (300_000, np.float16), "b": (700_000, np.float32), "c": (0, np.float32), "d": (5, np.float16),
              "e": (600_000, np.float64), "f": (3, np.float32)}  # fmt: skip
    files = [{name: random.standard_normal(n).astype(dtype) for name, (n, dtype) in shapes.items()} for _ in range(3)]
    for number, file in enumerate(files):
        save_torch({name: torch.from_numpy(array) for name, array in file.items()}, tmp_path / f"{number}.safetensors")
    average(sorted(tmp_path.glob("*.safetensors")), AverageRequest(output=tmp_path / "out.safetensors"))
    found = load_file(tmp_path / "out.safetensors")
    assert found.keys() == shapes.keys()
    for name, (_, dtype) in shapes.items():
        expected = np.mean(np.stack([file[name] for file in files]).astype(np.float64), 0).astype(dtype)
        assert np.array_equal(found[name], expected), name


def test_pieces_of_any_tensor_come_in_order():
    values = np.arange(400_000, dtype=np.float32)
    computed = StoredTensor(
        "w", "F32", values.shape, Computed(values.nbytes, lambda: [values[:7].tobytes(), values[7:].tobytes()])
    )
    averager = Averager(Mean())
    try:
        assert b"".join(averager.add([computed, computed], "F32")()) == values.tobytes()
    finally:
        averager.close()


# ---------------------------------------------------------------- files that go together, and that do not


def saved_model(path: Path, seed: int, **arguments: object) -> Path:
    model = create_model("test_resnet", seed=seed, **arguments)
    state = model.state_dict()
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            tensor.fill_(seed + 1)
    torch.save({"state_dict": state}, path)
    return path


def test_a_network_is_recognised_and_its_batch_norms_are_told(tmp_path):
    paths = [saved_model(tmp_path / f"{seed}.pth", seed, num_classes=7) for seed in range(3)]
    report = average(paths, AverageRequest(output=tmp_path / "out.safetensors"))
    norms = sum(name.endswith("running_mean") for name in torch.load(paths[0])["state_dict"])
    assert (report.architecture, report.batch_norms) == ("test_resnet", norms)
    assert any(f"{norms} batch norms were averaged" in note and "update_bn" in note for note in report.notes)
    assert any("batch counters differ; the largest was taken" in note for note in report.notes)
    with safe_open(tmp_path / "out.safetensors", framework="np") as file:
        stated = json.loads(file.metadata()["zoo"])
    assert (stated["architecture"], stated["num_classes"], stated["origin"]["averaged"]) == ("test_resnet", 7, 3)
    found = load_torch(tmp_path / "out.safetensors")
    assert {int(value) for name, value in found.items() if name.endswith("num_batches_tracked")} == {3}
    create_model("test_resnet", checkpoint_path=tmp_path / "out.safetensors")


def test_the_same_files_give_the_same_bytes_and_an_unchanged_target(tmp_path):
    paths, _ = files(tmp_path, 3)
    request = AverageRequest(output=tmp_path / "out.safetensors", weights=(1, 2, 3))
    assert average(paths, request).status == "written"
    assert average(paths, request).status == "unchanged"
    assert average(paths, AverageRequest(output=tmp_path / "x.safetensors", dry_run=True)).status == "planned"
    assert not (tmp_path / "x.safetensors").exists()


def test_another_architecture_is_refused(tmp_path):
    small, large = ({"a": np.ones((2, 3), np.float32)} for _ in range(2))
    save_file(small, tmp_path / "a.safetensors")
    save_file(large | {"b": np.ones(2, np.float32)}, tmp_path / "b.safetensors")
    save_file({"a": np.ones((3, 2), np.float32)}, tmp_path / "c.safetensors")
    output = tmp_path / "out.safetensors"
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    with pytest.raises(
        InvalidInputError, match=r"b\.safetensors has 1 tensor that .*a\.safetensors lacks; .* 'b'"
    ) as found:
        average([a, b], AverageRequest(output=output))
    assert "zoo diff" in found.value.hint
    with pytest.raises(InvalidInputError, match=r"'a' is 2x3 in .* and 3x2 in"):
        average([a, c], AverageRequest(output=output))
    assert not output.exists()


def test_one_network_in_two_layouts_is_refused_with_the_way_out(tmp_path):
    from zoo.core.layouts.engine import from_timm
    from zoo.core.model.save import stored_tensors, tensors_of

    state = create_model("mobilenetv3_small_100", seed=0).state_dict()
    save_torch(state, tmp_path / "timm.safetensors")
    save_torch(tensors_of(from_timm("torchvision", stored_tensors(state))), tmp_path / "theirs.safetensors")
    with pytest.raises(InvalidInputError) as found:
        average(
            [tmp_path / "timm.safetensors", tmp_path / "theirs.safetensors"], AverageRequest(output=tmp_path / "o.npz")
        )
    assert "names are those of torchvision: `zoo convert`" in found.value.hint


def test_files_that_state_different_inputs_are_refused(tmp_path):
    from zoo.core.architectures.published import find_cfg
    from zoo.core.metadata.stated import weight_metadata

    state = create_model("test_resnet", seed=0).state_dict()
    for name, mean in (("a", (0.5, 0.5, 0.5)), ("b", (0.4, 0.4, 0.4)), ("c", (0.5, 0.5, 0.5))):
        from dataclasses import replace

        cfg = replace(find_cfg("test_resnet"), mean=mean)
        save_torch(state, tmp_path / f"{name}.safetensors", weight_metadata(cfg, num_classes=1000, origin={"by": name}))
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    with pytest.raises(InvalidInputError, match=r"states mean \[0\.5, 0\.5, 0\.5\], and .* \[0\.4, 0\.4, 0\.4\]"):
        average([a, b], AverageRequest(output=tmp_path / "out.safetensors"))
    average([a, c], AverageRequest(output=tmp_path / "out.safetensors"))
    with safe_open(tmp_path / "out.safetensors", framework="np") as file:
        stated = json.loads(file.metadata()["zoo"])
    assert (stated["mean"], stated["origin"]["previous"]) == ([0.5, 0.5, 0.5], [{"by": "a"}, {"by": "c"}])


def test_integers_that_differ_are_refused_and_equal_ones_are_copied(tmp_path):
    for name, index in (("a", [1, 2]), ("b", [1, 2]), ("c", [1, 3])):
        save_file({"w": np.ones(2, np.float32), "index": np.array(index)}, tmp_path / f"{name}.safetensors")
    a, b, c = (tmp_path / f"{name}.safetensors" for name in "abc")
    report = average([a, b], AverageRequest(output=tmp_path / "out.safetensors"))
    assert (report.averaged, report.copied) == (1, 1)
    assert load_file(tmp_path / "out.safetensors")["index"].tolist() == [1, 2]
    with pytest.raises(InvalidInputError, match="'index' holds I64 values that differ"):
        average([a, c], AverageRequest(output=tmp_path / "other.safetensors"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"weights": (0.5, 0.5)}, "2 files need 2 weights|3 files need 3 weights, found 2"),
        ({"weights": (0.0, 0.0, 0.0)}, "not all 0"),
        ({"weights": (1.0, -1.0, 1.0)}, "numbers from 0 on"),
        ({"weights": (1.0, float("nan"), 1.0)}, "numbers from 0 on"),
        ({"decay": 1.5}, "from 0 to 1"),
        ({"weights": (1.0, 1.0, 1.0), "decay": 0.9}, "exclude each other"),
    ],
)
def test_requests_that_make_no_sense(tmp_path, arguments, told):
    paths, _ = files(tmp_path, 3)
    with pytest.raises(UsageError, match=told):
        average(paths, AverageRequest(output=tmp_path / "out.safetensors", **arguments))


def test_one_file_has_no_average(tmp_path):
    paths, _ = files(tmp_path, 1)
    with pytest.raises(UsageError, match="two or more"):
        average(paths, AverageRequest(output=tmp_path / "out.safetensors"))


# ---------------------------------------------------------------- the command


def run(*words: object) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = errors.run(app, ["average", *map(str, words)])
    return code, out.getvalue(), err.getvalue()


def test_the_command(tmp_path):
    paths, contents = files(tmp_path, 3)
    code, out, _ = run(*paths, "--weights", "0.5,0.3,0.2", "-o", tmp_path / "out.safetensors", "--json")
    told = json.loads(out)
    assert (code, told["status"], told["shares"], told["averaged"]) == (0, "written", [0.5, 0.3, 0.2], 5)
    expected = np.average(stacked(contents, "bn.weight"), 0, weights=(0.5, 0.3, 0.2)).astype(np.float32)
    assert np.array_equal(load_file(tmp_path / "out.safetensors")["bn.weight"], expected)
    code, out, err = run(*paths, "--weights", "a,b", "-o", tmp_path / "x.safetensors")
    assert (code, out) == (2, "")
    assert "--weights takes numbers" in err
    code, out, err = run(*paths, "--ema", "0.5", "-o", tmp_path / "out.safetensors")
    assert (code, out) == (6, "")
    assert "--force" in err


def test_any_number_of_files_takes_little_memory(tmp_path):
    """12 files of 24 MiB, each a single tensor: as arrays in float64 they would take 576 MiB."""
    values = np.zeros(6 << 20, np.float32)
    save_file({"w": values}, tmp_path / "0.safetensors")
    code = """
import resource, sys
from zoo.core.average.job import AverageRequest, average
request = AverageRequest(output=sys.argv[1] + "/out.safetensors", sync=False)
average([sys.argv[1] + "/0.safetensors"] * 2, AverageRequest(output=request.output, dry_run=True))
import numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
average([sys.argv[1] + "/0.safetensors"] * 12, request)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    command = [sys.executable, "-P", "-c", code, str(tmp_path)]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 40 << 10
