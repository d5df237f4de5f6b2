"""Choose this process's part of the shards, as stated or from a scheduler's variables. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zoo.core.errors import UsageError

COMPLETIONS = "ZOO_JOB_COMPLETIONS"
"""The number of completions of a Kubernetes indexed job: Kubernetes gives a pod only its index."""

_MAX_DIGITS = 9


@dataclass(frozen=True)
class Part:
    """One of `count` equal parts of the work; `index` counts from 0, users count from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_part(text: str) -> Part:
    """Parse `K/N`, the K-th of N parts, counted from 1. Raises UsageError."""
    index, slash, count = text.partition("/")
    if not (slash and _is_number(index) and _is_number(count)):
        raise UsageError(
            f"--shard expects K/N, not {text!r}.",
            hint="--shard 2/8 is the second of 8.",
        )
    if not 1 <= int(index) <= int(count):
        raise UsageError(f"There is no part {text}: K runs from 1 to N.", hint="--shard 2/8 is the second of 8.")
    return Part(int(index) - 1, int(count))


def part_from_environment(environ: Mapping[str, str]) -> Part:
    """The part of this process among all that a scheduler started.

    A Slurm job array, or a Kubernetes indexed job with its number of completions in ZOO_JOB_COMPLETIONS, divides the
    work among jobs. torchrun or srun divides a job's part among its processes. In a batch script Slurm sets
    SLURM_NTASKS although only one process runs: SLURM_STEP_NUM_TASKS shows what srun started.

    Args:
        environ: `os.environ`.

    Raises:
        UsageError: no variable says it, or values contradict each other; the error names the variable.
    """
    job, process = _job(environ), _process(environ)
    if job is None and process is None:
        if "JOB_COMPLETION_INDEX" in environ:
            raise UsageError(
                f"JOB_COMPLETION_INDEX is set, but {COMPLETIONS} is not, and Kubernetes does not tell the number.",
                hint=f"Set {COMPLETIONS} in the pod's env to the completions of the job, or pass --shard K/N.",
            )
        raise UsageError(
            "Nothing says which part of the shards to make: none of SLURM_ARRAY_TASK_ID, SLURM_STEP_NUM_TASKS, RANK "
            "and JOB_COMPLETION_INDEX is set.",
            hint="Pass --shard K/N, or 1/1 for all.",
        )
    job, process = job or Part(0, 1), process or Part(0, 1)
    return Part(job.index * process.count + process.index, job.count * process.count)


def shards_of(part: Part, num_shards: int) -> range:
    """The shard numbers of a part, counted from 0: every N-th, so that parts differ by at most one shard."""
    return range(part.index, num_shards, part.count)


def _job(environ: Mapping[str, str]) -> Part | None:
    array, indexed = "SLURM_ARRAY_TASK_ID" in environ, COMPLETIONS in environ
    if array and indexed:
        raise UsageError(
            f"SLURM_ARRAY_TASK_ID and {COMPLETIONS} are both set; a process is part of one job.",
            hint="Unset the one that is stale, or pass --shard K/N.",
        )
    if array:
        return _array_task(environ)
    return _ranked(environ, "JOB_COMPLETION_INDEX", COMPLETIONS) if indexed else None


def _array_task(environ: Mapping[str, str]) -> Part:
    """The position of a task in its array, whose ids may begin anywhere and be spaced by a step."""
    task, first, last = (_number(environ, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX"))
    count = _number(environ, "SLURM_ARRAY_TASK_COUNT")
    step = (last - first) // max(1, count - 1) or 1
    if count < 1 or first + step * (count - 1) != last or (task - first) % step or not first <= task <= last:
        raise UsageError(
            f"SLURM_ARRAY_TASK_ID is {task}, whose place among {count} tasks from {first} to {last} is not clear.",
            hint="Use evenly spaced array ids, --array=0-7 for example, or pass --shard K/N.",
        )
    return Part((task - first) // step, count)


def _process(environ: Mapping[str, str]) -> Part | None:
    srun = _ranked(environ, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS") if "SLURM_STEP_NUM_TASKS" in environ else None
    if "RANK" not in environ and "WORLD_SIZE" not in environ:
        return srun
    torchrun = _ranked(environ, "RANK", "WORLD_SIZE")
    if srun and torchrun.count % srun.count:
        raise UsageError(
            f"WORLD_SIZE is {torchrun.count}, which does not equal the {srun.count} tasks of SLURM_STEP_NUM_TASKS.",
            hint="Give torchrun --nnodes and --rdzv-endpoint, or pass --shard K/N.",
        )
    return torchrun


def _ranked(environ: Mapping[str, str], index_name: str, count_name: str) -> Part:
    index, count = _number(environ, index_name), _number(environ, count_name)
    if index >= count:
        raise UsageError(
            f"{index_name} is {index}, but {count_name} is {count}; an index counts from 0 and is smaller.",
            hint="Correct the environment, or pass --shard K/N.",
        )
    return Part(index, count)


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name)
    if text is None or not _is_number(text):
        found = "not set" if text is None else repr(text)
        raise UsageError(
            f"{name} is {found}, where a number was expected.", hint="Correct the environment, or pass --shard K/N."
        )
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
