"""Compute the shards of an export: decode ahead, run the model, publish. No torch here."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain, islice, tee
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
    Features = Sequence[NDArray[Any]]  # of one image, per level

ON_ERROR = ("skip", "stop")
FAILURES_KEPT = 100


class Prepared(NamedTuple):
    """An image as the model reads it, float32 (channels, height, width), and the facts for the manifest.

    `place` is that of the whole image, or of its tile, before any resize or crop.
    """

    image: Image
    facts: Mapping[str, Any] = {}
    place: Place | None = None


_Known = tuple[Mapping[str, Any], Place | None]
"""What is kept about an image while its features are computed."""


class SkippedImageError(ZooError):
    """An image that is left out on purpose; `facts` are for the manifest."""

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.facts = dict(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        return SkippedImageError, (self.message, self.facts)


Decode = Callable[[Iterable[ImageInput]], Generator[Prepared | ZooError, None, None]]
"""Inputs -> images in their order, or the error for one. It may read ahead, and may be closed early."""


class Failure(NamedTuple):
    """An image that could not be read, the reason, and a remedy if there is one."""

    id: str
    error: str
    hint: str = ""


Compute = Callable[[Iterable["Image | ZooError"]], Iterable["Features | ZooError"]]
"""Images of one shard -> their features in the same order, with errors passed through. It may take several at once."""


class ExportJob(NamedTuple):
    """A plan and the functions that compute it.

    `maps` computes without pooling, for previews. With `hashes`, inputs are also identified by content. `check_model`
    is called before a shard is published, and raises if the model has changed.
    """

    plan: ExportPlan
    decode: Decode
    compute: Compute
    maps: Compute
    hashes: bool = False
    check_model: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class ExportReport:
    """The result of an export.

    Args:
        out_dir: the folder.
        images: number of exported images.
        num_failed: number of unreadable images.
        failed: the first hundred of the unreadable images.
        num_skipped: number of images left out on purpose.
        shards: number of shards with features.
        levels: the levels of each image.
        nonfinite_values, nonfinite_images: number of NaN and infinite values in the features, and of images with any.
        unscaled_images: number of images whose declared scale and offset were not applied.
        bright_images, largest: number of floating-point images with values above 1 that no scale divides, and their
            maximum.
        changed: False if the folder already held this export.
        complete: all shards are done, including those of other processes, and `manifest.jsonl` exists.
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
        """The report as plain values, for `--json`."""
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
    """The shards that are not done yet, or whose inputs have changed; the others count as progress.

    Args:
        folder: the output folder.
        shards: the numbers of the shards to check.
        retry_failed, verify: see `FeatureFolder.is_done`.
        hashes: identify inputs by content if the manifest has it, otherwise by size and time of last change.
        on_progress: called with the number of inputs in a finished shard.
        on_changed: called with the ids of a shard's changed inputs.
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
    """Compute shards and publish each when it is complete. Published shards stay, however the run ends.

    Args:
        job: what to compute. `job.compute` is called once per shard, so that the images in a batch, and with them the
            last bit of a feature, do not depend on where a run began.
        shards: their numbers, e.g. from `pending_shards`. Each is taken when decoding comes to it, so several processes
            may take theirs from one supply.
        folder: the output folder.
        on_error: `skip` lists unreadable images, `stop` raises the first one's error.
        on_progress: called with the number of inputs done since the last call.

    Raises:
        UsageError: an unknown `on_error`.
        InvalidInputError: an image could not be read, with `stop`; or the model has changed meanwhile.
        CannotWriteError: a file could not be written.
    """
    if on_error not in ON_ERROR:
        raise UsageError(f"On an error zoo can {' or '.join(ON_ERROR)}, not {on_error!r}.")
    supply = iter(shards)
    first = next(supply, None)
    if first is None:
        return
    folder.reopen()
    plan = job.plan
    stamps: deque[Stamp | None] = deque()
    to_decode, to_publish = tee(chain([first], supply))
    inputs = (plan.inputs[position] for shard in to_decode for position in plan.positions(shard))
    with closing(job.decode(_stamped(inputs, stamps))) as decoded:
        for shard in to_publish:
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
    """The items; each item's stamp is taken before it is read, so that a change during reading shows later."""
    for item in items:
        stamps.append(stamp_of(item))
        yield item


def _identity(item: ImageInput, stamp: Stamp | None, line: Mapping[str, Any], *, hashes: bool) -> dict[str, Any]:
    """The manifest's facts about the file; the digest of a readable image was taken together with the pixels."""
    identity: dict[str, Any] = {} if stamp is None else stamp._asdict()
    if hashes and stamp is not None and "sha256" not in line:
        with suppress(ZooError, OSError):
            identity["sha256"] = sha256_of_input(item)
    return identity


def _images(decoded: Iterable[Prepared | ZooError], known: deque[_Known], *, stop: bool) -> Iterator[Image | ZooError]:
    """Only the images; the facts about them wait in `known` for their features."""
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
    """Store one image's features; return its line of the manifest."""
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
    """Complete the folder if possible, and count the content of these shards from their parts of the manifest."""
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
