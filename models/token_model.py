"""What models share whose trunk carries a sequence of tokens, one for each patch, perhaps behind prefix tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.base import ImageModel, Size
from zoo.models.layers.pool import TokenPool
from zoo.models.layers.token_init import init_linear


class TokenModel(ImageModel):
    """Base of families whose steps carry tokens (N, prefix + rows * columns, C).

    A family sets `num_prefix_tokens` and has a `patch_embed`, or says in `feature_size` how patches lie in an image.
    `num_level_prefix_tokens` says how many of these a level has, where some join the patches only behind the blocks.
    `last_norm` is the path of the final norm, "" where there is none.
    """

    default_out_indices: int | Sequence[int] | None = 3
    last_norm = "norm"
    num_prefix_tokens: int = 0

    @property
    def num_level_prefix_tokens(self) -> int:
        return self.num_prefix_tokens

    def feature_size(self, height: int, width: int) -> Size:
        """Rows and columns of the patches of an image of this size."""
        size: Size = self.patch_embed.feature_size(height, width)
        return size

    def level_size(self, size: Size, level: int) -> Size:  # noqa: ARG002 - one grid of all levels
        """Rows and columns of a level, of an image of this size."""
        return self.feature_size(*size)

    def feature_map(self, x: Tensor, size: Size, level: int) -> Tensor:
        """Tokens without their prefix as a map (N, C, rows, columns)."""
        patches = x[:, self.num_level_prefix_tokens :]
        return patches.transpose(1, 2).unflatten(2, self.level_size(size, level)).contiguous()

    def level_norm(self, level: int) -> Callable[[Tensor], Tensor]:  # noqa: ARG002 - one norm of all levels
        """The trunk's final norm of what a level reads."""
        norm: nn.Module = self.norm
        return norm

    def make_pool(self, pool_type: str) -> TokenPool:
        return TokenPool(pool_type, self.num_prefix_tokens)

    def init_module(self, name: str, module: nn.Module) -> None:
        super().init_module(name, module)
        init_linear(module)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        return_prefix_tokens: bool = False,
        output_dict: bool = False,
    ) -> Any:
        """The feature maps at `indices` (None: all; n: the last n; a list, negative ones from the end).

        Args:
            norm: apply the trunk's final norm to each.
            stop_early: run no step past the last map asked for.
            output_fmt: NCHW for maps, NLC for tokens without their prefix.
            intermediates_only: return the maps alone, not `(output of the trunk, maps)`.
            return_prefix_tokens: give `(map, prefix tokens)` for each.
            output_dict: return a dict with the maps as `image_intermediates`, their prefix tokens as
                `image_intermediates_prefix` and the output of the trunk as `image_features`.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise UsageError(f"Feature maps of tokens are NCHW or NLC, {output_fmt!r} was asked for.")
        if norm and self.last_norm and self.last_norm not in dict(self.named_modules()):
            raise UsageError("The final norm was cut off with the layers that these features do not need.")
        given = x = self.intermediates_input(x, output_fmt, output_dict)
        size = (x.shape[2], x.shape[3]) if output_fmt == "NCHW" else (0, 0)
        x, states = self._intermediates(x, indices, stop_early)
        start, maps, prefixes = self.num_level_prefix_tokens, [], []
        for level, tokens in states.items():
            tokens = self.level_norm(level)(tokens) if norm else tokens
            maps.append(self.feature_map(tokens, size, level) if output_fmt == "NCHW" else tokens[:, start:])
            prefixes.append(tokens[:, :start])
        if not (return_prefix_tokens and start):
            prefixes = []
        ends = {} if intermediates_only else self.trunk_output(x if self._last_step else self.finish(x), given)
        if output_dict:
            return {"image_intermediates": maps} | ({"image_intermediates_prefix": prefixes} if prefixes else {}) | ends
        found = list(zip(maps, prefixes, strict=True)) if prefixes else maps
        return found if intermediates_only else (ends["image_features"], found)

    def intermediates_input(self, x: Any, output_fmt: str, output_dict: bool) -> Any:  # noqa: ARG002 - of other inputs
        """What the trunk takes of the input of `forward_intermediates`."""
        return x

    def trunk_output(self, x: Any, given: Any) -> dict[str, Any]:  # noqa: ARG002 - for other inputs
        """What `forward_intermediates` says of the trunk's output, by the names of its dict."""
        return {"image_features": x}

    def get_intermediate_layers(
        self,
        x: Tensor,
        n: int | Sequence[int] = 1,
        reshape: bool = False,
        return_prefix_tokens: bool = False,
        norm: bool = False,
    ) -> list[Any]:
        """The tokens of the last `n` blocks, or of those at these indices, as DINO's models give them.

        Args:
            reshape: give maps (N, C, rows, columns) instead of tokens (N, patches, C).
            return_prefix_tokens: give `(tokens, prefix tokens)` for each.
            norm: apply the trunk's final norm to each.
        """
        form = "NCHW" if reshape else "NLC"
        options = {"intermediates_only": True, "return_prefix_tokens": return_prefix_tokens}
        return self.forward_intermediates(x, n, norm=norm, output_fmt=form, **options)
