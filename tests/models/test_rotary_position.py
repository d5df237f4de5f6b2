"""Rotary positions: what they are for, whatever the kind; and attention whose queries, keys and values are split."""

import pytest
import torch

from zoo.core.errors import UsageError
from zoo.models.layers.attention import Attention, SeparatelyProjectedAttention, rotate
from zoo.models.layers.rotary_position import AxialRotary, CentredRotary, MixedRotary

GRID = (3, 4)
TOKENS = torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize("half", [False, True], ids=["neighbours", "halves"])
@pytest.mark.parametrize("columns_first", [False, True], ids=["rows first", "columns first"])
@pytest.mark.parametrize("kind", [AxialRotary, CentredRotary])
def test_scores_depend_on_the_distance_alone(kind, half, columns_first):
    torch.manual_seed(0)
    options = {"temperature": 100.0, "num_prefix_tokens": 1, "rotate_half": half, "columns_first": columns_first}
    table = kind(8, **options)(GRID, TOKENS)
    assert table.shape == (2, 1 + 12, 8)
    q, k = (rotate(torch.randn(1, 1, 1, 8, dtype=torch.float64).expand(1, 1, 13, 8), table, half) for _ in "qk")
    scores = (q @ k.mT)[0, 0, 1:, 1:].unflatten(0, GRID).unflatten(2, GRID)
    assert torch.allclose(scores[1:, 1:, 1:, 1:], scores[:-1, :-1, :-1, :-1], atol=1e-6)
    assert not torch.allclose(scores[1, 1, 0, 1], scores[1, 1, 1, 0])
    assert torch.equal(table[0, 0], torch.ones_like(table[0, 0]))
    assert not table[1, 0].any()


def test_a_known_grid_has_its_table_from_the_start():
    made, kept = (AxialRotary(8, temperature=1e4, grid=grid) for grid in (None, GRID))
    like = torch.zeros(1)
    assert kept(GRID, like) is kept.table
    assert torch.equal(made(GRID, like), kept.table)
    assert torch.equal(kept((2, 2), like), made((2, 2), like))
    assert not list(kept.state_dict())


def test_another_grid_is_stretched_to_the_reference():
    stretched = AxialRotary(8, temperature=1e4, reference=(2, 2))((4, 4), TOKENS)
    plain = AxialRotary(8, temperature=1e4)((2, 2), TOKENS)
    assert torch.allclose(stretched.unflatten(1, (4, 4))[:, ::2, ::2].flatten(1, 2), plain)


def test_coordinates_are_rescaled_in_training_alone():
    torch.manual_seed(0)
    rotary = CentredRotary(8, temperature=100.0, rescale=2.0, grid=GRID)
    like = torch.zeros(1)
    assert not torch.equal(rotary(GRID, like), rotary(GRID, like))
    assert torch.equal(rotary.eval()(GRID, like), rotary.table)


def test_mixed_frequencies_are_learned_by_block_and_head():
    torch.manual_seed(0)
    rotary = MixedRotary(8, 2, 3, temperature=10.0, num_prefix_tokens=1)
    table = rotary(GRID, torch.zeros(1))
    assert table.shape == (2, 2, 3, 13, 8)
    table.square().sum().backward()
    assert rotary.freqs.grad.shape == (2, 2, 3, 4)
    first, second = rotary.freqs.detach().unflatten(-1, (2, 2)).unbind(-2)  # two directions, each with its frequencies
    assert torch.allclose((first * second).sum(0), torch.zeros(2, 3, 2), atol=1e-6)
    assert torch.allclose(first.norm(dim=0)[0, 0], torch.tensor([1.0, 10**-0.5]))


def test_a_head_needs_a_multiple_of_four_channels():
    with pytest.raises(UsageError, match="by fours"):
        AxialRotary(6, temperature=1e4)


@pytest.mark.parametrize("qkv_bias", [True, False, "qv"])
def test_split_projections_are_the_fused_one(qkv_bias):
    torch.manual_seed(0)
    fused, split = (kind(12, 3, qkv_bias=qkv_bias).eval() for kind in (Attention, SeparatelyProjectedAttention))
    assert (split.k_proj.bias is None) == (qkv_bias is not True)
    layers = (split.q_proj, split.k_proj, split.v_proj)
    with torch.no_grad():
        fused.qkv.weight.copy_(torch.cat([layer.weight for layer in layers]))
        fused.proj.load_state_dict(split.proj.state_dict())
        if qkv_bias is True:
            fused.qkv.bias.copy_(torch.cat([layer.bias for layer in layers]))
        elif qkv_bias:
            fused.q_bias.copy_(split.q_proj.bias)
            fused.v_bias.copy_(split.v_proj.bias)
    x, table = torch.randn(2, 12, 12), AxialRotary(4, temperature=100.0)(GRID, torch.zeros(1))
    assert torch.allclose(split(x, None, table), fused(x, None, table), atol=1e-6)


def test_heads_share_keys_and_values():
    torch.manual_seed(0)
    few, all_heads = (
        SeparatelyProjectedAttention(12, 3, num_kv_heads=1).eval(),
        SeparatelyProjectedAttention(12, 3).eval(),
    )
    repeated = {
        key: value.repeat(3, *[1] * (value.ndim - 1)) if key[0] in "kv" else value
        for key, value in few.state_dict().items()
    }
    all_heads.load_state_dict(repeated)
    x = torch.randn(2, 5, 12)
    assert torch.allclose(few(x), all_heads(x), atol=1e-6)
    with pytest.raises(UsageError, match="divided"):
        SeparatelyProjectedAttention(12, 3, num_kv_heads=2)
