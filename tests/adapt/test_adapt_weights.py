"""`zoo adapt-weights` as a pipeline uses it: what it writes, what it says, how it fails."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.architectures.registry import get_pretrained_cfg

MODEL, INPUT = "test_resnet", "conv1.0.weight"
STATED = {
    "schema_version": 1, "architecture": MODEL, "tag": "mine", "in_chans": 3, "num_classes": 1000,
    "input_size": [3, 96, 96], "mean": [0.0, 0.2, 0.3], "std": [0.4, 0.5, 0.6],
}  # fmt: skip


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture(scope="module")
def state_dict() -> dict[str, torch.Tensor]:
    return create_model(MODEL, seed=0).state_dict()


@pytest.fixture
def source(tmp_path: Path, state_dict: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A safetensors file written by the library; the working folder is its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "source.safetensors"
    save_file(state_dict, path, metadata={"format": "pt", "note": "kept"})
    return path


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Zoo:
    def run(*words: object) -> Run:
        return Run(errors.run(app, [str(word) for word in words]), *capsys.readouterr())

    return run


@pytest.fixture
def adapt(zoo: Zoo, source: Path) -> Zoo:
    def run(in_chans: int, *words: object, weights: Path = source, output: object = "out.safetensors") -> Run:
        return zoo("adapt-weights", MODEL, "--weights", weights, "--in-chans", in_chans, "-o", output, *words)

    return run


def tensor_bytes(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        name: (str(t.dtype), tuple(t.shape), t.reshape(-1).view(torch.uint8).numpy().tobytes())
        for name, t in load_file(path).items()
    }


def stated(path: Path) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


def assert_refused(run: Run, code: int, *words: str) -> None:
    assert (run.returncode, run.stdout) == (code, "")
    assert run.stderr.startswith("zoo: error: ")
    assert "Traceback" not in run.stderr
    assert "fault in zoo" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert not os.path.exists("out.safetensors")
    assert not [name for name in os.listdir() if name.startswith(".zoo-")]


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("in_chans", [1, 2, 4, 5, 25])
def test_the_input_layer_follows_the_formula_and_the_rest_its_source(adapt: Zoo, source: Path, in_chans: int):
    assert adapt(in_chans).returncode == 0
    before, after = tensor_bytes(source), tensor_bytes(Path("out.safetensors"))
    assert before.keys() == after.keys()
    assert {n for n in before if before[n] != after[n]} == {INPUT}
    weight = load_file(source)[INPUT]
    if in_chans == 1:
        expected = weight.sum(dim=1, keepdim=True)
    else:
        expected = weight.repeat(1, 9, 1, 1)[:, :in_chans] * (3 / in_chans)
    assert torch.equal(load_file("out.safetensors")[INPUT], expected)


def test_the_file_says_what_it_is(adapt: Zoo):
    adapt(5)
    cfg = get_pretrained_cfg(MODEL)
    assert cfg is not None
    found = stated(Path("out.safetensors"))
    assert (found["architecture"], found["in_chans"], found["num_classes"]) == (MODEL, 5, 1000)
    assert found["input_size"] == [5, *cfg.input_size[1:]]
    assert found["mean"] == [cfg.mean[i % 3] for i in range(5)]
    assert found["std"] == [cfg.std[i % 3] for i in range(5)]
    with safe_open("out.safetensors", "pt") as file:
        assert file.metadata()["note"] == "kept"


def test_a_pth_source_gives_the_same_tensors(adapt: Zoo, state_dict: dict[str, torch.Tensor], tmp_path: Path):
    torch.save({"state_dict": state_dict}, tmp_path / "source.pth")
    adapt(4, output="a.safetensors")
    assert adapt(4, weights=tmp_path / "source.pth", output="b.safetensors").returncode == 0
    assert tensor_bytes(Path("a.safetensors")) == tensor_bytes(Path("b.safetensors"))


def test_no_classes_leave_the_classifier_out_and_create_makes_one(adapt: Zoo, zoo: Zoo):
    run = adapt(4, "--num-classes", 0)
    assert "fc.bias, fc.weight: dropped; the classifier is left out\n" in run.stdout
    assert not [name for name in load_file("out.safetensors") if name.startswith("fc.")]
    assert stated(Path("out.safetensors"))["num_classes"] == 0
    bare = json.loads(zoo("create", MODEL, "--weights", "out.safetensors", "--json").stdout)
    assert (bare["in_chans"], bare["num_classes"], bare["weights"]["initialised"]) == (4, 0, [])
    new = json.loads(zoo("create", MODEL, "--weights", "out.safetensors", "--num-classes", 10, "--json").stdout)
    assert (new["in_chans"], new["num_classes"]) == (4, 10)
    assert sorted(new["weights"]["initialised"]) == ["fc.bias", "fc.weight"]


def test_what_a_file_states_of_its_input_is_carried_on(adapt: Zoo, source: Path, state_dict: dict[str, torch.Tensor]):
    save_file(state_dict, source, metadata={"zoo": json.dumps(STATED)})
    assert adapt(4).returncode == 0
    found = stated(Path("out.safetensors"))
    assert (found["mean"], found["std"]) == ([0.0, 0.2, 0.3, 0.0], [0.4, 0.5, 0.6, 0.4])
    assert (found["input_size"], found["tag"]) == ([4, 96, 96], "mine")


@pytest.mark.parametrize(
    "change",
    [
        {"model_args": {"depth": 100_000}},
        {"model_args": {"layers": {"a": 1}}},
        {"model_args": {"img_size": "large"}},
        {"model_args": {"img_size": [224]}},
        {"model_args": []},
        {"bands": [1, 2, 3]},
        {"input_layout": 5},
        {"input_layout": "blocks:0"},
        {"mean": "abc"},
        {"mean": [1, 2]},
        {"std": [1, 2, float("nan")]},
        {"std": [1, 2, 0]},
        {"input_size": [3]},
        {"input_size": [4, 96, 96]},
        {"in_chans": 0},
        {"in_chans": True},
        {"num_classes": -1},
        {"tag": 5},
        {"first_conv": {"a": 1}},
        {"crop_pct": "wide"},
    ],
)
def test_a_statement_that_makes_no_sense_is_refused(
    adapt: Zoo, source: Path, state_dict: dict[str, torch.Tensor], change: dict[str, Any]
):
    save_file(state_dict, source, metadata={"zoo": json.dumps(STATED | change)})
    assert_refused(adapt(4), 4, "source.safetensors states a configuration that does not describe")
    assert not Path("out.safetensors").exists()


def test_values_that_overflow_are_told(adapt: Zoo, source: Path, state_dict: dict[str, torch.Tensor]):
    half = {name: t.half() if name == INPUT else t for name, t in state_dict.items()}
    half[INPUT] = torch.full_like(half[INPUT], 60000)
    save_file(half, source)
    run = adapt(1)
    assert (run.returncode, run.stderr) == (0, f"zoo: note: {INPUT} holds NaN or infinite values after adapting.\n")


def test_the_same_request_gives_the_same_bytes_everywhere(source: Path, tmp_path: Path):
    digests = set()
    for number, env in enumerate(
        ({"LC_ALL": "C", "PYTHONHASHSEED": "1"}, {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"})
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        words = ["adapt-weights", MODEL, "--weights", os.path.relpath(source, folder), "--in-chans", "4", "-o", "o"]
        program = (
            "import sys\nfrom zoo.cli import errors\nfrom zoo.cli.app import app\n"
            "code = errors.run(app, sys.argv[1:])\n"
            "heavy = {'torch', 'PIL', 'huggingface_hub', 'rich'} & set(sys.modules)\n"
            "sys.exit(f'imported {heavy}' if heavy else code)"
        )
        command = [sys.executable, "-P", "-c", program, *words]
        run = subprocess.run(command, cwd=folder, env=os.environ | env, capture_output=True, text=True)
        assert (run.returncode, run.stderr) == (0, "")  # nothing heavy was imported either
        digests.add(hashlib.sha256((folder / "o").read_bytes()).hexdigest())
    assert len(digests) == 1


# ---------------------------------------------------------------- writing again


def test_a_dry_run_writes_nothing(adapt: Zoo, source: Path):
    run = adapt(4, "--dry-run")
    assert run.returncode == 0
    assert "would be written" in run.stdout
    assert os.listdir() == [source.name]


def test_a_second_run_changes_nothing_and_another_needs_force(adapt: Zoo):
    adapt(4)
    before = Path("out.safetensors").read_bytes()
    assert "unchanged" in adapt(4).stdout
    refused = adapt(5)
    assert (refused.returncode, refused.stdout) == (6, "")
    assert "--force" in refused.stderr
    assert Path("out.safetensors").read_bytes() == before
    assert json.loads(adapt(5, "--force", "--json").stdout)["status"] == "written"
    assert Path("out.safetensors").read_bytes() != before


def test_a_file_is_adapted_in_place_with_force(adapt: Zoo, source: Path):
    adapt(4)
    expected = Path("out.safetensors").read_bytes()
    assert adapt(4, output=source).returncode == 6
    assert adapt(4, "--force", output=source).returncode == 0
    assert source.read_bytes() == expected


def test_a_source_that_changes_on_the_way_leaves_no_output(adapt: Zoo, source: Path, monkeypatch: pytest.MonkeyPatch):
    from zoo.core.adapt import job

    def write_and_touch(*arguments: Any) -> None:
        real(*arguments)
        os.utime(source, ns=(1, 1))

    real = job.write_safetensors
    monkeypatch.setattr(job, "write_safetensors", write_and_touch)
    assert_refused(adapt(4), 4, "source.safetensors changed while it was being read", "Run the command again")


def test_json_is_one_document(adapt: Zoo):
    run = adapt(4, "--json")
    document = json.loads(run.stdout)
    assert (document["status"], document["from_chans"], document["in_chans"]) == ("written", 3, 4)
    assert document["bytes"] == os.path.getsize("out.safetensors")
    assert document["changes"] == [
        {
            "name": INPUT, "action": "adapt", "shape": [16, 3, 3, 3], "dtype": "F32",
            "new_name": INPUT, "new_shape": [16, 4, 3, 3], "new_dtype": "F32",
        }
    ]  # fmt: skip


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("in_chans", [0, -3, 10**9])
def test_channels_that_make_no_sense(adapt: Zoo, in_chans: int):
    assert_refused(adapt(in_chans), 2, f"found {in_chans}")


def test_classes_that_make_no_sense(adapt: Zoo):
    assert_refused(adapt(4, "--num-classes", -1), 2, "found -1")


@pytest.mark.parametrize(("name", "words"), [("test_resnet1", "Did you mean test_resnet"), (f"{MODEL}.no", "its tags")])
def test_unknown_names(zoo: Zoo, source: Path, name: str, words: str):
    run = zoo("adapt-weights", name, "--weights", source, "--in-chans", 4, "-o", "out.safetensors")
    assert_refused(run, 5, words)


def test_missing_weights(adapt: Zoo):
    assert_refused(adapt(4, weights=Path("none.safetensors")), 5, "There is no weight file none.safetensors")


def test_weights_of_another_architecture(adapt: Zoo, zoo: Zoo, source: Path):
    run = zoo("adapt-weights", "resnet18", "--weights", source, "--in-chans", 4, "-o", "out.safetensors")
    assert_refused(run, 4, "source.safetensors has no conv1.weight, which resnet18 reads its image with")
    adapt(4, output="four.safetensors")
    run = zoo("adapt-weights", "resnet18", "--weights", "four.safetensors", "--in-chans", 5, "-o", "out.safetensors")
    assert_refused(run, 4, "four.safetensors states that it holds test_resnet, not resnet18")


def test_corrupt_weights(adapt: Zoo, source: Path):
    source.write_bytes(source.read_bytes()[:-1])
    assert_refused(adapt(4), 4, "source.safetensors is not a sound safetensors file", "Download it again")


@pytest.mark.parametrize(
    "tensor", [torch.zeros(5), torch.zeros(()), torch.zeros(4, 0, 3, 3), torch.zeros(4, 3, 3, 3, dtype=torch.int64)]
)
def test_an_input_layer_that_is_none(adapt: Zoo, source: Path, tensor: torch.Tensor):
    save_file({INPUT: tensor}, source)
    assert_refused(adapt(4), 4, "source.safetensors", INPUT, "(out, in, kernel...)")


@pytest.mark.parametrize("output", ["missing/out.safetensors", "/dev/null", "."])
def test_outputs_that_cannot_be(adapt: Zoo, output: str):
    assert_refused(adapt(4, output=output), 6)


def test_a_bad_output_is_found_before_the_weights_are_looked_for(adapt: Zoo):
    assert_refused(adapt(4, weights=Path("none"), output="missing/out"), 6, "mkdir -p")


def test_offline_and_not_cached(zoo: Zoo, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(source.parent / "empty"))
    run = zoo("adapt-weights", MODEL, "--in-chans", 4, "-o", "out.safetensors")
    assert_refused(run, 5, "stay offline", "zoo: hint: ")


def test_a_failure_under_json_leaves_stdout_empty(adapt: Zoo):
    run = adapt(0, "--json")
    assert (run.returncode, run.stdout) == (2, "")
    assert json.loads(run.stderr)["error"]["name"] == "usage"
