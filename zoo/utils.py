"""What the published models API keeps in its module of this name."""

from zoo.published_names import offer

__getattr__, __dir__, __all__ = offer(__name__)
