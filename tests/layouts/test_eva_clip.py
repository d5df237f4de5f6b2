"""An image tower of EVA-CLIP by its authors' names, against the equations of EVA-02 (arXiv:2303.11331)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import zoo
from zoo.core.convert.job import ConvertRequest, convert

DEPTH, WIDTH, HEADS, HIDDEN, SIDE, OUTPUTS = 12, 768, 12, 2048, 14, 512
EPSILON = 1e-6
NAME = "eva02_base_patch16_clip_224"


def tower() -> dict[str, torch.Tensor]:
    """EVA02-CLIP-B-16: every value random."""
    random = np.random.default_rng(0)
    tensors: dict[str, torch.Tensor] = {"logit_scale": torch.tensor(2.0), "text.positional_embedding": torch.zeros(77)}

    def put(name: str, *shape: int, around: float = 0, spread: float = 0.1) -> None:
        values = random.standard_normal(shape, np.float32)
        tensors[f"visual.{name}"] = torch.from_numpy(values) * spread + around

    def linear(name: str, outputs: int, inputs: int) -> None:
        put(f"{name}.weight", outputs, inputs, spread=inputs**-0.5)
        put(f"{name}.bias", outputs)

    def norm(name: str, width: int) -> None:
        put(f"{name}.weight", width, around=1)
        put(f"{name}.bias", width)

    put("cls_token", 1, 1, WIDTH)
    put("pos_embed", 1, SIDE**2 + 1, WIDTH)
    put("patch_embed.proj.weight", WIDTH, 3, 16, 16, spread=1 / 28)
    put("patch_embed.proj.bias", WIDTH)
    for block in range(DEPTH):
        at = f"blocks.{block}."
        norm(f"{at}norm1", WIDTH)
        for one in "qkv":
            put(f"{at}attn.{one}_proj.weight", WIDTH, WIDTH, spread=WIDTH**-0.5)
        put(f"{at}attn.q_bias", WIDTH)
        put(f"{at}attn.v_bias", WIDTH)
        norm(f"{at}attn.inner_attn_ln", WIDTH)
        linear(f"{at}attn.proj", WIDTH, WIDTH)
        norm(f"{at}norm2", WIDTH)
        linear(f"{at}mlp.w1", HIDDEN, WIDTH)
        linear(f"{at}mlp.w2", HIDDEN, WIDTH)
        norm(f"{at}mlp.ffn_ln", HIDDEN)
        linear(f"{at}mlp.w3", WIDTH, HIDDEN)
    norm("norm", WIDTH)
    linear("head", OUTPUTS, WIDTH)
    return tensors


def turned(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions in two dimensions (arXiv:2104.09864), of patches alone, as numbers of the complex plane.

    The first half of a head turns with the row, the second with the column. Positions are those of pretraining, 16 a
    side, whatever the side.
    """
    places = torch.arange(SIDE, dtype=torch.float64) * 16 / SIDE
    width = x.shape[-1] // 2
    angles = places[:, None] * 10000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    rows, columns = angles[:, None].expand(-1, SIDE, -1), angles[None].expand(SIDE, -1, -1)
    phase = torch.cat([rows, columns], -1).flatten(0, 1)
    patches = torch.view_as_complex(x[..., 1:, :].unflatten(-1, (-1, 2)).contiguous())
    moved = torch.view_as_real(patches * torch.polar(torch.ones_like(phase), phase).to(patches.dtype)).flatten(-2)
    return torch.cat([x[..., :1, :], moved], -2)


def embedding(tensors: dict[str, torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """What the tower gives for images, in the space that it shares with texts; (B, 512)."""
    values = {name.removeprefix("visual."): value for name, value in tensors.items()}

    def linear(name: str, x: torch.Tensor, bias: str | None = None) -> torch.Tensor:
        return F.linear(x, values[f"{name}.weight"], values.get(bias or f"{name}.bias"))

    def norm(name: str, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], values[f"{name}.weight"], values[f"{name}.bias"], EPSILON)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    patches = F.conv2d(images, values["patch_embed.proj.weight"], values["patch_embed.proj.bias"], stride=16)
    x = torch.cat([values["cls_token"].expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)], 1)
    x = x + values["pos_embed"]
    for block in range(DEPTH):
        at = f"blocks.{block}."
        y = norm(f"{at}norm1", x)
        q = turned(heads(linear(f"{at}attn.q_proj", y, f"{at}attn.q_bias")))
        k = turned(heads(linear(f"{at}attn.k_proj", y)))
        v = heads(linear(f"{at}attn.v_proj", y, f"{at}attn.v_bias"))
        attended = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
        x = x + linear(f"{at}attn.proj", norm(f"{at}attn.inner_attn_ln", attended.transpose(1, 2).flatten(2)))
        y = norm(f"{at}norm2", x)
        gated = F.silu(linear(f"{at}mlp.w1", y)) * linear(f"{at}mlp.w2", y)
        x = x + linear(f"{at}mlp.w3", norm(f"{at}mlp.ffn_ln", gated))
    return linear("head", norm("norm", x)[:, 0])


def test_a_tower_gives_what_the_equations_give_and_comes_back(tmp_path: Path):
    tensors = tower()
    torch.save(tensors, tmp_path / "EVA02_CLIP_B_psz16_s8B.pt")
    report = convert(tmp_path / "EVA02_CLIP_B_psz16_s8B.pt", ConvertRequest(output=tmp_path / "timm.safetensors"))
    assert report.architecture == NAME
    model = zoo.create_model(NAME, checkpoint_path=tmp_path / "timm.safetensors").eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found, expected = model(images), embedding(tensors, images)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    convert(tmp_path / "timm.safetensors", ConvertRequest(output=tmp_path / "back.safetensors", to_layout="eva_clip"))
    back = load_file(tmp_path / "back.safetensors")
    assert back.keys() == {name for name in tensors if name.startswith("visual.")}
    assert all(torch.equal(value, tensors[name]) for name, value in back.items())
