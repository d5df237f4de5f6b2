"""Fit a checkpoint to different input channels, as a stream: no torch, and only the changed tensors in memory.

Knowledge about the tensors accumulates: `Source.cfg` describes what their name stands for, `stated` is what their file
says about itself, `plan.cfg` adds what names and shapes show, `plan.result_cfg()` describes the new file.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from zoo.core.adapt.identity import identified, require_architecture, told_of_classifier
from zoo.core.adapt.plan import AdaptPlan, TensorChange, plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.input_layers import InputLayout
from zoo.core.errors import CannotWriteError, InvalidInputError, UsageError
from zoo.core.files.atomic_output import OutputFile, atomic_output, check_target
from zoo.core.files.background import in_background
from zoo.core.files.float8 import told_of_scales
from zoo.core.files.float_bytes import are_finite_floats, is_finite
from zoo.core.files.safetensors_file import read_header
from zoo.core.files.safetensors_writer import layout, write_safetensors
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.metadata.stated import configured, stated_configuration, stated_image_size, weight_metadata

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from zoo.core.adapt.verify import Check

CheckLoading = Callable[[Mapping[str, StoredTensor], Mapping[str, str]], "Check"]
Status = Literal["planned", "written", "unchanged"]
Format = Literal["safetensors", "timm"]

_NO_DIGEST = "0" * 64


@dataclass(frozen=True, kw_only=True)
class OutputRequest:
    """Where and how to write the result, and the conditions for writing it.

    Args:
        path: a safetensors file; with `file_format` "timm" a folder that gets model.safetensors and config.json.
        force: replace an existing file that differs.
        dry_run: only report what would be done.
        sync: wait until the data is on disk, so that a power cut cannot leave a damaged file.
        verify: check the written file against the source before it is put in place.
        min_coverage: the least share of the source's values that must reach the file, 0 to 1.
        fail_on_nonfinite: write nothing if the file would hold NaN or infinite values.
        plot: path of a PNG that shows the input layer's filters before and after.
    """

    path: str | os.PathLike[str]
    file_format: Format = "safetensors"
    force: bool = False
    dry_run: bool = False
    sync: bool = True
    verify: bool = False
    min_coverage: float = 0.0
    fail_on_nonfinite: bool = False
    plot: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if self.file_format not in get_args(Format):
            raise UsageError(f"The format must be one of {', '.join(get_args(Format))}, found {self.file_format!r}.")
        if not 0 <= self.min_coverage <= 1:
            raise UsageError(f"The coverage is a share from 0 to 1, found {self.min_coverage:g}.")


class Source(NamedTuple):
    """The checkpoint to adapt: its tensors, and what is known about it.

    Args:
        label: the file, for messages. `name`: its name in the result's metadata.
        tensors: in the order of the file.
        metadata: the file's own.
        cfg: the config of the tensors; empty if nothing is known.
        sha256: returns the file's digest. It runs on another thread while the file is copied, and takes a function that
            says whether to stop.
        require_unchanged: raises if somebody wrote to the file meanwhile.
        states_size: whether the config's input size describes these very tensors (from a config.json in the same
            folder) rather than their architecture's default.
        file_format: format of the source, as `open_weights` names it.
        unwrapped: whether prefixes or segments that wrappers add were removed from the names.
        notes: what the user should know about how the tensors were found.
    """

    label: str
    name: str
    tensors: Sequence[StoredTensor]
    metadata: Mapping[str, str]
    cfg: PretrainedCfg
    sha256: Callable[[Callable[[], bool]], str]
    require_unchanged: Callable[[], None] = lambda: None
    states_size: bool = False
    file_format: str = "safetensors"
    unwrapped: bool = False
    notes: tuple[str, ...] = ()


class AdaptReport(NamedTuple):
    """What was done, or what a dry run would do.

    `changes` has one entry per tensor, in the order of the source. `coverage` is the share of the source's values that
    reached the file. `dtype` is the requested one. `gains` is how much each source channel counts, 1 where the response
    is kept. `checks` are those of `verify`.
    """

    source: str
    output: str
    architecture: str
    from_chans: int
    in_chans: int
    num_classes: int
    method: str
    dtype: str
    gains: tuple[float, ...]
    bands: tuple[str, ...]
    notes: tuple[str, ...]
    changes: tuple[TensorChange, ...]
    coverage: float
    checks: tuple[Check, ...]
    nbytes: int
    status: Status

    def counts(self) -> dict[str, int]:
        """The number of tensors per action."""
        return dict(Counter(change.action for change in self.changes))


def adapt_source(
    source: Source, request: AdaptRequest, output: OutputRequest, check_loading: CheckLoading | None = None
) -> AdaptReport:
    """Write a checkpoint whose input layers read different channels.

    Other tensors keep their bytes unless requested otherwise. With `output.verify`, `check_loading` checks whether the
    file will load.

    Raises:
        UsageError: a request that makes no sense.
        InvalidInputError: the source is corrupt, lacks the layer, or fails a condition; nothing was written.
        CannotWriteError: nothing was written.
    """
    if replace(request, seed=0) == AdaptRequest() and output.file_format == "safetensors":
        raise UsageError("No change was asked for.", hint="To change the channels, pass --in-chans N or --bands.")
    target = check_target(output.path, folder=output.file_format == "timm")
    if output.plot is not None:
        check_target(output.plot)
    stated = stated_configuration(source.metadata, source.cfg.architecture, source.label)
    if request.input_layout is None and "input_layout" in stated:
        request = replace(request, input_layout=InputLayout.parse(stated["input_layout"]))
    cfg, notes, twin = identified(source.tensors, configured(source.cfg, stated), request, source.label)
    stated_size = stated_image_size(dict(cfg.model_args)) or (cfg.input_size[1:] if source.states_size else None)
    plan = plan_adaptation(source.tensors, cfg, request, source.label, stated.get("bands", ()), stated_size, twin=twin)
    if output.plot is not None and not plan.stem.layers:
        raise UsageError("There is no input layer whose filters could be drawn.", hint="Leave out --plot.")
    if plan.image_size and not (stated_size or request.img_size or request.source_size):
        notes.append(f"its positions are those of images of {plan.image_size[0]} x {plan.image_size[1]}")
    if not stated.get("model_args"):  # tensors that were resized are no longer those of the default size
        notes += require_architecture(
            plan, source.label, for_timm=output.file_format == "timm", is_graph=source.file_format == "onnx"
        )
    if plan.new_classifier:
        notes += told_of_classifier(plan)
    if request.dtype:
        notes += told_of_scales(source.tensors)
    coverage = plan.coverage()
    if coverage < output.min_coverage:
        raise InvalidInputError(
            f"{coverage:.1%} of the values of {source.label} would reach the file, less than the"
            f" {output.min_coverage:.1%} asked for.",
            hint="--dry-run lists what is dropped.",
            path=source.label,
        )
    job = _Job(source, plan, output, stated, check_loading)
    status: Status = "planned"
    if output.dry_run:
        job.nbytes = job.planned_bytes()
    else:
        if (plan.needs_numpy or output.verify or output.fail_on_nonfinite or output.plot) and _memory_is_limited():
            # Import numpy before there is anything to clean up: if memory is short, the import can end the process.
            # Otherwise it is imported while the kernel copies.
            import numpy  # noqa: F401
        status = job.write_folder(target) if output.file_format == "timm" else job.write_file(target)
        if output.plot is not None:
            job.draw(output.plot)
        for name in job.non_finite:
            warnings.warn(f"{name} holds NaN or infinite values after adapting.", RuntimeWarning, stacklevel=2)
    return AdaptReport(
        source=source.label,
        output=os.fspath(output.path),
        architecture=plan.cfg.architecture,
        from_chans=plan.stem.from_chans,
        in_chans=plan.in_chans,
        num_classes=plan.num_classes,
        method=plan.method,
        dtype=request.dtype,
        gains=plan.gains(),
        bands=plan.placements,
        notes=(*source.notes, *notes, *filter(None, [plan.stem.note])),
        changes=plan.changes,
        coverage=coverage,
        checks=tuple(job.checks),
        nbytes=job.nbytes,
        status=status,
    )


class _Job:
    """One write of an adapted checkpoint, with the same tensors, metadata and checks for a file and for a folder."""

    def __init__(
        self,
        source: Source,
        plan: AdaptPlan,
        output: OutputRequest,
        stated: Mapping[str, Any],
        check_loading: CheckLoading | None = None,
    ) -> None:
        self.source, self.plan, self.output, self.stated = source, plan, output, stated
        self.check_loading = check_loading
        self.result_cfg = plan.result_cfg()
        self.model_args = {**dict(plan.cfg.model_args), **plan.model_args()}
        self.checks: list[Check] = []
        self.config = b""
        self.nbytes = 0  # of the weight file
        self.filters: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.non_finite: list[str] = []  # names of computed tensors that came out with NaN or infinite values

    def metadata(self, digest: str) -> dict[str, str]:
        plan = self.plan
        origin: dict[str, Any] = {
            "adapted_from": plan.stem.from_chans,
            "method": plan.method,
            "source": self.source.name,
            "source_sha256": digest,
        }
        if plan.new_classifier:
            origin |= {"initialised": plan.new_classifier, "random_seed": plan.request.seed}
        if "origin" in self.stated:
            origin["previous"] = self.stated["origin"]
        return weight_metadata(
            self.result_cfg,
            num_classes=plan.num_classes,
            origin=origin,
            kept=self.source.metadata,
            bands=[f"{band.sensor}:{band.name}" if band.sensor else band.name for band in plan.request.bands],
            input_layout="" if plan.stem.layout.kind == "conv" else str(plan.written_layout),
            model_args=self.model_args,
            reparameterized=self.stated.get("reparameterized", False),
        )

    def planned_bytes(self) -> int:
        """The size of the weight file. The header is not kept, since metadata can be megabytes."""
        header, tensors = layout(self.plan.tensors, self.metadata(_NO_DIGEST))
        return len(header) + sum(tensor.nbytes for tensor in tensors)

    def write_file(self, target: str) -> Status:
        # Check before a long copy: a file of a different size cannot turn out to be identical.
        replaces = not self.output.force and os.path.exists(target)
        if replaces and os.path.getsize(target) != self.planned_bytes():
            raise CannotWriteError(
                f"{target} already exists with other contents.", hint="Pass --force to replace it.", path=target
            )
        with atomic_output(self.output.path, force=self.output.force, sync=self.output.sync) as file:
            self._write(file)
        return "unchanged" if file.unchanged else "written"

    def write_folder(self, target: str) -> Status:
        from zoo.core.adapt.timm_folder import timm_config
        from zoo.core.files.atomic_folder import atomic_folder

        self.config = config = timm_config(self.result_cfg, self.plan, self.model_args)
        with atomic_folder(target, force=self.output.force, sync=self.output.sync) as folder:
            with folder.file("model.safetensors") as file:
                self._write(file)
            with folder.file("config.json") as file:
                file.write(config)
        return "unchanged" if folder.unchanged else "written"

    def _write(self, file: OutputFile) -> None:
        digest = _NO_DIGEST

        def take_digest(stopped: Callable[[], bool]) -> None:
            nonlocal digest
            digest = self.source.sha256(stopped)

        with in_background(take_digest) as wait:

            def final_metadata() -> dict[str, str]:
                wait()
                return self.metadata(digest)

            write_safetensors(file, self._watched_tensors(), self.metadata(digest), final_metadata)
        self.nbytes = os.fstat(file.fd).st_size
        self.source.require_unchanged()
        if self.output.verify or self.output.fail_on_nonfinite or self.output.plot:
            self._check(file)

    def _watched_tensors(self) -> list[StoredTensor]:
        """The tensors to write; those computed from the source's values are checked for NaN and infinity on the way."""
        watched = {c.new_name for c in self.plan.changes if c.action not in ("copy", "new", "drop")}
        return [
            tensor._replace(data=Computed(tensor.nbytes, partial(self._watch, tensor)))
            if tensor.name in watched
            else tensor
            for tensor in self.plan.tensors
        ]

    def _watch(self, tensor: StoredTensor) -> Iterator[bytes | memoryview]:
        # Few values are computed if numpy is not needed.
        finite = is_finite if self.plan.needs_numpy else are_finite_floats
        for data in tensor.chunks():
            if tensor.name not in self.non_finite and not finite(data, tensor.dtype):
                self.non_finite.append(tensor.name)
            yield data

    def draw(self, path: str | os.PathLike[str]) -> None:
        """Draw the requested plot; called once the weights are in place."""
        assert self.filters is not None  # read from the written file
        from zoo.core.adapt.plot import plot_stem

        before, after = self.filters
        names, new_names = self.plan.names_of_channels(before.shape[1], after.shape[1])
        plot_stem(before, after, path, before_bands=names, after_bands=new_names, force=self.output.force)

    def _check(self, file: OutputFile) -> None:
        """Check the file before it is put in place, and keep the filters for a requested plot."""
        from zoo.core.adapt.verify import verify_adapted

        tensors, metadata = read_header(os.fspath(self.output.path), file.fd)
        if self.output.plot:
            name = self.plan.input_names()[0]
            self.filters = (
                _filters(self.plan.sources[name], self.plan.stem.layout),
                _filters(tensors[name], self.plan.written_layout),
            )
        found = verify_adapted(self.plan, tensors, file.path)
        found += self._loading_checks(tensors, metadata) if self.output.verify else []
        self.checks = found if self.output.verify else [check for check in found if check.name == "finite"]
        failed = [c for c in self.checks if not c.ok and (c.name != "finite" or self.output.fail_on_nonfinite)]
        if failed:
            raise InvalidInputError(
                f"The adapted weights of {self.source.label} do not hold what they must, {failed[0].name}:"
                f" {failed[0].detail}.",
                hint="Nothing was written.",
                path=self.source.label,
            )

    def _loading_checks(self, tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> list[Check]:
        if self.plan.request.prefix:
            return []  # neither zoo nor timm loads names with a prefix
        checks = [self.check_loading(tensors, metadata)] if self.check_loading else []
        if self.config:
            from zoo.core.adapt.timm_folder import loads_in_timm

            checks.append(loads_in_timm(tensors, self.config, self.plan.written_layout))
        return checks


def _memory_is_limited() -> bool:
    """Whether this process may run out of memory although the machine has some left."""
    from resource import RLIM_INFINITY, RLIMIT_AS, RLIMIT_DATA, getrlimit

    return any(getrlimit(limit)[0] != RLIM_INFINITY for limit in (RLIMIT_AS, RLIMIT_DATA))


def _filters(tensor: StoredTensor, layout: InputLayout) -> NDArray[np.float32]:
    """An input layer's filters as images: (out, channels, height, width)."""
    from zoo.core.files.float_bytes import to_float32

    weight = layout.by_channel(to_float32(tensor.read(), tensor.dtype, tensor.shape))
    pixels = weight.shape[2]
    width = tensor.shape[-1] if layout.kind in ("conv", "groups") else isqrt(pixels)
    if pixels % width:
        width = pixels
    return weight.reshape(*weight.shape[:2], pixels // width, width)
