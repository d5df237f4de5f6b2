"""Keras applications against zoo, and their three kinds of files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import zoo
from zoo.core.convert.job import ConvertRequest, convert
from zoo.core.errors import InvalidInputError
from zoo.core.files.open_weights import open_weights
from zoo.core.layouts.engine import detect_layout, from_timm, match_layout, to_timm
from zoo.core.model.save import tensors_of


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    pytest.importorskip("h5py")
    return pytest.importorskip("keras", exc_type=ImportError)


def randomised(model, seed: int = 0):
    """Every variable at a random value."""
    random = np.random.default_rng(seed)
    for variable in model.weights:
        shape, name = tuple(variable.shape), variable.name
        if variable.path.startswith("normalization"):
            continue
        noise = random.standard_normal(shape).astype(np.float32)
        if name == "moving_variance":
            variable.assign(1 + 0.2 * np.tanh(noise))
        elif len(shape) < 2:
            variable.assign(0.1 * noise + (name == "gamma"))
        else:
            variable.assign(noise / max(np.prod(shape[:-1]) if shape[-1] > 1 else np.prod(shape[:2]), 1) ** 0.5)
    return model


def opened(path: Path):
    with open_weights(path) as weights:
        return weights.format, [tensor._replace(data=bytes(tensor.read())) for tensor in weights.tensors.values()]


MODELS = {
    "DenseNet121": ("densenet121", 64, {}),
    "VGG16": ("vgg16", 224, {}),
    "EfficientNetB0": ("tf_efficientnet_b0", 96, {}),
    "EfficientNetV2B0": ("tf_efficientnetv2_b0", 96, {"include_preprocessing": False}),
}


@pytest.mark.parametrize("name", MODELS)
def test_an_application_gives_the_same_here_from_each_kind_of_file(keras, name, tmp_path):
    architecture, size, arguments = MODELS[name]
    theirs = randomised(getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), **arguments))
    theirs.save_weights(tmp_path / "a.weights.h5")
    theirs.save(tmp_path / "b.keras")
    theirs.save(tmp_path / "c.h5")
    states = []
    for file in ("a.weights.h5", "b.keras", "c.h5"):
        kind, stored = opened(tmp_path / file)
        assert kind == "keras"
        shapes = {tensor.name: tensor.shape for tensor in stored}
        assert detect_layout(shapes) == "keras"
        found = to_timm("keras", stored)
        states.append(dict(tensors_of(found).items()))
        back = tensors_of(from_timm("keras", found))
        kept = {tensor.name for tensor in stored if not tensor.name.startswith("normalization/")}
        assert back.keys() == kept
        assert all(
            torch.equal(value, tensors_of([t for t in stored if t.name == key])[key]) for key, value in back.items()
        )
    converted, data = set(), set()
    torch.save(states[0], tmp_path / "zip.pth")
    torch.save(states[0], tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(states[0], tmp_path / "single.safetensors")
    length = sum(tensor.nbytes for tensor in states[0].values())
    for file in ("a.weights.h5", "b.keras", "c.h5", "zip.pth", "legacy.pth", "single.safetensors"):
        convert(tmp_path / file, ConvertRequest(output=tmp_path / "out.safetensors", canonical=True, force=True))
        data.add((tmp_path / "out.safetensors").read_bytes()[-length:])
        if file[0] in "abc":  # of which the layout is known, and so what its images are scaled by
            converted.add((tmp_path / "out.safetensors").read_bytes())
    assert (len(converted), len(data)) == (1, 1)
    first, *others = states
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(value, other[key]) for key, value in first.items())
    _, model_args = match_layout("keras", shapes, "theirs").table.twin([architecture])
    ours = zoo.create_model(architecture, **model_args).eval()
    counters = {key: value for key, value in ours.state_dict().items() if key.endswith("num_batches_tracked")}
    ours.load_state_dict(first | counters)
    x = np.random.default_rng(1).standard_normal((2, size, size, 3)).astype(np.float32)
    body = theirs
    if name == "EfficientNetB0":  # its first layers scale pixels
        body = keras.Model(theirs.get_layer("stem_conv_pad").input, theirs.output)
    expected = torch.as_tensor(np.asarray(body(x, training=False).detach()))
    with torch.inference_mode():
        logits = ours(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    assert torch.allclose(logits.softmax(1), expected, atol=1e-5, rtol=0)
    assert expected.std() > 1e-5


def test_the_first_layer_behind_the_maps_of_vgg_reads_them_in_timms_order():
    """Its rows are pixels of a map, channels last: the same vector comes out of the convolution over the map."""
    from zoo.core.files.stored_tensor import StoredTensor
    from zoo.core.layouts.operations import MapRows

    random = np.random.default_rng(0)
    kernel, maps = random.standard_normal((7 * 7 * 3, 5)).astype(np.float32), random.standard_normal((7, 7, 3))
    stored = StoredTensor("fc1/kernel", "F32", kernel.shape, kernel.tobytes())
    found = MapRows((7, 7)).to_timm(stored)
    convolution = np.frombuffer(found.read(), np.float32).reshape(found.shape)
    assert np.allclose(np.einsum("ochw,hwc->o", convolution, maps), maps.reshape(-1) @ kernel, atol=1e-5)
    assert MapRows((7, 7)).from_timm(found, 0).read() == stored.read()


def test_a_file_that_refers_to_others_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file.create_dataset("dense/kernel", data=np.ones((2, 2), np.float32))
        file["dense/bias"] = h5py.ExternalLink("/etc/passwd", "/x")
    with h5py.File(tmp_path / "external.h5", "w") as file:
        file.create_dataset("dense/kernel", (2,), "f4", external=[("/etc/passwd", 0, 8)])
    for name, told in (("linked.h5", "is a link to elsewhere"), ("external.h5", "lies in another file")):
        with pytest.raises(InvalidInputError, match=told), open_weights(tmp_path / name):
            pass
    (tmp_path / "damaged.h5").write_bytes((tmp_path / "linked.h5").read_bytes()[:200])
    with pytest.raises(InvalidInputError, match="h5py cannot read it"), open_weights(tmp_path / "damaged.h5"):
        pass


def test_compressed_arrays_are_read_within_limits(tmp_path):
    h5py = pytest.importorskip("h5py")
    values = np.arange(64, dtype=">f4").reshape(8, 8)
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("dense/kernel", data=values, compression="gzip")
    _, [stored] = opened(tmp_path / "packed.h5")
    assert np.array_equal(np.frombuffer(stored.data, "<f4").reshape(8, 8), values)
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("dense/kernel", (1 << 20, 1 << 10), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")
    with pytest.raises(InvalidInputError, match="times its size"), open_weights(tmp_path / "bomb.h5"):
        pass
