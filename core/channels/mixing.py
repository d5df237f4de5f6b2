"""Fit a pretrained input layer to different channels: the only implementation.

Every method is a linear mixing of the source's filters: the new filter of channel n is a sum of coefficients times
source filters. What a method promises follows from its coefficients and can be checked on the numbers in a file
(`Claim`). Formulas and sources: docs/adaptation.md.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from operator import add
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.errors import InvalidInputError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rows = tuple[tuple[tuple[int, float], ...], ...]
"""A sparse matrix: for each row its (column, coefficient) pairs."""

MAX_CHANS = 1 << 16
"""Far above any sensor's number of bands: a number with a few zeros too many must not fill the memory."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma, ITU-R BT.601."""


class Claim(NamedTuple):
    """An identity between the new layer f_N and the source's f_C: f_N(inputs @ z) = f_C(source_inputs @ z) for all z.

    Args:
        statement: the identity as text; C and N are the channel counts.
        inputs: N rows over the entries of z.
        source_inputs: C rows over the entries of z.
    """

    statement: str
    inputs: Rows
    source_inputs: Rows


class ChannelMixing(NamedTuple):
    """The new filters as combinations of the old ones: row n has channel n's (source channel, coefficient) pairs."""

    method: str
    from_chans: int
    rows: Rows

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The identities that hold for these coefficients, the general one last."""
        return _claims(self.rows, self.from_chans)

    @property
    def in_chans(self) -> int:
        return len(self.rows)

    @property
    def is_identity(self) -> bool:
        return self.rows == _identity(self.from_chans)

    def apply(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix the filters of a weight (out, C, ...) into one (out, N, ...), in the weight's precision.

        Raises InvalidInputError for a weight with a different number of channels.
        """
        import numpy as np

        if weight.ndim < 2 or weight.shape[1] != self.from_chans:
            raise InvalidInputError(
                f"The input layer should have the axes (out, {self.from_chans}, ...), found {tuple(weight.shape)}."
            )
        if self.is_identity:
            return weight

        def along_channels(values: Sequence[float]) -> NDArray[np.float32]:
            return np.asarray(values, weight.dtype).reshape(-1, *(1,) * (weight.ndim - 2))

        first = [row[0] if row else (0, 0.0) for row in self.rows]
        mixed: NDArray[np.float32] = np.take(weight, [source for source, _ in first], axis=1)
        with np.errstate(invalid="ignore"):  # 0 times infinity, in a channel that is set to zero below
            mixed *= along_channels([coefficient for _, coefficient in first])
        for term in range(1, max(map(len, self.rows))):
            longer = [n for n, row in enumerate(self.rows) if len(row) > term]
            sources, coefficients = zip(*(self.rows[n][term] for n in longer), strict=True)
            mixed[:, longer] += weight[:, list(sources)] * along_channels(coefficients)
        # Assign zeros: 0 times a filter would be NaN where the filter is infinite.
        mixed[:, [n for n, row in enumerate(self.rows) if not row]] = 0
        return mixed

    def apply_to_floats(self, weight: array[float], rest: int) -> array[float]:
        """`apply` in the standard library, bit for bit, for float32 values in memory: (out, C, rest), flattened.

        For a layer of usual size it finishes before numpy would be imported, which takes longer than everything else.
        Products and sums of float32 values in double precision, rounded once, equal those of float32 arithmetic (double
        has more than twice the digits: Figueroa, When is double rounding innocuous?, 1995).
        """
        zeros = array("f", bytes(4 * rest))
        terms = [[(source * rest, array("f", [c])[0]) for source, c in row] for row in self.rows]
        mixed = array("f")
        for start in range(0, len(weight), self.from_chans * rest):
            for row in terms:
                total = None
                for offset, coefficient in row:
                    part = weight[start + offset : start + offset + rest]
                    if coefficient != 1.0:
                        part = array("f", [coefficient * value for value in part])
                    total = part if total is None else array("f", map(add, total, part))
                mixed += zeros if total is None else total
        return mixed

    def channel_values(self, values: Sequence[float]) -> tuple[float, ...]:
        """Per-channel mean or std for the new channels, averaged as the filters are mixed.

        A channel without a filter gets the average, as do all if `values` do not match the source's channels.
        """
        average = sum(values) / len(values)
        if len(values) != self.from_chans:
            return (average,) * self.in_chans
        return tuple(_weighted_average(row, values, average) for row in self.rows)

    def gains(self) -> tuple[float, ...]:
        """The sum of each source channel's coefficients over the new channels.

        If the new channels repeat the source's, 1 for all keeps the response.
        """
        sums = [0.0] * self.from_chans
        for row in self.rows:
            for source, coefficient in row:
                sums[source] += coefficient
        return tuple(sums)


def _weighted_average(row: Sequence[tuple[int, float]], values: Sequence[float], default: float) -> float:
    total = sum(abs(coefficient) for _, coefficient in row)
    if not total:
        return default
    if len({values[source] for source, _ in row}) == 1:
        return values[row[0][0]]  # the value itself, not times a rounded coefficient
    return sum(abs(coefficient) * values[source] for source, coefficient in row) / total


def check_in_chans(in_chans: int) -> None:
    """Raise UsageError for a number of channels that no image has."""
    if in_chans < 1:
        raise UsageError(f"The number of input channels must be 1 or more, found {in_chans}.")
    if in_chans > MAX_CHANS:
        raise UsageError(f"The number of input channels must be {MAX_CHANS} or less, found {in_chans}.")


# ---------------------------------------------------------------- methods


def channel_mixing(method: str, from_chans: int, in_chans: int) -> ChannelMixing:
    """Return a method's mixing from C = `from_chans` to N = `in_chans` channels; the identity if they are equal.

    Raises UsageError: the method is unknown or does not suit these numbers, or no image has so many channels.
    """
    check_in_chans(in_chans)
    if method not in METHODS:
        raise UsageError(f"The method must be one of {', '.join(METHODS)}, found {method!r}.")
    if from_chans == in_chans:
        return ChannelMixing("none", in_chans, _identity(in_chans))
    return ChannelMixing(method, from_chans, METHODS[method](from_chans, in_chans))


def band_mixing(shares: Iterable[Sequence[tuple[int, float]]], from_chans: int) -> ChannelMixing:
    """The mixing that places filters by band.

    Each source filter is divided by its total share, so that a band used for several new channels counts once. This is
    exact if each new channel shows what it was made from.

    Args:
        shares: (source channel, share) pairs for each new channel, the shares adding up to 1; empty for a zero filter.
    """
    placed = tuple(tuple(row) for row in shares)
    check_in_chans(len(placed))
    totals = ChannelMixing("bands", from_chans, placed).gains()
    rows = tuple(tuple((source, share / totals[source]) for source, share in row if share) for row in placed)
    return ChannelMixing("bands", from_chans, rows)


def _repeat(from_chans: int, in_chans: int) -> Rows:
    """timm's method: summed for one channel, otherwise repeated in order, cut, and scaled by C / N."""
    if in_chans == 1:
        return (tuple((c, 1.0) for c in range(from_chans)),)
    return tuple(((n % from_chans, from_chans / in_chans),) for n in range(in_chans))


def _balanced(from_chans: int, in_chans: int) -> Rows:
    """Repeat in order and divide each copy by its source channel's number of copies; fold onto fewer channels."""
    if in_chans < from_chans:
        return tuple(tuple((c, 1.0) for c in range(n, from_chans, in_chans)) for n in range(in_chans))
    whole, rest = divmod(in_chans, from_chans)
    return tuple(((n % from_chans, 1 / (whole + (n % from_chans < rest))),) for n in range(in_chans))


def _mean(from_chans: int, in_chans: int) -> Rows:
    """The mean filter in every channel, scaled by C / N."""
    row = tuple((c, 1 / in_chans) for c in range(from_chans))
    return (row,) * in_chans


def _zero(from_chans: int, in_chans: int) -> Rows:
    """The source's filters in their places, and zeros in the other channels."""
    return tuple(((n, 1.0),) if n < from_chans else () for n in range(in_chans))


def _luma(from_chans: int, in_chans: int) -> Rows:
    """One channel: the filters of red, green and blue, weighted like the colours in luma, times 3."""
    if (from_chans, in_chans) != (3, 1):
        raise UsageError(
            f"The method luma makes one channel from three, not {in_chans} of {from_chans}.",
            hint="Use --method balanced.",
        )
    return (tuple((c, 3 * weight) for c, weight in enumerate(LUMA)),)


SPECTRAL = "spectral"
"""The method that needs the wavelengths of the new channels: `core.channels.spectral`."""

METHODS: dict[str, Callable[[int, int], Rows]] = {
    "repeat": _repeat,
    "balanced": _balanced,
    "mean": _mean,
    "zero": _zero,
    "luma": _luma,
}


# ---------------------------------------------------------------- what follows from the coefficients


def _identity(size: int) -> Rows:
    return tuple(((i, 1.0),) for i in range(size))


def _tile(size: int, period: int) -> Rows:
    return tuple(((i % period, 1.0),) for i in range(size))


def _grey(size: int) -> Rows:
    return (((0, 1.0),),) * size


def _claims(rows: Rows, from_chans: int) -> tuple[Claim, ...]:
    in_chans = len(rows)
    transposed = _transposed(rows, from_chans)
    candidates = [
        Claim("f_N(tile(x)) = f_C(x)", _tile(in_chans, from_chans), _identity(from_chans)),
        Claim("f_N([x, anything]) = f_C(x)", _identity(in_chans), _identity(from_chans)),
    ]
    if in_chans < from_chans:
        cut = tuple(((c, 1.0),) if c < in_chans else () for c in range(from_chans))
        candidates = [
            Claim("f_N(x) = f_C(tile(x))", _identity(in_chans), _tile(from_chans, in_chans)),
            Claim("f_N(x) = f_C([x, 0])", _identity(in_chans), cut),
        ]
    candidates.append(Claim("f_N(g, ..., g) = f_C(g, ..., g)", _grey(in_chans), _grey(from_chans)))
    placed = _placement(rows)
    if placed and placed not in [claim.inputs for claim in candidates]:
        candidates.append(Claim("f_N(each channel its source) = f_C(x)", placed, _identity(from_chans)))
    held = [claim for claim in candidates if _holds(claim, transposed)]
    return (*held, Claim("f_N(x) = f_C(mixed x)", _identity(in_chans), transposed))


def _placement(rows: Rows) -> Rows:
    """Each channel mapped to the one source channel of its filter; () if a filter is a mixture."""
    if any(len(row) > 1 for row in rows):
        return ()
    return tuple(tuple((source, 1.0) for source, _ in row) for row in rows)


def _transposed(rows: Rows, num_columns: int) -> Rows:
    columns: list[list[tuple[int, float]]] = [[] for _ in range(num_columns)]
    for n, row in enumerate(rows):
        for column, coefficient in row:
            columns[column].append((n, coefficient))
    return tuple(map(tuple, columns))


def _holds(claim: Claim, transposed: Rows) -> bool:
    """Whether f_C(transposed @ inputs @ z) equals f_C(source_inputs @ z) for all filters and all z."""
    for mixed, expected in zip(transposed, claim.source_inputs, strict=True):
        found: dict[int, float] = {}
        for n, coefficient in mixed:
            for entry, share in claim.inputs[n]:
                found[entry] = found.get(entry, 0.0) + coefficient * share
        wanted = dict(expected)
        if any(abs(found.get(k, 0.0) - wanted.get(k, 0.0)) > 1e-9 for k in found.keys() | wanted):
            return False
    return True


# ---------------------------------------------------------------- for one weight


def adapt_input(weight: NDArray[np.float32], in_chans: int, method: str = "repeat") -> NDArray[np.float32]:
    """The weight of a convolution, changed to read `in_chans` channels instead of the C it was trained for.

    Args:
        weight: float32 (out, C, *kernel).
        in_chans: 1 or more; C returns `weight` itself.
        method: "repeat" gives the same numbers as timm's loader; the others are in docs/adaptation.md.

    Raises:
        UsageError: no such method, in_chans below 1 or above MAX_CHANS.
        InvalidInputError: the weight has no channel axis, or an empty one.
    """
    check_in_chans(in_chans)
    if weight.ndim < 3 or weight.shape[1] == 0:
        raise InvalidInputError(
            f"The weight of an input layer must have the axes (out, in, kernel...), found the shape "
            f"{tuple(weight.shape)}."
        )
    return channel_mixing(method, weight.shape[1], in_chans).apply(weight)
