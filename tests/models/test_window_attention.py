"""Windows, their masks and positions against definitions, and Swin's checkpoints in other names and sizes."""

import math

import numpy as np
import pytest
import torch

import zoo
from zoo.core.model.match import repair_keys
from zoo.core.resize.positions import resize_bias_table
from zoo.models.layers.relative_position import (
    AxisEmbeddings,
    distance_indices,
    offset_rows,
    relative_position_index,
)
from zoo.models.layers.window import (
    MASKED,
    attend_in_windows,
    merge_grid,
    merge_windows,
    partition_grid,
    partition_windows,
    shifted_window_mask,
)

TINY = "swin_tiny_patch4_window7_224"
SMALL = {"embed_dim": 32, "depths": (2, 2), "num_heads": (1, 2)}


def test_windows_hold_the_cells_of_their_place_and_go_back():
    x = torch.arange(2 * 4 * 6).reshape(2, 4, 6, 1)
    windows = partition_windows(x, (2, 3))
    assert windows.shape == (8, 6, 1)
    assert windows[3, :, 0].tolist() == x[0, 2:4, 3:6, 0].flatten().tolist()
    assert torch.equal(merge_windows(windows, (2, 3), (4, 6)), x)


def test_grids_hold_cells_from_all_over_the_map_and_go_back():
    x = torch.arange(2 * 4 * 6).reshape(2, 4, 6, 1)
    cells = partition_grid(x, (2, 3))
    assert cells.shape == (8, 6, 1)
    assert cells[3, :, 0].tolist() == x[0, 1::2, 1::2, 0].flatten().tolist()
    assert torch.equal(merge_grid(cells, (2, 3), (4, 6)), x)


def test_the_mask_parts_what_was_not_adjacent():
    """In a map rolled by the shift, two cells of a window see each other if the roll did not part them."""
    size, window, shift = (4, 6), (2, 3), (1, 1)
    row, column = (torch.arange(side) for side in size)
    home = torch.stack(torch.meshgrid(row, column, indexing="ij"), -1)[None]
    rolled = partition_windows(home.roll((-shift[0], -shift[1]), (1, 2)), window)
    mask = shifted_window_mask(size, window, shift)
    distance = (rolled[:, :, None] - rolled[:, None]).abs()
    near = (distance[..., 0] < window[0]) & (distance[..., 1] < window[1])
    assert torch.equal(mask == 0, near)
    assert set(mask.unique().tolist()) == {0.0, MASKED}


@pytest.mark.parametrize(("size", "shrink"), [((4, 6), 1), ((5, 4), 1), ((4, 12), 2), ((6, 8), 2)])
def test_windows_of_a_map_that_they_need_not_divide(size, shrink):
    x = torch.randn(2, *size, 1)

    def maxima(windows):
        cells = windows.unflatten(1, (2 // shrink, shrink, 4 // shrink, shrink))
        return cells.amax((2, 4)).flatten(1, 2)

    found = attend_in_windows(x, (2, 4), maxima, shrink=shrink)
    pooled = torch.nn.functional.max_pool2d(x.permute(0, 3, 1, 2), shrink)
    assert torch.equal(found, pooled.permute(0, 2, 3, 1))


def test_rows_of_an_axis_with_fewer_keys():
    assert offset_rows(2, 2).tolist() == [[1, 0], [2, 1]]
    assert offset_rows(4, 2).tolist() == [[2, 0], [3, 1], [4, 2], [5, 3]]


def test_an_embedding_for_each_offset_along_either_axis():
    layer = AxisEmbeddings()
    layer.make_axes((2, 3), 5)
    for axis in layer.parameters():
        torch.nn.init.normal_(axis)
    queries = torch.randn(1, 2, 6, 5)
    bias = layer.position_bias(queries, (2, 3), (2, 3))
    query, key = 5, 1  # (1, 2) and (0, 1)
    expected = queries[0, 1, query] @ (layer.rel_pos_h[1 - 0 + 1] + layer.rel_pos_w[2 - 1 + 2])
    torch.testing.assert_close(bias[0, 1, query, key], expected)


@pytest.mark.parametrize("window", [(2, 2), (2, 3), (7, 7)])
def test_one_row_of_the_table_for_each_offset(window):
    index = relative_position_index(window)
    offsets = {}
    for query in range(math.prod(window)):
        for key in range(math.prod(window)):
            offset = query // window[1] - key // window[1], query % window[1] - key % window[1]
            assert offsets.setdefault(offset, int(index[query, key])) == index[query, key]
    assert sorted(offsets, key=offsets.get) == sorted(offsets)
    assert sorted(offsets.values()) == list(range((2 * window[0] - 1) * (2 * window[1] - 1)))


def test_biases_by_distance():
    index = distance_indices((3, 5), stride=2)
    assert index.shape == (6, 15)
    # The query at row 2, column 4 and the key at row 1, column 1.
    assert index[5, 1 * 5 + 1] == 1 * 5 + 3


def test_the_authors_names_become_ours():
    model = zoo.create_model(TINY, device="meta", **SMALL)
    theirs = {
        "layers.0.downsample.reduction.weight": torch.ones(1),
        "layers.0.blocks.1.attn_mask": torch.ones(1),
        "layers.0.blocks.0.attn.relative_position_index": torch.ones(1),
        "head.weight": torch.ones(1),
    }
    repaired, unused = repair_keys(model, theirs)
    assert sorted(repaired) == ["head.fc.weight", "layers.1.downsample.reduction.weight"]
    assert unused == ("layers.0.blocks.1.attn_mask", "layers.0.blocks.0.attn.relative_position_index")
    ours = {"layers.1.downsample.reduction.weight": torch.ones(1), "head.fc.weight": torch.ones(1)}
    assert repair_keys(model, ours) == (ours, ())


@pytest.mark.parametrize(
    ("options", "window"), [({"window_size": 5}, (5, 5)), ({"window_size": (4, 6), "img_size": (64, 96)}, (4, 6))]
)
def test_bias_tables_follow_the_windows(tmp_path, options, window):
    source = zoo.create_model(TINY, seed=0, **SMALL)
    path = tmp_path / "swin.pth"
    torch.save(source.state_dict(), path)
    model = zoo.create_model(TINY, pretrained=True, pretrained_cfg_overlay={"file": path}, **SMALL, **options)
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    expected = resize_bias_table(source.state_dict()[key].numpy(), (7, 7), window)
    np.testing.assert_allclose(model.state_dict()[key].numpy(), expected, atol=1e-6)
    assert key in model.load_report.resized
    height, width = model.img_size
    assert model.eval()(torch.zeros(1, 3, height, width)).shape == (1, 1000)


def test_images_of_any_size():
    """Where windows divide the maps, a model for any size computes what one for this size computes."""
    fixed = zoo.create_model(TINY, seed=0, img_size=112, **SMALL).eval()
    free = zoo.create_model(TINY, seed=0, dynamic_img_size=True, **SMALL).eval()
    free.load_state_dict(fixed.state_dict())
    x = torch.randn(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(free(x), fixed(x), atol=1e-5)
        assert free(torch.zeros(1, 3, 84, 140)).shape == (1, 1000)


def test_levit_distilled_training_gives_both():
    model = zoo.create_model("levit_128s", img_size=64, num_classes=3, seed=0)
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert model.train()(x).shape == (2, 3)
    model.set_distilled_training()
    assert [logits.shape for logits in model(x)] == [(2, 3), (2, 3)]
    assert model.eval()(x).shape == (2, 3)


def test_a_new_classifier_keeps_the_norm_in_front_of_it(tmp_path):
    source = zoo.create_model("levit_128s", img_size=64, seed=0)
    source.head.bn.running_mean.fill_(3)
    path = tmp_path / "levit.pth"
    torch.save(source.state_dict(), path)
    overlay = {"file": path}
    model = zoo.create_model(
        "levit_128s", pretrained=True, pretrained_cfg_overlay=overlay | {"input_size": (3, 64, 64)}, num_classes=5
    )
    assert torch.equal(model.head.bn.running_mean, torch.full((384,), 3.0))
    assert set(model.load_report.dropped) == {
        f"{head}.linear.{kind}" for head in ("head", "head_dist") for kind in ("weight", "bias")
    }
