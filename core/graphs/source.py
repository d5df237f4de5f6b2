"""Which model a graph is made of: a name, with its published weights or those of a file, or a file alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from zoo.core.files.open_weights import open_weights
from zoo.core.metadata.stated import stated_configuration
from zoo.core.model.named_model import named_cfg
from zoo.weights_cache.download import fetch


class GraphSource(NamedTuple):
    """The model's name, its weight file, None for the published weights, and the place of the state dict in the file.

    `source_size` is the height and width of the images that the file is for, if it does not say so itself.
    """

    model: str
    weights: str | None = None
    key: str = ""
    source_size: tuple[int, int] | None = None


class Origin(NamedTuple):
    """Where weights come from: the name of their source, its sha256, and what the file says of its bands."""

    name: str
    sha256: str
    bands: tuple[str, ...] = ()


def origin_of(source: GraphSource) -> Origin:
    """Where the weights of a source come from. The file must be there: weights that were loaded are."""
    if source.weights is None:
        found = fetch(named_cfg(source.model), offline=True)
        path, name = Path(found.path), found.origin
    else:
        path = Path(source.weights).expanduser()
        name = f"file:{path.name}"
    with open_weights(path, key=source.key) as opened:
        stated: Mapping[str, Any] = stated_configuration(opened.metadata, "", str(path))
        return Origin(name, opened.sha256(), tuple(stated.get("bands", ())))
