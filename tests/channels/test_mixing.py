"""The channel adaptation against formulas written out here, and stored floats against torch, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.channels.mixing import adapt_input, channel_mixing
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.float_bytes import from_float32, to_float32

TORCH_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def random_weight(shape: tuple[int, ...], dtype: str = "F32", seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(TORCH_DTYPES[dtype])


def reference(weight: torch.Tensor, in_chans: int) -> torch.Tensor:
    """What a timm loader does: float32, summed or repeated, cut and scaled, then cast back."""
    dtype, values, source = weight.dtype, weight.float(), weight.shape[1]
    if in_chans == source:
        return weight
    if in_chans == 1:
        return values.sum(dim=1, keepdim=True).to(dtype)
    repeats = math.ceil(in_chans / source)
    cut = torch.cat([values] * repeats, dim=1)[:, :in_chans]
    return (cut * (source / float(in_chans))).to(dtype)


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def adapted_bytes(weight: torch.Tensor, dtype: str, in_chans: int) -> tuple[bytes, tuple[int, ...]]:
    fitted = adapt_input(to_float32(raw(weight), dtype, tuple(weight.shape)), in_chans)
    return from_float32(fitted, dtype), fitted.shape


# ---------------------------------------------------------------- the formula


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
@pytest.mark.parametrize("in_chans", [1, 2, 4, 5, 25])
def test_rgb_filters_are_adapted_as_the_reference_does(in_chans: int, dtype: str):
    weight = random_weight((8, 3, 7, 7), dtype)
    found, shape = adapted_bytes(weight, dtype, in_chans)
    assert shape == (8, in_chans, 7, 7)
    assert found == raw(reference(weight, in_chans))


def test_each_filter_value_of_five_channels():
    weight = random_weight((2, 3, 1, 2)).numpy()
    found = adapt_input(weight, 5)
    factor = np.float32(3 / 5)
    for out in range(2):
        for x in range(2):
            r, g, b = weight[out, :, 0, x]
            assert found[out, :, 0, x].tolist() == [r * factor, g * factor, b * factor, r * factor, g * factor]


def test_as_many_channels_as_before_change_nothing():
    weight = random_weight((4, 3, 3, 3)).numpy()
    assert adapt_input(weight, 3) is weight


def test_the_source_is_left_as_it_was():
    weight = random_weight((4, 3, 3, 3)).numpy()
    before = weight.copy()
    for in_chans in (1, 2, 7):
        adapt_input(weight, in_chans)
    assert np.array_equal(weight, before)


@settings(max_examples=80, deadline=None)
@given(
    out=st.integers(1, 4),
    source=st.integers(1, 13),
    in_chans=st.integers(2, 40),
    kernel=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    dtype=st.sampled_from(sorted(TORCH_DTYPES)),
    seed=st.integers(0, 1000),
)
def test_any_source_any_channels(out: int, source: int, in_chans: int, kernel: list[int], dtype: str, seed: int):
    weight = random_weight((out, source, *kernel), dtype, seed)
    found, shape = adapted_bytes(weight, dtype, in_chans)
    assert shape == (out, in_chans, *kernel)
    # As many channels as before are no cast: a file copies such a tensor, whatever float32 would lose of it.
    assert found == raw(reference(weight, in_chans) if in_chans != source else weight.float().to(weight.dtype))


@settings(max_examples=40, deadline=None)
@given(source=st.integers(2, 40), kernel=st.integers(1, 3), seed=st.integers(0, 1000))
def test_one_channel_is_the_sum(source: int, kernel: int, seed: int):
    # More than three terms can be added in more than one order, so this is exact only up to rounding.
    weight = random_weight((3, source, kernel, kernel), seed=seed)
    exact = weight.double().sum(dim=1, keepdim=True)
    bound = weight.double().abs().sum(dim=1, keepdim=True) * source * 2**-24
    assert ((torch.from_numpy(adapt_input(weight.numpy(), 1)).double() - exact).abs() <= bound).all()


def test_an_image_whose_channels_agree_gives_the_same_response():
    weight, image = random_weight((8, 3, 5, 5)), random_weight((2, 1, 12, 12), seed=1)
    before = torch.conv2d(image.expand(-1, 3, -1, -1), weight)
    for in_chans in (1, 6, 24):
        fitted = torch.from_numpy(adapt_input(weight.numpy(), in_chans))
        after = torch.conv2d(image.expand(-1, in_chans, -1, -1), fitted)
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("in_chans", [0, -3])
def test_fewer_than_one_channel_is_a_usage_error(in_chans: int):
    with pytest.raises(UsageError, match=f"must be 1 or more, found {in_chans}"):
        adapt_input(np.zeros((4, 3, 3, 3), np.float32), in_chans)


@pytest.mark.parametrize("shape", [(), (4,), (4, 3), (4, 0, 3, 3)])
def test_a_weight_without_channels_is_refused(shape: tuple[int, ...]):
    with pytest.raises(InvalidInputError, match=r"\(out, in, kernel\.\.\.\), found the shape"):
        adapt_input(np.zeros(shape, np.float32), 4)


def test_an_absurd_number_of_channels_fails_before_anything_grows():
    with pytest.raises(UsageError, match="must be 65536 or less, found 1000000000000"):
        adapt_input(np.zeros((64, 3, 7, 7), np.float32), 10**12)


# ---------------------------------------------------------------- mean and std


@pytest.mark.parametrize(
    ("in_chans", "expected"),
    [(1, (2.0,)), (2, (1.0, 2.0)), (3, (1.0, 2.0, 3.0)), (4, (1.0, 2.0, 3.0, 1.0)), (7, (1, 2, 3, 1, 2, 3, 1))],
)
def test_mean_and_std_follow_the_filters(in_chans: int, expected: tuple[float, ...]):
    assert channel_mixing("repeat", 3, in_chans).channel_values((1.0, 2.0, 3.0)) == expected


def test_values_of_other_channels_than_the_source_has_are_averaged():
    assert channel_mixing("repeat", 13, 4).channel_values((0.25, 0.5, 0.75)) == (0.5, 0.5, 0.5, 0.5)


def test_a_channel_without_a_filter_gets_the_average():
    assert channel_mixing("zero", 3, 5).channel_values((1.0, 2.0, 6.0)) == (1.0, 2.0, 6.0, 3.0, 3.0)


# ---------------------------------------------------------------- stored floats


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_half_precision_value_is_decoded_as_torch_does(dtype: str):
    bits = np.arange(1 << 16, dtype="<u2")
    expected = torch.from_numpy(bits.view(np.int16)).view(TORCH_DTYPES[dtype]).float().numpy()
    found = to_float32(bits.tobytes(), dtype, (256, 256))
    assert (found.shape, found.dtype) == ((256, 256), np.float32)
    assert np.array_equal(found.reshape(-1), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_every_half_precision_number_survives_a_round_trip(dtype: str):
    data = np.arange(1 << 16, dtype="<u2").tobytes()
    values = to_float32(data, dtype, (1 << 16,))
    numbers = ~np.isnan(values)
    back = from_float32(values, dtype)
    assert np.array_equal(np.frombuffer(back, "<u2")[numbers], np.frombuffer(data, "<u2")[numbers])
    assert np.isnan(to_float32(back, dtype, (1 << 16,))[~numbers]).all()


def ties(dtype: str) -> torch.Tensor:
    """Values half way between two neighbours of a half-precision type, and one float32 step to each side."""
    finite = torch.arange(1 << 15, dtype=torch.int16).view(TORCH_DTYPES[dtype]).double()
    finite = finite[torch.isfinite(finite)]
    middle = ((finite[1:] + finite[:-1]) / 2).float()
    middle = torch.cat([middle, -middle])
    step = torch.tensor(torch.inf)
    return torch.cat([middle, torch.nextafter(middle, step), torch.nextafter(middle, -step)])


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_rounding_is_to_nearest_even_as_in_torch(dtype: str):
    values = ties(dtype)
    assert from_float32(values.numpy(), dtype) == raw(values.to(TORCH_DTYPES[dtype]))


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_the_ends_of_the_range(dtype: str):
    tiny = 2.0**-149  # the smallest float32 above zero
    values = torch.tensor([0.0, -0.0, math.inf, -math.inf, 3.4028235e38, -3.4028235e38, 65520.0, tiny, -tiny, 1e-41])
    assert from_float32(values.numpy(), dtype) == raw(values.to(TORCH_DTYPES[dtype]))


@pytest.mark.parametrize("dtype", TORCH_DTYPES)
def test_no_nan_becomes_a_number(dtype: str):
    bits = np.array([0x7FC00000, 0x7F800001, 0xFF800001, 0x7FFFFFFF, 0xFFFFFFFF], dtype="<u4")
    back = to_float32(from_float32(bits.view(np.float32), dtype), dtype, (5,))
    assert np.isnan(back).all()


def test_float64_beyond_float32_is_infinite_without_a_warning():
    assert to_float32(np.array([1e300, -1e300]).tobytes(), "F64", (2,)).tolist() == [math.inf, -math.inf]


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.floats(width=32, allow_nan=False), max_size=20), dtype=st.sampled_from(sorted(TORCH_DTYPES)))
def test_any_values_are_encoded_as_torch_does(values: list[float], dtype: str):
    tensor = torch.tensor(values, dtype=torch.float32)
    assert from_float32(tensor.numpy(), dtype) == raw(tensor.to(TORCH_DTYPES[dtype]))


@pytest.mark.parametrize("dtype", ["I64", "U8", "BOOL", "C64", "F4"])
def test_what_holds_no_ordinary_floats_is_refused(dtype: str):
    with pytest.raises(InvalidInputError, match=f"floating-point numbers, found {dtype}"):
        to_float32(bytes(8), dtype, (1,))
