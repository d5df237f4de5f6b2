"""Trunks by Meta's names, against the equations of their papers.

These are DINOv2 (arXiv:2304.07193, 2309.16588), DINOv3 (arXiv:2508.10104) and MAE (arXiv:2111.06377). They differ in
where positions come from, in tokens beside the patches, and in the layers of an MLP.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import zoo
from zoo.core.convert.job import ConvertRequest, convert

WIDTH, DEPTH, HEADS, SIDE = 384, 12, 6, 6
State = dict[str, torch.Tensor]


class Trunk(NamedTuple):
    """A published network, and what is its own."""

    layout: str
    name: str
    patch: int
    epsilon: float
    registers: str = ""  # the name of the tokens that no patch and no class has
    rotary: bool = False
    scaled: bool = True
    gated: bool = False
    comes_back: bool = True
    width: int = WIDTH

    @property
    def hidden(self) -> int:
        return 4 * self.width


TRUNKS = {
    "DINOv2": Trunk("dino", "vit_small_patch14_dinov2", 14, 1e-6),
    "DINOv2 with registers": Trunk(
        "dino", "vit_small_patch14_reg4_dinov2", 14, 1e-6, registers="register_tokens", comes_back=False
    ),
    "DINOv3": Trunk("dino", "vit_small_patch16_dinov3_qkvb", 16, 1e-5, registers="storage_tokens", rotary=True),
    "DINOv3 with SwiGLU": Trunk(
        "dino", "vit_small_plus_patch16_dinov3_qkvb", 16, 1e-5, registers="storage_tokens", rotary=True, gated=True
    ),
    "MAE": Trunk("mae", "vit_base_patch16_224", 16, 1e-6, scaled=False, comes_back=False, width=768),
}


def published(trunk: Trunk) -> State:
    """Random values by the authors' names, for images of six patches a side."""
    random, width = np.random.default_rng(0), trunk.width
    state: State = {}

    def put(name: str, *shape: int, around: float = 0, spread: float = 0.1) -> None:
        state[name] = torch.from_numpy(random.standard_normal(shape, np.float32)) * spread + around

    def linear(name: str, outputs: int, inputs: int) -> None:
        put(f"{name}.weight", outputs, inputs, spread=inputs**-0.5)
        put(f"{name}.bias", outputs)

    def norm(name: str) -> None:
        put(f"{name}.weight", width, around=1)
        put(f"{name}.bias", width)

    put("cls_token", 1, 1, width)
    put("mask_token", *((1, width) if trunk.scaled else (1, 1, 512)))
    if trunk.registers:
        put(trunk.registers, 1, 4, width)
    if not trunk.rotary:
        put("pos_embed", 1, SIDE**2 + 1, width)
    put("patch_embed.proj.weight", width, 3, trunk.patch, trunk.patch, spread=0.04)
    put("patch_embed.proj.bias", width)
    for block in range(DEPTH):
        at = f"blocks.{block}."
        norm(f"{at}norm1")
        linear(f"{at}attn.qkv", 3 * width, width)
        if trunk.rotary:  # keys have no bias
            state[f"{at}attn.qkv.bias_mask"] = torch.ones(3, width).index_fill_(0, torch.tensor([1]), 0).flatten()
            state[f"{at}attn.qkv.bias"] *= state[f"{at}attn.qkv.bias_mask"]
        linear(f"{at}attn.proj", width, width)
        norm(f"{at}norm2")
        if trunk.gated:
            linear(f"{at}mlp.w1", trunk.hidden, width)
            linear(f"{at}mlp.w2", trunk.hidden, width)
            linear(f"{at}mlp.w3", width, trunk.hidden)
        else:
            linear(f"{at}mlp.fc1", trunk.hidden, width)
            linear(f"{at}mlp.fc2", width, trunk.hidden)
        if trunk.scaled:
            put(f"{at}ls1.gamma", width)
            put(f"{at}ls2.gamma", width)
    norm("norm")
    if trunk.rotary:
        state["rope_embed.periods"] = 100 ** (torch.arange(width // HEADS // 4) * 4 * HEADS / width)
    if trunk.layout == "mae":
        put("decoder_embed.weight", 512, width)
        put("decoder_blocks.0.norm1.weight", 512)
    return state


def rotation(trunk: Trunk) -> Callable[[torch.Tensor], torch.Tensor]:
    """DINOv3's rotary positions: the centres of patches from -1 to 1, rows before columns, halves of a head paired."""
    quarter = trunk.width // HEADS // 4
    centres = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    angles = 2 * math.pi * centres[:, None] / 100 ** (torch.arange(quarter) / quarter)
    rows, columns = angles[:, None].expand(-1, SIDE, -1), angles[None].expand(SIDE, -1, -1)
    angle = torch.cat([rows, columns], -1).flatten(0, 1)

    def turn(x: torch.Tensor) -> torch.Tensor:
        before, patches = x[..., :5, :], x[..., 5:, :]
        first, second = patches.chunk(2, -1)
        moved = first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()
        return torch.cat([before, torch.cat(moved, -1)], -2)

    return turn


def tokens(trunk: Trunk, state: State, images: torch.Tensor) -> torch.Tensor:
    """The normed tokens behind the last block: the class, registers, patches; (B, N, C)."""

    def linear(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], trunk.epsilon)

    def scale(name: str) -> torch.Tensor | float:
        return state[f"{name}.gamma"] if trunk.scaled else 1.0

    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], stride=trunk.patch)
    x = torch.cat([state["cls_token"].expand(len(images), -1, -1), x.flatten(2).transpose(1, 2)], 1)
    if not trunk.rotary:
        x = x + state["pos_embed"]
    if trunk.registers:
        x = torch.cat([x[:, :1], state[trunk.registers].expand(len(images), -1, -1), x[:, 1:]], 1)
    turn = rotation(trunk) if trunk.rotary else lambda x: x
    heads = HEADS * trunk.width // WIDTH
    for block in range(DEPTH):
        at = f"blocks.{block}."
        q, k, v = linear(f"{at}attn.qkv", norm(f"{at}norm1", x)).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        attended = (turn(q) @ turn(k).transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        x = x + linear(f"{at}attn.proj", attended.transpose(1, 2).flatten(2)) * scale(f"{at}ls1")
        y = norm(f"{at}norm2", x)
        if trunk.gated:
            y = linear(f"{at}mlp.w3", F.silu(linear(f"{at}mlp.w1", y)) * linear(f"{at}mlp.w2", y))
        else:
            y = linear(f"{at}mlp.fc2", F.gelu(linear(f"{at}mlp.fc1", y)))
        x = x + y * scale(f"{at}ls2")
    return norm("norm", x)


@pytest.mark.parametrize("trunk", TRUNKS.values(), ids=TRUNKS)
def test_a_trunk_gives_what_the_equations_give(tmp_path: Path, trunk: Trunk):
    state = published(trunk)
    torch.save({"model": state}, tmp_path / "theirs.pth")
    request = ConvertRequest(output=tmp_path / "timm.safetensors", architecture=trunk.name)
    convert(tmp_path / "theirs.pth", request)
    model = zoo.create_model(trunk.name, checkpoint_path=tmp_path / "timm.safetensors", num_classes=0).eval()
    side = SIDE * trunk.patch
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = model.forward_features(images), tokens(trunk, state, images)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    if not trunk.comes_back:
        return
    request = ConvertRequest(output=tmp_path / "back.safetensors", architecture=trunk.name, to_layout=trunk.layout)
    convert(tmp_path / "timm.safetensors", request)
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == state.keys() - {"mask_token", "rope_embed.periods"}
    assert all(torch.equal(value, state[name]) for name, value in back.items())
