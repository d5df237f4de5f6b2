"""GCViT variants and their published weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from zoo.core.architectures.records import SizedTensors, SizeFacts, Spec, Weights


@dataclass(frozen=True, kw_only=True)
class GlobalContextVitSpec(Spec):
    """One GCViT: the width of its first stage, which doubles in each further one; depths and heads.

    Windows of a stage are so many times smaller than the image as `window_ratio` says. `layer_scale` is where the
    scales of the branches start, 0 for none. `img_size` is the side of the images, or their (height, width).
    """

    model_class: ClassVar[str] = "GlobalContextVit"
    classifier: ClassVar[str] = "head.fc"
    sizes: ClassVar[SizeFacts] = SizeFacts(tensors=(SizedTensors(r".+\.relative_position_bias_table", "refuse"),))

    depths: tuple[int, ...] = (3, 4, 19, 5)
    num_heads: tuple[int, ...] = (2, 4, 8, 16)
    embed_dim: int = 64
    window_ratio: tuple[int, ...] = (32, 32, 16, 32)
    mlp_ratio: float = 3.0
    qkv_bias: bool = True
    layer_scale: float = 0.0
    img_size: int | tuple[int, int] = 224

    @property
    def first_conv(self) -> str:
        return "stem.conv1"


def wide(embed_dim: int) -> GlobalContextVitSpec:
    """Heads of 32 channels, narrow perceptrons, scaled branches."""
    heads = tuple(embed_dim * 2**stage // 32 for stage in range(4))
    return GlobalContextVitSpec(embed_dim=embed_dim, num_heads=heads, mlp_ratio=2.0, layer_scale=1e-5)


# Appendix of arXiv:2206.09959.
VARIANTS = {
    "gcvit_xxtiny": GlobalContextVitSpec(depths=(2, 2, 6, 2)),
    "gcvit_xtiny": GlobalContextVitSpec(depths=(3, 4, 6, 5)),
    "gcvit_tiny": GlobalContextVitSpec(),
    "gcvit_small": wide(96),
    "gcvit_base": wide(128),
}

URL = "https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-weights-morevit"


def nvidia(file: str) -> Weights:
    return Weights(url=f"{URL}/{file}.pth", hub_id="", fixed_input_size=True)


WEIGHTS = {
    "gcvit_xxtiny.in1k": nvidia("gcvit_xxtiny_224_nvidia-d1d86009"),
    "gcvit_xtiny.in1k": nvidia("gcvit_xtiny_224_nvidia-274b92b7"),
    "gcvit_tiny.in1k": nvidia("gcvit_tiny_224_nvidia-ac783954"),
    "gcvit_small.in1k": nvidia("gcvit_small_224_nvidia-4e98afa2"),
    "gcvit_base.in1k": nvidia("gcvit_base_224_nvidia-f009139b"),
}
