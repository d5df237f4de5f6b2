"""Tensors that lie in order in one file and not in another are read, compared and proven in equal pieces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.plan import plan_adaptation
from zoo.core.adapt.request import AdaptRequest
from zoo.core.adapt.verify import verify_adapted
from zoo.core.architectures.records import PretrainedCfg
from zoo.core.files.stored_tensor import Computed, StoredTensor
from zoo.core.files.stored_values import byte_pieces, piece_pairs
from zoo.core.inspection.statistics import tensor_statistics

MIB = 1 << 20
DTYPES = {"": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def in_chunks(data: bytes, sizes: list[int], dtype: str = "U8") -> StoredTensor:
    """A tensor whose bytes come in chunks of these sizes, over and over."""

    def compute() -> Iterator[bytes | memoryview]:
        start, turn = 0, 0
        while start < len(data):
            size = sizes[turn % len(sizes)]
            yield memoryview(data)[start : start + size]
            start, turn = start + size, turn + 1

    width = {"U8": 1, "F32": 4}[dtype]
    return StoredTensor("x", dtype, (len(data) // width,), Computed(len(data), compute))


@pytest.mark.parametrize("sizes", [[1], [7], [8], [9], [100], [3, 20, 1, 0], [1000]])
@pytest.mark.parametrize("length", [0, 1, 8, 99])
def test_pieces_have_one_size_whatever_the_chunks(sizes: list[int], length: int):
    data = bytes(range(length))
    expected = [data[start : start + 8] for start in range(0, length, 8)]
    assert list(byte_pieces(in_chunks(data, sizes), 8)) == expected
    plain = StoredTensor("y", "U8", (length,), data)
    assert list(piece_pairs(in_chunks(data, sizes), plain, 8)) == list(zip(expected, expected, strict=True))


def test_pairs_hold_as_many_values_of_either_dtype():
    a, b = StoredTensor("a", "F32", (10,), bytes(40)), StoredTensor("b", "F16", (10,), bytes(20))
    assert [(len(x), len(y)) for x, y in piece_pairs(a, b, 4)] == [(16, 8), (16, 8), (8, 4)]
    with pytest.raises(ValueError, match="shorter"):
        list(piece_pairs(a, b._replace(data=bytes(10)), 4))


@pytest.fixture(scope="module")
def channels_last(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `torch.save` leaves of a model that was trained in channels_last, and one transposed view."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "conv1.weight": torch.randn(16, 3, 3, 3, generator=generator),
        "big.weight": torch.randn(512, 240, 3, 3, generator=generator),  # 4.2 MiB
        "fc.weight": torch.randn(1100, 1000, generator=generator).T,  # 4.2 MiB
    }
    state = {k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in state.items()}
    assert all(v.nbytes > 4 * MIB and not v.is_contiguous() for k, v in state.items() if k != "conv1.weight")
    path = tmp_path_factory.mktemp("channels_last") / "checkpoint.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_file_trained_in_channels_last_is_proven(
    dtype: str, channels_last: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    target = tmp_path / "out.safetensors"
    words = ["adapt-weights", str(channels_last), "--in-chans", "4", "--input-layer", "conv1", "--verify", "--json"]
    code = errors.run(app, [*words, *(["--dtype", dtype] if dtype else []), "-o", str(target)])
    out, err = capsys.readouterr()
    assert code == 0, err
    checks = json.loads(out)["checks"]
    kept = "2 tensors cast" if dtype else "2 tensors copied"
    assert [check["ok"] for check in checks if check["name"] == kept] == [True]
    written = load_file(target)
    for name, tensor in torch.load(channels_last).items():
        if name != "conv1.weight":
            assert torch.equal(written[name], tensor.to(DTYPES[dtype])), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_changed_value_is_found_far_inside(dtype: str):
    values = torch.randn(512, 700, 4, generator=torch.Generator().manual_seed(0))
    sources = [
        StoredTensor("conv.weight", "F32", (2, 3, 1, 1), bytes(24)),
        in_chunks(values.numpy().tobytes(), [5 * MIB], "F32"),
    ]
    plan = plan_adaptation(sources, PretrainedCfg(first_conv="conv"), AdaptRequest(in_chans=4, dtype=dtype), "test")
    written = {tensor.name: tensor._replace(data=bytes(tensor.read())) for tensor in plan.tensors}
    assert all(check.ok for check in verify_adapted(plan, written))
    damaged = bytearray(written["x"].read())
    damaged[-5] ^= 0x40
    written["x"] = written["x"]._replace(data=bytes(damaged))
    assert [check.name for check in verify_adapted(plan, written) if not check.ok] == [
        f"1 tensors {'cast' if dtype else 'copied'}"
    ]


def test_order_in_the_file_makes_no_difference_to_diff_and_statistics(
    channels_last: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    state = {name: tensor.contiguous() for name, tensor in torch.load(channels_last).items()}
    save_file(state, tmp_path / "in_order.safetensors")
    assert errors.run(app, ["diff", str(channels_last), str(tmp_path / "in_order.safetensors")]) == 0
    assert errors.run(app, ["diff", str(tmp_path / "in_order.safetensors"), str(channels_last)]) == 0
    capsys.readouterr()
    data = state["big.weight"].numpy().tobytes()
    for tensor in (StoredTensor("x", "F32", (len(data) // 4,), data), in_chunks(data, [5 * MIB], "F32")):
        found = tensor_statistics(tensor)
        assert found is not None
        assert found.mean == pytest.approx(state["big.weight"].double().mean().item(), abs=1e-12)
        assert found.maximum == state["big.weight"].max().item()
