"""Operations on one tensor, to timm's layout and back, on stored bytes. No torch, any dtype.

Splitting and joining along the first axis reads nothing; a transposition is computed when the tensor is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import isqrt, prod
from typing import NamedTuple, Protocol

from zoo.core.errors import InvalidInputError
from zoo.core.files.stored_tensor import DTYPE_BITS, Computed, Data, Region, StoredTensor, Unavailable

Shape = tuple[int, ...]


class Operation(Protocol):
    """A reversible change of one tensor; the name stays.

    `num_heads` is the architecture's, 0 if unknown. Both methods raise InvalidInputError for a tensor of a different
    kind than the layout expects.
    """

    def to_timm(self, tensor: StoredTensor) -> StoredTensor: ...
    def from_timm(self, tensor: StoredTensor, num_heads: int) -> StoredTensor: ...


class Unchanged(NamedTuple):
    """Keep values and shape."""

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        return tensor

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return tensor


class Transposed(NamedTuple):
    """Transpose: timm's axis i is their axis axes[i]."""

    axes: Shape

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        return transposed(tensor, self.axes)

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return transposed(tensor, tuple(map(self.axes.index, range(len(self.axes)))))


class Batched(NamedTuple):
    """timm has `axes` additional leading axes of length one."""

    axes: int

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        return tensor._replace(shape=(1,) * self.axes + tensor.shape)

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        _require(tensor, tensor.shape[: self.axes] == (1,) * self.axes, f"{self.axes} first axes of length one")
        return tensor._replace(shape=tensor.shape[self.axes :])


class Led(NamedTuple):
    """They have `axes` additional leading axes of length one."""

    axes: int

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        return Batched(self.axes).from_timm(tensor, 0)

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return Batched(self.axes).to_timm(tensor)


class Trailed(NamedTuple):
    """They have `axes` additional trailing axes of length one."""

    axes: int

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        _require(tensor, tensor.shape[-self.axes :] == (1,) * self.axes, f"{self.axes} last axes of length one")
        return tensor._replace(shape=tensor.shape[: -self.axes])

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return tensor._replace(shape=tensor.shape + (1,) * self.axes)


class Unfolded(NamedTuple):
    """Their matrix is timm's convolution: its columns are channels x kernel."""

    kernel: Shape

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        area = prod(self.kernel)
        _require(tensor, len(tensor.shape) == 2 and tensor.shape[1] % area == 0, f"a matrix with {area} x C columns")
        return tensor._replace(shape=(tensor.shape[0], tensor.shape[1] // area, *self.kernel))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        _require(tensor, tensor.shape[2:] == self.kernel, f"a kernel of {'x'.join(map(str, self.kernel))}")
        return tensor._replace(shape=(tensor.shape[0], prod(tensor.shape[1:])))


class MapRows(NamedTuple):
    """Their matrix (h * w * C, out) reads a map with the channels last; timm's is the convolution (out, C, h, w)."""

    kernel: Shape

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        area = prod(self.kernel)
        _require(tensor, len(tensor.shape) == 2 and tensor.shape[0] % area == 0, f"a matrix with {area} x C rows")
        rows, out = tensor.shape
        return transposed(tensor._replace(shape=(*self.kernel, rows // area, out)), (3, 2, 0, 1))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        _require(tensor, tensor.shape[2:] == self.kernel, f"a kernel of {'x'.join(map(str, self.kernel))}")
        found = transposed(tensor, (2, 3, 1, 0))
        return found._replace(shape=(prod(tensor.shape[1:]), tensor.shape[0]))


class Parts(NamedTuple):
    """timm splits one of their tensors into consecutive shares along the first axis."""

    shares: Shape

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        return tensor

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return tensor


class HeadsOut(NamedTuple):
    """Their projection to the heads, (in, heads, D) or a bias (heads, D), is timm's (heads * D, in) or (heads * D)."""

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        _require(tensor, len(tensor.shape) in (2, 3), "two or three axes")
        *before, heads, size = tensor.shape
        flat = tensor._replace(shape=(*before, heads * size))
        return transposed(flat, (1, 0)) if before else flat

    def from_timm(self, tensor: StoredTensor, num_heads: int) -> StoredTensor:
        found = transposed(tensor, (1, 0)) if len(tensor.shape) == 2 else tensor
        size = _head_size(tensor, found.shape[-1], num_heads)
        return found._replace(shape=(*found.shape[:-1], num_heads, size))


class HeadsIn(NamedTuple):
    """Their projection from the heads, (heads, D, out), is timm's (out, heads * D)."""

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        _require(tensor, len(tensor.shape) == 3, "three axes")
        heads, size, out = tensor.shape
        return transposed(tensor._replace(shape=(heads * size, out)), (1, 0))

    def from_timm(self, tensor: StoredTensor, num_heads: int) -> StoredTensor:
        found = transposed(tensor, (1, 0))
        size = _head_size(tensor, found.shape[0], num_heads)
        return found._replace(shape=(num_heads, size, found.shape[1]))


class UnfoldOrder(NamedTuple):
    """The last axis holds 2x2 neighbours: theirs is (C, y, x) as `nn.Unfold` orders them, timm's is (x, y, C).

    For a vector, the only axis. timm's order is that of Swin Transformer's authors
    (https://github.com/microsoft/Swin-Transformer).
    """

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        *rows, width = self._checked(tensor)
        return self._reordered(tensor, (*rows, width // 4, 2, 2), (2, 1, 0))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        *rows, width = self._checked(tensor)
        return self._reordered(tensor, (*rows, 2, 2, width // 4), (2, 1, 0))

    def _checked(self, tensor: StoredTensor) -> Shape:
        _require(tensor, bool(tensor.shape) and tensor.shape[-1] % 4 == 0, "a last axis of four neighbours")
        return tensor.shape

    def _reordered(self, tensor: StoredTensor, parts: Shape, axes: Shape) -> StoredTensor:
        before = len(parts) - 3
        found = transposed(tensor._replace(shape=parts), (*range(before), *(before + axis for axis in axes)))
        return found._replace(shape=tensor.shape)


class OuterThirds(NamedTuple):
    """Their one bias of queries, keys and values, of which that of keys is zero, is timm's two others.

    timm's are split afterwards, as those of `Parts` are.
    """

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        from zoo.core.files.float_bytes import to_float32

        q, k, v = split(tensor, ("q", "k", "v"), (1, 1, 1))
        is_known = not isinstance(k.data, Unavailable)  # on the meta device there are shapes alone
        if is_known and to_float32(k.read(), k.dtype, k.shape).any():  # a masked bias may be -0
            raise InvalidInputError(f"The middle third of {tensor.name!r}, the bias of keys, should be zero.")
        return joined(tensor.name, (q, v), (1, 1))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        q, v = split(tensor, ("q", "v"), (1, 1))
        return joined(tensor.name, (q, q._replace(name="k", data=bytes(q.nbytes)), v), (1, 1, 1))


class Squeezed(NamedTuple):
    """Their axis at this place has the length one, and timm has none there."""

    axis: int

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        found = len(tensor.shape) > self.axis and tensor.shape[self.axis] == 1
        _require(tensor, found, f"the length one at axis {self.axis}")
        return tensor._replace(shape=tensor.shape[: self.axis] + tensor.shape[self.axis + 1 :])

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        return tensor._replace(shape=(*tensor.shape[: self.axis], 1, *tensor.shape[self.axis :]))


class Gridded(NamedTuple):
    """Their list of positions (N, C), of a square grid, is timm's (1, side, side, C)."""

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        side = isqrt(tensor.shape[0]) if len(tensor.shape) == 2 else 0
        _require(tensor, side > 0 and side * side == tensor.shape[0], "a list of positions of a square")
        return tensor._replace(shape=(1, side, side, tensor.shape[1]))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        _require(tensor, len(tensor.shape) == 4 and tensor.shape[0] == 1, "a grid of positions")
        return tensor._replace(shape=(tensor.shape[1] * tensor.shape[2], tensor.shape[3]))


class FirstFrame(NamedTuple):
    """Their positions of several frames (1, 1 + T * N, C), N a square, are timm's of the first frame (1, 1 + N, C).

    Where several T fit, a frame of 14 x 14 or 16 x 16 patches is preferred, which have the published files: 784
    positions are four such frames rather than one of 28 x 28.
    """

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        patches = tensor.shape[1] - 1 if len(tensor.shape) == 3 and tensor.shape[0] == 1 else 0
        published = [patches // of_a_frame for of_a_frame in (14 * 14, 16 * 16) if patches % of_a_frame == 0]
        frames = next((n for n in (*published, *range(1, patches + 1)) if _are_frames(patches, n)), 0)
        _require(tensor, frames > 0, "positions of a class token and of square frames")
        if frames == 1:
            return tensor
        rows = 1 + patches // frames
        width = tensor.nbytes // (1 + patches)
        return tensor._replace(shape=(1, rows, tensor.shape[2]), data=_part(tensor.data, 0, rows * width))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        raise cannot_come_back(tensor, "the positions of later frames were left out")


def _are_frames(patches: int, frames: int) -> bool:
    return frames > 0 and patches % frames == 0 and _is_square(patches // frames)


class Magnitude(NamedTuple):
    """timm's scale of a batch norm is the magnitude of theirs and 1e-5, as activation in place requires.

    Source: In-Place Activated BatchNorm (https://arxiv.org/abs/1712.02616), whose inverse divides by the scale.
    """

    def to_timm(self, tensor: StoredTensor) -> StoredTensor:
        def compute() -> Iterator[bytes]:
            from zoo.core.files.float_bytes import from_float32, to_float32

            yield from_float32(abs(to_float32(tensor.read(), tensor.dtype, tensor.shape)) + 1e-5, tensor.dtype)

        return tensor._replace(data=Computed(tensor.nbytes, compute))

    def from_timm(self, tensor: StoredTensor, _num_heads: int) -> StoredTensor:
        raise cannot_come_back(tensor, "the signs of the scales were left out")


def _is_square(number: int) -> bool:
    return isqrt(number) ** 2 == number


def cannot_come_back(tensor: StoredTensor, why: str) -> InvalidInputError:
    """The error for a change that loses something: `why` completes "cannot be brought back: ..."."""
    return InvalidInputError(
        f"{tensor.name!r} cannot be brought back: {why}.", hint="Keep the checkpoint in timm's names."
    )


class ClassPosition(NamedTuple):
    """timm's class token is the sum of theirs and of its position, and timm's positions are those of patches alone.

    timm does so where registers stand between the class token and the patches.
    """

    def to_timm(self, tensors: Sequence[StoredTensor]) -> tuple[StoredTensor, ...]:
        token, positions = tensors
        shape = (1, 1, positions.shape[-1])
        _require(positions, len(positions.shape) == 3 and positions.shape[:1] == (1,), "positions of tokens")
        _require(token, token.shape == shape and token.dtype == positions.dtype, f"the size of {positions.name!r}")
        own, patches = _rows(positions, 0, 1), _rows(positions, 1, positions.shape[1])

        def compute() -> Iterator[bytes]:
            from zoo.core.files.float_bytes import from_float32, to_float32

            values = [to_float32(tensor.read(), tensor.dtype, shape) for tensor in (token, own)]
            yield from_float32(values[0] + values[1], token.dtype)

        return token._replace(data=Computed(token.nbytes, compute)), patches

    def from_timm(self, tensors: Sequence[StoredTensor]) -> tuple[StoredTensor, ...]:
        raise cannot_come_back(tensors[0], "the position of the class token was added to it")


def _rows(tensor: StoredTensor, start: int, end: int) -> StoredTensor:
    """The rows of the second axis, of a tensor whose first has the length one."""
    row = tensor.nbytes // tensor.shape[1]
    return tensor._replace(
        shape=(1, end - start, *tensor.shape[2:]), data=_part(tensor.data, start * row, (end - start) * row)
    )


def _head_size(tensor: StoredTensor, width: int, num_heads: int) -> int:
    if not num_heads:
        raise InvalidInputError(
            f"The shape of {tensor.name!r} does not show how many heads it has.",
            hint="Name the architecture with --arch.",
        )
    _require(tensor, width % num_heads == 0, f"a width that {num_heads} heads share")
    return width // num_heads


class Dropped(NamedTuple):
    """A tensor without a place on the other side; it is dropped for this reason."""

    reason: str


class Derived(NamedTuple):
    """A tensor that one side stores and the other computes from another tensor."""

    values: Callable[[str, StoredTensor], StoredTensor]
    source: str

    def check(self, tensor: StoredTensor, source: StoredTensor) -> None:
        """Raise InvalidInputError if the tensor holds other values than the derived ones, which would be lost."""
        expected = self.values(tensor.name, source)
        if (tensor.shape, tensor.dtype) != (expected.shape, expected.dtype) or bytes(tensor.read()) != expected.read():
            raise InvalidInputError(
                f"{tensor.name!r} should hold the values that follow from the shape of {source.name!r}, but "
                "holds others."
            )


def zeros_per_row(name: str, source: StoredTensor) -> StoredTensor:
    """A bias of zeros for the rows of a matrix."""
    rows = source.shape[0]
    return StoredTensor(name, source.dtype, (rows,), bytes(rows * DTYPE_BITS[source.dtype] // 8))


def window_index(name: str, source: StoredTensor) -> StoredTensor:
    """For each pair of positions in a square window, its row in the bias table ((2w - 1)^2 rows), flat, int64.

    Source: Swin Transformer (https://arxiv.org/abs/2103.14030), section 3.2.
    """
    span = isqrt(source.shape[0])
    window = (span + 1) // 2
    cells = [(y, x) for y in range(window) for x in range(window)]
    rows = ((y - v + window - 1) * span + x - u + window - 1 for y, x in cells for v, u in cells)
    return StoredTensor(name, "I64", (len(cells) ** 2,), b"".join(row.to_bytes(8, "little") for row in rows))


def window_square(name: str, source: StoredTensor) -> StoredTensor:
    """`window_index` as a matrix, one row per position."""
    flat = window_index(name, source)
    return flat._replace(shape=(isqrt(flat.shape[0]),) * 2)


def zeros(name: str, source: StoredTensor) -> StoredTensor:
    """Zeros of the same shape."""
    return source._replace(name=name, data=bytes(source.nbytes))


def unit_variance(name: str, source: StoredTensor) -> StoredTensor:
    """The variance that batch norm with an epsilon of 1e-5 divides by one, for each channel, as float32."""
    import struct

    value = struct.pack("<f", 1 - 1e-5)
    return StoredTensor(name, "F32", source.shape, value * prod(source.shape))


def key_mask(name: str, source: StoredTensor) -> StoredTensor:
    """Ones, with zeros in the middle third, for the bias of queries, keys and values."""
    third = source.shape[0] // 3
    one = {"F32": b"\x00\x00\x80\x3f", "F16": b"\x00\x3c", "BF16": b"\x80\x3f"}.get(source.dtype)
    if one is None:
        raise InvalidInputError(f"{source.name!r} should hold ordinary floats, found {source.dtype}.")
    return source._replace(name=name, data=one * third + bytes(len(one) * third) + one * third)


DERIVED: Mapping[str, Callable[[str, StoredTensor], StoredTensor]] = {
    "zeros_per_row": zeros_per_row,
    "window_index": window_index,
    "window_square": window_square,
    "zeros": zeros,
    "unit_variance": unit_variance,
    "key_mask": key_mask,
}

OPERATIONS: Mapping[str, Callable[[Shape], Operation]] = {
    "transpose": Transposed,
    "batched": lambda numbers: Batched(*numbers),
    "led": lambda numbers: Led(*numbers),
    "trailed": lambda numbers: Trailed(*numbers),
    "unfold": Unfolded,
    "map_rows": MapRows,
    "parts": Parts,
    "heads_out": lambda _: HeadsOut(),
    "heads_in": lambda _: HeadsIn(),
    "unfold_order": lambda _: UnfoldOrder(),
    "outer_thirds": lambda _: OuterThirds(),
    "squeezed": lambda numbers: Squeezed(*numbers),
    "gridded": lambda _: Gridded(),
    "first_frame": lambda _: FirstFrame(),
    "magnitude": lambda _: Magnitude(),
}
"""The word in a table -> the operation, made from the numbers after the word."""


# ---------------------------------------------------------------- bytes


def transposed(tensor: StoredTensor, axes: Shape) -> StoredTensor:
    """The tensor with its axes in this order, computed when it is read."""
    _require(tensor, len(tensor.shape) == len(axes), f"{len(axes)} axes")
    width = _width(tensor)

    def compute() -> Iterator[memoryview]:
        import numpy as np

        if not tensor.nbytes:
            return
        values = np.frombuffer(tensor.read(), f"<u{width}").reshape(tensor.shape)
        yield memoryview(values.transpose(axes).tobytes())

    return tensor._replace(shape=tuple(tensor.shape[axis] for axis in axes), data=Computed(tensor.nbytes, compute))


def joined(name: str, parts: Sequence[StoredTensor], shares: Sequence[int]) -> StoredTensor:
    """Join the parts along the first axis, where their lengths must have these proportions. The inverse of `split`."""
    if len(parts) == 1:
        return parts[0]._replace(name=name)
    first = parts[0]
    for part, share in zip(parts, shares, strict=True):
        _require(part, bool(part.shape), "an axis to join along")
        rows = first.shape[0] // shares[0] * share
        alike = (part.dtype, *part.shape) == (first.dtype, rows, *first.shape[1:])
        _require(part, alike, f"{rows} rows as those of {first.name!r}")
    _width(first)

    def compute() -> Iterator[bytes | memoryview]:
        for part in parts:
            yield from part.chunks()

    rows = sum(part.shape[0] for part in parts)
    length = sum(part.nbytes for part in parts)
    return StoredTensor(name, first.dtype, (rows, *first.shape[1:]), Computed(length, compute))


def split(tensor: StoredTensor, names: Sequence[str], shares: Sequence[int]) -> list[StoredTensor]:
    """Split the tensor along the first axis into consecutive parts with these proportions."""
    if len(names) == 1:
        return [tensor._replace(name=names[0])]
    _width(tensor)
    count = sum(shares)
    _require(tensor, bool(tensor.shape) and tensor.shape[0] % count == 0, f"a first axis in {count} equal parts")
    rows, length = tensor.shape[0] // count, tensor.nbytes // count
    ends = accumulate(shares)
    return [
        StoredTensor(
            name,
            tensor.dtype,
            (rows * share, *tensor.shape[1:]),
            _part(tensor.data, (end - share) * length, share * length),
        )
        for name, share, end in zip(names, shares, ends, strict=True)
    ]


def _part(data: Data, offset: int, length: int) -> Data:
    if isinstance(data, Region):
        return data._replace(offset=data.offset + offset, length=length)
    if isinstance(data, Computed):
        whole = data.compute

        def compute() -> Iterator[memoryview]:
            pieces = [memoryview(piece).cast("B") for piece in whole()]
            ends = accumulate(map(len, pieces))
            for piece, end in zip(pieces, ends, strict=True):
                start = end - len(piece)
                if start < offset + length and end > offset:
                    yield piece[max(offset - start, 0) : offset + length - start]

        return Computed(length, compute)
    if isinstance(data, Unavailable):
        return data
    return memoryview(data).cast("B")[offset : offset + length] if length else b""


def _width(tensor: StoredTensor) -> int:
    """Bytes per value."""
    bits = DTYPE_BITS.get(tensor.dtype, 0)
    _require(tensor, bool(bits) and bits % 8 == 0, "values of whole bytes")
    return bits // 8


def _require(tensor: StoredTensor, holds: bool, expected: str) -> None:
    if not holds:
        shape = "x".join(map(str, tensor.shape)) or "a scalar"
        raise InvalidInputError(f"{tensor.name!r} should have {expected}, found {shape} of {tensor.dtype}.")
