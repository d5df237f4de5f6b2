"""The proof that an adapted file is what it should be, taken from the bytes that were written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from zoo.core.adapt import ChannelMixing, Claim, Rows
from zoo.core.adapt_plan import AdaptPlan, TensorChange
from zoo.core.float_bytes import FLOAT_DTYPES, epsilon, is_finite, to_float32
from zoo.core.stored_tensor import StoredTensor
from zoo.core.stored_values import byte_pieces, piece_pairs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Check(NamedTuple):
    """One thing that must hold: what, whether it does, and by which figures."""

    name: str
    ok: bool
    detail: str


def verify_adapted(plan: AdaptPlan, written: Mapping[str, StoredTensor], path: str | None = None) -> list[Check]:
    """Compare a written file with the source and the plan, tensor by tensor.

    Args:
        plan: what should have been written; its sources are read again.
        written: the tensors of the file, read from it.
        path: the file, to be read by the safetensors library too.

    Returns:
        Checks: every tensor accounted for; the library reads the file; copied tensors equal byte for byte, cast ones
        within half a unit in the last place; for each input layer the identities of its mixing, computed in float64,
        and that its coefficients add up to what the method says; no NaN or infinity. Finite is a check of its own, so
        that a caller may pass over it.
    """
    checks = [_coverage(plan, written)]
    if path is not None:
        checks.append(_read_by_the_library(path, written))
    changes = [change for change in plan.changes if change.action != "drop" and change.new_name in written]
    checks += _kept_values(plan, written, changes)
    checks.append(_gain(plan.mixing))
    for name in plan.input_names():
        if name in written:
            checks += _input_layer(plan, name, written[name])
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
        "drop": "dropped",
    }
    told = ", ".join(f"{counts[action]} {word}" for action, word in words.items() if counts[action])
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found if expected.get(name) != found.get(name))
        return Check("coverage", False, f"{len(wrong)} tensors are not as planned, the first is {wrong[0]}")
    return Check("coverage", True, f"{len(plan.changes)} tensors of the source: {told}")


def _read_by_the_library(path: str, written: Mapping[str, StoredTensor]) -> Check:
    """Whether the reader that everybody else uses finds the same tensors."""
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

    smallest = _smallest(written.dtype)
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


def _smallest(dtype: str) -> float:
    """Half the smallest number above zero: the error of rounding what lies near it."""
    return {"F16": 2.0**-25, "BF16": 2.0**-134}.get(dtype, 2.0**-150)


def _is_finite(tensor: StoredTensor) -> bool:
    return tensor.dtype not in FLOAT_DTYPES or all(is_finite(part, tensor.dtype) for part in byte_pieces(tensor))


# ---------------------------------------------------------------- the input layer


def _gain(mixing: ChannelMixing) -> Check:
    """Whether the coefficients add up to what the method promises, which the identities alone do not tell.

    They are computed from the coefficients: a method that scaled all of them would hold its own identities.
    """
    gains = mixing.gains()
    kept = {"zero": min(mixing.from_chans, mixing.in_chans), "bands": sum(gain != 0 for gain in gains)}
    wanted = kept.get(mixing.method, mixing.from_chans)
    told = f"the coefficients of {mixing.method} add up to {sum(gains):.6g}, {wanted} are expected"
    return Check("gain", abs(sum(gains) - wanted) <= 1e-9 * mixing.from_chans, told)


def _input_layer(plan: AdaptPlan, name: str, written: StoredTensor) -> list[Check]:
    """What the mixing promises, with the layer as it is in the file and as it was in the source."""
    import numpy as np

    source = plan.sources[name]
    with np.errstate(invalid="ignore"):  # a damaged value may be a signalling NaN
        before, after = (
            layout.by_channel(to_float32(t.read(), t.dtype, t.shape)).astype(np.float64)
            for t, layout in ((source, plan.stem.layout), (written, plan.written_layout))
        )
    if before.shape[2] != after.shape[2]:
        return [Check(name, True, f"its kernel was resized from {list(source.shape)}, so that responses differ")]
    return [_identity(name, claim, before, after, written.dtype) for claim in plan.mixing.claims]


def _identity(name: str, claim: Claim, before: NDArray[np.float64], after: NDArray[np.float64], dtype: str) -> Check:
    """Compute both sides of an identity for each entry of z alone, at each place of the kernel: both are linear in z.

    What may differ is rounding: of each coefficient and sum in float32, and of each new value in the stored dtype.
    """
    import numpy as np

    entries = 1 + max((k for rows in (claim.inputs, claim.source_inputs) for row in rows for k, _ in row), default=0)
    with np.errstate(invalid="ignore"):
        found, found_size = _responses(claim.inputs, after, entries)
        expected, expected_size = _responses(claim.source_inputs, before, entries)
        error = np.abs(found - expected)
        terms = 4 + before.shape[1]  # a mixed filter is a rounded sum of up to C rounded products
        rounding = epsilon(dtype) * found_size + terms * 2.0**-24 * (found_size + expected_size)
        # Where a number is too small to be rounded in proportion.
        shares = _responses(claim.inputs, np.ones((1, after.shape[1], 1)), entries)[1]
        holds = bool((error <= rounding + terms * _smallest(dtype) * (1 + shares)).all())
    worst = float(error.max(initial=0.0))
    size = float(np.abs(expected).max(initial=0.0))
    return Check(f"{name}: {claim.statement}", holds, f"largest difference {worst:.1e} of {size:.3g}")


def _responses(
    rows: Rows, weight: NDArray[np.float64], entries: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The response of a layer (out, rows, k) to each entry alone, (out, entries, k), and the sizes of its terms."""
    import numpy as np

    response = np.zeros((weight.shape[0], entries, weight.shape[2]))
    size = np.zeros_like(response)
    for i, row in enumerate(rows):
        for entry, coefficient in row:
            term = coefficient * weight[:, i]
            response[:, entry] += term
            size[:, entry] += np.abs(term)
    return response, size
