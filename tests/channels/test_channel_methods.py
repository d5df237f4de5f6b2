"""What each adaptation method promises, computed with torch's own convolution in float64 on random weights."""

from __future__ import annotations

from array import array
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.core.channels.input_layers import InputLayout
from zoo.core.channels.mixing import METHODS, adapt_input, band_mixing, channel_mixing
from zoo.core.errors import InvalidInputError, UsageError

CHANNELS = st.integers(1, 14)
MORE_CHANNELS = st.integers(1, 40)


def random_weight(channels: int, kernel: tuple[int, ...] = (3, 3), out: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn((out, channels, *kernel), generator=torch.Generator().manual_seed(seed))


def respond(weight: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    return torch.conv2d(image.double(), weight.double())


def images(channels: int, seed: int = 1) -> torch.Tensor:
    return torch.randn((2, channels, 6, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def adapted(weight: torch.Tensor, in_chans: int, method: str) -> torch.Tensor:
    return torch.from_numpy(adapt_input(weight.numpy(), in_chans, method))


def assert_same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- the methods


@settings(max_examples=60, deadline=None)
@given(source=CHANNELS, copies=MORE_CHANNELS, seed=st.integers(0, 99))
def test_balanced_gives_the_source_response_on_tiled_input(source: int, copies: int, seed: int):
    in_chans = source + copies - 1
    weight, image = random_weight(source, seed=seed), images(source)
    tiled = image[:, [n % source for n in range(in_chans)]]
    assert_same(respond(adapted(weight, in_chans, "balanced"), tiled), respond(weight, image))


@settings(max_examples=40, deadline=None)
@given(in_chans=CHANNELS, more=st.integers(1, 12), seed=st.integers(0, 99))
def test_balanced_folds_onto_fewer_channels(in_chans: int, more: int, seed: int):
    source = in_chans + more
    weight, image = random_weight(source, seed=seed), images(in_chans)
    tiled = image[:, [c % in_chans for c in range(source)]]
    assert_same(respond(adapted(weight, in_chans, "balanced"), image), respond(weight, tiled))


@settings(max_examples=60, deadline=None)
@given(source=CHANNELS, more=st.integers(0, 30), seed=st.integers(0, 99))
def test_zero_does_not_see_the_new_channels(source: int, more: int, seed: int):
    weight, image = random_weight(source, seed=seed), images(source)
    anything = torch.cat([image, 1e3 * images(max(more, 1), seed=7)[:, :more]], dim=1)
    assert_same(respond(adapted(weight, source + more, "zero"), anything), respond(weight, image))


@settings(max_examples=60, deadline=None)
@given(source=CHANNELS, in_chans=MORE_CHANNELS, seed=st.integers(0, 99))
def test_mean_keeps_the_response_to_grey(source: int, in_chans: int, seed: int):
    weight, grey = random_weight(source, seed=seed), images(1)
    fitted = adapted(weight, in_chans, "mean")
    assert_same(respond(fitted, grey.expand(-1, in_chans, -1, -1)), respond(weight, grey.expand(-1, source, -1, -1)))
    if in_chans != source:
        assert_same(fitted, (weight.mean(dim=1, keepdim=True) * (source / in_chans)).expand_as(fitted))


@pytest.mark.parametrize("method", ["repeat", "balanced", "mean"])
@pytest.mark.parametrize("source", [1, 3, 4, 13])
def test_one_channel_is_the_sum_of_all(method: str, source: int):
    weight, grey = random_weight(source), images(1)
    found = respond(adapted(weight, 1, method), grey)
    assert_same(found, respond(weight, grey.expand(-1, source, -1, -1)))


def test_luma_weights_the_colours_by_bt601():
    weight = random_weight(3)
    expected = 3 * (0.299 * weight[:, :1] + 0.587 * weight[:, 1:2] + 0.114 * weight[:, 2:])
    assert_same(adapted(weight, 1, "luma"), expected)
    grey_filters = weight[:, :1].expand(-1, 3, -1, -1).contiguous()
    grey = images(1)
    assert_same(respond(adapted(grey_filters, 1, "luma"), grey), respond(grey_filters, grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize(("source", "in_chans"), [(3, 2), (4, 1), (1, 3)])
def test_luma_is_for_rgb_to_one(source: int, in_chans: int):
    with pytest.raises(UsageError, match="luma makes one channel from three"):
        channel_mixing("luma", source, in_chans)


@pytest.mark.parametrize("method", METHODS)
def test_as_many_channels_stay_as_they_are(method: str):
    weight = random_weight(13).numpy()
    assert adapt_input(weight, 13, method) is weight


def test_an_unknown_method_is_a_usage_error():
    with pytest.raises(UsageError, match="one of repeat, balanced, mean, zero, luma, found 'random'"):
        channel_mixing("random", 3, 4)


def test_zero_is_zero_where_a_filter_is_infinite():
    weight = random_weight(3)
    weight[0, 0, 0, 0] = torch.inf
    fitted = adapted(weight, 5, "zero")
    assert torch.equal(fitted[:, :3], weight)
    assert torch.equal(fitted[:, 3:], torch.zeros_like(fitted[:, 3:]))


# ---------------------------------------------------------------- without numpy


@settings(max_examples=80, deadline=None)
@given(
    source=CHANNELS,
    in_chans=MORE_CHANNELS,
    method=st.sampled_from(["repeat", "balanced", "mean", "zero"]),
    out=st.integers(1, 3),
    values=st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
)
def test_the_standard_library_gives_the_same_bits(
    source: int, in_chans: int, method: str, out: int, values: list[float]
):
    rest = 3
    weight = np.resize(np.array(values, "<f4"), (out, source, rest))
    mixing = channel_mixing(method, source, in_chans)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = mixing.apply(weight)
    found = np.array(mixing.apply_to_floats(array("f", weight.tobytes()), rest), "<f4").reshape(expected.shape)
    numbers = ~np.isnan(expected)  # which NaN it is, nobody promises
    assert np.array_equal(np.isnan(found), ~numbers)
    assert np.array_equal(found[numbers].view("<u4"), expected[numbers].view("<u4"))


# ---------------------------------------------------------------- claims


@settings(max_examples=80, deadline=None)
@given(source=CHANNELS, in_chans=MORE_CHANNELS, method=st.sampled_from(["repeat", "balanced", "mean", "zero"]))
def test_every_claim_holds_for_a_real_convolution(source: int, in_chans: int, method: str):
    mixing = channel_mixing(method, source, in_chans)
    weight = random_weight(source)
    fitted = torch.from_numpy(mixing.apply(weight.numpy()))
    for claim in mixing.claims:
        entries = 1 + max((k for row in (*claim.inputs, *claim.source_inputs) for k, _ in row), default=0)
        z = images(entries)

        def mixed(rows: object, z: torch.Tensor = z) -> torch.Tensor:
            zero = torch.zeros_like(z[:, 0])
            return torch.stack([sum((c * z[:, k] for k, c in row), zero) for row in rows], dim=1)  # type: ignore[attr-defined]

        assert_same(respond(fitted, mixed(claim.inputs)), respond(weight, mixed(claim.source_inputs)))


def statements(method: str, source: int, in_chans: int) -> list[str]:
    return [claim.statement for claim in channel_mixing(method, source, in_chans).claims]


@pytest.mark.parametrize("in_chans", range(3, 30))
def test_balanced_claims_tiling_always_and_repeat_only_for_whole_copies(in_chans: int):
    tiling = "f_N(tile(x)) = f_C(x)"
    assert tiling in statements("balanced", 3, in_chans)
    assert (tiling in statements("repeat", 3, in_chans)) == (in_chans % 3 == 0)


def test_what_the_other_methods_claim():
    assert "f_N([x, anything]) = f_C(x)" in statements("zero", 3, 5)
    assert "f_N([x, anything]) = f_C(x)" not in statements("balanced", 3, 5)
    assert "f_N(x) = f_C([x, 0])" in statements("zero", 13, 4)
    assert "f_N(g, ..., g) = f_C(g, ..., g)" in statements("mean", 3, 5)
    assert "f_N(g, ..., g) = f_C(g, ..., g)" not in statements("repeat", 3, 5)


def test_gains_are_those_of_the_copies():
    # 3 -> 4 by repetition: red twice, all times 3/4.
    assert channel_mixing("repeat", 3, 4).gains() == (1.5, 0.75, 0.75)
    assert channel_mixing("balanced", 3, 25).gains() == pytest.approx((1, 1, 1))


# ---------------------------------------------------------------- bands


@settings(max_examples=60, deadline=None)
@given(source=st.integers(1, 8), extra=st.lists(st.integers(0, 7), max_size=10), seed=st.integers(0, 99))
def test_bands_placed_by_one_source_each_are_exact_where_they_show_it(source: int, extra: list[int], seed: int):
    sources = [*range(source), *(c % source for c in extra)]
    mixing = band_mixing([[(c, 1.0)] for c in sources], source)
    weight, image = random_weight(source, seed=seed), images(source)
    fitted = torch.from_numpy(mixing.apply(weight.numpy()))
    assert_same(respond(fitted, image[:, sources]), respond(weight, image))
    copies = Counter(sources)
    expected = torch.stack([weight[:, c] / copies[c] for c in sources], dim=1)
    assert_same(fitted, expected)


def test_a_band_without_shares_is_zero():
    mixing = band_mixing([[(2, 1.0)], [], [(0, 1.0)]], 3)
    weight = random_weight(3)
    expected = torch.stack([weight[:, 2], torch.zeros_like(weight[:, 0]), weight[:, 0]], dim=1)
    assert torch.equal(torch.from_numpy(mixing.apply(weight.numpy())), expected)


# ---------------------------------------------------------------- layouts


def fitted(layout: str, weight: torch.Tensor, in_chans: int, method: str = "balanced") -> torch.Tensor:
    form = InputLayout.parse(layout)
    source = form.channels(weight.shape)
    mixing = channel_mixing(method, form.mixed_channels(source), form.mixed_channels(in_chans))
    found = torch.from_numpy(form.adapt(weight.numpy(), mixing))
    assert tuple(found.shape) == form.shape_for(weight.shape, in_chans)
    return found


def test_space_to_depth_is_the_convolution_of_the_unfolded_image():
    weight, image = random_weight(48), images(3)[:, :, :4, :4].repeat(1, 1, 3, 3)

    def to_depth(
        image: torch.Tensor,
    ) -> torch.Tensor:  # (N, C, H, W) -> (N, 16 * C, H / 4, W / 4), index = pixel * C + c
        n, c, h, w = image.shape
        cut = image.reshape(n, c, h // 4, 4, w // 4, 4).permute(0, 3, 5, 1, 2, 4)
        return cut.reshape(n, 16 * c, h // 4, w // 4)

    after = fitted("blocks:16", weight, 7)
    tiled = image[:, [n % 3 for n in range(7)]]
    assert_same(respond(after, to_depth(tiled)), respond(weight, to_depth(image)))


def test_a_linear_patch_embedding_is_adapted_pixel_by_pixel():
    patches = torch.randn((5, 16, 3), generator=torch.Generator().manual_seed(3))  # patch, pixel, channel
    weight = torch.randn((8, 48), generator=torch.Generator().manual_seed(4))
    after = fitted("blocks:16", weight, 5)
    tiled = patches[:, :, [n % 3 for n in range(5)]]
    assert_same(tiled.flatten(1) @ after.T, patches.flatten(1) @ weight.T)


def test_planes_have_the_channels_outermost():
    image = images(3, seed=5)
    weight = random_weight(12)
    after = fitted("planes:4", weight, 5)
    tiled = image[:, [n % 3 for n in range(5)]]
    unshuffle = torch.nn.functional.pixel_unshuffle
    assert_same(respond(after, unshuffle(tiled, 2)), respond(weight, unshuffle(image, 2)))


@pytest.mark.parametrize("in_chans", [6, 9, 12])
def test_each_group_repeats_its_own_channels(in_chans: int):
    weight, image = random_weight(2, out=6), images(6)
    after = fitted("groups:3", weight, in_chans)
    each = in_chans // 3
    tiled = image[:, [group * 2 + n % 2 for group in range(3) for n in range(each)]]
    assert_same(torch.conv2d(tiled, after.double(), groups=3), torch.conv2d(image, weight.double(), groups=3))


def test_a_three_dimensional_kernel_keeps_its_time_axis():
    weight = random_weight(3, kernel=(2, 3, 3))
    clip = torch.randn((1, 3, 4, 5, 5), generator=torch.Generator().manual_seed(2))
    after = fitted("conv", weight, 8)
    assert_same(torch.conv3d(clip[:, [n % 3 for n in range(8)]], after), torch.conv3d(clip, weight))


def test_channels_that_groups_cannot_share_are_refused():
    with pytest.raises(InvalidInputError, match="3 groups, and 7 channels"):
        fitted("groups:3", random_weight(2, out=6), 7)


@pytest.mark.parametrize("text", ["", "conv:3", "groups", "groups:0", "blocks:-1", "blocks:x", "cube:3"])
def test_a_malformed_layout_is_a_usage_error(text: str):
    with pytest.raises(UsageError, match="reads conv, groups:G, blocks:B or planes:B"):
        InputLayout.parse(text)


@pytest.mark.parametrize("shape", [(8,), (8, 48), (8, 47, 3, 3)])
def test_a_shape_that_the_layout_cannot_have_reads_no_channels(shape: tuple[int, ...]):
    layout = InputLayout.parse("blocks:16" if len(shape) != 2 else "conv")
    assert layout.channels(shape) == 0


def test_a_weight_of_other_channels_is_refused():
    with pytest.raises(InvalidInputError, match="should have the axes"):
        channel_mixing("repeat", 3, 5).apply(np.zeros((2, 4, 3, 3), np.float32))
