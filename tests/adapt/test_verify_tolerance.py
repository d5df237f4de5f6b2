"""How much `--verify` lets pass: the rounding of the stored dtype, and nothing as large as one percent."""

from __future__ import annotations

import pytest
import torch

from zoo.core.adapt.plan import AdaptPlan, plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.verify import verify_adapted
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.channels.bands import parse_bands
from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import METHODS
from zoo.core.files.stored_tensor import StoredTensor

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Layout, shape of the source's weight, and the channels to make: more and fewer.
LAYOUTS = [
    ("conv", (8, 3, 7, 7), 5),
    ("conv", (8, 13, 3, 3), 4),
    ("groups:2", (8, 3, 3, 3), 10),
    ("blocks:16", (8, 48), 4),
    ("planes:4", (8, 12, 2, 2), 2),
]

Written = dict[str, StoredTensor]


def plan_of(
    method: str, layout: str, shape: tuple[int, ...], in_chans: int, dtype: str, scale: float = 1.0, bands: str = ""
) -> AdaptPlan:
    """The plan for one random layer, whose values are about `scale` and spread over several powers of two."""
    generator = torch.Generator().manual_seed(len(shape) * in_chans)
    weight = scale * torch.randn(shape, generator=generator) * 2 ** torch.randn(shape, generator=generator)
    request = AdaptRequest(
        in_chans=None if bands else in_chans,
        method=method,
        dtype=dtype,
        input_layers=("conv",),
        input_layout=InputLayout.parse(layout),
        bands=parse_bands(bands) if bands else (),
    )
    stored = StoredTensor("conv.weight", "F32", shape, weight.numpy().tobytes())
    return plan_adaptation([stored], PretrainedCfg(), request, "test")


def written(plan: AdaptPlan, dtype: str, factor: float = 1.0) -> Written:
    """The file's tensors, computed as planned and then times `factor` by torch, rounded once more as it is stored."""
    (tensor,) = plan.tensors
    values = torch.frombuffer(bytearray(tensor.read()), dtype=DTYPES[dtype]).double() * factor
    data = values.to(DTYPES[dtype]).view(torch.uint8).numpy().tobytes()
    return {tensor.name: StoredTensor(tensor.name, tensor.dtype, tensor.shape, data)}


def failures(plan: AdaptPlan, found: Written) -> list[str]:
    return [check.name for check in verify_adapted(plan, found) if not check.ok]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layout", "shape", "in_chans"), LAYOUTS)
@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "zero"])
def test_filters_that_are_one_percent_off_fail(
    method: str, layout: str, shape: tuple[int, ...], in_chans: int, dtype: str
):
    plan = plan_of(method, layout, shape, in_chans, dtype)
    assert failures(plan, written(plan, dtype)) == []
    for factor in (1.01, 0.99):
        assert "conv.weight: f_N(x) = f_C(mixed x)" in failures(plan, written(plan, dtype, factor))


@pytest.mark.parametrize("dtype", DTYPES)
def test_luma_and_bands_that_are_one_percent_off_fail(dtype: str):
    for plan in (
        plan_of("luma", "conv", (8, 3, 3, 3), 1, dtype),
        plan_of("repeat", "conv", (8, 3, 3, 3), 0, dtype, bands="red,green,blue,nir"),
    ):
        assert failures(plan, written(plan, dtype)) == []
        assert failures(plan, written(plan, dtype, 1.01)) != []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "zero"])
def test_one_value_that_is_one_percent_off_fails_beside_larger_ones(method: str, dtype: str):
    plan = plan_of(method, "conv", (8, 3, 7, 7), 5, dtype)
    (tensor,) = written(plan, dtype).values()
    values = torch.frombuffer(bytearray(tensor.read()), dtype=DTYPES[dtype]).reshape(tensor.shape).clone()
    filters = values[0, 0].abs()
    smallest = (filters == filters.min()).nonzero()[0].tolist()
    values[0, 0, *smallest] *= 1.01
    changed = StoredTensor(tensor.name, tensor.dtype, tensor.shape, values.view(torch.uint8).numpy().tobytes())
    assert "conv.weight: f_N(x) = f_C(mixed x)" in failures(plan, {tensor.name: changed})


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**-130], ids=["small in float16", "small in all"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("layout", "shape", "in_chans"), LAYOUTS)
@pytest.mark.parametrize("method", ["repeat", "balanced", "mean", "zero"])
def test_values_below_the_normal_numbers_pass(
    method: str, layout: str, shape: tuple[int, ...], in_chans: int, dtype: str, scale: float
):
    plan = plan_of(method, layout, shape, in_chans, dtype, scale)
    assert failures(plan, written(plan, dtype)) == []


@pytest.mark.parametrize("method", [method for method in METHODS if method != "luma"])
@pytest.mark.parametrize("chans", [(3, 1), (3, 8), (9, 4)])
def test_a_method_whose_coefficients_are_one_percent_off_fails(
    method: str, chans: tuple[int, int], monkeypatch: pytest.MonkeyPatch
):
    """The plan and what is checked agree with each other; the method's formula is what they miss."""
    sound = METHODS[method]
    monkeypatch.setitem(
        METHODS, method, lambda *chans: tuple(tuple((c, 1.01 * k) for c, k in row) for row in sound(*chans))
    )
    plan = plan_of(method, "conv", (8, chans[0], 3, 3), chans[1], "float32")
    assert failures(plan, written(plan, "float32")) != []
