"""Google's arrays: a vision transformer written down with their axes, in numpy, gives the same as zoo's model."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import zoo
from zoo.core.convert.job import ConvertRequest, convert
from zoo.core.files.stored_tensor import StoredTensor
from zoo.core.layouts.engine import detect_layout, from_timm, to_timm
from zoo.core.layouts.scanned import unscanned
from zoo.core.model.save import tensors_of

WIDTH, HEADS, DEPTH, PATCH, SIZE = 12, 3, 2, 8, 16
TOKENS = (SIZE // PATCH) ** 2

Arrays = dict[str, np.ndarray]


class Submodules:
    """How a code base numbers the submodules of a block."""

    def __init__(self, attention: int, second_norm: int, mlp: int, positions: str) -> None:
        self.attention = f"MultiHeadDotProductAttention_{attention}"
        self.second_norm = f"LayerNorm_{second_norm}"
        self.mlp = f"MlpBlock_{mlp}"
        self.positions = positions


AUGREG = Submodules(1, 2, 3, "Transformer/posembed_input/pos_embedding")
BIG_VISION = Submodules(0, 1, 0, "pos_embedding")


def arrays_of(names: Submodules, class_token: bool, map_head: bool) -> Arrays:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        scale = max(np.prod(shape[:-1]), 4) ** -0.5
        return random.standard_normal(shape, np.float32) * np.float32(scale)

    found: Arrays = {}

    def attention(path: str) -> None:
        for name in ("query", "key", "value"):
            found[f"{path}/{name}/kernel"] = normal(WIDTH, HEADS, WIDTH // HEADS)
            found[f"{path}/{name}/bias"] = normal(HEADS, WIDTH // HEADS)
        found[f"{path}/out/kernel"] = normal(HEADS, WIDTH // HEADS, WIDTH)
        found[f"{path}/out/bias"] = normal(WIDTH)

    def norm(path: str) -> None:
        found[f"{path}/scale"], found[f"{path}/bias"] = 1 + normal(WIDTH), normal(WIDTH)

    def mlp(path: str) -> None:
        found[f"{path}/Dense_0/kernel"], found[f"{path}/Dense_0/bias"] = normal(WIDTH, 4 * WIDTH), normal(4 * WIDTH)
        found[f"{path}/Dense_1/kernel"], found[f"{path}/Dense_1/bias"] = normal(4 * WIDTH, WIDTH), normal(WIDTH)

    found["embedding/kernel"], found["embedding/bias"] = normal(PATCH, PATCH, 3, WIDTH), normal(WIDTH)
    if class_token:
        found["cls"] = normal(1, 1, WIDTH)
    found[names.positions] = normal(1, TOKENS + class_token, WIDTH)
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}"
        norm(f"{block}/LayerNorm_0")
        attention(f"{block}/{names.attention}")
        norm(f"{block}/{names.second_norm}")
        mlp(f"{block}/{names.mlp}")
    norm("Transformer/encoder_norm")
    if map_head:
        found["MAPHead_0/probe"] = normal(1, 1, WIDTH)
        attention("MAPHead_0/MultiHeadDotProductAttention_0")
        norm("MAPHead_0/LayerNorm_0")
        mlp("MAPHead_0/MlpBlock_0")
    else:
        found["head/kernel"], found["head/bias"] = normal(WIDTH, 5), normal(5)
    return found


def forward(arrays: Arrays, names: Submodules, images: np.ndarray) -> np.ndarray:
    """Dosovitskiy et al. 2020 (arXiv:2010.11929), equations 1 to 4; the attention pooling is Zhai et al. 2021's."""

    def dense(x: np.ndarray, path: str) -> np.ndarray:
        return x @ arrays[f"{path}/kernel"] + arrays[f"{path}/bias"]

    def norm(x: np.ndarray, path: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * arrays[f"{path}/scale"] + arrays[f"{path}/bias"]

    def mlp(x: np.ndarray, path: str) -> np.ndarray:
        x = dense(x, f"{path}/Dense_0")
        x = 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))
        return dense(x, f"{path}/Dense_1")

    def attention(x: np.ndarray, context: np.ndarray, path: str) -> np.ndarray:
        q, k, v = (
            np.einsum("bnd,dhe->bnhe", source, arrays[f"{path}/{name}/kernel"]) + arrays[f"{path}/{name}/bias"]
            for source, name in ((x, "query"), (context, "key"), (context, "value"))
        )
        scores = np.exp(np.einsum("bnhe,bmhe->bhnm", q, k) / q.shape[-1] ** 0.5)
        mixed = np.einsum("bhnm,bmhe->bnhe", scores / scores.sum(-1, keepdims=True), v)
        return np.einsum("bnhe,hed->bnd", mixed, arrays[f"{path}/out/kernel"]) + arrays[f"{path}/out/bias"]

    side = SIZE // PATCH
    patches = images.reshape(len(images), 3, side, PATCH, side, PATCH)
    x = np.einsum("bcipjq,pqcd->bijd", patches, arrays["embedding/kernel"]) + arrays["embedding/bias"]
    x = x.reshape(len(images), TOKENS, WIDTH)
    if "cls" in arrays:
        x = np.concatenate([np.repeat(arrays["cls"], len(images), 0), x], 1)
    x = x + arrays[names.positions]
    for i in range(DEPTH):
        block = f"Transformer/encoderblock_{i}"
        y = norm(x, f"{block}/LayerNorm_0")
        x = x + attention(y, y, f"{block}/{names.attention}")
        x = x + mlp(norm(x, f"{block}/{names.second_norm}"), f"{block}/{names.mlp}")
    x = norm(x, "Transformer/encoder_norm")
    if "MAPHead_0/probe" not in arrays:
        return dense(x[:, 0], "head")
    probe = np.repeat(arrays["MAPHead_0/probe"], len(x), 0)
    x = attention(probe, x, "MAPHead_0/MultiHeadDotProductAttention_0")
    return (x + mlp(norm(x, "MAPHead_0/LayerNorm_0"), "MAPHead_0/MlpBlock_0"))[:, 0]


@pytest.mark.parametrize(("layout", "prefix", "map_head"), [
    ("augreg", "", False), ("big_vision", "params/", False), ("big_vision", "params/img/", True),
])  # fmt: skip
def test_arrays_of_google_give_the_same_here_and_come_back(layout, prefix, map_head):
    names = AUGREG if layout == "augreg" else BIG_VISION
    arrays = arrays_of(names, class_token=not map_head, map_head=map_head)
    stored = {prefix + key: StoredTensor(prefix + key, "F32", a.shape, a.tobytes()) for key, a in arrays.items()}
    assert detect_layout({name: tensor.shape for name, tensor in stored.items()}) == layout
    found = to_timm(layout, stored.values())
    name = "vit_so400m_patch16_siglip_256" if map_head else "vit_base_patch16_224"
    sizes = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIZE, "patch_size": PATCH}
    classes = 0 if map_head else 5
    ours = zoo.create_model(name, num_classes=classes, mlp_ratio=4.0, act_layer="gelu_tanh", **sizes).eval()
    ours.load_state_dict(tensors_of(found))
    images = np.random.default_rng(1).standard_normal((2, 3, SIZE, SIZE), np.float32)
    with torch.inference_mode():
        output = ours(torch.from_numpy(images)).numpy()
    assert np.allclose(output, forward(arrays, names, images), atol=1e-5)
    back = {tensor.name: tensor for tensor in from_timm(layout, found, HEADS)}
    assert back.keys() == stored.keys()
    for key, tensor in back.items():
        assert (tensor.shape, bytes(tensor.read())) == (stored[key].shape, stored[key].data)


def scanned(arrays: Arrays) -> Arrays:
    """The arrays as `flax.linen.scan` over the blocks leaves them: one array for all blocks, on a first axis."""
    block = "Transformer/encoderblock"
    found = {key: value for key, value in arrays.items() if not key.startswith(block)}
    for key in [key.removeprefix(f"{block}_0/") for key in arrays if key.startswith(f"{block}_0/")]:
        found[f"{block}/{key}"] = np.stack([arrays[f"{block}_{i}/{key}"] for i in range(DEPTH)])
    return found


def test_blocks_that_a_scan_stacked_are_taken_one_by_one(tmp_path):
    arrays = arrays_of(BIG_VISION, class_token=False, map_head=True)
    files = {"each.npz": arrays, "stacked.npz": scanned(arrays)}
    for name, found in files.items():
        np.savez(tmp_path / name, **{f"params/img/{key}": value for key, value in found.items()})
        report = convert(tmp_path / name, ConvertRequest(output=tmp_path / f"{name}.safetensors"))
        assert report.from_layout == "big_vision"
    states = [load_file(tmp_path / f"{name}.safetensors") for name in files]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_an_axis_that_is_no_stack_of_blocks_is_left_alone():
    """An array without values may state any number of blocks."""
    name = "params/Transformer/encoderblock/LayerNorm_0/scale"
    for shape in ((10**9, 0), (0, 12), ()):
        assert list(unscanned({name: StoredTensor(name, "F32", shape, b"")})) == [name]
