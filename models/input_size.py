"""Turn a model into one for images of another size, in place: Dosovitskiy et al. (arXiv:2010.11929), section 3.2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from zoo.core.architectures.family_facts import size_facts
from zoo.core.errors import UsageError
from zoo.core.resize.plan import plan_resizes
from zoo.core.resize.rule import Resize

if TYPE_CHECKING:
    from zoo.models.base import ImageModel


def resized_model(model: ImageModel, sizes: Mapping[str, Any]) -> ImageModel:
    """A model like this one for other sizes, with its weights.

    Args:
        sizes: fields of the spec, or keywords of the model's class.

    Raises:
        UsageError: the model takes images of any size, or not of this one.
        TypeError: there is no such size.
    """
    if model.img_size is None:
        raise UsageError(f"{type(model).__name__} takes images of any size: there is none to set.")
    if model.is_reparameterized:
        raise UsageError(
            f"This {type(model).__name__} has its branches and norms joined, which another size cannot be built with.",
            hint="Call set_input_size before reparameterize.",
        )
    sizes = model.sizes_for(dict(sizes))
    in_spec = {field.name for field in fields(model.spec)}
    keywords = {**model._keywords, "in_chans": model.in_chans, "num_classes": model.num_classes}
    for name in sizes.keys() - in_spec:
        if name not in keywords and name not in _parameters(type(model)):
            raise TypeError(f"{type(model).__name__} has no size {name!r}.")
    keywords |= {name: size for name, size in sizes.items() if name not in in_spec}
    with torch.device("meta"):
        spec = replace(model.spec, **{name: size for name, size in sizes.items() if name in in_spec})
        model_class: Any = type(model)
        resized: ImageModel = model_class(spec, **keywords)
        if resized.global_pool.pool_type != model.global_pool.pool_type:
            resized.make_head(model.global_pool.pool_type)
    values = model.state_dict(keep_vars=True)
    trained = [parameter.requires_grad for parameter in model.parameters()]  # which assigning would change
    resizes = _plan(model, resized)
    fitted = {name: _fit(value, resizes.get(name)) for name, value in values.items()}
    resized.load_state_dict(fitted, assign=True)
    for parameter, is_trained in zip(resized.parameters(), trained, strict=True):
        parameter.requires_grad_(is_trained)
    like = next(model.parameters())
    resized.to(device=like.device, dtype=like.dtype).train(model.training)
    resized.grad_checkpointing, resized.pretrained_cfg = model.grad_checkpointing, dict(model.pretrained_cfg)
    return resized


def _parameters(model_class: type) -> set[str]:
    from inspect import signature

    return set(signature(model_class).parameters)


def _plan(model: ImageModel, resized: ImageModel) -> dict[str, Resize]:
    assert model.img_size is not None  # there is a size to set
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    kernel = tuple(resized.state_dict()[size_facts(model.family).patch_kernel].shape) if _has_patches(model) else ()
    return plan_resizes(
        model.family,
        shapes,
        source_size=model.img_size,
        stated=True,
        img_size=resized.img_size,
        patch_size=(kernel[2], kernel[3]) if len(kernel) == 4 else None,
        windows=resized.windows,
        architecture=str(model.pretrained_cfg.get("architecture", "")),
        embeds_prefix=model.spec.embeds_prefix,
    )


def _has_patches(model: ImageModel) -> bool:
    return size_facts(model.family).patch_kernel in model.state_dict()


def _fit(value: Tensor, resize: Resize | None) -> Tensor:
    if resize is None:
        return value
    if value.is_meta:
        fitted = value.new_empty(resize.new_shape)
    else:
        fitted = torch.from_numpy(resize.apply(value.detach().float().cpu().numpy())).to(value)
    return torch.nn.Parameter(fitted) if isinstance(value, torch.nn.Parameter) else fitted
