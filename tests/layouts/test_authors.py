"""Networks in their authors' own names, and Google's arrays of ResNets and of hybrids: found, converted, brought back.

The names are written down here once more, as replacements of timm's, so that they do not come from the tables.
"""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo
from zoo.core.convert.job import ConvertRequest, convert
from zoo.core.errors import InvalidInputError

CONVNEXT = {
    r"^stem\.": "downsample_layers.0.",
    r"^stages\.(\d)\.downsample\.": r"downsample_layers.\1.",
    r"\.blocks\.": ".",
    r"conv_dw": "dwconv",
    r"mlp\.fc": "pwconv",
    r"mlp\.grn\.weight": "grn.gamma",
    r"mlp\.grn\.bias": "grn.beta",
    r"^head\.fc\.": "head.",
    r"^head\.norm\.": "norm.",
}
EVA_02 = {
    r"mlp\.fc1_g": "mlp.w1",
    r"mlp\.fc1_x": "mlp.w2",
    r"mlp\.fc2": "mlp.w3",
    r"mlp\.norm": "mlp.ffn_ln",
    r"attn\.norm": "attn.inner_attn_ln",
    r"attn\.([qv])_proj\.bias": r"attn.\1_bias",
}
PERCEPTION = {
    r"^patch_embed\.proj": "conv1",
    r"^cls_token": "class_embedding",
    r"^pos_embed": "positional_embedding",
    r"^norm_pre": "ln_pre",
    r"^norm\.": "ln_post.",
    r"^blocks": "transformer.resblocks",
    r"\.norm(\d)": r".ln_\1",
    r"\.gamma_(\d)": r".ls_\1.gamma",
    r"attn\.qkv\.": "attn.in_proj_",
    r"s\.(\d)\.attn\.proj": r"s.\1.attn.out_proj",
    r"mlp\.fc1": "mlp.c_fc",
    r"mlp\.fc2": "mlp.c_proj",
    r"^attn_pool\.norm": "attn_pool.layernorm",
    r"^attn_pool\.proj": "attn_pool.attn.out_proj",
    r"^attn_pool\.latent": "attn_pool.probe",
}


def renamed(state, rows):
    for ours, theirs in rows.items():
        state = {re.sub(ours, theirs, key): value for key, value in state.items()}
    return state


def convnext(state):
    return {
        key: value.reshape(1, 1, 1, -1) if ".grn." in key else value for key, value in renamed(state, CONVNEXT).items()
    }


def eva_02(state):
    return renamed(state, EVA_02)


def perception(state):
    theirs = renamed(state, PERCEPTION)
    theirs["positional_embedding"] = theirs["positional_embedding"][0]
    theirs["class_embedding"] = theirs["class_embedding"][0, 0]
    return theirs


def perception_core(state):
    """With the tower's attention pooling, whose projection makes the embedding, and the tower of texts."""
    theirs = perception(state)
    theirs["proj"] = theirs.pop("head.weight").T.contiguous()
    del theirs["head.bias"]
    for kind in ("weight", "bias"):
        parts = [theirs.pop(f"attn_pool.{part}.{kind}") for part in ("q", "kv")]
        theirs[f"attn_pool.attn.in_proj_{kind}"] = torch.cat(parts)
    return {f"visual.{key}": value for key, value in theirs.items()}


def google_resnet(state):
    """https://github.com/google-research/big_transfer, bit_pytorch/models.py: `load_from`."""
    theirs = {}
    for key, value in state.items():
        *path, layer, kind = key.split(".")
        letter = {"1": "a", "2": "b", "3": "c"}.get(layer[-1], "")
        unit = f"block{int(path[1]) + 1}/unit{int(path[3]) + 1:02}/" if path[:1] == ["stages"] else ""
        if path[-1:] == ["downsample"]:
            name = f"{unit}a/proj/standardized_conv2d"
        elif path[:1] == ["stages"]:
            name = f"{unit}{letter}/{'standardized_conv2d' if layer.startswith('conv') else 'group_norm'}"
        else:
            name = {"stem": "root_block/standardized_conv2d", "head": "head/conv2d"}.get(
                key.split(".")[0], "group_norm"
            )
        is_norm = name.endswith("group_norm")
        kind = {"weight": "gamma" if is_norm else "kernel", "bias": "beta" if is_norm else "bias"}[kind]
        theirs[f"resnet/{name}/{kind}"] = value.permute(2, 3, 1, 0).contiguous() if value.ndim == 4 else value
    return theirs


CASES = {
    "ConvNeXt": ("authors", "convnext_atto", {}, convnext),
    "ConvNeXt V2": ("authors", "convnextv2_atto", {}, convnext),
    "EdgeNeXt": ("authors", "edgenext_xx_small", {}, convnext),
    "EVA-02": ("authors", "eva02_base_patch14_224", {"depth": 2}, eva_02),
    "Perception Encoder": ("authors", "vit_pe_core_tiny_patch16_384", {"depth": 2}, perception_core),
    "Perception Encoder of places": (
        "authors",
        "vit_pe_spatial_tiny_patch16_512",
        {"depth": 2, "num_classes": 0},
        perception,
    ),
    "Big Transfer": ("big_transfer", "resnetv2_50x1_bit", {"layers": (1, 2, 1, 1)}, google_resnet),
}


@pytest.mark.parametrize("case", CASES)
def test_found_and_converted_and_back(case, tmp_path):
    layout, name, sizes, as_theirs = CASES[case]
    state = zoo.create_model(name, seed=0, **sizes).state_dict()
    if "head.bias" in state and "Perception" in case:
        state["head.bias"] = torch.zeros_like(state["head.bias"])
    theirs = as_theirs(state)
    assert theirs.keys() != state.keys()
    save_file(theirs, tmp_path / "theirs.safetensors")
    report = convert(tmp_path / "theirs.safetensors", ConvertRequest(output=tmp_path / "ours.safetensors"))
    assert report.from_layout == layout
    found = load_file(tmp_path / "ours.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    back = ConvertRequest(output=tmp_path / "back.safetensors", to_layout=layout)
    convert(tmp_path / "ours.safetensors", back)
    again = load_file(tmp_path / "back.safetensors")
    assert again.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[key]) for key, value in again.items())


@pytest.mark.parametrize("case", CASES)
def test_the_loader_takes_them_by_the_same_tables(case, tmp_path):
    _, name, sizes, as_theirs = CASES[case]
    model = zoo.create_model(name, seed=0, **sizes)
    state = model.state_dict()
    save_file(as_theirs(state), tmp_path / "theirs.safetensors")
    other = zoo.create_model(name, seed=1, checkpoint_path=tmp_path / "theirs.safetensors", **sizes).state_dict()
    left = {"head.bias"} if "Perception" in case else set()
    assert all(torch.equal(value, other[key]) for key, value in state.items() if key not in left)


def test_biases_that_the_model_has_no_place_for_must_be_zero(tmp_path):
    """DINOv3's networks in timm have no bias of queries and values where the published one is zero."""
    model = zoo.create_model("vit_small_patch16_dinov3", depth=1, seed=0)
    theirs = {key.replace("reg_token", "storage_tokens"): value for key, value in model.state_dict().items()}
    theirs = {re.sub(r"\.gamma_(\d)", r".ls\1.gamma", key): value for key, value in theirs.items()}
    for value, outcome in ((0.0, None), (0.5, InvalidInputError)):
        bias = torch.zeros(3 * 384)
        bias[:384] = value
        save_file({**theirs, "blocks.0.attn.qkv.bias": bias}, tmp_path / "dinov3.safetensors")
        options = {"depth": 1, "checkpoint_path": tmp_path / "dinov3.safetensors"}
        if outcome is None:
            found = zoo.create_model("vit_small_patch16_dinov3", **options).state_dict()
            assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items())
        else:
            with pytest.raises(outcome, match="q_bias"):
                zoo.create_model("vit_small_patch16_dinov3", **options)


def test_google_arrays_of_a_hybrid_convert_and_come_back(tmp_path):
    """The backbone alone has other names than a vision transformer; its norms have three axes of length one."""
    state = zoo.create_model("vit_small_r26_s32_224", depth=1, seed=0).state_dict()
    tensors = dict(state)
    heads, width = 6, 384
    arrays = {}
    for key in [key for key in tensors if key.startswith("patch_embed.backbone.")]:
        value = tensors.pop(key).numpy()
        *path, layer, kind = key.removeprefix("patch_embed.backbone.").split(".")
        root = path == ["stem"]
        unit = "" if root else f"block{int(path[1]) + 1}/unit{int(path[3]) + 1:02}/"
        end = "_root" if root else "_proj" if path[-1] == "downsample" else layer[-1]
        if layer.startswith("conv"):
            arrays[f"{unit}conv{end}/kernel"] = value.transpose(2, 3, 1, 0)
        else:
            arrays[f"{unit}gn{end}/{'scale' if kind == 'weight' else 'bias'}"] = value.reshape(1, 1, 1, -1)
    block = "Transformer/encoderblock_0"
    qkv = tensors.pop("blocks.0.attn.qkv.weight").numpy().reshape(3, heads, width // heads, width)
    qkv_bias = tensors.pop("blocks.0.attn.qkv.bias").numpy().reshape(3, heads, width // heads)
    attention = f"{block}/MultiHeadDotProductAttention_1"
    for part, kernel, bias in zip(("query", "key", "value"), qkv, qkv_bias, strict=True):
        arrays[f"{attention}/{part}/kernel"], arrays[f"{attention}/{part}/bias"] = kernel.transpose(2, 0, 1), bias
    projection = tensors.pop("blocks.0.attn.proj.weight").numpy()
    arrays[f"{attention}/out/kernel"] = projection.T.reshape(heads, width // heads, width)
    arrays[f"{attention}/out/bias"] = tensors.pop("blocks.0.attn.proj.bias").numpy()
    names = {
        "cls_token": "cls", "pos_embed": "Transformer/posembed_input/pos_embedding", "patch_embed.proj": "embedding",
        "blocks.0.norm1": f"{block}/LayerNorm_0", "blocks.0.norm2": f"{block}/LayerNorm_2", "head": "head",
        "blocks.0.mlp.fc1": f"{block}/MlpBlock_3/Dense_0", "blocks.0.mlp.fc2": f"{block}/MlpBlock_3/Dense_1",
        "norm": "Transformer/encoder_norm",
    }  # fmt: skip
    for key, value in tensors.items():
        layer, _, kind = key.rpartition(".")
        if not layer:
            arrays[names[key]] = value.numpy()
        elif kind == "bias":
            arrays[f"{names[layer]}/bias"] = value.numpy()
        else:
            scales = value.ndim == 1
            axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[value.ndim]
            arrays[f"{names[layer]}/{'scale' if scales else 'kernel'}"] = value.numpy().transpose(axes)
    np.savez(tmp_path / "hybrid.npz", **arrays)
    report = convert(tmp_path / "hybrid.npz", ConvertRequest(output=tmp_path / "ours.safetensors"))
    assert report.from_layout == "augreg"
    found = load_file(tmp_path / "ours.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(value, state[key]) for key, value in found.items())
    request = ConvertRequest(output=tmp_path / "back.npz", to_layout="augreg", architecture="vit_small_r26_s32_224")
    convert(tmp_path / "ours.safetensors", request)
    back = np.load(tmp_path / "back.npz")
    assert set(back.files) == set(arrays)
    assert all(np.array_equal(back[key], value) for key, value in arrays.items())


def pvt(name):
    """https://github.com/whai362/PVT: stages are numbered from 1, and have three parts each."""
    stage = re.match(r"stages\.(\d)\.(downsample|blocks|norm)\.", name)
    if not stage:
        return name.replace("patch_embed.", "patch_embed1.")
    part = {"downsample": "patch_embed", "blocks": "block", "norm": "norm"}[stage[2]]
    return f"{part}{int(stage[1]) + 1}.{name[stage.end() :]}".replace("mlp.dwconv.", "mlp.dwconv.dwconv.")


def mambaout(name):
    """https://github.com/yuweihao/MambaOut"""
    name = re.sub(r"^head\.norm\.", "norm.", name)
    name = name.replace("head.fc.", "head.fc2.").replace("head.pre_logits.norm.", "head.norm.")
    name = name.replace("head.pre_logits.fc.", "head.fc1.").replace("stem.", "downsample_layers.0.")
    return re.sub(r"^stages\.(\d)\.downsample", r"downsample_layers.\1", name).replace(".blocks.", ".")


def swiftformer(name):
    """https://github.com/Amshaker/SwiftFormer"""
    for ours, theirs in {"stem.": "patch_embed.", ".attn.proj.": ".attn.Proj.", ".gamma": ""}.items():
        name = name.replace(ours, theirs)
    name = re.sub(r"^stages\.(\d)\.downsample", lambda stage: f"network.{2 * int(stage[1]) - 1}", name)
    name = re.sub(r"^stages\.(\d)\.blocks", lambda stage: f"network.{2 * int(stage[1])}", name)
    return name.replace("head_dist.", "dist_head.")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("architecture", "authors"), [("pvt_v2_b0", pvt), ("mambaout_femto", mambaout), ("swiftformer_xs", swiftformer)]
)
def test_names_that_only_the_loader_knows(architecture, authors, named, tmp_path):
    """No table has them. Shapes tell which architectures may have them, and the loader of one renames all tensors."""
    state = zoo.create_model(architecture, in_chans=5, num_classes=7, seed=0).state_dict()
    theirs = {authors(key): value for key, value in state.items()}
    torch.save({"model": theirs, "epoch": 300}, tmp_path / "theirs.pth")
    output = tmp_path / "ours.safetensors"
    request = ConvertRequest(output=output, architecture=architecture if named else "", dtype="float16")
    report = convert(tmp_path / "theirs.pth", request)
    assert (report.from_layout, report.architecture) == ("authors", architecture)
    found = load_file(output)
    assert found.keys() == state.keys()
    assert all(
        torch.equal(value, state[key].half() if state[key].is_floating_point() else state[key])
        for key, value in found.items()
    )
    assert zoo.create_model(architecture, checkpoint_path=output).in_chans == 5


def test_a_tensor_too_many_is_no_file_of_the_authors(tmp_path):
    state = zoo.create_model("pvt_v2_b0", seed=0).state_dict()
    save_file(
        {pvt(key): value for key, value in state.items()} | {"extra.weight": torch.ones(2)}, tmp_path / "a.safetensors"
    )
    with pytest.raises(InvalidInputError, match="no name would change"):
        convert(tmp_path / "a.safetensors", ConvertRequest(output=tmp_path / "b.safetensors"))
    assert not (tmp_path / "b.safetensors").exists()
