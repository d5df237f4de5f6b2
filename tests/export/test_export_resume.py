"""Exports that are killed, resumed, divided and run twice at once. The engine is arithmetic, no torch is loaded.

Run as a program, this file is one job of such an export; the tests start it and kill it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.core.errors import CannotWriteError, InvalidInputError, UsageError, ZooError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.plan import ExportPlan, FeatureStorage, Level
from zoo.core.export.run import ExportJob, ExportReport, Failure, Prepared, pending_shards, report_of, run_shards
from zoo.core.export.shard_rows import ShardRows
from zoo.core.files.atomic_output import atomic_output
from zoo.core.images.inputs.image_input import ImageInput

NUM_INPUTS = 23
BAD = (4, 17)
LEVELS = (Level(1, "layer1", 2, 3, 4, 8), Level(4, "layer4", 5, 1, 2, 32))


def make_plan(num_inputs: int = NUM_INPUTS, weights: str = "aa", **storage: str) -> ExportPlan:
    return ExportPlan(
        inputs=[ImageInput(f"{i:03}.png", f"photos/{i:03}.png") for i in range(num_inputs)],
        levels=LEVELS,
        images_per_shard=4,
        model={"architecture": "toy", "weights": {"sha256": weights}},
        preprocessing={"size": [32, 32]},
        storage=FeatureStorage(**storage),
    )


def decode(items: Iterable[ImageInput]) -> Generator[Prepared | ZooError, None, None]:
    for item in items:
        number = int(item.id[:3])
        if number in BAD:
            yield InvalidInputError(f"{item.path}: cut off.")
        else:
            yield Prepared(np.full((3, 2, 2), number, np.float32))


def all_good(items: Iterable[ImageInput]) -> Any:
    return (Prepared(np.full((3, 2, 2), int(item.id[:3]), np.float32)) for item in items)


def compute(images: Iterable[Any]) -> Iterator[Any]:
    for image in images:
        if isinstance(image, ZooError):
            yield image
        else:
            yield [features_of(image[0, 0, 0], level) for level in LEVELS]


def features_of(number: float, level: Level) -> Any:
    shape = (level.channels, level.height, level.width)
    return number + np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 1000


def export(
    out: Path,
    plan: ExportPlan | None = None,
    *,
    part: tuple[int, int] = (0, 1),
    force: bool = False,
    verify: bool = True,
    retry_failed: bool = False,
    decode: Callable[..., Any] = decode,
    **options: Any,
) -> ExportReport:
    plan = plan or make_plan()
    folder = FeatureFolder(out, plan, force=force)
    own = range(part[0], plan.num_shards, part[1])
    pending = pending_shards(folder, own, verify=verify, retry_failed=retry_failed)
    run_shards(ExportJob(plan, decode, compute, compute), pending, folder, **options)
    return report_of(folder, own)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of one run that nothing disturbed."""
    out = tmp_path_factory.mktemp("clean")
    report = export(out)
    assert (report.images, report.num_failed, report.shards, report.complete) == (21, 2, 6, True)
    return content(out)


# ---------------------------------------------------------------- E8: killed and resumed

STEPS = ("pwrite", "rename", "fsync", "unlink", "open")


def kill_at(step: int) -> None:
    """End this process at its n-th call of one of STEPS, without any farewell."""
    calls = 0

    def counted(name: str) -> Callable[..., Any]:
        real = getattr(os, name)

        def call(*args: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **keywords)

        return call

    for name in STEPS:
        setattr(os, name, counted(name))


def job(out: Path, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-P", __file__, str(out), *map(str, words)], stderr=subprocess.PIPE)


@pytest.mark.parametrize("file_format", ["safetensors", "zarr"])
def test_e8_twenty_kills_and_resumes_give_the_bytes_of_one_clean_run(tmp_path: Path, file_format: str) -> None:
    export(tmp_path / "clean", make_plan(format=file_format))
    out, chance, kills = tmp_path / "out", random.Random(8), 0
    while kills < 10:  # twice
        process = job(out, "0/1", file_format, chance.randrange(1, 60))
        _, said = process.communicate(timeout=60)
        if process.returncode == 0:  # it was complete; from here on with one shard less
            victim = chance.choice(sorted(out.glob("manifest-*")))
            victim.unlink()
        else:
            assert process.returncode == -signal.SIGKILL, said.decode()
            kills += 1
    report = export(out, make_plan(format=file_format))
    assert report.complete
    assert content(out) == content(tmp_path / "clean")  # so no temporary file is left either


@pytest.mark.parametrize("step", [4, 9, 14, 19, 24])
def test_e8_a_replacement_that_is_killed_leaves_one_plan_or_the_other(
    tmp_path: Path, clean: dict[str, bytes], step: int
) -> None:
    out, other = tmp_path / "out", make_plan(weights="bb")
    export(out)
    process = job(out, "0/1", "safetensors", step, "bb")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    left = content(out)
    assert "manifest.jsonl" not in left or left.items() >= clean.items()  # a manifest says that all is there
    claimed = json.loads((out / "config.json").read_text())["fingerprint"]
    if claimed == make_plan().fingerprint:
        export(out)
        assert content(out) == clean
    export(out, other, force=True)
    export(tmp_path / "fresh", other)
    assert content(out) == content(tmp_path / "fresh")


def test_e8_what_killed_runs_left_is_removed_and_what_running_ones_write_is_not(tmp_path: Path) -> None:
    plan = make_plan(format="zarr")
    export(tmp_path, plan)
    before = content(tmp_path)
    for folder in (tmp_path, tmp_path / "features.zarr" / "layer4"):
        (folder / ".zoo-0123456789abcdef.tmp").write_bytes(b"half")
    with atomic_output(tmp_path / "features.zarr" / "layer4" / "c.0.0.0.0", force=True) as running:
        assert not export(tmp_path, plan).changed
        running.write(before["features.zarr/layer4/c.0.0.0.0"])
    assert content(tmp_path) == before


def test_e8_done_shards_are_neither_read_nor_computed_again(tmp_path: Path, clean: dict[str, bytes]) -> None:
    export(tmp_path / "out")
    (tmp_path / "out" / "manifest-00002.jsonl").unlink()
    read: list[str] = []

    def watched(items: Iterable[ImageInput]) -> Any:
        return decode(item for item in items if not read.append(item.id))  # type: ignore[func-returns-value]

    export(tmp_path / "out", decode=watched)
    assert read == ["008.png", "009.png", "010.png", "011.png"]
    assert content(tmp_path / "out") == clean


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"",
    ],
)
@pytest.mark.parametrize("name", ["features-00001.safetensors", "manifest-00001.jsonl"])
def test_e8_a_damaged_shard_is_computed_again(
    tmp_path: Path, clean: dict[str, bytes], name: str, damage: Callable[[bytes], bytes]
) -> None:
    export(tmp_path / "out")
    (tmp_path / "out" / name).write_bytes(damage(clean[name]))
    assert export(tmp_path / "out").changed
    assert content(tmp_path / "out") == clean


def test_without_verify_only_sizes_are_compared(tmp_path: Path, clean: dict[str, bytes]) -> None:
    export(tmp_path / "out")
    name = "features-00001.safetensors"
    flipped = clean[name][:-1] + bytes([clean[name][-1] ^ 1])
    (tmp_path / "out" / name).write_bytes(flipped)
    assert not export(tmp_path / "out", verify=False).changed
    (tmp_path / "out" / name).write_bytes(flipped[:-1])
    assert export(tmp_path / "out", verify=False).changed
    assert content(tmp_path / "out") == clean


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (make_plan(weights="bb"), 'model.weights.sha256 is "aa" there and "bb" here'),
        (make_plan(22), "inputs.count is 23 there and 22 here"),
        (make_plan(dtype="float16"), 'dtype is "float32" there and "float16" here'),
        (make_plan(format="npy"), 'format is "safetensors" there and "npy" here'),
    ],
)
def test_e8_another_plan_is_refused_with_both_values(
    tmp_path: Path, clean: dict[str, bytes], other: ExportPlan, said: str
) -> None:
    export(tmp_path / "out")
    with pytest.raises(UsageError) as raised:
        export(tmp_path / "out", other)
    assert raised.value.exit_code == 2
    assert said in raised.value.message
    assert make_plan().fingerprint[:12] in raised.value.message
    assert other.fingerprint[:12] in raised.value.message
    assert content(tmp_path / "out") == clean
    export(tmp_path / "out", other, force=True)
    export(tmp_path / "fresh", other)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_e8_inputs_of_other_names_are_another_plan() -> None:
    assert make_plan().fingerprint != make_plan(24).fingerprint
    renamed = make_plan()
    renamed.inputs[3:4] = [ImageInput("003.png", "elsewhere/003.png")]  # type: ignore[index]
    assert renamed.fingerprint != make_plan().fingerprint


@pytest.mark.parametrize("text", ["", "{", "[]", '{"architecture": "vit"}'])
def test_a_config_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CannotWriteError, match=r"does not describe an export"):
        export(tmp_path)
    assert content(tmp_path) == {"config.json": text.encode()}


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        "7",
        '{"shard": 1}',
        '{"shard": 1, "files": 3}',
        '{"shard":1,"fingerprint":"FP","images":1,"failed":0,"files":[["../../secret",1,""]],"lines_sha256":""}',
    ],
)
def test_a_forged_part_is_replaced(tmp_path: Path, clean: dict[str, bytes], header: str) -> None:
    export(tmp_path / "out")
    forged = header.replace("FP", make_plan().fingerprint).replace("}", ',"nonfinite_images":0,"nonfinite_values":0}')
    (tmp_path / "out" / "manifest-00001.jsonl").write_text(forged + "\n")
    export(tmp_path / "out")
    assert content(tmp_path / "out") == clean


# ---------------------------------------------------------------- E12: several jobs on one folder


def test_e12_parts_of_one_plan_share_a_folder(tmp_path: Path, clean: dict[str, bytes]) -> None:
    reports = [export(tmp_path / "out", part=(k, 3)) for k in (2, 0, 1)]
    assert [report.complete for report in reports] == [False, False, True]
    assert sum(report.images for report in reports) == 21
    assert sum(report.num_failed for report in reports) == 2
    assert content(tmp_path / "out") == clean


@pytest.mark.parametrize("parts", [("0/2", "1/2"), ("0/1", "0/1")])
def test_e12_two_jobs_at_once_give_the_bytes_of_one(
    tmp_path: Path, clean: dict[str, bytes], parts: tuple[str, str]
) -> None:
    for attempt in range(3):
        jobs = [job(tmp_path / str(attempt), part) for part in parts]
        assert [process.communicate(timeout=60)[1] for process in jobs] == [b"", b""]
        assert [process.returncode for process in jobs] == [0, 0]
        assert content(tmp_path / str(attempt)) == clean


def test_e12_threads_that_finish_at_once_publish_one_manifest(tmp_path: Path, clean: dict[str, bytes]) -> None:
    plan = make_plan()
    folders = [FeatureFolder(tmp_path / "out", plan) for _ in range(2)]
    barrier = threading.Barrier(2)
    reports: list[ExportReport] = []

    def work(k: int) -> None:
        own = range(k, plan.num_shards, 2)
        run_shards(ExportJob(plan, decode, compute, compute), own, folders[k])
        barrier.wait(timeout=30)
        reports.append(report_of(folders[k], own))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [report.complete for report in reports] == [True, True]
    assert content(tmp_path / "out") == clean


def test_e12_a_job_whose_folder_was_given_to_another_plan_stops(tmp_path: Path) -> None:
    plan = make_plan()
    late = FeatureFolder(tmp_path / "out", plan)
    export(tmp_path / "out", make_plan(weights="bb"), force=True)
    before = content(tmp_path / "out")
    with pytest.raises(CannotWriteError, match="Another run has replaced"):
        late.publish(0, ShardRows(plan, 0), [])
    assert content(tmp_path / "out") == before


def test_e12_a_part_that_is_replaced_while_the_manifest_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = tmp_path / "out", make_plan()
    export(out)
    folder, retried = FeatureFolder(out, plan), []
    real = folder.manifest_lines

    def joined_too_early() -> Iterator[bytes]:
        yield from real()
        if not retried:
            retried.append(1)
            run_shards(ExportJob(plan, all_good, compute, compute), retried, FeatureFolder(out, plan))

    monkeypatch.setattr(folder, "manifest_lines", joined_too_early)
    assert folder.finish()
    lines = [json.loads(line) for line in (out / "manifest.jsonl").open()]
    assert [i for i, line in enumerate(lines) if line["status"] == "error"] == [17]


def test_e12_a_forced_part_leaves_the_other_parts_alone(tmp_path: Path, clean: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    export(out, part=(0, 2))
    before = {path: path.stat().st_mtime_ns for path in out.glob("features-*")}
    assert export(out, part=(1, 2), force=True).complete
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert content(out) == clean


# ---------------------------------------------------------------- inputs that cannot be read


def test_failed_inputs_are_retried_only_when_asked(tmp_path: Path) -> None:
    export(tmp_path / "out")
    again = export(tmp_path / "out", decode=all_good)
    assert (again.num_failed, again.changed) == (2, False)
    assert again.failed == tuple(Failure(f"{i:03}.png", f"photos/{i:03}.png: cut off.") for i in BAD)
    retried = export(tmp_path / "out", decode=all_good, retry_failed=True)
    assert (retried.images, retried.num_failed, retried.complete) == (NUM_INPUTS, 0, True)
    export(tmp_path / "fresh", decode=all_good)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_e1_stop_ends_at_the_first_unreadable_input(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"004\.png: cut off") as raised:
        export(tmp_path / "out", on_error="stop")
    assert raised.value.exit_code == 4
    assert sorted(content(tmp_path / "out")) == ["config.json", "features-00000.safetensors", "manifest-00000.jsonl"]
    with pytest.raises(UsageError, match="skip or stop"):
        export(tmp_path / "out", on_error="ignore")


def test_only_the_first_failures_are_kept_in_memory(tmp_path: Path) -> None:
    def all_bad(items: Iterable[ImageInput]) -> Any:
        return (InvalidInputError(f"{item.path}: cut off.") for item in items)

    report = export(tmp_path / "out", make_plan(300), decode=all_bad)
    assert (report.images, report.num_failed, len(report.failed)) == (0, 300, 100)
    assert [json.loads(line)["status"] for line in (tmp_path / "out" / "manifest.jsonl").open()] == ["error"] * 300


def test_facts_of_the_reader_stand_in_the_manifest(tmp_path: Path) -> None:
    def located(items: Iterable[ImageInput]) -> Any:
        for item, found in zip(items, decode(make_plan().inputs), strict=True):
            yield found._replace(facts={"crs": item.id}) if isinstance(found, Prepared) else found

    export(tmp_path / "out", decode=located)
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").open()]
    assert [line.get("crs") for line in lines] == [None if i in BAD else f"{i:03}.png" for i in range(NUM_INPUTS)]


def main(out: str, part: str, file_format: str = "safetensors", step: str = "0", weights: str = "aa") -> None:
    assert "torch" not in sys.modules
    if int(step):
        kill_at(int(step))
    k, _, count = part.partition("/")
    plan = make_plan(weights=weights, format=file_format)
    export(Path(out), plan, part=(int(k), int(count)), force=weights != "aa")


if __name__ == "__main__":
    main(*sys.argv[1:])
