"""The layers of a model in the order in which they run: maps, parameters, multiply-accumulates, receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoo.core.errors import UsageError
from zoo.core.model.build import create_model
from zoo.core.model.receptive_field import Field, FollowFields, Scope, field_of

Place = tuple[int, int] | None


class LayerFacts(NamedTuple):
    """Facts of one module for one image.

    Args:
        module: path in the model; empty for what is in no module, such as position embeddings.
        kind: name of the module's class.
        shape: of its output without the batch axis; None if it gives no single tensor.
        params: parameters of its own, and of the modules in it if these have no row.
        macs: multiply-accumulates, counted in the same way.
        stride: pixels of the image from one cell of its output to the next, down and right; None if its output is no
            map of the image.
        receptive_field: height and width in pixels of what convolutions and poolings up to here reach; None likewise.
        sees: "window" if only these pixels matter, "image" if every pixel can (attention, or a mean over the whole
            map), "unknown" if positions were mixed in another way, as in windows of attention.
        calls: how often the module runs.
    """

    module: str
    kind: str
    shape: tuple[int, ...] | None
    params: int
    macs: int
    stride: tuple[int, int] | None
    receptive_field: tuple[int, int] | None
    sees: Scope | None
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """The facts as plain values, for `--json`."""
        return self._asdict()


class _Result(NamedTuple):
    """What a module gave when it ran last, and after how many others."""

    order: int
    shape: tuple[int, ...] | None
    field: Field | None


_SILENT = {"Identity", "Dropout", "DropPath"}
"""Classes of modules that change nothing."""


def layers_of(name: str, *, in_chans: int = 3, depth: int | None = None) -> list[LayerFacts]:
    """The layers of a model by name, for one image of the input size of its config; built on the meta device.

    Args:
        name: `name` or `name.tag`.
        in_chans: channels of the image, 1 or more.
        depth: parts of a path that are told apart; what lies deeper is counted in one row. None for all.

    Raises:
        UsageError: `depth` or `in_chans` below 1.
    """
    model = create_model(name, in_chans=in_chans, device="meta")
    _, height, width = model.pretrained_cfg["input_size"]
    return measure_layers(model, (in_chans, height, width), depth=depth)


def measure_layers(model: nn.Module, input_size: Sequence[int], *, depth: int | None = None) -> list[LayerFacts]:
    """The layers of a model on the meta device, for one image of (channels, height, width)."""
    if depth is not None and depth < 1:
        raise UsageError(f"The depth must be 1 or more, found {depth}.", hint="Leave it out for all layers.")
    model = model.eval().requires_grad_(False)  # the counter asks views of parameters for a gradient function
    image = torch.empty(1, *input_size, device="meta")
    run = _Run(model)
    with torch.no_grad(), run, FollowFields(image):
        model(image)
    return _rows(model, run, _row_of_each(model, depth), image)


class _Run:
    """Within the block, what each module gives and computes is recorded."""

    def __init__(self, model: nn.Module) -> None:
        self._paths = {module: path for path, module in model.named_modules() if path}
        self._counter = FlopCounterMode(display=False)
        self._running: list[list[int]] = []
        self._hooks: list[Any] = []
        self.results: dict[str, _Result] = {}
        self.macs = dict.fromkeys(("", *self._paths.values()), 0)
        """Path -> multiply-accumulates in it, without those in modules that it calls."""
        self.calls = dict.fromkeys(self._paths.values(), 0)

    def __enter__(self) -> None:
        for module in self._paths:
            self._hooks += [module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave)]
        self._counter.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._counter.__exit__(*error)
        for hook in self._hooks:
            hook.remove()
        self.macs[""] = self._counted() - sum(self.macs.values())

    def _counted(self) -> int:
        return self._counter.get_total_flops() // 2

    def _enter(self, _module: nn.Module, _inputs: Any) -> None:
        self._running.append([self._counted(), 0])

    def _leave(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        path, (begun, within) = self._paths[module], self._running.pop()
        done = self._counted() - begun
        self.macs[path] += done - within
        self.calls[path] += 1
        if self._running:
            self._running[-1][1] += done
        is_tensor = isinstance(output, Tensor)
        shape, field = (tuple(output.shape[1:]), field_of(output)) if is_tensor else (None, None)
        self.results[path] = _Result(sum(self.calls.values()), shape, field)


def _row_of_each(model: nn.Module, depth: int | None) -> dict[str, str]:
    """Path of each module -> path of the row that it is counted in.

    Rows go down to `depth`. What lies in a module that has parameters and the only ones, as an activation in a norm, is
    counted there.
    """
    rows: dict[str, str] = {"": ""}
    closed: set[str] = set()
    for path, module in model.named_modules():
        parent = path.rpartition(".")[0]
        if rows[parent] in closed:
            rows[path] = rows[parent]
        elif path:
            rows[path] = path
            own = any(True for _ in module.parameters(recurse=False))
            others = any(True for child in module.children() for _ in child.parameters())
            if (own and not others) or path.count(".") + 1 == depth:
                closed.add(path)
    return rows


def _rows(model: nn.Module, run: _Run, row_of: dict[str, str], image: Tensor) -> list[LayerFacts]:
    """The rows that say something, in the order of their results; what is in no module comes last."""
    params, macs = dict.fromkeys(row_of.values(), 0), dict.fromkeys(row_of.values(), 0)
    results: dict[str, _Result] = {}
    counted: set[nn.Parameter] = set()
    for path, module in model.named_modules():
        row = row_of[path]
        own = set(module.parameters(recurse=False)) - counted  # shared ones count once
        counted |= own
        params[row] += sum(p.numel() for p in own)
        macs[row] += run.macs[path]
        result = run.results.get(path)
        if result is not None and (row not in results or result.order > results[row].order):
            results[row] = result
    modules = dict(model.named_modules())
    found = []
    for path in sorted(results, key=lambda path: results[path].order):
        kind = type(modules[path]).__name__
        says = kind not in _SILENT and not any(True for _ in modules[path].children())
        if params[path] or macs[path] or says:
            place = _place(results[path], tuple(image.shape))
            calls = max(1, run.calls[path])
            found.append(LayerFacts(path, kind, results[path].shape, params[path], macs[path], *place, calls))
    shown_params, shown_macs = total(found)
    rest = sum(params.values()) - shown_params, sum(macs.values()) - shown_macs
    if any(rest):
        found.append(LayerFacts("", type(model).__name__, None, rest[0], rest[1], None, None, None, 1))
    return found


def _place(result: _Result, image: Sequence[int]) -> tuple[Place, Place, Scope | None]:
    """Stride and receptive field of a module's output, if it is a map, and what its cells see."""
    field, shape = result.field, result.shape or ()
    if field is None or len(shape) < 2 or field.window == (0, 0):  # no map, or a mean over one
        return None, None, field and field.scope
    if field.scope != "unknown":
        return _rounded(field.step), _rounded(field.window), field.scope
    # The windows were not followed. The cells of a map are counted; tokens do not say how they lie.
    axes = [axis - 1 for axis in range(1, 4) if axis not in field.channels]
    if len(shape) != 3 or len(axes) != 2:
        return None, None, field.scope
    return _rounded((image[2] / shape[axes[0]], image[3] / shape[axes[1]])), None, field.scope


def _rounded(pair: tuple[float, float]) -> tuple[int, int]:
    return round(pair[0]), round(pair[1])


def total(rows: Sequence[LayerFacts]) -> tuple[int, int]:
    """Parameters and multiply-accumulates of all rows."""
    return sum(row.params for row in rows), sum(row.macs for row in rows)
