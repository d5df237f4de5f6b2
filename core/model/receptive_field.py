"""What part of the image each tensor of a forward pass depends on, followed through its operators.

The sizes of windows add up as in Araujo et al., Computing Receptive Fields of Convolutional Neural Networks
(https://distill.pub/2019/computing-receptive-fields): a window of k cells that are d apart adds (k - 1) d times the
pixels from one cell to the next, and a stride multiplies these. Of several inputs the largest window counts.

It works on the meta device: nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Scope = Literal["window", "image", "unknown"]
Pair = tuple[float, float]

_RANK: dict[Scope, int] = {"window": 0, "image": 1, "unknown": 2}


class Field(NamedTuple):
    """Where the values of a tensor come from.

    Args:
        window: height and width in pixels of what convolutions and poolings reach.
        step: pixels from one cell to the next, down and right.
        scope: "window" if nothing outside can matter; "image" if every pixel can, through attention or a mean over the
            whole map; "unknown" if positions were mixed in a way that is not followed, as in windows of attention.
        cells: height and width of the map.
        channels: the axes that hold channels, next to each other; empty if they are not known any more.
    """

    window: Pair
    step: Pair
    scope: Scope
    cells: tuple[int, int]
    channels: tuple[int, ...]


def of_image(image: Tensor) -> Field:
    """The field of an image (N, C, H, W) itself: each pixel is one."""
    return Field((1, 1), (1, 1), "window", (image.shape[2], image.shape[3]), (1,))


class FollowFields(TorchDispatchMode):
    """Within the block, every operator hands on the fields of its inputs; `field_of` reads them.

    Args:
        image: the tensor (N, C, H, W) that the model will be called with.
    """

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        _set(image, of_image(image))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        fields = [(tensor, field) for tensor in _tensors([args, kwargs]) if (field := field_of(tensor)) is not None]
        if fields:
            name = func.overloadpacket.__name__
            for output in _tensors(result):
                _set(output, _after(name, args, kwargs, output, fields))
        return result


def field_of(tensor: Tensor) -> Field | None:
    """Where the values of a tensor come from; None if it does not depend on the image."""
    return getattr(tensor, "_zoo_field", None)


def _set(tensor: Tensor, field: Field) -> None:
    tensor._zoo_field = field  # type: ignore[attr-defined]


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


Followed = Sequence[tuple[Tensor, Field]]


def _after(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    """The field of an operator's output."""
    rule = _RULES.get(name)
    if rule is not None:
        return rule(args, kwargs, output, fields)
    merged = _merged([field for _, field in fields])
    same = [field.channels for tensor, field in fields if tensor.shape == output.shape]
    if same:
        return merged._replace(channels=max(same, key=len))
    largest, field = max(fields, key=lambda one: one[0].numel())
    if name == "cat" and largest.ndim == output.ndim:
        return merged._replace(channels=field.channels)
    return merged._replace(channels=_channels_after_view(largest.shape, field.channels, output.shape))


def _merged(fields: Sequence[Field]) -> Field:
    """The field of what is computed cell by cell from several inputs."""
    local = [field for field in fields if field.window != (0, 0)] or list(fields)
    finest = max(local, key=lambda field: prod(field.cells))
    return finest._replace(
        window=(max(f.window[0] for f in local), max(f.window[1] for f in local)),
        scope=max((f.scope for f in fields), key=_RANK.__getitem__),
    )


# ---------------------------------------------------------------- windows


def _pair(values: Any, default: Sequence[int] = (1, 1)) -> tuple[int, int]:
    if isinstance(values, int):
        return values, values
    values = list(values) or list(default)
    return (values[0], values[-1])


def _each(compute: Callable[..., float], *pairs: Pair) -> Pair:
    """A function of the values down, and of those to the right."""
    return compute(*(pair[0] for pair in pairs)), compute(*(pair[1] for pair in pairs))


def _moved(field: Field, output: Tensor, kernel: Any, stride: Any, dilation: Any = 1) -> Field:
    if field.window == (0, 0):
        return field._replace(channels=(output.ndim - 3,))
    kernel, stride, dilation = _pair(kernel), _pair(stride, _pair(kernel)), _pair(dilation)
    window = _each(lambda w, k, d, s: w + (k - 1) * d * s, field.window, kernel, dilation, field.step)
    step = _each(lambda s, by: s * by, field.step, stride)
    return field._replace(window=window, step=step, cells=_cells(output), channels=(output.ndim - 3,))


def _cells(output: Tensor) -> tuple[int, int]:
    return output.shape[-2], output.shape[-1]


def _as_map(tensor: Tensor, field: Field) -> Field:
    """The field of a map whose cells were put together or taken apart since, by views that move them to channels."""
    if tensor.ndim < 3 or _cells(tensor) == field.cells or field.window == (0, 0):
        return field
    if any(before % now and now % before for before, now in zip(field.cells, _cells(tensor), strict=True)):
        return field._replace(cells=_cells(tensor))  # padded or cut
    ratio = _each(lambda before, now: before / now, field.cells, _cells(tensor))
    window = _each(lambda w, r, s: w + max(0.0, r - 1) * s, field.window, ratio, field.step)
    step = _each(lambda r, s: r * s, ratio, field.step)
    return field._replace(window=window, step=step, cells=_cells(tensor))


def _convolution(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    image, weight, _, stride, _, dilation, transposed = args[:7]
    field = field_of(image)
    if field is None or output.ndim != 4:
        merged = _merged([field for _, field in fields])
        return merged._replace(scope="unknown" if output.ndim != 3 or weight.shape[-1] > 1 else merged.scope)
    field = _as_map(image, field)
    kernel = _pair(weight.shape[2:])
    if not transposed:
        return _moved(field, output, kernel, stride, dilation)
    reach = [-(-k // s) for k, s in zip(kernel, _pair(stride), strict=True)]
    moved = _moved(field, output, reach, 1)
    return moved._replace(step=_each(lambda s, by: s / by, field.step, _pair(stride)))


def _max_pool(args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    (image, field) = fields[0]
    kernel, stride, _, dilation = [*args[1:5], *([], 0, 1)[len(args) - 2 :]][:4]
    return _moved(_as_map(image, field), output, kernel, kwargs.get("stride", stride), dilation)


def _avg_pool(args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    (image, field) = fields[0]
    stride = args[2] if len(args) > 2 else kwargs.get("stride", [])
    return _moved(_as_map(image, field), output, args[1], stride)


def _adaptive_pool(_args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    (image, field) = fields[0]
    if _cells(output) == _cells(image):
        return field
    if prod(_cells(output)) == 1:
        return _global(field, output, (output.ndim - 3,))
    kernel = [-(-before // now) for before, now in zip(_cells(image), _cells(output), strict=True)]
    return _moved(_as_map(image, field), output, kernel, kernel)


def _upsample(smooth: int) -> Rule:
    def rule(_args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
        (image, field) = fields[0]
        field = _as_map(image, field)
        moved = _moved(field, output, 1 + smooth, 1)
        step = _each(lambda s, before, now: s * before / now, field.step, _cells(image), _cells(output))
        return moved._replace(step=step)

    return rule


# ---------------------------------------------------------------- mixing of positions


def _global(field: Field, output: Tensor, channels: tuple[int, ...]) -> Field:
    """The field of a mean over all positions: it has no window of its own."""
    scope: Scope = "unknown" if field.scope == "unknown" else "image"
    return field._replace(window=(0, 0), scope=scope, channels=channels if output.ndim else ())


def _reduction(args: Sequence[Any], kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    (tensor, field) = fields[0]
    axes = args[1] if len(args) > 1 and not isinstance(args[1], float | bool) else kwargs.get("dim")
    if args and len(args) > 2 and isinstance(args[2], list):  # a norm has its order first
        axes = args[2]
    if axes is None or isinstance(axes, torch.dtype):
        axes = range(tensor.ndim)
    reduced = {axis % tensor.ndim for axis in ([axes] if isinstance(axes, int) else axes)}
    keeps = output.ndim == tensor.ndim
    left = [axis for axis in range(tensor.ndim) if axis not in reduced]
    channels = tuple(axis if keeps else left.index(axis) for axis in field.channels if keeps or axis not in reduced)
    mixed = reduced - set(field.channels)
    positions = prod(tensor.shape[axis] for axis in mixed)
    if positions == 1:
        return field._replace(channels=channels)
    if positions >= prod(field.cells):
        return _global(field, output, channels)
    # The mean over one of two axes; if channels are not known, over what may be channels.
    return field._replace(channels=channels, scope="unknown" if field.scope == "window" else field.scope)


def _product(left: int, right: int) -> Rule:
    """The rule of a matrix product whose operands are these arguments."""

    def rule(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
        first, second = field_of(args[left]), field_of(args[right])
        merged = _merged([field for _, field in fields])
        if first is not None and second is not None:
            # Attention: its weights, or what it finds with them. The keys are all positions, or those of a window.
            within = args[left].ndim - 1 in first.channels
            keys = output.shape[-1] if within else args[left].shape[-1]
            cells = min(prod(first.cells), prod(second.cells))
            channels = () if within else second.channels
            return merged._replace(scope=_mixed(merged.scope, keys >= cells), channels=channels)
        tensor, field = (args[left], first) if first is not None else (args[right], second)
        if field is None:
            return merged  # only what is added comes from the image
        axis = tensor.ndim - (1 if first is not None else 2)
        if axis in field.channels or (not field.channels and tensor.shape[axis] not in _sizes_of(field)):
            channels = (output.ndim - 1,) if first is not None else (output.ndim - 2,)
            return merged._replace(channels=channels)
        return merged._replace(scope=_mixed(merged.scope, tensor.shape[axis] >= prod(field.cells)))

    return rule


def _sizes_of(field: Field) -> set[int]:
    return {prod(field.cells), *field.cells} - {1}


def _mixed(scope: Scope, over_all: bool) -> Scope:
    if over_all:
        return "unknown" if scope == "unknown" else "image"
    return "unknown" if scope == "window" else scope


def _attention(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    queries, keys = args[0], args[1]
    merged = _merged([field for _, field in fields])
    found = field_of(keys) or merged
    channels: tuple[int, ...] = (1, 3) if output.ndim == 4 else (output.ndim - 1,)
    if output.shape != queries.shape:
        channels = ()
    return merged._replace(scope=_mixed(merged.scope, keys.shape[-2] >= prod(found.cells)), channels=channels)


def _unfold(args: Sequence[Any], _kwargs: Mapping[str, Any], _output: Tensor, fields: Followed) -> Field:
    (image, field) = fields[0]
    kernel, dilation, _, stride = args[1:5]
    moved = _moved(_as_map(image, field), image, kernel, stride, dilation)
    return moved._replace(channels=(), scope=_mixed(moved.scope, False) if field.scope != "window" else "window")


# ---------------------------------------------------------------- views


def _channels_after_view(before: Sequence[int], channels: tuple[int, ...], after: Sequence[int]) -> tuple[int, ...]:
    """Where the channels are after a view: the axes that take the same places in memory; empty if there are none."""
    found: list[int] = []
    for start, stop in _runs(channels):
        axes = _axes_at(after, prod(before[:start]), prod(before[start:stop]))
        if not axes:
            return ()
        found += axes
    return tuple(found)


def _runs(axes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Axes that are next to each other, as start and stop."""
    starts = [axis for axis in axes if axis - 1 not in axes]
    stops = [axis + 1 for axis in axes if axis + 1 not in axes]
    yield from zip(starts, stops, strict=True)


def _axes_at(shape: Sequence[int], outside: int, inside: int) -> list[int]:
    """The axes that have `inside` entries together, with `outside` in the axes before them."""
    for start in range(len(shape)):
        if prod(shape[:start]) == outside and shape[start] != 1:
            for stop in range(start + 1, len(shape) + 1):
                if prod(shape[start:stop]) == inside:
                    return list(range(start, stop))
    return []


def _permute(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    order = [axis % output.ndim for axis in args[1]]
    return fields[0][1]._replace(channels=tuple(sorted(order.index(axis) for axis in fields[0][1].channels)))


def _transpose(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    first, second = (axis % output.ndim for axis in (args[1:3] if len(args) > 2 else (0, 1)))
    swapped = {first: second, second: first}
    return fields[0][1]._replace(channels=tuple(sorted(swapped.get(axis, axis) for axis in fields[0][1].channels)))


def _unsqueeze(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    new = args[1] % output.ndim
    return fields[0][1]._replace(channels=tuple(axis + (axis >= new) for axis in fields[0][1].channels))


def _remove_axis(args: Sequence[Any], _kwargs: Mapping[str, Any], output: Tensor, fields: Followed) -> Field:
    (tensor, field) = fields[0]
    axis = args[1] if len(args) > 1 else 0  # unbind
    if output.ndim == tensor.ndim - 1 and isinstance(axis, int):
        gone = axis % tensor.ndim
        kept = [axis for axis in field.channels if axis != gone]
        return field._replace(channels=tuple(axis - (axis > gone) for axis in kept))
    return field._replace(channels=_channels_after_view(tensor.shape, field.channels, output.shape))


Rule = Callable[[Sequence[Any], Mapping[str, Any], Tensor, Followed], Field]

_RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "_adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_avg_pool2d": _adaptive_pool,
    "adaptive_max_pool2d": _adaptive_pool,
    "upsample_nearest2d": _upsample(0),
    "upsample_bilinear2d": _upsample(1),
    "_upsample_bilinear2d_aa": _upsample(1),
    "upsample_bicubic2d": _upsample(3),
    "_upsample_bicubic2d_aa": _upsample(3),
    **dict.fromkeys(
        ("mean", "sum", "amax", "amin", "max", "var", "var_mean", "std", "logsumexp", "linalg_vector_norm", "norm"),
        _reduction,
    ),
    "mm": _product(0, 1),
    "bmm": _product(0, 1),
    "matmul": _product(0, 1),
    "addmm": _product(1, 2),
    "baddbmm": _product(1, 2),
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_attention_math_for_mps": _attention,
    "im2col": _unfold,
    "permute": _permute,
    "transpose": _transpose,
    "t": _transpose,
    "unsqueeze": _unsqueeze,
    "select": _remove_axis,
    "squeeze": _remove_axis,
    "unbind": _remove_axis,
}
