"""How images are prepared for a model, by the names of timm's published API."""

from zoo.published_names import offer

__getattr__, __dir__, __all__ = offer(__name__)
