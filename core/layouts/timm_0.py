"""timm before 1.0 (https://github.com/huggingface/pytorch-image-models): names of networks that it renamed since.

Swin and PiT counted what stands between two stages to the one before, and Swin and LeViT stored what follows from the
size of a window or map. LeViT numbered attention and MLPs through all stages. TResNet's batch norms activate in place
and scale by a magnitude (https://arxiv.org/abs/1712.02616). Authors of these networks publish the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from zoo.core.layouts.table import Shapes, Table, Twins
from zoo.core.layouts.vit_rows import TRUNK

_SWIN = """
patch_embed.proj.*             patch_embed.proj.*
patch_embed.norm.*             patch_embed.norm.*
absolute_pos_embed             absolute_pos_embed
layers.{s+1}.downsample.       layers.{s}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{s}.blocks.{b}.         layers.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.relative_position_bias_table   attn.relative_position_bias_table
  -                              attn.relative_position_index  | window_square attn.relative_position_bias_table
  -                              attn_mask                    | dropped it follows from the window
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.fc.*                      head.*
"""

_SWIN_V2 = """
patch_embed.proj.*             patch_embed.proj.*
patch_embed.norm.*             patch_embed.norm.*
layers.{s+1}.downsample.       layers.{s}.downsample.
  norm.*                         norm.*
  reduction.*                    reduction.*
layers.{s}.blocks.{b}.         layers.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.logit_scale               attn.logit_scale
  attn.cpb_mlp.{k}.*             attn.cpb_mlp.{k}.*
  -                              attn.relative_coords_table    | dropped it follows from the window
  -                              attn.relative_position_index  | dropped it follows from the window
  -                              attn_mask                    | dropped it follows from the window
  attn.qkv.*                     attn.qkv.*
  attn.q_bias                    attn.q_bias
  attn.v_bias                    attn.v_bias
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.fc.*                      head.*
"""

# DeiT III's authors, whose names timm took over at first.
_DEIT_3 = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
blocks.{i}.                    blocks.{i}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  ls1.gamma                      gamma_1
  ls2.gamma                      gamma_2
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.*                         head.*
"""

# Until 0.6 AugReg's networks of ImageNet-21k had a layer before their classifier.
_VIT = f"""
{TRUNK}
patch_embed.backbone.**        patch_embed.backbone.**
head.*                         head.*
-                              pre_logits.fc.*              | dropped timm's model has no such layer before its head
"""

# As its authors publish it.
_BEIT = """
cls_token                      cls_token
pos_embed                      pos_embed
patch_embed.proj.*             patch_embed.proj.*
rel_pos_bias.relative_position_bias_table   rel_pos_bias.relative_position_bias_table
-                              rel_pos_bias.relative_position_index   | dropped it follows from the number of patches
blocks.{i}.                    blocks.{i}.
  gamma_{k}                      gamma_{k}
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.q_bias                    attn.q_bias
  attn.v_bias                    attn.v_bias
  attn.relative_position_bias_table   attn.relative_position_bias_table
  -                              attn.relative_position_index  | dropped it follows from the number of patches
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
fc_norm.*                      fc_norm.*
head.*                         head.*
"""

_POOLFORMER = """
stem.conv.*                    patch_embed.proj.*
stages.{s+1}.downsample.conv.*   network.{2s+1}.proj.*
stages.{s}.blocks.{b}.         network.{2s}.{b}.
  norm{k}.*                      norm{k}.*
  layer_scale{k}.scale           layer_scale_{k}
  mlp.fc{k}.*                    mlp.fc{k}.*
head.norm.*                    norm.*
head.fc.*                      head.*
"""

_PIT = """
pos_embed                      pos_embed
cls_token                      cls_token
patch_embed.conv.*             patch_embed.conv.*
transformers.{s+1}.pool.       transformers.{s}.pool.
  conv.*                         conv.*
  fc.*                           fc.*
transformers.{s}.blocks.{b}.   transformers.{s}.blocks.{b}.
  norm{k}.*                      norm{k}.*
  attn.qkv.*                     attn.qkv.*
  attn.proj.*                    attn.proj.*
  mlp.fc{k}.*                    mlp.fc{k}.*
norm.*                         norm.*
head.*                         head.*
head_dist.*                    head_dist.*
"""


def _conv_norm(convolution: str, norm: str) -> str:
    """The rows of a convolution and the batch norm behind it, by their names."""
    rows = [f"  conv.weight   {convolution}.weight", f"  bn.weight   {norm}.weight   | magnitude"]
    rows += [f"  bn.{name}   {norm}.{name}" for name in ("bias", "running_mean", "running_var")]
    return "\n".join((*rows, "  bn.num_batches_tracked   -   | dropped it counted no batches"))


_BLURRED = "\n".join(
    f"body.{path}.   body.{path}.\n{_conv_norm('0.0', '0.1')}"
    for path in ("layer2.0.conv1", "layer3.0.conv2", "layer4.0.conv2")  # a blur pools behind them
)
_TRESNET = f"""
body.conv1.                    body.conv1.
{_conv_norm("0", "1")}
{_BLURRED}
body.layer{{s}}.{{b}}.conv{{k}}.     body.layer{{s}}.{{b}}.conv{{k}}.
{_conv_norm("0", "1")}
body.layer{{s}}.{{b}}.downsample.1.   body.layer{{s}}.{{b}}.downsample.1.
{_conv_norm("0", "1")}
body.layer{{s}}.{{b}}.se.fc{{k}}.*   body.layer{{s}}.{{b}}.se.fc{{k}}.*
head.fc.*                      head.fc.*
"""


def _sequencer(depths: Sequence[int]) -> str:
    """The rows of a Sequencer2D with so many blocks in its stages: theirs end with what stands before the next."""
    merging = (
        f"stages.{stage}.downsample.down.*   blocks.{stage - 1}.{depth}.down.*"
        for stage, depth in enumerate(depths[:-1], 1)
    )
    block = """
stages.{s}.blocks.{b}.         blocks.{s}.{b}.
  norm{k}.*                      norm{k}.*
  rnn_tokens.fc.*                rnn_tokens.fc.*
  rnn_tokens.rnn_v.*             rnn_tokens.rnn_v.*
  rnn_tokens.rnn_h.*             rnn_tokens.rnn_h.*
  mlp_channels.fc{k}.*           mlp_channels.fc{k}.*
"""
    return "\n".join(("stem.proj.*   stem.proj.*", *merging, block, "norm.*   norm.*", "head.fc.*   head.*"))


def _levit(depths: Sequence[int]) -> str:
    """The rows of a LeViT with so many blocks in its stages: theirs are one list of attention and MLPs in turn."""

    def norm(timm: str, theirs: str) -> Iterator[str]:
        yield f"  {timm}.linear.weight   {theirs}.c.weight"
        yield f"  {timm}.bn.*   {theirs}.bn.*"

    def attention(timm: str, theirs: str, inputs: dict[str, str]) -> Iterator[str]:
        yield f"{timm}.   {theirs}."
        yield "  attention_biases   attention_biases"
        yield "  -   attention_bias_idxs   | dropped it follows from the size of the map"
        for ours, their in {**inputs, "proj.ln": "proj.1"}.items():
            yield from norm(ours, their)

    def mlp(timm: str, theirs: str) -> Iterator[str]:
        yield f"{timm}.mlp.   {theirs}.m."
        yield from norm("ln1", "0")
        yield from norm("ln2", "2")

    stem = "stem.conv{k+1}", "patch_embed.{2k}"
    rows, place = [f"{stem[0]}.linear.weight   {stem[1]}.c.weight", f"{stem[0]}.bn.*   {stem[1]}.bn.*"], 0
    for stage, depth in enumerate(depths):
        if stage:
            here = f"stages.{stage}.downsample"
            inputs = {"kv": "kv", "q.ln": "q.1"}
            rows += attention(f"{here}.attn_downsample", f"blocks.{place}", inputs)
            rows += mlp(here, f"blocks.{place + 1}")
            place += 2
        for block in range(depth):
            here = f"stages.{stage}.blocks.{block}"
            rows += attention(f"{here}.attn", f"blocks.{place}.m", {"qkv": "qkv"})
            rows += mlp(here, f"blocks.{place + 1}")
            place += 2
    for head in ("head", "head_dist"):
        rows += [f"{head}.bn.*   {head}.bn.*", f"{head}.linear.*   {head}.l.*"]
    return "\n".join(rows)


def _is_second_version(shapes: Shapes) -> bool:
    return "layers.0.blocks.0.attn.logit_scale" in shapes


def _has_blocks(shapes: Shapes, *, prefix: str, number: int) -> bool:
    names = {name.removeprefix(prefix).partition(".")[0] for name in shapes if name.startswith(prefix)}
    return len(names) == number


def _merges_in_its_first_stage(shapes: Shapes) -> bool:
    return "layers.0.downsample.reduction.weight" in shapes


TABLES = (
    Table(
        "Swin Transformer",
        _SWIN,
        (Twins("swin_*"),),
        fits=lambda shapes: not _is_second_version(shapes),
        fits_theirs=_merges_in_its_first_stage,
    ),
    Table(
        "Swin Transformer V2",
        _SWIN_V2,
        (Twins("swinv2_*"),),
        fits=_is_second_version,
        fits_theirs=_merges_in_its_first_stage,
    ),
    Table("DeiT III", _DEIT_3, (Twins("deit3_*"),), fits=lambda shapes: "blocks.0.ls1.gamma" in shapes),
    Table(
        "Vision Transformer with a layer before its head",
        _VIT,
        (Twins("vit_*"),),
        fits=lambda _: False,
        fits_theirs=lambda shapes: "pre_logits.fc.weight" in shapes,
    ),
    Table(
        "BEiT",
        _BEIT,
        (Twins("beit_* beitv2_*"),),
        fits=lambda shapes: "blocks.0.gamma_1" in shapes and "blocks.0.attn.qkv.bias" not in shapes,
        fits_theirs=lambda shapes: any(name.endswith("attn.relative_position_index") for name in shapes),
    ),
    Table(
        "PoolFormer",
        _POOLFORMER,
        (Twins("poolformer_*"),),
        note="timm's model norms behind the pooling, the authors' before it: their features are equal, logits differ",
    ),
    *(
        Table(
            f"Sequencer2D with {depths[0]} and {depths[2]} blocks in its first and third stage",
            _sequencer(depths),
            (Twins("sequencer2d_*"),),
            fits=partial(_has_blocks, prefix="stages.2.blocks.", number=depths[2]),
            fits_theirs=lambda shapes, depths=depths: (  # type: ignore[misc]
                {f"blocks.0.{depths[0]}.down.weight", f"blocks.2.{depths[2]}.down.weight"} <= shapes.keys()
            ),
        )
        for depths in ((4, 3, 8, 3), (4, 3, 14, 3), (8, 8, 16, 4))
    ),
    Table(
        "PiT",
        _PIT,
        (Twins("pit_*"),),
        fits=lambda shapes: "transformers.1.pool.fc.weight" in shapes,
        fits_theirs=lambda shapes: "transformers.0.pool.fc.weight" in shapes,
    ),
    Table("TResNet", _TRESNET, (Twins("tresnet_*"),), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
    *(
        Table(
            f"LeViT with {', '.join(map(str, depths))} blocks",
            _levit(depths),
            (Twins(twins),),
            fits=partial(_has_blocks, prefix="stages.1.blocks.", number=depths[1]),
            fits_theirs=lambda shapes, depths=depths: (  # type: ignore[misc]
                {f"blocks.{2 * depths[0]}.kv.c.weight", f"blocks.{2 * sum(depths) + 3}.m.2.c.weight"} <= shapes.keys()
                and f"blocks.{2 * sum(depths) + 4}.m.0.c.weight" not in shapes
            ),
        )
        for depths, twins in (
            ((2, 3, 4), "levit_128s levit_conv_128s"),
            ((4, 8, 6), "levit_*d"),
            ((4, 4, 4), "levit_*"),
        )
    ),
)
