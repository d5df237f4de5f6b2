"""What `zoo adapt-weights` does besides channels: classes, dtypes, names, folders, proofs, pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from zoo import create_model
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.job import OutputRequest, Source, adapt_source
from zoo.core.adapt.plan import plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.verify import verify_adapted
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.open_weights import open_weights
from zoo.core.files.stored_tensor import StoredTensor

MODEL, INPUT = "test_resnet", "conv1.0.weight"
OUT = Path("out.safetensors")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

State = dict[str, torch.Tensor]


class Run(NamedTuple):
    code: int
    stdout: str
    stderr: str


Adapt = Callable[..., Run]


@pytest.fixture(scope="module")
def state() -> State:
    return create_model(MODEL, seed=0).state_dict()  # type: ignore[no-any-return]


@pytest.fixture
def adapt(capsys: pytest.CaptureFixture[str], tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> Adapt:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    save_file(state, "source.safetensors")

    def run(*words: object, output: object = OUT, weights: object = "source.safetensors") -> Run:
        line = ["adapt-weights", MODEL, "--weights", weights, "-o", output, *words]
        return Run(errors.run(app, [str(word) for word in line]), *capsys.readouterr())

    return run


def assert_refused(run: Run, code: int, *words: str) -> None:
    assert (run.code, run.stdout) == (code, "")
    assert "Traceback" not in run.stderr
    for word in words:
        assert word in run.stderr
    assert not OUT.exists()
    assert not [name for name in os.listdir() if name.startswith(".zoo-")]


def stated(path: Path = OUT) -> dict[str, Any]:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["zoo"])  # type: ignore[no-any-return]


# ---------------------------------------------------------------- classes


def test_chosen_classes_are_kept_in_their_new_order(adapt: Adapt, state: State):
    Path("classes.txt").write_text("# ours\n7 jay\n\n0\n999  # last\n")
    run = adapt("--keep-classes", "classes.txt", "--in-chans", 4)
    assert run.code == 0
    written = load_file(OUT)
    assert torch.equal(written["fc.weight"], state["fc.weight"][[7, 0, 999]])
    assert torch.equal(written["fc.bias"], state["fc.bias"][[7, 0, 999]])
    assert stated()["num_classes"] == 3
    model = create_model(MODEL, checkpoint_path=str(OUT))
    assert model.num_classes == 3


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [("1000", 4, "1000"), ("1\n1", 2, "distinct"), ("x", 2, "Line 1"), ("# none", 2, "no class"), ("-1", 2, "Line 1")],
)
def test_classes_that_cannot_be_kept(adapt: Adapt, text: str, code: int, word: str):
    Path("classes.txt").write_text(text)
    assert_refused(adapt("--keep-classes", "classes.txt", "--in-chans", 4), code, word)


def test_a_missing_class_file(adapt: Adapt):
    assert_refused(adapt("--keep-classes", "none.txt", "--in-chans", 4), 5, "none.txt")


def test_numbers_of_classes_that_contradict_each_other(adapt: Adapt):
    Path("classes.txt").write_text("1\n2\n")
    run = adapt("--keep-classes", "classes.txt", "--num-classes", 3)
    assert_refused(run, 2, "2 classes would be kept, but 3 classes were asked")


def test_a_dropped_classifier_counts_against_the_coverage(adapt: Adapt, state: State):
    total = sum(value.numel() for value in state.values())
    head = state["fc.weight"].numel() + state["fc.bias"].numel()
    share = 1 - head / total
    run = adapt("--num-classes", 5, "--in-chans", 4, "--json")
    assert json.loads(run.stdout)["coverage"] == pytest.approx(share)
    OUT.unlink()
    assert_refused(adapt("--num-classes", 5, "--min-coverage", share + 0.001), 4, "less than the")
    assert adapt("--num-classes", 5, "--min-coverage", share - 0.001).code == 0


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_coverage_is_a_share(adapt: Adapt, share: str):
    assert_refused(adapt("--in-chans", 4, f"--min-coverage={share}"), 2, "share from 0 to 1")


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_floating_point_tensor_is_cast_as_torch_does(adapt: Adapt, state: State, dtype: str):
    assert adapt("--in-chans", 3, "--dtype", dtype, "--verify").code == 0
    written = load_file(OUT)
    for name, value in state.items():
        expected = value.to(DTYPES[dtype]) if value.is_floating_point() else value
        assert written[name].dtype == expected.dtype
        assert torch.equal(written[name], expected)


def test_an_adapted_layer_is_rounded_once(adapt: Adapt, state: State):
    assert adapt("--in-chans", 7, "--dtype", "float16", "--verify").code == 0
    expected = (state[INPUT].repeat(1, 3, 1, 1)[:, :7] * (3 / 7)).half()
    assert torch.equal(load_file(OUT)[INPUT], expected)


def test_what_a_cast_makes_infinite_is_said_or_refused(adapt: Adapt, state: State):
    large = {**state, "bn1.weight": state["bn1.weight"] * 1e6}
    save_file(large, "source.safetensors")
    run = adapt("--dtype", "float16")
    assert (run.code, "bn1.weight holds NaN or infinite values" in run.stderr) == (0, True)
    OUT.unlink()
    assert_refused(adapt("--dtype", "float16", "--fail-on-nonfinite"), 4, "bn1.weight", "finite")


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", [INPUT, "fc.bias"])
def test_a9_non_finite_sources(adapt: Adapt, state: State, name: str, value: float):
    broken = state[name].clone()
    broken.view(-1)[3] = value
    save_file({**state, name: broken}, "source.safetensors")
    assert_refused(adapt("--in-chans", 4, "--fail-on-nonfinite"), 4, name)
    run = adapt("--in-chans", 4)
    assert run.code == 0
    assert (f"{name} holds NaN" in run.stderr) == (name == INPUT)  # what is only copied is read on demand alone


# ---------------------------------------------------------------- names


def test_a_prefix_comes_off_and_another_tensor_is_left_out(adapt: Adapt, state: State):
    wrapped = {f"backbone.{name}": value for name, value in state.items()} | {"loss.weight": torch.ones(2)}
    save_file(wrapped, "source.safetensors")
    assert_refused(adapt("--in-chans", 4), 4, "--strip-prefix backbone.")
    run = adapt("--in-chans", 4, "--strip-prefix", "backbone.", "--verify")
    assert run.code == 0
    assert "loss.weight: dropped; its name does not begin with backbone." in run.stdout
    assert load_file(OUT).keys() == state.keys()


def test_a_prefix_goes_on(adapt: Adapt, state: State):
    assert adapt("--in-chans", 4, "--prefix", "encoder.", "--verify").code == 0
    assert load_file(OUT).keys() == {f"encoder.{name}" for name in state}
    assert stated()["first_conv"] == [f"encoder.{INPUT.removesuffix('.weight')}"]


def test_a_prefix_that_nothing_has(adapt: Adapt):
    assert_refused(adapt("--in-chans", 4, "--strip-prefix", "nothing."), 4, "begins with 'nothing.'")


# ---------------------------------------------------------------- bands


def test_bands_are_placed_by_name_and_written_down(adapt: Adapt, state: State):
    run = adapt("--bands", "B4,B3,B2,B8", "--sensor", "sentinel2", "--missing-bands", "zero", "--verify", "--json")
    assert run.code == 0
    written = load_file(OUT)[INPUT]
    assert torch.equal(written[:, :3], state[INPUT])
    assert not written[:, 3].any()
    assert stated()["bands"] == ["sentinel2:B04", "sentinel2:B03", "sentinel2:B02", "sentinel2:B08"]


def test_the_bands_of_a_file_are_known_the_next_time(adapt: Adapt):
    assert adapt("--bands", "B4,B3,B2,B8", "--sensor", "sentinel2", output="four.safetensors").code == 0
    run = adapt("--bands", "NIR,R", weights="four.safetensors", output="two.safetensors")
    assert run.code == 0
    four, two = load_file("four.safetensors")[INPUT], load_file("two.safetensors")[INPUT]
    assert torch.equal(two, four[:, [3, 0]])


def test_b_numbers_without_a_sensor_are_said_to_be_taken_for_sentinel2(adapt: Adapt):
    run = adapt("--bands", "B2,B3,B4,B8", "--from-bands", "R,G,B")
    assert run.code == 0
    assert "was taken for bands of sentinel2" in run.stderr


def test_a_sensor_alone_means_all_its_bands(adapt: Adapt):
    assert adapt("--sensor", "naip").code == 0
    assert load_file(OUT)[INPUT].shape[1] == 4


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--bands", "R,G", "--in-chans", "3"), "2 bands were named for 3 channels"),
        (("--from-bands", "R,G,B"), "of no use without those of the new"),
        (("--bands", "R,G", "--from-bands", "R,G"), "The source reads 3 bands; 2 were named"),
        (("--bands", "R,nonsense"), "nonsense"),
        (("--sensor", "sentinel9"), "sentinel9"),
    ],
)
def test_bands_that_make_no_sense(adapt: Adapt, words: tuple[str, ...], word: str):
    assert_refused(adapt(*words), 2, word)


def test_channels_that_are_no_band(adapt: Adapt, state: State):
    run = adapt("--bands", "B2,B3,B4,NDVI,aux:x1", "--verify")
    assert run.code == 0
    assert "NDVI <- mean of all (no wavelength)" in run.stdout
    assert "x1 <- mean of all (no wavelength)" in run.stdout
    assert stated()["bands"] == ["sentinel2:B02", "sentinel2:B03", "sentinel2:B04", "aux:NDVI", "aux:x1"]
    # Each source filter is divided by how often it counts: once for its band, a third for each of the two others.
    red, green, blue = (filters / (1 + 2 / 3) for filters in state[INPUT].unbind(1))
    mean = (red + green + blue) / 3
    expected = torch.stack([blue, green, red, mean, mean], 1)
    torch.testing.assert_close(load_file(OUT)[INPUT], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("missing", ["nearest", "interpolate", "mean", "zero"])
def test_a_channel_gets_its_filter_from_the_source_by_name(adapt: Adapt, missing: str):
    assert adapt("--bands", "B2,B3,B4,NDVI", "--missing-bands", "zero", output="four.safetensors").code == 0
    words = ("--missing-bands", missing, "--verify")
    run = adapt("--bands", "ndvi,B4,B3,B2", *words, weights="four.safetensors", output="turned.safetensors")
    assert run.code == 0
    assert "ndvi <- 1 NDVI (name)" in run.stdout
    four, turned = load_file("four.safetensors")[INPUT], load_file("turned.safetensors")[INPUT]
    assert torch.equal(turned, four[:, [3, 2, 1, 0]])


def test_a_source_with_a_channel_that_is_no_band(adapt: Adapt, state: State):
    four = torch.cat([state[INPUT], torch.full_like(state[INPUT][:, :1], 9.0)], 1)
    save_file({**state, INPUT: four}, "four.safetensors")
    words = ("--from-bands", "B4,B3,B2,NDVI", "--bands", "B2,B3,B4,B5,B8", "--verify")
    run = adapt(*words, weights="four.safetensors")
    assert run.code == 0
    assert not (load_file(OUT)[INPUT] == 9.0).any()  # no band is near to an index
    assert "B05 <- 1 B04 (nearest)" in run.stdout


# ---------------------------------------------------------------- what is asked at all


@pytest.mark.parametrize("option", ["--method", "--missing-bands", "--dtype", "--format"])
def test_a_value_that_is_no_choice(adapt: Adapt, option: str):
    assert_refused(adapt("--in-chans", 4, option, "wrong"), 2, "wrong")


@pytest.mark.parametrize("values", [{"method": "x"}, {"dtype": "int8"}, {"img_size": (0, 3)}, {"patch_size": 0}])
def test_the_library_refuses_them_too(values: dict[str, Any]):
    with pytest.raises(UsageError):
        AdaptRequest(**values)


def test_another_image_size_of_a_convolutional_network_is_only_stated(adapt: Adapt, state: State):
    assert adapt("--in-chans", 3, "--img-size", "320,256").code == 0
    written = load_file(OUT)
    assert all(torch.equal(written[name], state[name]) for name in state)
    assert stated()["input_size"] == [3, 320, 256]


@pytest.mark.parametrize("size", ["0", "x", "1,2,3", "-5"])
def test_a_malformed_image_size(adapt: Adapt, size: str):
    assert_refused(adapt("--in-chans", 3, f"--img-size={size}"), 2)


def test_a_patch_size_needs_a_patch_embedding(adapt: Adapt):
    assert_refused(adapt("--in-chans", 3, "--patch-size", 8), 4, "patch")


# ---------------------------------------------------------------- folders for timm


def test_a_folder_for_timm_is_one_step(adapt: Adapt, state: State):
    run = adapt("--in-chans", 4, "--format", "timm", output="folder")
    assert (run.code, sorted(os.listdir("folder"))) == (0, ["config.json", "model.safetensors"])
    config = json.loads(Path("folder/config.json").read_text())
    assert (config["architecture"], config["model_args"]) == (MODEL, {"in_chans": 4, "num_classes": 1000})
    assert config["pretrained_cfg"]["input_size"][0] == 4
    assert len(config["pretrained_cfg"]["mean"]) == 4
    again = adapt("--in-chans", 4, "--format", "timm", output="folder")
    assert (again.code, "unchanged" in again.stdout) == (0, True)
    assert adapt("--in-chans", 4, weights="folder", output="from_folder.safetensors").code == 0


def test_a_folder_is_replaced_whole_and_only_on_request(adapt: Adapt):
    assert adapt("--in-chans", 4, "--format", "timm", output="folder").code == 0
    before = {path.name: path.read_bytes() for path in Path("folder").iterdir()}
    assert adapt("--in-chans", 5, "--format", "timm", output="folder").code == 6
    assert {path.name: path.read_bytes() for path in Path("folder").iterdir()} == before
    assert adapt("--in-chans", 5, "--format", "timm", "--force", output="folder").code == 0
    assert load_file("folder/model.safetensors")[INPUT].shape[1] == 5
    assert not [name for name in os.listdir() if name.startswith(".zoo-")]


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_folder_with_other_files_is_never_touched(adapt: Adapt, force: tuple[str, ...]):
    Path("folder").mkdir()
    Path("folder/thesis.tex").write_text("years of work")
    run = adapt("--in-chans", 4, "--format", "timm", *force, output="folder")
    assert (run.code, "thesis.tex" in run.stderr) == (6, True)
    assert os.listdir("folder") == ["thesis.tex"]


def test_a_file_where_a_folder_should_be(adapt: Adapt):
    Path("folder").write_text("x")
    run = adapt("--in-chans", 4, "--format", "timm", "--force", output="folder")
    assert (run.code, Path("folder").read_text()) == (6, "x")


# ---------------------------------------------------------------- proofs


def planned(state: State, request: AdaptRequest) -> tuple[Any, dict[str, StoredTensor]]:
    """A plan and the tensors that it writes, in memory."""
    tensors = [StoredTensor(n, "F32", tuple(v.shape), v.numpy().tobytes()) for n, v in state.items()]
    plan = plan_adaptation(tensors, PretrainedCfg(first_conv="conv"), request, "test")
    return plan, {t.name: StoredTensor(t.name, t.dtype, t.shape, bytes(t.read())) for t in plan.tensors}


@pytest.fixture
def small() -> State:
    generator = torch.Generator().manual_seed(0)
    shapes = {"conv.weight": (4, 3, 3, 3), "other.weight": (5, 4), "third.weight": (6,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def failed(plan: Any, written: dict[str, StoredTensor]) -> list[str]:
    return [check.name for check in verify_adapted(plan, written) if not check.ok]


def flipped(tensor: StoredTensor, position: int = 2) -> StoredTensor:
    data = bytearray(tensor.read())
    data[position] ^= 0x40
    return StoredTensor(tensor.name, tensor.dtype, tensor.shape, bytes(data))


@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "zero"])
@pytest.mark.parametrize("in_chans", [1, 2, 5, 6])
def test_a_sound_result_passes(small: State, method: str, in_chans: int):
    assert failed(*planned(small, AdaptRequest(in_chans=in_chans, method=method))) == []


@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "zero"])
@pytest.mark.parametrize("dtype", ["", "float16", "bfloat16"])
def test_one_bit_of_the_input_layer_is_noticed(small: State, method: str, dtype: str):
    plan, written = planned(small, AdaptRequest(in_chans=5, method=method, dtype=dtype))
    written["conv.weight"] = flipped(written["conv.weight"], 3 if not dtype else 1)
    assert any("f_N(x) = f_C(mixed x)" in name for name in failed(plan, written))


@pytest.mark.parametrize("dtype", ["", "float16"])
def test_one_bit_of_another_tensor_is_noticed(small: State, dtype: str):
    plan, written = planned(small, AdaptRequest(in_chans=5, dtype=dtype))
    written["third.weight"] = flipped(written["third.weight"], 1)
    assert failed(plan, written) == [f"2 tensors {'cast' if dtype else 'copied'}"]


def test_missing_added_and_misshapen_tensors_are_noticed(small: State):
    plan, written = planned(small, AdaptRequest(in_chans=5))
    lacking = {name: tensor for name, tensor in written.items() if name != "other.weight"}
    assert failed(plan, lacking)[0] == "coverage"
    assert failed(plan, {**written, "new": StoredTensor("new", "F32", (1,), bytes(4))}) == ["coverage"]
    turned = StoredTensor("other.weight", "F32", (4, 5), written["other.weight"].data)
    assert failed(plan, {**written, "other.weight": turned}) == ["coverage"]


@pytest.mark.parametrize("damage", [lambda f: f.write(b"x"), lambda f: f.seek(9) and f.write(b"x")])
def test_a_file_that_the_library_refuses_is_noticed(small: State, tmp_path: Path, damage: Callable[[Any], object]):
    plan, written = planned(small, AdaptRequest(in_chans=5))
    path = tmp_path / "file.safetensors"
    save_file({"conv.weight": torch.zeros(1)}, path)
    with open(path, "r+b") as file:
        damage(file)
    assert "safetensors" in [check.name for check in verify_adapted(plan, written, str(path)) if not check.ok]


def test_a_failed_proof_leaves_nothing_behind(adapt: Adapt, monkeypatch: pytest.MonkeyPatch):
    from zoo.core.adapt import job

    sound = job.write_safetensors

    def damaging(file: Any, *rest: Any) -> None:
        sound(file, *rest)
        file.write_at(b"\xff\xff", os.fstat(file.fd).st_size - 9)

    monkeypatch.setattr(job, "write_safetensors", damaging)
    assert_refused(adapt("--in-chans", 4, "--verify"), 4, "do not hold what they must", "Nothing was written")


def test_the_checks_are_told(adapt: Adapt):
    run = adapt("--in-chans", 4, "--method", "balanced", "--verify", "--json")
    checks = json.loads(run.stdout)["checks"]
    assert all(check["ok"] for check in checks)
    assert "the library finds the same tensors" in [check["detail"] for check in checks]
    assert f"{INPUT}: f_N(tile(x)) = f_C(x)" in [check["name"] for check in checks]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=st.integers(1, 14),
    in_chans=st.integers(1, 30),
    kernel=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    dtype=st.sampled_from(["F16", "BF16", "F32", "F64"]),
    method=st.sampled_from(["repeat", "balanced", "mean", "zero"]),
    seed=st.integers(0, 999),
)
def test_no_other_byte_changes_and_every_promise_holds(
    tmp_path: Path, source: int, in_chans: int, kernel: list[int], dtype: str, method: str, seed: int
):
    torch_dtype = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}[dtype]
    generator = torch.Generator().manual_seed(seed)
    state = {
        "conv.weight": torch.randn((3, source, *kernel), generator=generator).to(torch_dtype),
        "a": torch.randint(0, 255, (seed % 7, 3), generator=generator, dtype=torch.uint8),
        "b": torch.randn((), generator=generator).to(torch_dtype),
        "c": torch.randint(-9, 9, (2,), generator=generator),
    }
    path, out = tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    save_file(state, path)
    with open_weights(path) as file:
        report = adapt_source(
            Source(
                label=str(path),
                name=path.name,
                tensors=tuple(file.tensors.values()),
                metadata=file.metadata,
                cfg=PretrainedCfg(first_conv="conv"),
                sha256=lambda _: "0" * 64,
            ),
            AdaptRequest(in_chans=in_chans, method=method),
            OutputRequest(path=out, force=True, verify=True),
        )
    assert all(check.ok for check in report.checks)
    written = load_file(out)
    assert written.keys() == state.keys()
    for name in ("a", "b", "c"):
        assert torch.equal(written[name].reshape(-1).view(torch.uint8), state[name].reshape(-1).view(torch.uint8))
    assert written["conv.weight"].shape == (3, in_chans, *kernel)


# ---------------------------------------------------------------- plans and pictures


def test_a_dry_run_tells_everything_and_writes_nothing(adapt: Adapt):
    run = adapt("--in-chans", 4, "--num-classes", 5, "--dtype", "float16", "--dry-run", "--plot", "p.png", "--json")
    document = json.loads(run.stdout)
    assert (run.code, document["status"]) == (0, "planned")
    assert {change["action"] for change in document["changes"]} == {"adapt", "new"}
    assert sorted(os.listdir()) == ["source.safetensors"]
    assert adapt("--in-chans", 4, "--num-classes", 5, "--dtype", "float16").code == 0
    assert OUT.stat().st_size == document["bytes"]


def test_a_picture_has_one_row_a_band(adapt: Adapt):
    from PIL import Image

    assert adapt("--bands", "R,G,B,NIR", "--plot", "stem.png").code == 0
    with Image.open("stem.png") as four:
        height = four.height
    assert adapt("--bands", "R,G,B,NIR,SWIR1", "--plot", "more.png", "--force").code == 0
    with Image.open("more.png") as five:
        assert five.height > height
        assert np.asarray(five.convert("RGB")).std() > 0


def test_a_picture_that_cannot_be_written_is_known_before_the_work(adapt: Adapt):
    assert_refused(adapt("--in-chans", 4, "--plot", "missing/stem.png"), 6, "missing")


def test_without_a_sync_the_bytes_are_the_same(adapt: Adapt):
    assert adapt("--in-chans", 4).code == 0
    assert adapt("--in-chans", 4, "--no-sync", output="quick.safetensors").code == 0
    assert OUT.read_bytes() == Path("quick.safetensors").read_bytes()


def test_a_large_header_is_allowed_on_request(adapt: Adapt):
    assert_refused(adapt("--in-chans", 4, "--max-header", 100), 4, "over the limit of 100")


def test_a_class_of_errors_of_the_library():
    with pytest.raises(InvalidInputError, match="cannot be found by names"):
        plan_adaptation([], PretrainedCfg(), AdaptRequest(in_chans=4), "test")
