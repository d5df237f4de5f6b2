"""`zoo identify`: the architecture of a weight file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli import output
from zoo.cli.options import Json, Key, Offline, Quiet, Timeout, Verbose, limit_network, local_source
from zoo.core.errors import InvalidInputError

if TYPE_CHECKING:
    from zoo.core.identify.identify import Identity


def identify(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A weight file, its URL, a folder, or hf-hub:owner/repo.")
    ],
    key: Key = "",
    offline: Offline = False,
    timeout: Timeout = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Tell which architecture a weight file holds, by the names and shapes of its tensors alone.

    The command prints one line for each answer, the best first. A line gives the architecture (several names if only
    their mathematics differ), the key layout, input channels, classes, and the image and patch size if the file or its
    shapes tell them. It says form=reparameterized if branches and norms are joined for inference. It gives the number
    of positions if they form no square and nothing tells the size. It also names strays: tensors that are not part of
    the network. If no known architecture has exactly these tensors, the command prints the nearest ones (match=similar,
    with the share of their layers that the file has), and the exit code is 4.
    If the names are of no known ecosystem either (layout=unknown), the nearest are found by the shapes of weights.

    \b
    Examples:
      zoo identify checkpoint.pth
      zoo identify unknown.safetensors --json
    """
    output.configure(json=json, quiet=quiet, verbose=verbose)
    limit_network(offline=offline, timeout=timeout)
    source = local_source(source)
    from zoo.core.identify.identify import identify as find
    from zoo.weights_cache.open_source import open_source

    with open_source(source, key=key) as opened:
        for text in opened.notes():
            output.note(text)
        found = find(opened.tensors, stated_size=_stated_size(opened.metadata))
        stated = _stated(opened.metadata)
    if found and json:
        output.document({"source": source, "stated": stated, "candidates": [one.to_dict() for one in found]})
    else:
        output.lines(map(_as_line, found))
    if not found or found[0].match == "similar":
        nearest = f"; nearest is {found[0].architectures[0]}" if found else ""
        raise InvalidInputError(
            f"{source} holds the tensors of no architecture that zoo knows{nearest}.",
            hint=f"Its metadata says {stated}." if stated else _where_to_look(source, found),
            path=source,
        )


def _where_to_look(source: str, found: Sequence["Identity"]) -> str:
    from zoo.core.architectures.registry import is_model

    if found and is_model(found[0].architectures[0]):
        return f"`zoo check {found[0].architectures[0]} {source}` shows which tensors differ."
    return f"`zoo inspect {source}` shows its tensors."


def _stated(metadata: Mapping[str, str]) -> str:
    """The architecture that the file's own metadata name; empty if they name none."""
    from zoo.core.inspection.summary import readable_metadata

    own = readable_metadata(metadata).get("zoo")
    architecture = own.get("architecture") if isinstance(own, dict) else None
    return architecture if isinstance(architecture, str) else ""


def _stated_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of the images that the file's own metadata state."""
    from zoo.core.inspection.summary import readable_metadata

    own = readable_metadata(metadata).get("zoo")
    arguments = own.get("model_args") if isinstance(own, dict) else None
    if not isinstance(arguments, dict):
        return None
    from zoo.core.metadata.stated import stated_image_size

    return stated_image_size(arguments)


def _as_line(one: "Identity") -> str:
    facts = {
        "match": one.match.replace(" ", "-"),
        "coverage": None if one.match != "similar" else f"{one.coverage:.3f}",
        "layout": one.layout,
        "form": "reparameterized" if one.reparameterized else None,
        "in_chans": one.in_chans,
        "num_classes": one.num_classes,
        "image_size": one.image_size and "x".join(map(str, one.image_size)),
        "positions": one.positions,
        "patch_size": one.patch_size and "x".join(map(str, one.patch_size)),
        "prefix": one.prefix,
        "share": None if one.share == 1 else f"{one.share:.3f}",
        "adapted": "yes" if one.adapted else None,
        "strays": len(one.strays) if len(one.strays) > output.MOST_NAMES else ",".join(one.strays),
    }
    said = " ".join(f"{key}={value}" for key, value in facts.items() if value not in (None, ""))
    return f"{','.join(one.architectures)} {said}"
