"""What the specs of image encoders of language models have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import ClassifierInit, Spec


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(Spec):
    """An encoder inside a classifier; a subclass with `has_classifier` False is the encoder by itself.

    The layers from patches to the language model's tokens are the projector. The encoder by itself ends with it where
    `global_pool` is `projection`; the classifier reads its tokens, which have `out_features` channels, where
    `encoder_pool` is.
    `img_size` is nominal, images of any size are taken.
    """

    classifier_init: ClassVar[ClassifierInit] = ClassifierInit("normal", 0.02)
    total_stride: ClassVar[int | None] = None
    has_classifier: ClassVar[bool] = True
    projection: ClassVar[str]
    embedding: ClassVar[str] = "patch_embed.proj"
    """Path of the layer of patches in the encoder."""

    img_size: int | tuple[int, int] = 768
    patch_size: int = 16
    embed_dim: int
    depth: int
    num_heads: int
    out_features: int = 0
    encoder_pool: str = ""
    global_pool: str = "avg"
    final_norm: bool = True

    @property
    def first_conv(self) -> str:
        return f"encoder.{self.embedding}" if self.has_classifier else self.embedding

    @property
    def has_projector(self) -> bool:
        return self.projection == (self.encoder_pool if self.has_classifier else self.global_pool)
