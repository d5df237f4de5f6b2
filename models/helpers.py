"""Names of `zoo.models`, under the path that published code imports them from."""

from zoo.published_names import offer

__getattr__, __dir__, __all__ = offer(__name__)
