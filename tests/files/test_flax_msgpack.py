"""MessagePack as Flax writes it: against the msgpack package where it is installed, by its bytes else, and hostile."""

from __future__ import annotations

import time

import numpy as np
import pytest
from messagepack import array, mapping, number, of_paths, text

from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.layouts.engine import detect_layout, from_timm, to_timm
from zoo.core.model.save import stored_tensors, tensors_of

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def opened(path, content: bytes) -> dict[str, tuple[str, np.ndarray]]:
    path.write_bytes(content)
    with open_weights(path) as weights:
        assert weights.format == "flax msgpack"
        return {name: (tensor.dtype, tensor.shape, bytes(tensor.read())) for name, tensor in weights.tensors.items()}


def test_arrays_are_named_by_their_path_and_an_optimizer_is_left_out(tmp_path):
    half = VALUES.astype(np.float16)
    content = mapping({
        "params": mapping({"Dense_0": mapping({"kernel": array(VALUES), "bias": array(half)})}),
        "opt_state": mapping({"mu": array(VALUES)}),
        "step": number(7),
    })  # fmt: skip
    assert opened(tmp_path / "m.msgpack", content) == {
        "params/Dense_0/kernel": ("F32", (3, 4), VALUES.tobytes()),
        "params/Dense_0/bias": ("F16", (3, 4), half.tobytes()),
    }


def test_bfloat16_and_an_array_in_pieces(tmp_path):
    pieces = mapping({
        "__msgpack_chunked_array__": b"\xc3",
        "shape": mapping({"0": number(3), "1": number(4)}),
        "chunks": mapping({"0": array(VALUES.reshape(-1)[:5]), "1": array(VALUES.reshape(-1)[5:])}),
    })  # fmt: skip
    content = mapping({"a": pieces, "b": array(np.zeros((2, 2), np.uint16), "bfloat16")})
    assert opened(tmp_path / "m.msgpack", content) == {
        "a": ("F32", (3, 4), VALUES.tobytes()),
        "b": ("BF16", (2, 2), bytes(8)),
    }


def test_what_msgpack_packs_is_read(tmp_path):
    msgpack = pytest.importorskip("msgpack")

    def encoded(value):
        inner = msgpack.packb((value.shape, value.dtype.name, value.tobytes()), use_bin_type=True)
        return msgpack.ExtType(1, inner)

    random = np.random.default_rng(0)
    arrays = {f"layer_{n}": {"kernel": random.standard_normal((n + 1, 300)).astype(np.float32)} for n in range(40)}
    found = opened(tmp_path / "m.msgpack", msgpack.packb({"params": arrays}, default=encoded, strict_types=True))
    assert {name: content[2] for name, content in found.items()} == {
        f"params/{name}/kernel": array["kernel"].tobytes() for name, array in arrays.items()
    }


def test_a_vision_transformer_of_flax_becomes_timms(tmp_path):
    import zoo

    state = zoo.create_model("vit_tiny_patch16_224", num_classes=5, seed=0, depth=2).state_dict()
    arrays = {
        tensor.name: np.frombuffer(tensor.read(), np.float32).reshape(tensor.shape)
        for tensor in from_timm("big_vision", stored_tensors(state), 3)
    }
    (tmp_path / "vit.msgpack").write_bytes(of_paths(arrays))
    with open_weights(tmp_path / "vit.msgpack") as weights:
        assert detect_layout({name: tensor.shape for name, tensor in weights.tensors.items()}) == "big_vision"
        found = tensors_of(to_timm("big_vision", weights.tensors.values()))
    assert found.keys() == state.keys()
    assert all(np.array_equal(value.numpy(), state[key].numpy()) for key, value in found.items())


HOSTILE = {
    "cut": mapping({"a": array(VALUES)})[:-3],
    "more behind it": mapping({"a": array(VALUES)}) + b"\x00",
    "a shape that is too large": mapping({"a": array(VALUES, shape=(1 << 31, 1 << 31))}),
    "a map of 4 billion": mapping({"a": array(VALUES), "b": b"\xdf\xff\xff\xff\xff"}),
    "a list of 4 billion": mapping({"a": array(VALUES), "b": b"\xdd\xff\xff\xff\xff"}),
    "an unused code": mapping({"a": array(VALUES), "b": b"\xc1"}),
    "another extension": mapping({"a": array(VALUES, code=42)}),
    "twice the same": mapping({"a": array(VALUES)})[:1] + b"\x00\x02" + 2 * (text("a") + array(VALUES)),
    "nested without end": mapping({"a": b"\x91" * 5000 + b"\xc0"}),
    "pieces that are none": mapping({"a": mapping({"__msgpack_chunked_array__": b"\xc3"})}),
    "no map": b"\x81\xa1a\xc0",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_at_once(tmp_path, case):
    path = tmp_path / "m.msgpack"
    path.write_bytes(HOSTILE[case])
    started = time.process_time()
    with pytest.raises(InvalidInputError) as found, open_weights(path):
        pass
    assert str(path) in found.value.message
    assert time.process_time() - started < 5
