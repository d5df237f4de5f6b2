"""big_vision's arrays of vision transformers and SigLIP (https://github.com/google-research/big_vision).

Kernels are stored with inputs first, and with the heads on an axis of their own. Blocks that a scan stacked are taken
one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoo.core.architectures.records import HALF
from zoo.core.layouts.table import Shapes, Table, Twins

VIT = """
cls_token                      ^cls
pos_embed                      ^POSITIONS
patch_embed.proj.weight        ^embedding/kernel              | transpose 3 2 0 1
patch_embed.proj.bias          ^embedding/bias
blocks.{i}.                    ^Transformer/encoderblock_{i}/
  norm1.weight                   LayerNorm_0/scale
  norm1.bias                     LayerNorm_0/bias
  attn.qkv.weight                ATTENTION/query/kernel ATTENTION/key/kernel ATTENTION/value/kernel   | heads_out
  attn.qkv.bias                  ATTENTION/query/bias ATTENTION/key/bias ATTENTION/value/bias         | heads_out
  attn.proj.weight               ATTENTION/out/kernel           | heads_in
  attn.proj.bias                 ATTENTION/out/bias
  norm2.weight                   NORM2/scale
  norm2.bias                     NORM2/bias
  mlp.fc1.weight                 MLP/Dense_0/kernel             | transpose 1 0
  mlp.fc1.bias                   MLP/Dense_0/bias
  mlp.fc2.weight                 MLP/Dense_1/kernel             | transpose 1 0
  mlp.fc2.bias                   MLP/Dense_1/bias
norm.weight                    ^Transformer/encoder_norm/scale
norm.bias                      ^Transformer/encoder_norm/bias
head.weight                    ^head/kernel                   | transpose 1 0
head.bias                      ^head/bias
-                              ^pre_logits/*                  | dropped it only served pretraining
"""

_MAP_HEAD = """
attn_pool.latent               ^MAPHead_0/probe
attn_pool.                     ^MAPHead_0/
  q.weight                       ATTENTION/query/kernel   | heads_out
  q.bias                         ATTENTION/query/bias   | heads_out
  kv.weight                      ATTENTION/key/kernel ATTENTION/value/kernel   | heads_out
  kv.bias                        ATTENTION/key/bias ATTENTION/value/bias       | heads_out
  proj.weight                    ATTENTION/out/kernel           | heads_in
  proj.bias                      ATTENTION/out/bias
  norm.weight                    LayerNorm_0/scale
  norm.bias                      LayerNorm_0/bias
  mlp.fc1.weight                 MLP/Dense_0/kernel             | transpose 1 0
  mlp.fc1.bias                   MLP/Dense_0/bias
  mlp.fc2.weight                 MLP/Dense_1/kernel             | transpose 1 0
  mlp.fc2.bias                   MLP/Dense_1/bias
"""

_TEXTS = """
-                              params/txt/**                  | dropped the text tower
-                              params/t                       | dropped it compares images with texts
-                              params/b                       | dropped it compares images with texts
"""


def vit_table(family: str, rows: str, trunk: str, modules: Mapping[str, str], fits: Callable[[Shapes], bool]) -> Table:
    """A vision transformer whose arrays begin with `trunk` and whose submodules have the names in `modules`."""
    for word, name in {"^": trunk, **modules}.items():
        rows = rows.replace(word, name)
    return Table(family, rows, (Twins("vit_*_224 vit_*_384 vit_*"),), HALF, HALF, fits=fits)


def _pools_by_attention(shapes: Shapes) -> bool:
    return "attn_pool.latent" in shapes


# Flax numbers submodules per class.
_MODULES = {
    "POSITIONS": "pos_embedding",
    "ATTENTION": "MultiHeadDotProductAttention_0",
    "NORM2": "LayerNorm_1",
    "MLP": "MlpBlock_0",
}
_ROWS = VIT + _MAP_HEAD + _TEXTS

TABLES = (
    vit_table("ViT", _ROWS, "params/", _MODULES, lambda shapes: not _pools_by_attention(shapes)),
    vit_table("SigLIP", _ROWS, "params/img/", _MODULES, _pools_by_attention),
    vit_table("ViT without a prefix", _ROWS, "", _MODULES, lambda _: False),
)
