"""The proof that an adapted file is correct, taken from the written bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.adapt.plan import AdaptPlan, TensorChange
from zoo.core.channels.mixing import SPECTRAL, ChannelMixing, Claim, Rows
from zoo.core.files.float_bytes import FLOAT_DTYPES, epsilon, half_of_smallest, is_finite, to_float32
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.files.stored_values import byte_pieces, piece_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Check(NamedTuple):
    """One condition: its name, whether it holds, and the figures that show it."""

    name: str
    ok: bool
    detail: str


def verify_adapted(plan: AdaptPlan, written: Mapping[str, StoredTensor], path: str | None = None) -> list[Check]:
    """Compare a written file with the source and the plan, tensor by tensor.

    Args:
        plan: what should have been written; its sources are read again.
        written: the tensors of the file, read from it.
        path: the file, to be read with the safetensors library too.

    Returns:
        Checks that every tensor is accounted for; that the library reads the file; that copied tensors are equal byte
        for byte, and cast ones within half a unit in the last place; that each filter of the input layers follows the
        formula of its method and fulfils the identities it promises, computed in float64; and that no value is NaN or
        infinite. The last is a separate check, "finite", so that a caller may ignore it.
    """
    checks = [_coverage(plan, written)]
    if path is not None:
        checks.append(_read_by_the_library(path, written))
    changes = [change for change in plan.changes if change.action != "drop" and change.new_name in written]
    checks += _kept_values(plan, written, changes)
    for name, mixing in zip(plan.input_names(), plan.mixings, strict=True):
        if name in written:
            checks += _input_layer(plan, name, mixing, written[name])
    broken = [tensor.name for tensor in written.values() if not _is_finite(tensor)]
    what = f"{', '.join(broken[:3])}{' and more' if len(broken) > 3 else ''} hold NaN or infinite values"
    checks.append(Check("finite", not broken, what if broken else "no NaN, no infinity"))
    return checks


def _coverage(plan: AdaptPlan, written: Mapping[str, StoredTensor]) -> Check:
    expected = {c.new_name: (c.new_dtype, c.new_shape) for c in plan.changes if c.action != "drop"}
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in written.items()}
    counts: Counter[str] = Counter(change.action for change in plan.changes)
    words = {
        "copy": "copied",
        "cast": "cast",
        "adapt": "adapted",
        "resize": "resized",
        "select": "cut",
        "new": "new",
        "drop": "dropped",
    }
    told = ", ".join(f"{counts[action]} {word}" for action, word in words.items() if counts[action])
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found if expected.get(name) != found.get(name))
        return Check("coverage", False, f"{len(wrong)} tensors are not as planned, the first is {wrong[0]}")
    return Check("coverage", True, f"{sum(bool(c.dtype) for c in plan.changes)} tensors of the source: {told}")


def _read_by_the_library(path: str, written: Mapping[str, StoredTensor]) -> Check:
    """Check that the safetensors library finds the same tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        return Check("safetensors", False, f"the library refuses the file: {error}")
    same = found == {name: (tensor.dtype, tensor.shape) for name, tensor in written.items()}
    return Check("safetensors", same, f"the library {'finds the same' if same else 'does not find these'} tensors")


def _kept_values(plan: AdaptPlan, written: Mapping[str, StoredTensor], changes: list[TensorChange]) -> list[Check]:
    checks = []
    for action, same, what in (
        ("copy", _equal_bytes, "equal byte for byte"),
        ("cast", _equal_values, "within half a unit in the last place"),
    ):
        tensors = [c.new_name for c in changes if c.action == action]
        wrong = [name for name in tensors if not same(plan.sources[name], written[name])]
        if tensors:
            told = f"{len(wrong)} of {len(tensors)} differ, the first is {wrong[0]}" if wrong else what
            checks.append(Check(f"{len(tensors)} tensors {'copied' if action == 'copy' else action}", not wrong, told))
    return checks


def _equal_bytes(source: StoredTensor, written: StoredTensor) -> bool:
    return source.nbytes == written.nbytes and all(a == b for a, b in piece_pairs(source, written))


def _equal_values(source: StoredTensor, written: StoredTensor) -> bool:
    import numpy as np

    smallest = half_of_smallest(written.dtype)
    for a, b in piece_pairs(source, written):
        before = to_float32(a, source.dtype, (-1,)).astype(np.float64)
        after = to_float32(b, written.dtype, (-1,)).astype(np.float64)
        with np.errstate(invalid="ignore"):
            close = np.abs(before - after) <= epsilon(written.dtype) * np.abs(before) + smallest
        overflow = np.isinf(after) & (np.abs(before) > _LARGEST.get(written.dtype, 3.4e38))
        if not (close | (before == after) | (np.isnan(before) & np.isnan(after)) | overflow).all():
            return False
    return True


_LARGEST = {"F16": 65504.0}
_SHARE_ERROR = 1e-9
"""Tolerance for the sum of a band's shares, which are a few fractions."""


def _is_finite(tensor: StoredTensor) -> bool:
    return tensor.dtype not in FLOAT_DTYPES or all(is_finite(part, tensor.dtype) for part in byte_pieces(tensor))


# ---------------------------------------------------------------- the input layer


def _input_layer(plan: AdaptPlan, name: str, mixing: ChannelMixing, written: StoredTensor) -> list[Check]:
    """Check what the mixing promises, on the layer in the file and in the source."""
    import numpy as np

    source = plan.sources[name]
    with np.errstate(invalid="ignore"):  # a damaged value may be a signalling NaN
        before, after = (
            layout.by_channel(to_float32(t.read(), t.dtype, t.shape)).astype(np.float64)
            for t, layout in ((source, plan.stem.layout), (written, plan.written_layout))
        )
    if before.shape[2] != after.shape[2]:
        return [Check(name, True, f"its kernel was resized from {list(source.shape)}, so that responses differ")]
    return [
        _filters(name, mixing, before, after, written.dtype),
        *(_identity(name, claim, before, after, written.dtype) for claim in mixing.claims),
    ]


def promised(method: str, from_chans: int, in_chans: int) -> Rows | None:
    """What each source filter becomes by the formulas of docs/adaptation.md: (new channel, coefficient) pairs.

    It is derived in the opposite direction from `core.channels.mixing`, so that each proves the other. None if a mixing
    follows no formula but was made band by band.
    """
    old, new = range(from_chans), range(in_chans)
    if method == "none" and from_chans == in_chans:
        return tuple(((c, 1.0),) for c in old)
    if method == "repeat":
        share = 1.0 if in_chans == 1 else from_chans / in_chans
        return tuple(tuple((n, share) for n in new if in_chans == 1 or n % from_chans == c) for c in old)
    if method == "balanced":
        places = [[n for n in new if n % from_chans == c] if in_chans >= from_chans else [c % in_chans] for c in old]
        return tuple(tuple((n, 1 / len(place)) for n in place) for place in places)
    if method == "mean":
        return tuple(tuple((n, 1 / in_chans) for n in new) for _ in old)
    if method == "zero":
        return tuple(((c, 1.0),) if c < in_chans else () for c in old)
    if method == "luma":
        return tuple(((0, 3 * weight),) for weight in (0.299, 0.587, 0.114))
    return None


def _filters(
    name: str, mixing: ChannelMixing, before: NDArray[np.float64], after: NDArray[np.float64], dtype: str
) -> Check:
    """Compare every entry of the new filters with the formula of the method or of the bands.

    An entry may be off by half a unit in the last place of its dtype, plus the rounding of float32 coefficients,
    products and sums.
    """
    import numpy as np

    promise = promised(mixing.method, mixing.from_chans, mixing.in_chans)
    what = f"each filter is what {mixing.method} makes of the source's"
    if promise is None:
        weights = "the least-squares matrix" if mixing.method == SPECTRAL else "the shares of its band"
        what = f"each filter is the sum of the source's, weighted by {weights}"
        counted = all(min(abs(gain), abs(gain - 1)) < _SHARE_ERROR for gain in mixing.gains())
        if not counted:
            return Check(f"{name}: {what}", False, "a source band counts more or less than once")
        promise = _columns(mixing)
    expected, scale = np.zeros_like(after), np.zeros_like(after)
    with np.errstate(invalid="ignore"):
        for c, row in enumerate(promise):
            for n, coefficient in row:
                expected[:, n] += coefficient * before[:, c]
                scale[:, n] += abs(coefficient) * np.abs(before[:, c])
        terms = 2 + before.shape[1]
        allowed = epsilon(dtype) * np.abs(expected) + terms * 2.0**-24 * scale
        # For numbers, or products in float32, that are too small for a relative error.
        allowed += half_of_smallest(dtype) + terms * half_of_smallest("F32")
        error = np.abs(after - expected)
        lost = np.isnan(after) & ~np.isfinite(scale) | (
            np.isinf(after) & (np.abs(expected) > _LARGEST.get(dtype, 3.4e38))
        )
        holds = bool(((error <= allowed) | lost).all())
        worst = float(np.where(lost, 0, error).max(initial=0.0))
    return Check(f"{name}: {what}", holds, f"largest difference {worst:.1e} of {np.abs(expected).max(initial=0.0):.3g}")


def _columns(mixing: ChannelMixing) -> Rows:
    columns: list[list[tuple[int, float]]] = [[] for _ in range(mixing.from_chans)]
    for n, row in enumerate(mixing.rows):
        for c, coefficient in row:
            columns[c].append((n, coefficient))
    return tuple(map(tuple, columns))


def _identity(name: str, claim: Claim, before: NDArray[np.float64], after: NDArray[np.float64], dtype: str) -> Check:
    """Compute both sides of an identity for each entry of z alone, at each place of the kernel: both are linear in z.

    They may differ by rounding: of each coefficient and sum in float32, and of each new value in the stored dtype.
    """
    import numpy as np

    entries = 1 + max((k for rows in (claim.inputs, claim.source_inputs) for row in rows for k, _ in row), default=0)
    with np.errstate(invalid="ignore"):
        found, found_size = _responses(claim.inputs, after, entries)
        expected, expected_size = _responses(claim.source_inputs, before, entries)
        error = np.abs(found - expected)
        terms = 4 + before.shape[1]  # a mixed filter is a rounded sum of up to C rounded products
        rounding = epsilon(dtype) * found_size + terms * 2.0**-24 * (found_size + expected_size)
        # For numbers that are too small for a relative error.
        shares = _responses(claim.inputs, np.ones((1, after.shape[1], 1)), entries)[1]
        holds = bool((error <= rounding + terms * half_of_smallest(dtype) * (1 + shares)).all())
    worst = float(error.max(initial=0.0))
    size = float(np.abs(expected).max(initial=0.0))
    return Check(f"{name}: {claim.statement}", holds, f"largest difference {worst:.1e} of {size:.3g}")


def _responses(
    rows: Rows, weight: NDArray[np.float64], entries: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The response of a layer (out, rows, k) to each entry alone, as (out, entries, k), and the sum of its terms'
    magnitudes."""
    import numpy as np

    response = np.zeros((weight.shape[0], entries, weight.shape[2]))
    size = np.zeros_like(response)
    for i, row in enumerate(rows):
        for entry, coefficient in row:
            term = coefficient * weight[:, i]
            response[:, entry] += term
            size[:, entry] += np.abs(term)
    return response, size
