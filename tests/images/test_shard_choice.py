"""Which shards a process makes: together all, each once, whoever started the processes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.errors import UsageError
from zoo.core.images.inputs.shard_choice import Part, parse_part, part_from_environment, shards_of


def array_task(task: int, first: int, last: int, count: int) -> dict[str, str]:
    names = {"ID": task, "MIN": first, "MAX": last, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in names.items()}


def srun(index: int, count: int) -> dict[str, str]:
    return {"SLURM_PROCID": str(index), "SLURM_STEP_NUM_TASKS": str(count), "SLURM_NTASKS": "64"}


def torchrun(index: int, count: int) -> dict[str, str]:
    return {"RANK": str(index), "WORLD_SIZE": str(count), "LOCAL_RANK": "0"}


def pod(index: int, count: int | None = None) -> dict[str, str]:
    given = {} if count is None else {"ZOO_JOB_COMPLETIONS": str(count)}
    return {"JOB_COMPLETION_INDEX": str(index), **given}


@given(st.integers(0, 200), st.integers(1, 30))
def test_parts_are_even_and_cover_every_shard_once(num_shards: int, count: int) -> None:
    parts = [shards_of(Part(index, count), num_shards) for index in range(count)]
    assert sorted(number for part in parts for number in part) == list(range(num_shards))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_part_is_written_counted_from_one() -> None:
    assert parse_part("2/8") == Part(1, 8)
    assert str(Part(1, 8)) == "2/8"
    assert parse_part("1/1") == Part(0, 1)


@pytest.mark.parametrize("text", ["", "3", "/", "0/3", "4/3", "1/0", "1/3/4", " 1/3", "1/x", "+1/2", "1/\u0662"])
def test_a_part_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_part(text)
    assert text in raised.value.message


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        (array_task(0, 0, 7, 8), Part(0, 8)),
        (array_task(7, 0, 7, 8), Part(7, 8)),
        (array_task(5, 1, 7, 4), Part(2, 4)),  # --array=1,3,5,7 or 1-7:2
        (array_task(13, 13, 13, 1), Part(0, 1)),
        (array_task(20, 10, 30, 3), Part(1, 3)),
        (srun(3, 4), Part(3, 4)),
        # A batch script: one process, whatever was asked for.
        ({**array_task(1, 0, 1, 2), "SLURM_NTASKS": "16", "SLURM_PROCID": "0"}, Part(1, 2)),
        (array_task(2, 1, 3, 3) | srun(1, 2), Part(3, 6)),
        (torchrun(5, 8), Part(5, 8)),
        (srun(1, 2) | torchrun(3, 8), Part(3, 8)),  # one torchrun a node
        (array_task(1, 0, 1, 2) | torchrun(2, 4), Part(6, 8)),
        (pod(2, 5), Part(2, 5)),
        (pod(2, 5) | torchrun(1, 2), Part(5, 10)),
        (pod(1) | torchrun(6, 8), Part(6, 8)),  # the index is that of the node
    ],
)
def test_what_a_scheduler_tells(environ: Mapping[str, str], part: Part) -> None:
    assert part_from_environment(environ) == part


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "SLURM_ARRAY_TASK_ID"),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, "SLURM_STEP_NUM_TASKS"),
        (pod(0), "ZOO_JOB_COMPLETIONS"),
        (pod(5, 5), "JOB_COMPLETION_INDEX"),
        ({"ZOO_JOB_COMPLETIONS": "4"}, "JOB_COMPLETION_INDEX"),
        (pod(0, 4) | array_task(0, 0, 3, 4), "ZOO_JOB_COMPLETIONS"),
        ({"RANK": "0"}, "WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "RANK"),
        (torchrun(8, 8), "RANK"),
        (torchrun(-1, 8), "RANK"),
        (torchrun(0, 0), "WORLD_SIZE"),
        ({"RANK": "", "WORLD_SIZE": "2"}, "RANK"),
        ({"RANK": "0", "WORLD_SIZE": "1" * 5000}, "WORLD_SIZE"),
        (srun(0, 4) | torchrun(0, 2), "WORLD_SIZE"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_PROCID"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN"),
        (array_task(3, 1, 7, 3), "SLURM_ARRAY_TASK_ID"),
        (array_task(2, 1, 7, 4), "SLURM_ARRAY_TASK_ID"),
        (array_task(9, 0, 7, 8), "SLURM_ARRAY_TASK_ID"),
        (array_task(0, 0, 7, 0), "SLURM_ARRAY_TASK_ID"),
        (array_task(0, 7, 0, 8), "SLURM_ARRAY_TASK_ID"),
        (array_task(0, 0, 3, 8), "SLURM_ARRAY_TASK_ID"),
    ],
)
def test_nonsense_is_refused_and_the_variable_named(environ: Mapping[str, str], name: str) -> None:
    with pytest.raises(UsageError) as raised:
        part_from_environment(environ)
    assert name in raised.value.message
    assert "--shard" in raised.value.hint


@given(st.integers(0, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 4))
def test_all_processes_of_all_tasks_cover_the_work_once(first: int, step: int, tasks: int, processes: int) -> None:
    last = first + step * (tasks - 1)
    parts = [
        part_from_environment(array_task(task, first, last, tasks) | srun(process, processes))
        for task in range(first, last + 1, step)
        for process in range(processes)
    ]
    assert parts == [Part(index, tasks * processes) for index in range(tasks * processes)]
