"""Layers that users of the models API call, by the names of timm's published API."""

from zoo.published_names import offer

__getattr__, __dir__, __all__ = offer(__name__)
