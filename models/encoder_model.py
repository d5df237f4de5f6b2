"""What image encoders of language models share, inside a classifier or by themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch.nn as nn
from torch import Tensor

from zoo.core.architectures.configs._encoder import EncoderSpec
from zoo.core.errors import UsageError
from zoo.models.base import Size, Step
from zoo.models.layers.drop import drop_path_schedule
from zoo.models.layers.mlp import GluMlp
from zoo.models.layers.norm import token_norm_factory
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.tracing import leaf_function, same
from zoo.models.token_model import TokenModel

INSIDE = "encoder."


class Encoded(NamedTuple):
    """What the trunk carries.

    Args:
        tokens: (N, L, C).
        table: cosines and sines of their rotary positions.
        grid: rows and columns of the patches of an image.
        coordinates: (..., L, 2), row and column of each patch, where the projector asks for them.
        valid: (N, L), False where there is no patch; None where all are.
    """

    tokens: Tensor
    table: Tensor
    grid: Size
    coordinates: Tensor | None = None
    valid: Tensor | None = None


class EncoderModel(TokenModel):
    """Base: the encoder's modules lie in `encoder`, before norm and classifier, or at the top where it stands alone.

    A family makes them in `make_encoder` and gives `embed` and `project`.

    Args:
        spec: the variant.
        num_classes: outputs of the classifier; 0 leaves it out. The encoder alone has none.
        in_chans: channels of the image.
        drop_rate: dropout before the classifier.
        proj_drop_rate, attn_drop_rate: dropout behind the layers of a block, of its attention weights.
        drop_path_rate: the rate that stochastic depth grows towards.
    """

    head_parts = ("norm", "global_pool")
    pool_norm: ClassVar[str] = "layernorm"
    """The norm, without weights, of what the pooling gives."""

    def __init__(
        self,
        spec: Any,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
    ) -> None:
        classes = num_classes if spec.has_classifier else 0
        super().__init__(in_chans=in_chans, num_classes=classes, drop_rate=drop_rate)
        self.spec: EncoderSpec = spec
        self.inside = INSIDE if spec.has_classifier else ""
        if self.inside:
            self.encoder = nn.Module()
        rates = drop_path_schedule(drop_path_rate, spec.depth)
        self.make_encoder(self.trunk, rates, attn_drop=attn_drop_rate, proj_drop=proj_drop_rate)
        self.last_norm = f"{self.inside}norm" if "norm" in self.trunk._modules else ""
        self.feature_info = [
            {"num_chs": spec.embed_dim, "reduction": spec.patch_size, "module": path, "name": self.level_name(path)}
            for path in (f"{self.inside}blocks.{depth}" for depth in range(spec.depth))
        ]
        width = spec.out_features if spec.has_projector and spec.out_features else self.projected_width()
        self.num_features = width if self.inside else spec.embed_dim
        self._head_width = width
        if self.inside:
            norm: Any = token_norm_factory(self.pool_norm)
            self.norm = norm(width, elementwise_affine=False) if spec.final_norm else nn.Identity()
        self.make_head(spec.global_pool)

    @property
    def trunk(self) -> Any:
        """Where the encoder's modules lie."""
        return self.encoder if self.inside else self

    # ------------------------------------------------------------ what a family gives

    def make_encoder(self, trunk: nn.Module, rates: list[float], **dropout: float) -> None:
        """Create `patch_embed`, `blocks` and the rest in the trunk; `rates` are those of stochastic depth."""
        raise NotImplementedError

    def projected_width(self) -> int:
        """Channels of the tokens at the end, where no `out_features` are stated."""
        return self.spec.embed_dim

    def level_name(self, path: str) -> str:
        """The published name of the level behind the step at this path."""
        return path

    def embed(self, x: Any) -> Encoded:
        """Image -> tokens with their positions."""
        raise NotImplementedError

    def project(self, x: Tensor) -> Tensor:
        """A map (N, C, rows, columns) -> tokens of the language model (N, L, out_features)."""
        raise NotImplementedError

    # ------------------------------------------------------------ forward

    def steps(self) -> Iterator[tuple[str, Step]]:
        yield f"{self.inside}patch_embed", self.embed  # type: ignore[misc]  # it carries more than a tensor
        for depth, block in enumerate(self.trunk.blocks):
            yield f"{self.inside}blocks.{depth}", partial(self._run_block, block)

    def _run_block(self, block: nn.Module, x: Any) -> Any:
        mask = None if x.valid is None else x.valid[:, None, None]
        return x._replace(tokens=block(x.tokens, mask, x.table))

    def feature_size(self, height: int, width: int) -> Size:
        size: Size = self.trunk.patch_embed.feature_size(height, width)
        return size

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - each level reads the tokens
        tokens: Tensor = x.tokens if isinstance(x, Encoded) else x
        return tokens

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:  # noqa: ARG002 - one norm of all levels
        return self.get_submodule(self.last_norm) if self.last_norm else same

    def finish(self, x: Any) -> Any:
        """The map (N, C, rows, columns), or the projector's tokens where the classifier reads them."""
        found = self.level_norm(0)(x.tokens).transpose(1, 2).unflatten(2, x.grid)
        return self.project(found) if self.inside and self.spec.has_projector else found

    def classifier_input(self, x: Any) -> Any:
        if not self.inside and (self.spec.has_projector or not self.global_pool.pool_type):
            return self.project(x) if self.spec.has_projector else x
        return super().classifier_input(as_tokens(x))

    def before_classifier(self, x: Tensor) -> Tensor:
        return self.norm(x) if self.inside else x

    # ------------------------------------------------------------ head

    def check_head(self, global_pool: str) -> None:
        if self.num_classes and not self.inside:
            raise UsageError("This is an encoder without a classifier.", hint="The name without _enc has one.")
        super().check_head(global_pool)

    def make_pool(self, pool_type: str) -> TokenPool:
        alone = not self.inside and pool_type == self.spec.projection
        return TokenPool("" if alone else pool_type)

    def classifier_width(self, pooled: int) -> int:  # noqa: ARG002 - the projector's
        return self._head_width

    def init_module(self, name: str, module: nn.Module) -> None:
        """As vision transformers, but gates are no exception."""
        if not isinstance(module, GluMlp):
            super().init_module(name, module)


@leaf_function
def as_tokens(x: Tensor) -> Tensor:
    """A map (N, C, H, W) as tokens (N, H * W, C); tokens stay as they are."""
    return x.flatten(2).transpose(1, 2) if x.ndim == 4 else x


def keys_outside(keys: Collection[str], model: EncoderModel, towers: tuple[str, ...], constants: str) -> set[str]:
    """What a language model's file holds beside its encoder, the projector if the model has none, and constants.

    Args:
        keys: of a checkpoint.
        model: that it is for.
        towers: where language models hold the encoder's modules.
        constants: pattern of the encoder's keys that are computed or belong to a language model.
    """
    held = {key for key in keys if key.startswith(towers)}
    rest = set(keys) - held if held else set()
    if not model.inside and not held and any(key.startswith(INSIDE) for key in keys):
        rest |= {key for key in keys if not key.startswith(INSIDE)}  # a classifier's own
    left = re.compile(constants)
    return rest | {key for key in keys if left.search(key)}


def fit_inside(tensors: Mapping[str, Tensor], model: EncoderModel) -> dict[str, Tensor]:
    """An encoder's keys as those of one inside a classifier, or the other way round."""
    within = any(key.startswith(INSIDE) for key in tensors)
    if model.inside and not within:
        return {f"{INSIDE}{key}": value for key, value in tensors.items()}
    return dict(tensors) if model.inside else {key.removeprefix(INSIDE): value for key, value in tensors.items()}
