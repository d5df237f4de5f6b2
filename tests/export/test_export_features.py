"""Exported features against a plain loop, and what becomes of bad images, interruptions and earlier exports."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import torch
from PIL import Image

from zoo.core.errors import CannotWriteError, UsageError
from zoo.core.export import plan as plan_module
from zoo.core.export.job import Computing, export_features
from zoo.core.export.run import ExportReport
from zoo.core.images.inputs.find import find_inputs
from zoo.core.images.preprocess import Preprocess

from two_levels import TwoLevels

PREPROCESS = Preprocess(size=(32, 48), crop_pct=1.0)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eleven good images and, among them, three that are none."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for i in range(11):
        pixels = noise.integers(0, 256, (40 + i, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if i % 3 == 0 else ".") / f"{i:02}.png")
    (folder / "00bad.jpg").write_bytes(b"no image")
    (folder / "05cut.png").write_bytes((folder / "05.png").read_bytes()[:2000])
    (folder / "zero.png").write_bytes(b"")
    return folder


BAD = ["00bad.jpg", "05cut.png", "zero.png"]


def export(photos: Path, out: Path, **options: Any) -> ExportReport:
    options = {"images_per_shard": 5, **options}
    return export_features(TwoLevels(), PREPROCESS, find_inputs([photos]), out, **options)


def read_manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def read_maps(out: Path) -> dict[str, list[np.ndarray]]:
    """id -> maps, found through the manifest."""
    shards = {path.name: safetensors.numpy.load_file(path) for path in out.glob("*.safetensors")}
    found = {}
    for position, line in enumerate(read_manifest(out)):
        if line["status"] == "ok":
            shard = shards[line["shard"]]
            assert shard["index"][line["row"]] == position
            found[line["id"]] = [shard[level["module"]][line["row"]] for level in line["levels"]]
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("batch_size", [1, 7])
def test_features_equal_a_plain_loop(photos: Path, tmp_path: Path, batch_size: int) -> None:
    export(photos, tmp_path / "out", computing=Computing(batch_size=batch_size))
    found = read_maps(tmp_path / "out")
    model = TwoLevels().eval()
    good = sorted(p for p in photos.rglob("*.png") if p.name not in BAD)
    assert sorted(found) == sorted(p.relative_to(photos).as_posix() for p in good)
    for path in good:
        with torch.no_grad():
            expected = model(torch.from_numpy(PREPROCESS.array(Image.open(path)))[None])
        for got, wanted in zip(found[path.relative_to(photos).as_posix()], expected, strict=True):
            np.testing.assert_allclose(got, wanted[0].numpy(), atol=1e-5)


def test_the_layout_does_not_depend_on_the_batch_size(photos: Path, tmp_path: Path) -> None:
    for batch_size in (1, 7):
        export(photos, tmp_path / str(batch_size), computing=Computing(batch_size=batch_size))
    assert read_manifest(tmp_path / "1") == read_manifest(tmp_path / "7")
    assert (tmp_path / "1" / "config.json").read_bytes() == (tmp_path / "7" / "config.json").read_bytes()


def test_the_manifest_lists_every_input_in_order(photos: Path, tmp_path: Path) -> None:
    report = export(photos, tmp_path / "out")
    lines = read_manifest(tmp_path / "out")
    assert [line["id"] for line in lines] == sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.*g"))
    assert [line["source"] for line in lines] == [(photos / line["id"]).as_posix() for line in lines]
    failed = {line["id"]: line["error"] for line in lines if line["status"] == "error"}
    assert sorted(failed) == BAD
    assert {failure.id: failure.error for failure in report.failed} == failed
    assert report.num_failed == 3
    assert all(name in error for name, error in failed.items())
    assert (report.images, report.shards) == (11, 3)
    # 14 inputs in slices of 5; rows count the good images of a slice.
    places = [(line["shard"], line["row"]) for line in lines if line["status"] == "ok"]
    assert [p for p in places if p[0] == "features-00000.safetensors"] == [
        ("features-00000.safetensors", row) for row in range(4)
    ]


def test_levels_give_shape_and_stride(photos: Path, tmp_path: Path) -> None:
    export(photos, tmp_path / "out")
    line = next(line for line in read_manifest(tmp_path / "out") if line["status"] == "ok")
    assert line["levels"] == [
        {"module": "level0", "shape": [4, 16, 24], "channels": 4, "stride": 2},
        {"module": "level1", "shape": [6, 4, 6], "channels": 6, "stride": 8},
    ]


def test_config_says_how_it_was_made(photos: Path, tmp_path: Path) -> None:
    export(photos, tmp_path / "out", model_facts={"architecture": "toy", "tag": "t"})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    computing = {"device": "cpu", "precision": "float32", "folded_norms": 1, "memory": "channels last"}
    assert config["model"] == {"architecture": "toy", "tag": "t", "in_chans": 3, "computing": computing}
    assert config["preprocessing"]["size"] == [32, 48]
    assert config["inputs"]["count"] == 14
    assert (config["dtype"], config["pool"], config["format"]) == ("float32", "none", "safetensors")


def test_module_names_and_strides_come_from_feature_info(photos: Path, tmp_path: Path) -> None:
    class Info:
        out_indices = (1, 3)

        def module_name(self) -> list[str]:
            return ["layer1", "layer3"]

        def reduction(self) -> list[int]:
            return [2, 8]

    model = TwoLevels()
    model.feature_info = Info()  # type: ignore[assignment]
    report = export_features(model, PREPROCESS, find_inputs([photos]), tmp_path / "out")
    assert [(m.index, m.module, m.stride) for m in report.levels] == [
        (1, "layer1", 2),
        (3, "layer3", 8),
    ]
    stored = safetensors.numpy.load_file(tmp_path / "out" / "features-00000.safetensors")
    assert {name: values.shape for name, values in stored.items()} == {
        "index": (11,),
        "layer1": (11, 4, 16, 24),
        "layer3": (11, 6, 4, 6),
    }


def test_levels_out_of_order_are_refused(photos: Path, tmp_path: Path) -> None:
    model = TwoLevels()
    for indices in ((3, 1), (1, 1)):
        model.feature_info = type("Info", (), {"out_indices": indices})()  # type: ignore[assignment]
        with pytest.raises(UsageError, match="ascending"):
            export_features(model, PREPROCESS, find_inputs([photos]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_same_input_gives_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    first, second = export(photos, tmp_path / "a"), export(photos, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert first.changed
    assert second.changed


def test_grey_images_for_a_model_of_one_channel(photos: Path, tmp_path: Path) -> None:
    preprocess = Preprocess.from_cfg({"input_size": (3, 32, 32)}, in_chans=1)
    report = export_features(TwoLevels(in_chans=1), preprocess, find_inputs([photos]), tmp_path / "out")
    assert report.images == 11


def test_not_a_number_is_counted_and_reported(photos: Path, tmp_path: Path) -> None:
    def broken(batch: torch.Tensor) -> Sequence[torch.Tensor]:
        maps = batch[:, :1, ::8, ::8].clone()
        maps[batch.amax(dim=(1, 2, 3)) > 0, :, 0, :2] = torch.tensor([float("nan"), float("inf")])
        return [maps]

    report = export_features(broken, PREPROCESS, find_inputs([photos]), tmp_path / "out")
    assert (report.nonfinite_images, report.nonfinite_values) == (11, 22)
    assert {line.get("nonfinite") for line in read_manifest(tmp_path / "out") if line["status"] == "ok"} == {2}


def test_images_per_shard_follow_from_their_size(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_per_image = 4 * (4 * 16 * 24 + 6 * 4 * 6)
    monkeypatch.setattr(plan_module, "SHARD_BYTES", 4 * bytes_per_image + 1)
    report = export(photos, tmp_path / "out", images_per_shard=None)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["images_per_shard"] == 4
    assert report.shards == 4


def test_when_no_image_can_be_read_the_manifest_still_says_so(photos: Path, tmp_path: Path) -> None:
    inputs = [item for item in find_inputs([photos]) if item.id in BAD]
    report = export_features(TwoLevels(), PREPROCESS, inputs, tmp_path / "out")
    assert (report.images, len(report.failed), report.shards) == (0, 3, 0)
    assert sorted(content(tmp_path / "out")) == ["config.json", "manifest-00000.jsonl", "manifest.jsonl"]


def test_progress_adds_up(photos: Path, tmp_path: Path) -> None:
    done: list[int] = []
    export(photos, tmp_path / "out", computing=Computing(batch_size=3), on_progress=done.append)
    assert sum(done) == 14
    done.clear()
    export(photos, tmp_path / "out", computing=Computing(batch_size=3), on_progress=done.append)
    assert done == [5, 5, 4]  # shards that were there already


# ---------------------------------------------------------------- the output folder


def test_a_second_run_changes_nothing(photos: Path, tmp_path: Path) -> None:
    export(photos, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert not export(photos, tmp_path / "out").changed
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_another_export_needs_force(photos: Path, tmp_path: Path) -> None:
    export(photos, tmp_path / "out", images_per_shard=2)
    before = content(tmp_path / "out")
    with pytest.raises(UsageError, match=r"images_per_shard is 2 there and 9 here") as raised:
        export(photos, tmp_path / "out", images_per_shard=9)
    assert "--force" in raised.value.hint
    assert content(tmp_path / "out") == before
    export(photos, tmp_path / "out", images_per_shard=9, force=True)
    export(photos, tmp_path / "fresh", images_per_shard=9)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_photographs_that_changed_are_read_again(photos: Path, tmp_path: Path) -> None:
    export(photos, tmp_path / "out")
    before = content(tmp_path / "out")
    Image.new("RGB", (60, 40), "red").save(photos / "01.png")
    assert export(photos, tmp_path / "out").changed
    assert not export(photos, tmp_path / "out").changed
    export(photos, tmp_path / "out", force=True)
    export(photos, tmp_path / "fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh") != before


def test_files_of_others_are_never_removed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(CannotWriteError, match=r"thesis\.tex"):
        export(photos, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]
    export(photos, tmp_path / "out", force=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "years of work"


def test_an_output_that_is_a_file_is_refused(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(CannotWriteError):
        export(photos, tmp_path / "out", force=True)
    assert (tmp_path / "out").read_text() == "mine"


def test_a_failing_model_leaves_only_whole_files(photos: Path, tmp_path: Path) -> None:
    model = TwoLevels()
    calls = 0

    def fails_later(batch: torch.Tensor) -> Sequence[torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 4:  # after zeros and the two batches of the first shard
            raise RuntimeError("out of luck")
        maps: list[torch.Tensor] = model.eval()(batch)
        return maps

    def run(folder: str) -> None:
        computing = Computing(batch_size=3)
        inputs = find_inputs([photos])
        export_features(fails_later, PREPROCESS, inputs, tmp_path / folder, images_per_shard=5, computing=computing)

    with pytest.raises(RuntimeError, match="out of luck"):
        run("out")
    assert sorted(content(tmp_path / "out")) == ["config.json", "features-00000.safetensors", "manifest-00000.jsonl"]
    run("out")
    run("fresh")
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interrupted_run_tidies_up(photos: Path, tmp_path: Path, stop: BaseException) -> None:
    def interrupt(done: int) -> None:
        raise stop

    with pytest.raises(type(stop)):
        export(photos, tmp_path / "out", on_progress=interrupt)
    assert os.listdir(tmp_path / "out") == ["config.json"]


@pytest.mark.parametrize("options", [{"computing": Computing(batch_size=0)}, {"images_per_shard": 0}])
def test_sizes_below_one_are_refused(photos: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        export(photos, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_e4_a_wrong_number_of_bands_is_told_of_each_image(photos: Path, tmp_path: Path) -> None:
    preprocess = Preprocess(mean=(0.5,) * 25, std=(0.5,) * 25)
    report = export_features(TwoLevels(25), preprocess, find_inputs([photos]), tmp_path / "out")
    assert report.images == 0
    reasons = {Path(failure.id).name: failure.error for failure in report.failed if Path(failure.id).name not in BAD}
    assert len(reasons) == 11
    assert all("25 channels" in reason and "3 bands" in reason for reason in reasons.values())
