"""Computing the shards of an export: decode ahead, run the model, publish. No torch here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.core.errors import InvalidInputError, UsageError, ZooError
from zoo.core.export.folder import FeatureFolder
from zoo.core.export.identity import Stamp, sha256_of_input, stamp_of
from zoo.core.export.place import Place
from zoo.core.export.plan import ExportPlan, Level
from zoo.core.export.shard_rows import ShardRows
from zoo.core.images.inputs.image_input import ImageInput

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Image = NDArray[Any]
    Features = Sequence[NDArray[Any]]  # one image's, per level

ON_ERROR = ("skip", "stop")
FAILURES_KEPT = 100


class Prepared(NamedTuple):
    """An image as the model reads it, float32 (channels, height, width), and what the manifest is to say of it.

    `place` is that of all of the picture, or its tile, before anything is resized or cut off.
    """

    image: Image
    facts: Mapping[str, Any] = {}
    place: Place | None = None


_Known = tuple[Mapping[str, Any], Place | None]
"""What is kept of an image while its features are computed."""


class SkippedImageError(ZooError):
    """An image that is left out on purpose; `facts` are what the manifest is to say of it."""

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.facts = dict(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return SkippedImageError, (self.message, self.facts)


Decode = Callable[[Iterable[ImageInput]], Generator[Prepared | ZooError, None, None]]
"""Inputs -> images in their order, or why one could not be read. It may read ahead; it may be closed early."""


class Failure(NamedTuple):
    """An image that could not be read, why, and what would mend it where that is known."""

    id: str
    error: str
    hint: str = ""


Compute = Callable[[Iterable["Image | ZooError"]], Iterable["Features | ZooError"]]
"""Images of one shard -> their features in the same order; errors are passed through. It may take several at once."""


class ExportJob(NamedTuple):
    """A plan and what computes it.

    `maps` computes without pooling, for looking at. With `hashes` inputs are known by their content too. `check_model`
    is called before a shard is published, and raises where the model is not what it was.
    """

    plan: ExportPlan
    decode: Decode
    compute: Compute
    maps: Compute
    hashes: bool = False
    check_model: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ExportReport:
    """What an export did.

    Args:
        out_dir: the folder.
        images: how many were exported.
        num_failed: how many could not be read.
        failed: the first hundred of those.
        num_skipped: how many were left out on purpose.
        shards: how many shards hold features.
        levels: what there is of each image.
        nonfinite_values, nonfinite_images: NaN and infinities among the features, and images that have any.
        unscaled_images: images whose file declares a scale and offset that were not applied.
        bright_images, largest: images of floating point numbers above 1 that no scale divides, and their largest.
        changed: False where the folder held this very export already.
        complete: all shards are done, also those of other processes, and `manifest.jsonl` is there.
    """

    out_dir: Path
    images: int
    num_failed: int
    failed: tuple[Failure, ...]
    num_skipped: int
    shards: int
    levels: tuple[Level, ...]
    nonfinite_values: int
    nonfinite_images: int
    unscaled_images: int
    bright_images: int
    largest: float
    changed: bool
    complete: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {
            "out": str(self.out_dir),
            "images": self.images,
            "shards": self.shards,
            "changed": self.changed,
            "complete": self.complete,
            "nonfinite_values": self.nonfinite_values,
            "nonfinite_images": self.nonfinite_images,
            "unscaled_images": self.unscaled_images,
            "levels": [level.to_dict() for level in self.levels],
            "num_skipped": self.num_skipped,
            "num_failed": self.num_failed,
            "failed": [{"id": name, **_reason(error, hint)} for name, error, hint in self.failed],
        }


def pending_shards(
    folder: FeatureFolder,
    shards: Iterable[int],
    *,
    retry_failed: bool = False,
    verify: bool = True,
    hashes: bool = False,
    on_progress: Callable[[int], None] | None = None,
    on_changed: Callable[[Sequence[str]], None] | None = None,
) -> list[int]:
    """The shards that are not done yet, or whose inputs have changed; the inputs of the others count as progress.

    Args:
        folder: where they go.
        shards: the numbers of those in question.
        retry_failed, verify: see `FeatureFolder.is_done`.
        hashes: know inputs by their content where the manifest has it, else by size and time of last change.
        on_progress: called with the number of inputs of a shard that is done.
        on_changed: called with the ids of the changed inputs of a shard.
    """
    pending = []
    for shard in shards:
        if not folder.is_done(shard, verify=verify, retry_failed=retry_failed):
            pending.append(shard)
        elif changed := folder.changed_inputs(shard, by_content=hashes):
            pending.append(shard)
            if on_changed is not None:
                on_changed(changed)
        elif on_progress is not None:
            on_progress(len(folder.plan.positions(shard)))
    return pending


def run_shards(
    job: ExportJob,
    shards: Iterable[int],
    folder: FeatureFolder,
    *,
    on_error: str = "skip",
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Compute shards and publish each when it is complete. What was published stays, whatever ends the run.

    Args:
        job: what to compute. `job.compute` is called once a shard, so that what shares a batch, and with it the last
            bit of a feature, does not depend on where a run began.
        shards: their numbers, e.g. of `pending_shards`.
        folder: where they go.
        on_error: `skip` lists images that cannot be read, `stop` raises the first one's error.
        on_progress: called with the number of inputs done since the last call.

    Raises:
        UsageError: an unknown `on_error`.
        InvalidInputError: an image could not be read, with `stop`; or the model has changed meanwhile.
        CannotWriteError: a file could not be written.
    """
    if on_error not in ON_ERROR:
        raise UsageError(f"On an error zoo can {' or '.join(ON_ERROR)}, not {on_error!r}.")
    numbers = list(shards)
    if not numbers:
        return
    folder.reopen()
    plan = job.plan
    stamps: deque[Stamp | None] = deque()
    inputs = (plan.inputs[position] for shard in numbers for position in plan.positions(shard))
    with closing(job.decode(_stamped(inputs, stamps))) as decoded:
        for shard in numbers:
            rows = ShardRows(plan, shard)
            known: deque[_Known] = deque()
            images = _images(islice(decoded, len(plan.positions(shard))), known, stop=on_error == "stop")
            lines = []
            for position, result in zip(plan.positions(shard), job.compute(images), strict=True):
                line = _export(position, result, known, rows, folder)
                lines.append(line | _identity(plan.inputs[position], stamps.popleft(), line, hashes=job.hashes))
                if on_progress is not None:
                    on_progress(1)
            job.check_model()
            folder.publish(shard, rows, lines)


def _stamped(items: Iterable[ImageInput], stamps: deque[Stamp | None]) -> Iterator[ImageInput]:
    """The items; the stamp of each is taken before it is read, so that a change while it is read shows later."""
    for item in items:
        stamps.append(stamp_of(item))
        yield item


def _identity(item: ImageInput, stamp: Stamp | None, line: Mapping[str, Any], *, hashes: bool) -> dict[str, Any]:
    """What the manifest says of the file; of one that could be read, its digest was taken with the pixels."""
    identity: dict[str, Any] = {} if stamp is None else stamp._asdict()
    if hashes and stamp is not None and "sha256" not in line:
        with suppress(ZooError, OSError):
            identity["sha256"] = sha256_of_input(item)
    return identity


def _images(decoded: Iterable[Prepared | ZooError], known: deque[_Known], *, stop: bool) -> Iterator[Image | ZooError]:
    """The images alone; what is known of them waits in `known` until their features are there."""
    for result in decoded:
        if isinstance(result, Prepared):
            known.append((result.facts, result.place))
            yield result.image
        elif stop and not isinstance(result, SkippedImageError):
            raise InvalidInputError(result.message, hint=result.hint, path=result.path) from result
        else:
            yield result


def _export(
    position: int,
    result: Features | ZooError,
    known: deque[_Known],
    rows: ShardRows,
    folder: FeatureFolder,
) -> dict[str, Any]:
    """Keep one image's features; returns its line of the manifest."""
    plan, writer = folder.plan, folder.writer
    item = plan.inputs[position]
    line = {"id": item.id, "source": plan.source_of(item)}
    if isinstance(result, SkippedImageError):
        return {**line, "status": "skipped", **result.facts}
    if isinstance(result, ZooError):
        return {**line, "status": "error", **_reason(result.message, result.hint)}
    row = position if writer.rows_are_inputs else len(rows)
    facts, place = known.popleft()
    nonfinite = rows.append(position, item, result, place)
    return {
        **line,
        "status": "ok",
        "shard": writer.shard_name(position // plan.images_per_shard),
        "row": row,
        "levels": [_level_facts(plan, level) for level in plan.levels],
        **facts,
        **({"nonfinite": nonfinite} if nonfinite else {}),
    }


def _reason(error: str, hint: str) -> dict[str, str]:
    return {"error": error, "hint": hint} if hint else {"error": error}


def _level_facts(plan: ExportPlan, level: Level) -> dict[str, Any]:
    shape = plan.storage.shape(level)
    return {"module": level.key, "shape": shape, "channels": level.channels, "stride": level.stride}


def report_of(folder: FeatureFolder, shards: Sequence[int]) -> ExportReport:
    """Complete the folder if it can be, and count what some of its shards hold, from their parts of the manifest."""
    complete = folder.finish()
    records = [record for record in map(folder.record, shards) if record is not None]
    failures = islice(folder.failures(shards), FAILURES_KEPT)
    return ExportReport(
        out_dir=folder.path,
        images=sum(record.images for record in records),
        num_failed=sum(record.failed for record in records),
        num_skipped=sum(record.skipped for record in records),
        failed=tuple(Failure(line["id"], line["error"], line.get("hint", "")) for line in failures),
        shards=sum(bool(record.images) for record in records),
        levels=folder.plan.levels,
        nonfinite_values=sum(record.nonfinite_values for record in records),
        nonfinite_images=sum(record.nonfinite_images for record in records),
        unscaled_images=sum(record.unscaled_images for record in records),
        bright_images=sum(record.bright_images for record in records),
        largest=max((record.largest for record in records), default=0.0),
        changed=folder.changed,
        complete=complete,
    )
