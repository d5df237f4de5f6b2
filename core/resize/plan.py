"""Plan which tensors of a checkpoint to resize for a different image or patch size."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from zoo.core.architectures.family_facts import size_facts
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.resize.positions import ANTIALIASED, resize_patch_kernel, resize_patch_linear
from zoo.core.resize.resample import Filter
from zoo.core.resize.rule import Job, Resize, Shape, Size, Tensor, text
from zoo.core.resize.rules import rules_of, sizes_of_tensors, token_filter

MAX_SIZE = 1 << 14
"""Pixels per side, far above any model's input: a few digits too many must not fill the memory."""

RGB = 3

Found = TypeVar("Found")
"""The result of a rule for a tensor."""


def plan_resizes(
    family: str,
    shapes: Mapping[str, Sequence[int]],
    *,
    source_size: int | Size,
    stated: bool = False,
    img_size: int | Size | None = None,
    patch_size: int | Size | None = None,
    windows: Sequence[Size] | None = None,
    architecture: str = "",
    embeds_prefix: bool | None = None,
) -> dict[str, Resize]:
    """Plan what to resize so that a checkpoint fits a different image or patch size; empty if nothing.

    If input channels are adapted too, resize first: the plan is for the shapes in the file.

    Args:
        family: the architecture's family, by the name of timm's module. A family without rules has no such tensors.
        shapes: tensor name -> shape of the whole file, with timm's key names.
        source_size: image size (height, width) in pixels, or the side of a square, that the checkpoint is made for.
        stated: whether the size is stated for this checkpoint, not only for its architecture. Contradicting tensors are
            then an error, even if nothing is to be resized.
        img_size: the new image size; default the source's.
        patch_size: the new patch size; default the source's.
        windows: windows of each stage (Swin), if they do not follow from the image size.
        architecture: its name, which tells FlexiViT, RADIO and Swin-S3 from the rest of their families.
        embeds_prefix: whether class and other prefix tokens have positions, if the model differs from its
            architecture's default.

    Raises:
        UsageError: a size that no image has.
        InvalidInputError: a tensor depends on the size and cannot be resized by any known rule, or it does not fit the
            source's size and reveals no other; or the patch size is to change but cannot.
    """
    whole = {name: tuple(shape) for name, shape in shapes.items()}
    source = _checked(source_size, "image")
    target = source if img_size is None else _checked(img_size, "image")
    old_patch = _patch_of(family, whole)
    new_patch = old_patch if patch_size is None else _checked(patch_size, "patch")
    filter_ = token_filter(family, architecture)
    plan = _plan_patch(family, whole, old_patch, new_patch, "linear" if "linear" in filter_ else ANTIALIASED)
    if target == source and new_patch == old_patch and not (windows or stated):
        return plan
    job = Job(
        architecture=architecture,
        shapes=whole,
        source=source,
        stated=stated,
        target=target,
        old_patch=old_patch,
        new_patch=new_patch,
        windows=tuple(windows or ()),
        embeds_prefix=embeds_prefix,
        filter_=filter_,
    )
    for tensor, rule in _with_rules(rules_of(family), job):
        resize = rule(tensor)
        if resize is not None:
            plan[tensor.name] = resize
    return plan


def _with_rules(
    rules: Iterable[tuple[str, Callable[[Tensor], Found]]], job: Job
) -> Iterator[tuple[Tensor, Callable[[Tensor], Found]]]:
    """The tensors whose names match a rule's pattern, each with the rule. Raises InvalidInputError if one is empty."""
    for pattern, rule in rules:
        for name in filter(re.compile(pattern).fullmatch, job.shapes):
            tensor = Tensor(name=name, shape=job.shapes[name], job=job)
            if 0 in tensor.shape:
                raise tensor.refused("it is empty")
            yield tensor, rule


def image_size_of(
    family: str,
    shapes: Mapping[str, Sequence[int]],
    *,
    source_size: int | Size,
    stated: bool = False,
    img_size: int | Size | None = None,
    architecture: str = "",
    embeds_prefix: bool | None = None,
) -> Size:
    """The image size (height, width) in pixels that a checkpoint is for; `source_size` if no tensor reveals it.

    Args: as in `plan_resizes`.

    Raises InvalidInputError if the tensors contradict the stated size, or fit neither `source_size` nor a square nor
    `img_size`.
    """
    source, whole = _checked(source_size, "image"), {name: tuple(shape) for name, shape in shapes.items()}
    patch = _patch_of(family, whole)
    job = Job(
        architecture=architecture,
        embeds_prefix=embeds_prefix,
        shapes=whole,
        source=source,
        stated=stated,
        target=source if img_size is None else _checked(img_size, "image"),
        old_patch=patch,
        new_patch=patch,
        filter_=ANTIALIASED,
    )
    for tensor, size_of in _with_rules(sizes_of_tensors(family), job):
        return size_of(tensor)
    return source


def fits_size(family: str, shapes: Mapping[str, Sequence[int]], size: Size) -> bool:
    """Whether no tensor contradicts this image size (height, width) of a checkpoint."""
    try:
        plan_resizes(family, shapes, source_size=size, stated=True)
    except (InvalidInputError, UsageError):
        return False
    return True


def _checked(size: int | Size, what: str) -> Size:
    height, width = (size, size) if isinstance(size, int) else size
    if not (0 < height <= MAX_SIZE and 0 < width <= MAX_SIZE):
        raise UsageError(f"The {what} size must be 1 to {MAX_SIZE} on each side, found {text((height, width))}.")
    return height, width


def _patch_of(family: str, shapes: Mapping[str, Shape]) -> Size | None:
    """The patch size (height, width); None if no patch embedding shows it."""
    facts = size_facts(family)
    shape = shapes.get(facts.patch_kernel, ())
    if len(shape) == 4 and min(shape) > 0:
        return shape[2], shape[3]
    if len(shape) == 2 and facts.patch_is_linear:
        edge = math.isqrt(shape[1] // RGB)
        return (edge, edge) if edge and edge * edge * RGB == shape[1] else None
    return None


def _plan_patch(
    family: str, shapes: Mapping[str, Shape], old: Size | None, new: Size | None, filter_: Filter
) -> dict[str, Resize]:
    if old == new:
        return {}
    if old is None or new is None:
        raise InvalidInputError(
            f"A new patch size needs a patch embedding that can be resized; {family} has none in this file.",
            hint="Leave out --patch-size.",
        )
    name = size_facts(family).patch_kernel
    shape = shapes[name]
    is_conv = len(shape) == 4
    resize = Resize(
        old_shape=shape,
        new_shape=(*shape[:2], *new) if is_conv else (shape[0], math.prod(new) * RGB),
        method=f"pseudo-inverse of a resize ({filter_})",
        as_reference=size_facts(family).patch_in_timm,
        function=partial(resize_patch_kernel, new=new, filter_=filter_)
        if is_conv
        else partial(resize_patch_linear, old=old, new=new),
    )
    return {name: resize}
