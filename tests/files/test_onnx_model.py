"""ONNX models are read in place, by what the format says; what is hostile in them is refused in bounded time."""

import os
import random
import re
import struct
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from zoo.core.errors import InvalidInputError
from zoo.core.files.checkpoint import wire
from zoo.core.files.open_weights import open_weights

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

KINDS = {
    "F32": np.float32, "F64": np.float64, "F16": np.float16, "I8": np.int8, "I16": np.int16, "I32": np.int32,
    "I64": np.int64, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64, "BOOL": np.bool_,
}  # fmt: skip


def model_of(*tensors, **properties):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, None, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    node = helper.make_node("Relu", ["image"], ["logits"])
    graph = helper.make_graph([node] * 3, "graph", [image], [logits], initializer=list(tensors))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="pytest")
    helper.set_model_props(model, properties)
    return model


def values_of(dtype, count=6):
    generator = np.random.default_rng(0)
    return (generator.random(count) * 100 - 20 * (np.dtype(dtype).kind in "fi")).astype(dtype).reshape(2, -1)


def read(path):
    with open_weights(path) as opened:
        tensors = {name: (t.dtype, t.shape, bytes(t.read())) for name, t in opened.tensors.items()}
        return tensors, opened


def refusal(path, data=None):
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InvalidInputError) as caught, open_weights(path):
        pass
    return caught.value.message


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.onnx"


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "listed"])
@pytest.mark.parametrize("stored", KINDS)
def test_every_dtype_has_the_bytes_of_numpy(path, stored, raw):
    values = values_of(KINDS[stored])
    if raw:
        tensor = numpy_helper.from_array(values, "layer.weight")
    else:
        kind = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor = helper.make_tensor("layer.weight", kind, values.shape, values.ravel())
    path.write_bytes(model_of(tensor).SerializeToString())
    tensors, _ = read(path)
    assert tensors == {"layer.weight": (stored, (2, 3), values.tobytes())}


def test_scalars_and_empty_tensors(path):
    arrays = {"a.scale": np.float32(3.5), "b.none": np.zeros((0, 4), np.float32)}
    path.write_bytes(model_of(*(numpy_helper.from_array(a, n) for n, a in arrays.items())).SerializeToString())
    tensors, _ = read(path)
    assert tensors == {"a.scale": ("F32", (), b"\0\0\x60\x40"), "b.none": ("F32", (0, 4), b"")}


def test_inputs_outputs_versions_and_metadata(path):
    model = model_of(numpy_helper.from_array(np.ones(3, np.float32), "w.bias"), author="someone", zoo='{"a": 1}')
    # Before 2019 initialisers were listed among the inputs.
    model.graph.input.append(helper.make_tensor_value_info("w.bias", TensorProto.FLOAT, [3]))
    path.write_bytes(model.SerializeToString())
    _, opened = read(path)
    assert opened.format == "onnx"
    assert opened.metadata == {"author": "someone", "zoo": '{"a": 1}'}
    assert opened.graph["inputs"] == [{"name": "image", "dtype": "float32", "shape": ["batch", 3, "?", 8]}]
    assert opened.graph["outputs"] == [{"name": "logits", "dtype": "float32", "shape": ["batch", 10]}]
    assert (opened.graph["opset"], opened.graph["producer"]) == ({"ai.onnx": 18}, "pytest")


def test_constants_that_an_exporter_made_are_no_weights(path):
    arrays = {"fc.weight": np.ones((2, 2), np.float32), "val_12": np.ones(2, np.int64), "onnx::Conv_7": np.ones(1)}
    path.write_bytes(model_of(*(numpy_helper.from_array(a, n) for n, a in arrays.items())).SerializeToString())
    tensors, opened = read(path)
    assert set(tensors) == {"fc.weight"}
    assert {name for name, _ in opened.skipped} == {"val_12", "onnx::Conv_7"}


def test_data_in_a_file_beside_the_model(path):
    values = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    model = model_of(numpy_helper.from_array(values, "fc.weight"))
    onnx.save_model(model, str(path), save_as_external_data=True, location="data.bin", size_threshold=0)
    tensors, opened = read(path)
    assert tensors == {"fc.weight": ("F32", (64, 64), values.tobytes())}
    assert [os.path.basename(file.path) for file in opened.files] == ["model.onnx", "data.bin"]


# ---------------------------------------------------------------- what is refused


def external(location, **entries):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "fc.weight")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return model_of(tensor).SerializeToString()


@pytest.mark.parametrize("location", ["../secret", "a/../../secret", "/etc/hostname", "link", "", "a\0b", ".."])
def test_data_outside_the_folder_are_not_opened(tmp_path, location):
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(bytes(64))
    (folder / "link").symlink_to(tmp_path / "secret")
    assert "outside the model's folder" in refusal(folder / "model.onnx", external(location))


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"offset": 60}, "reaches beyond"),
        ({"offset": -4}, "at a place that is no number"),
        ({"offset": 10**30}, "at a place that is no number"),
        ({"length": 8}, "that is 16 bytes, found 8"),
    ],
)
def test_a_wrong_place_in_another_file_is_refused(path, tmp_path, entries, told):
    (tmp_path / "data.bin").write_bytes(bytes(64))
    assert told in refusal(path, external("data.bin", **entries))


def test_another_file_that_is_missing_or_a_pipe_is_named(path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert "'missing', which cannot be read" in refusal(path, external("missing"))
    assert "not a regular file" in refusal(path, external("pipe"))


def with_dims(*dims):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "fc.weight")
    tensor.dims[:] = dims
    return tensor


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ([with_dims(1 << 40)], "bytes, found 16"),
        ([with_dims(1 << 40, 1 << 40)], "bytes, found 16"),
        ([with_dims(-4)], "no list of up to 64 sizes"),
        ([with_dims(*[1] * 65)], "more than 64|no list of up to 64"),
        ([with_dims(4), with_dims(4)], "two initialisers called 'fc.weight'"),
        ([helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])], "ONNX's type 8"),
    ],
)
def test_a_tensor_that_cannot_be_is_refused(path, tensors, told):
    assert re.search(told, refusal(path, model_of(*tensors).SerializeToString()))


def test_a_model_without_a_graph_or_with_two(path):
    empty = onnx.ModelProto(ir_version=10, producer_name="x")
    assert "one graph, found 0" in refusal(path, empty.SerializeToString())
    model = model_of().SerializeToString()
    assert "holds no tensor" in refusal(path, model) or "tensor" in refusal(path, model)


def test_a_billion_fields_are_not_counted(path, monkeypatch):
    """Each takes two bytes."""
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    assert "more than 1000 fields" in refusal(path, b"\x08\x0a\x12\x03zoo" + b"\x28\x01" * 1010)


def test_cut_and_changed_bytes_end_in_a_sentence(path):
    arrays = {f"layer{i}.weight": np.full((3, 5), i, np.float32) for i in range(4)}
    whole = model_of(*(numpy_helper.from_array(a, n) for n, a in arrays.items()), key="value").SerializeToString()
    generator = random.Random(0)
    for number in range(300):
        data = bytearray(whole[: generator.randrange(9, len(whole))] if number % 3 == 0 else whole)
        for _ in range(generator.randrange(3)):
            data[generator.randrange(9, len(data))] = generator.randrange(256)
        path.write_bytes(data)
        with suppress(InvalidInputError), open_weights(path) as opened:
            assert sum(len(t.read()) for t in opened.tensors.values()) <= len(data)


def test_numbers_that_no_other_reader_takes():
    """A number of eleven bytes, and a field that is longer than what it lies in."""
    from zoo.core.files.checkpoint.unsound import UnsoundError
    from zoo.core.files.checkpoint.wire import Wire
    from zoo.core.files.stored_tensor import Region

    for data in (b"\x08" + b"\xff" * 11, b"\x0a\x7fabc", b"\x0b", b"\x0a" + struct.pack("<Q", 1 << 63)):
        fd = os.memfd_create("message")
        os.write(fd, data)
        with pytest.raises(UnsoundError):
            list(Wire().fields(Region(fd, 0, len(data))))
        os.close(fd)


def test_reading_imports_neither_onnx_nor_torch_nor_numpy(path):
    path.write_bytes(model_of(numpy_helper.from_array(np.ones(3, np.float32), "w.bias")).SerializeToString())
    code = (
        "import sys\n"
        "from zoo.cli import errors\n"
        "from zoo.cli.app import app\n"
        f"assert errors.run(app, ['inspect', {str(path)!r}]) == 0\n"
        "assert not {'torch', 'numpy', 'onnx', 'google.protobuf'} & set(sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert "tensor: w.bias F32 3 12" in run.stdout
