"""What models share that take patches side by side, of images of any proportions, as well as whole images.

Dehghani et al., NaViT (arXiv:2307.06304), section 2.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn as nn
from torch import Tensor

from zoo.core.errors import UsageError
from zoo.models.base import Size
from zoo.models.layers.tracing import leaf_procedure
from zoo.models.token_model import TokenModel


class PatchBatch(NamedTuple):
    """Patches of several images, padded to equally many.

    Args:
        patches: (N, L, P * P * C), each patch by rows, colour last.
        coordinates: (N, L, 2), row and column of each in its image.
        valid: (N, L), False where there is no patch.
    """

    patches: Tensor
    coordinates: Tensor
    valid: Tensor

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> PatchBatch:
        """From the entries `patches`, `patch_coord` and, where any is missing, `patch_valid`. Raises UsageError."""
        if not {"patches", "patch_coord"} <= set(batch):
            raise UsageError(f"A batch of patches needs 'patches' and 'patch_coord', found {', '.join(batch)}.")
        patches, valid = batch["patches"].flatten(2), batch.get("patch_valid")
        if valid is None:
            valid = torch.ones(patches.shape[:2], dtype=torch.bool, device=patches.device)
        return cls(patches, batch["patch_coord"], valid.bool())


def image_patches(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, W) -> their patches (N, rows * columns, side * side * C), each by rows, colour last.

    Raises UsageError where the sides of the image are no multiples of a patch's.
    """
    check_sides(x, side)
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))  # (N, C, rows, side, columns, side)
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


@leaf_procedure
def check_sides(images: Tensor, side: int) -> None:
    """Raises UsageError for images (N, C, H, W) whose height or width is no multiple of this."""
    height, width = images.shape[2:]
    if height % side or width % side:
        raise UsageError(f"The sides of an image must be multiples of {side}, found {height} x {width}.")


class PatchModel(TokenModel):
    """Base of families whose input is images, or a mapping that `PatchBatch.of` reads.

    The trunk carries tokens; of a batch of patches it carries (tokens, valid), both with the prefix. `forward_features`
    then gives a dict with the tokens, `patches`, and `patch_valid`, which is of the patches alone.
    """

    patch_size: int

    def __call__(self, x: Any, patch_coord: Tensor | None = None, patch_valid: Tensor | None = None) -> Any:
        """`model(patches, patch_coord=..., patch_valid=...)` too: what `forward` takes as one mapping.

        The parameters stand here because `forward` has one input, whatever torch.fx or torch.export traces.
        """
        if patch_coord is not None:
            x = {"patches": x, "patch_coord": patch_coord, "patch_valid": patch_valid}
        return super().__call__(x)

    def feature_size(self, height: int, width: int) -> Size:
        return height // self.patch_size, width // self.patch_size

    def with_prefix(self, valid: Tensor) -> Tensor:
        """(N, L) -> (N, prefix + L)."""
        return torch.cat([valid.new_ones(valid.shape[0], self.num_prefix_tokens), valid], 1)

    def run_block(self, block: nn.Module, x: Any) -> Any:
        if not isinstance(x, tuple):
            return block(x)
        tokens, valid = x
        return block(tokens, valid[:, None, None]), valid

    def level_state(self, x: Any, level: int) -> Tensor:  # noqa: ARG002 - each level reads the tokens
        return x[0] if isinstance(x, tuple) else x

    def finish_tokens(self, x: Tensor) -> Tensor:
        """From the last block's tokens to those that `forward_features` gives."""
        return x

    def finish(self, x: Any) -> Any:
        if not isinstance(x, tuple):
            return self.finish_tokens(x)
        tokens, valid = x
        return {"patches": self.finish_tokens(tokens), "patch_valid": valid[:, self.num_prefix_tokens :]}

    def forward_features(self, x: Any, patch_coord: Tensor | None = None, patch_valid: Tensor | None = None) -> Any:
        """Images, a batch of patches, or patches with their coordinates -> the tokens that the head reads."""
        if patch_coord is not None:
            x = {"patches": x, "patch_coord": patch_coord, "patch_valid": patch_valid}
        carried: Any = PatchBatch.of(x) if isinstance(x, Mapping) else x
        return super().forward_features(carried)

    def intermediates_input(self, x: Any, output_fmt: str, output_dict: bool) -> Any:  # noqa: ARG002
        """Raises UsageError for maps of patches: `output_fmt` must be NLC."""
        if not isinstance(x, Mapping):
            return x
        if output_fmt != "NLC":
            raise UsageError(f"Patches of several images make no maps: output_fmt must be NLC, found {output_fmt}.")
        return PatchBatch.of(x)

    def trunk_output(self, x: Any, given: Any) -> dict[str, Any]:
        """Of patches also which are there, `patch_valid`."""
        if not isinstance(given, PatchBatch):
            return super().trunk_output(x, given)
        tokens, valid = (x["patches"], x["patch_valid"]) if isinstance(x, Mapping) else (x, given.valid)
        return {"image_features": tokens, "patch_valid": valid}

    def classifier_input(self, x: Any) -> Any:
        if not isinstance(x, Mapping):
            return super().classifier_input(x)
        return self.pool_valid(x["patches"], self.with_prefix(x["patch_valid"]))

    def pool_valid(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """What the pooling gives of the tokens that are valid; both with the prefix."""
        pool = self.global_pool
        if pool.pool_type in ("", "token"):
            return pool(tokens)
        tokens, valid = tokens[:, pool.first :], valid[:, pool.first :].unsqueeze(2)
        average = (tokens * valid).sum(1) / valid.sum(1).clamp(min=1)
        if pool.pool_type == "avg":
            return average
        maximum = tokens.masked_fill(~valid, torch.finfo(tokens.dtype).min).amax(1)
        return maximum if pool.pool_type == "max" else (average + maximum) / 2
