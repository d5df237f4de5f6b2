"""Resample along axes: every separable filter is a matrix, made once and applied to any number of axes."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

Filter = Literal["bicubic, antialiased", "bicubic", "linear", "linear, corners aligned"]


@cache
def resize_matrix(old: int, new: int, filter_: Filter = "bicubic, antialiased") -> Matrix:
    """Weights (new, old) that resample `old` samples to `new`; rows sum to one. The result is read-only.

    Samples are the centres of equal cells; with aligned corners, the first and last samples keep their position. The
    antialiased kernel has a = -0.5; it is widened by old / new when shrinking, and ignores samples beyond the border.
    The other kernels keep their width and repeat the border; the cubic one has a = -0.75. All agree with
    `torch.nn.functional.interpolate`.

    The cubic kernel is from R. Keys, Cubic convolution interpolation for digital image processing, 1981.
    """
    import numpy as np

    antialias = filter_ == "bicubic, antialiased"
    stretch = max(old / new, 1.0) if antialias else 1.0
    if filter_ == "linear, corners aligned":
        centres = np.linspace(0.5, old - 0.5, new) if new > 1 else np.array([0.5])
    else:
        centres = (np.arange(new) + 0.5) * (old / new)
    if filter_ == "linear":
        centres = np.clip(centres, 0.5, old - 0.5)
    reach = math.ceil(2 * stretch) + 1
    taps = np.floor(centres)[:, None].astype(np.int64) + np.arange(-reach, reach + 1)
    distance = np.abs((taps + 0.5 - centres[:, None]) / stretch)
    weights = np.maximum(1 - distance, 0) if "linear" in filter_ else _cubic(distance, -0.5 if antialias else -0.75)
    if antialias:
        weights[(taps < 0) | (taps >= old)] = 0
        weights /= weights.sum(axis=1, keepdims=True)
    matrix: Matrix = np.zeros((new, old))
    np.add.at(matrix, (np.arange(new)[:, None], np.clip(taps, 0, old - 1)), weights)
    matrix.flags.writeable = False
    return matrix


def _cubic(x: Matrix, a: float) -> Matrix:
    """Keys' kernel at distances x >= 0."""
    import numpy as np

    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    weights: Matrix = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return weights


@cache
def patch_resize_matrix(old: int, new: int, filter_: Filter = "bicubic, antialiased") -> Matrix:
    """Weights (new, old) that fit one axis of a patch embedding's kernel to patches of a different size.

    This is the pseudo-inverse resize of FlexiViT (arXiv 2212.08013, section 3.4). With B the matrix that resizes a
    patch, the kernel is multiplied by the transposed pseudo-inverse of B, so that tokens of resized patches stay the
    same (exactly when growing). For two axes B is a Kronecker product, whose pseudo-inverse is that of its factors.
    """
    import numpy as np

    matrix: Matrix = np.linalg.pinv(resize_matrix(old, new, filter_)).T.astype(np.float64, order="C")
    matrix.flags.writeable = False
    return matrix


@cache
def geometric_matrix(old: int, new: int) -> Matrix:
    """Weights (new, old), both odd, that resample relative positions -(n // 2) ... n // 2 from one window to another.

    The old entries are placed at distances 0, 1, 1 + q, 1 + q + q^2, ... from the centre, with q such that the last one
    is at the new window's end. The new entries are linear interpolations at the integers. So near positions keep their
    resolution and far ones are stretched. This is the rule of BEiT's fine-tuning (arXiv 2106.08254), with linear
    interpolation as in timm instead of BEiT's cubic spline.
    """
    import numpy as np

    ratio = _geometric_ratio(old // 2, new // 2)
    # timm keeps the positions in float32 and sums them in this way.
    arm = np.cumsum(ratio ** np.arange(old // 2))
    known = np.concatenate([-arm[::-1], [0.0], arm]).astype(np.float32).astype(np.float64)
    wanted = np.arange(new) - new // 2
    matrix = np.stack([np.interp(wanted, known, row) for row in np.eye(old)], axis=1)
    matrix.flags.writeable = False
    return matrix


def _geometric_ratio(terms: int, length: int) -> float:
    """The q in 1.01 ... 1.5 with 1 + q + ... + q^(terms - 1) = length, bisected to 1e-6, or the nearest end."""
    low, high = 1.01, 1.5
    ratio = low
    while high - low > 1e-6:
        ratio = (low + high) / 2
        if (1 - ratio**terms) / (1 - ratio) > length:
            high = ratio
        else:
            low = ratio
    return ratio


def apply_along(array: NDArray[Any], matrices: Mapping[int, Matrix]) -> NDArray[Any]:
    """Multiply each axis (key) of length n by its matrix (m, n). Keeps the dtype; computes in float64."""
    import numpy as np

    result = array.astype(np.float64)
    for axis, matrix in matrices.items():
        result = np.moveaxis(np.tensordot(matrix, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result, dtype=array.dtype)
