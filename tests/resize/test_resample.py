"""The resampling matrices, against torch and against the formulas."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.resize.resample import apply_along, geometric_matrix, patch_resize_matrix, resize_matrix

sizes = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(old=sizes, new=sizes, antialias=st.booleans())
def test_bicubic_is_torchs(old, new, antialias):
    matrix = resize_matrix(old, new, "bicubic, antialiased" if antialias else "bicubic")
    basis = torch.eye(old, dtype=torch.float64).reshape(old, 1, 1, old)
    expected = F.interpolate(basis, size=(1, new), mode="bicubic", antialias=antialias)[:, 0, 0].T
    np.testing.assert_allclose(matrix, expected.numpy(), atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(old=sizes, new=sizes, aligned=st.booleans())
def test_linear_is_torchs(old, new, aligned):
    matrix = resize_matrix(old, new, "linear, corners aligned" if aligned else "linear")
    basis = torch.eye(old, dtype=torch.float64).reshape(old, 1, 1, old)
    expected = F.interpolate(basis, size=(1, new), mode="bilinear", align_corners=aligned)[:, 0, 0].T
    np.testing.assert_allclose(matrix, expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("new", [(24, 24), (10, 31), (7, 7)])
def test_axes_are_resampled_independently(new):
    array = np.random.default_rng(0).standard_normal((3, 14, 14, 5)).astype(np.float32)
    ours = apply_along(array, {1: resize_matrix(14, new[0]), 2: resize_matrix(14, new[1])})
    image = torch.from_numpy(array).permute(0, 3, 1, 2)
    expected = F.interpolate(image, size=new, mode="bicubic", antialias=True).permute(0, 2, 3, 1)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(16, 32), (14, 16), (8, 8)])
def test_a_grown_patch_embedding_reads_grown_patches_alike(old, new):
    rng = np.random.default_rng(1)
    kernel, patch = rng.standard_normal((4, 3, old, old)), rng.standard_normal((3, old, old))
    grow = resize_matrix(old, new)
    grown = apply_along(patch, {1: grow, 2: grow})
    fitted = apply_along(kernel, {2: patch_resize_matrix(old, new), 3: patch_resize_matrix(old, new)})
    assert fitted.shape == (4, 3, new, new)
    np.testing.assert_allclose(np.einsum("ocij,cij->o", fitted, grown), np.einsum("ocij,cij->o", kernel, patch))


@pytest.mark.parametrize(("old", "new"), [((16, 16), (8, 8)), ((16, 16), (32, 12)), ((14, 14), (16, 16))])
def test_patch_matrices_are_the_pseudo_inverse_of_the_two_dimensional_resize(old, new):
    basis = torch.eye(old[0] * old[1], dtype=torch.float64).reshape(-1, 1, *old)
    resize = F.interpolate(basis, size=new, mode="bicubic", antialias=True).flatten(1).T  # (new, old)
    expected = torch.linalg.pinv(resize).T.numpy()
    ours = np.kron(patch_resize_matrix(old[0], new[0]), patch_resize_matrix(old[1], new[1]))
    np.testing.assert_allclose(ours, expected, atol=1e-10)


def test_geometric_positions_keep_the_centre_and_reach_both_ends():
    matrix = geometric_matrix(13, 23)
    assert matrix.shape == (23, 13)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix[11, 6] == 1  # the centre
    assert matrix[12, 7] == matrix[10, 5] == 1  # its neighbours: the first step is one
    np.testing.assert_allclose([matrix[0, 0], matrix[-1, -1]], 1, atol=1e-4)  # 1 + q + ... ends at the window's end
    # q of 1 + q + ... + q^5 = 11, solved another way: the old distances are its partial sums.
    q = max(r.real for r in np.roots([1, 1, 1, 1, 1, 1 - 11]) if abs(r.imag) < 1e-9)
    distances = [sum(q**i for i in range(n)) for n in range(7)]
    np.testing.assert_allclose(matrix[11:, 6:] @ distances, np.arange(12), atol=1e-4)


def test_arrays_keep_their_dtype_and_are_contiguous():
    array = np.ones((4, 6), np.float16)
    result = apply_along(array, {0: resize_matrix(4, 5)})
    assert result.dtype == np.float16
    assert result.flags["C_CONTIGUOUS"]
    assert result.shape == (5, 6)
