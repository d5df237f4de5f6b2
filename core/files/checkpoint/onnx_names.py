"""Name the weights of a graph by the operations that use them.

Exporters give what they computed beforehand names of their own (`onnx::MatMul_1097`, `val_12`): weights that they
transposed, and convolutions that they folded a norm into. They also store equal tensors once. But an operation says in
which module it was recorded: torch.onnx's first exporter in its name (`/blocks/blocks.0/attn/qkv/MatMul`), the second
in its metadata.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

SCOPES = "pkg.torch.onnx.name_scopes"
"""The entry in a node's metadata that lists the modules around it: `['', 'blocks', 'blocks.0', 'linear']`."""

FOLDED_BIAS = ".weight_bias"
"""onnxscript makes a bias of a batch norm, and names it by the weight of the convolution before it."""

_MADE_NAME = re.compile(
    r"(?:val_|_val_|const_|Constant_|onnx::\w+_)\d+"
    r"|(?:view|expand|permute|transpose|reshape|unsqueeze|squeeze|clone|slice|select|index|cat|add|sub|mul|div|t|tmp)"
    r"(?:_\d+)?"
    r"|_?(?:lifted_tensor|shape|constant)_?\d*|(?:min|max)_val_cast|split_\w*sizes|[^.]*/\w+"
)
"""What exporters call constants of a graph: they count them, or name them by the operation that gave them."""

_QUOTED = re.compile(r"'([^']*)'")

_ROLES: Mapping[str, tuple[str, ...]] = {
    "Conv": ("", "weight", "bias"),
    "ConvTranspose": ("", "weight", "bias"),
    "Gemm": ("", "weight", "bias"),
    "MatMul": ("", "weight"),
    "LayerNormalization": ("", "weight", "bias"),
    "GroupNormalization": ("", "weight", "bias"),
    "BatchNormalization": ("", "weight", "bias", "running_mean", "running_var"),
}
"""What each input of an operation is in its module."""


def is_made_name(name: str) -> bool:
    """Whether an exporter made the name up, so that it is no path of a parameter."""
    return _MADE_NAME.fullmatch(name) is not None


class Node(NamedTuple):
    """An operation. `scopes` is its entry SCOPES; `transposes` says that it takes its weight as (out, in)."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scopes: str = ""
    transposes: bool = False

    @property
    def module(self) -> str:
        """The path of the module that it was recorded in; "" if it does not say."""
        if self.scopes:
            paths = _QUOTED.findall(self.scopes)
            return paths[-2] if len(paths) > 1 else ""
        parts: list[str] = []
        for part in self.name.split("/")[1:-1]:
            if parts and part.startswith(f"{parts[-1]}."):  # a child of a Sequential repeats its parent's name
                parts.pop()
            parts.append(part)
        return ".".join(parts)


class Found(NamedTuple):
    """A parameter under an initialiser: whether it is stored as (in, out), and whether axes of 1 lie around it."""

    initialiser: str
    transposed: bool = False
    flat: bool = False


def parameters_of(nodes: Iterable[Node], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Found]:
    """The parameters that are not among the initialisers by their own names.

    Args:
        nodes: the operations in the order of the graph.
        shapes: of the initialisers, by name.
    """
    found = {f"{name.removesuffix(FOLDED_BIAS)}.bias": Found(name) for name in shapes if name.endswith(FOLDED_BIAS)}
    shared: dict[str, Found] = {}
    at_home: set[str] = set()
    same = {name: name for name in shapes}
    with_product: set[str] = set()
    for node in nodes:
        given = [same.get(name, "") for name in node.inputs]
        if not any(given):
            continue
        if node.kind == "Identity":
            same.update(dict.fromkeys(node.outputs, given[0]))
            found |= {output: Found(given[0]) for output in node.outputs if not is_made_name(output)}
            continue
        parameters = list(_parameters(node, given, shapes, with_product))
        if node.kind == "MatMul" and parameters:
            with_product.add(node.module)
        for name, one in parameters:
            if is_made_name(one.initialiser):
                found.setdefault(name, one)
            elif name == one.initialiser:
                at_home.add(name)
            elif name.rpartition(".")[2] == one.initialiser.rpartition(".")[2]:
                shared.setdefault(name, one)
    # A tensor that two layers use has the name of one of them. One that is used elsewhere alone is no second tensor.
    found |= {name: one for name, one in shared.items() if one.initialiser in at_home}
    return {name: one for name, one in found.items() if name not in shapes}


def _parameters(
    node: Node, given: Sequence[str], shapes: Mapping[str, tuple[int, ...]], with_product: Collection[str]
) -> Iterator[tuple[str, Found]]:
    """What the initialisers among the inputs of an operation are.

    Args:
        given: the initialiser behind each input, "" for another value.
        with_product: modules that multiplied by their weight before: what they add is their bias.
    """
    module = node.module
    initialisers = [name for name in given if name]
    if node.kind == "Concat":
        yield from ((_token(module, shapes[name]), Found(name)) for name in initialisers if _is_token(shapes[name]))
    elif not module:
        return
    elif node.kind == "Add" and module in with_product:
        yield from ((f"{module}.bias", Found(name)) for name in initialisers if len(shapes[name]) == 1)
    elif node.kind in ("Add", "Mul"):
        for name in initialisers:
            if not is_made_name(name):
                owner, _, last = name.rpartition(".")
                if owner.rpartition(".")[2] == module.rpartition(".")[2]:
                    yield f"{module}.{last}", Found(name)
            elif _is_per_channel(shapes[name]):
                yield f"{module}.{'beta' if node.kind == 'Add' else 'gamma'}", Found(name, flat=True)
    else:
        yield from _of_roles(node, given, shapes)


def _of_roles(node: Node, given: Iterable[str], shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, Found]]:
    """The inputs of an operation that is a layer."""
    # A convolution with a norm folded into it may count as the norm's; its weight then has its own name.
    if node.kind == "Conv" and node.scopes:
        return
    for name, role in zip(given, _ROLES.get(node.kind, ()), strict=False):
        if not name or not role:
            continue
        swapped = role == "weight" and (node.kind == "MatMul" or (node.kind == "Gemm" and not node.transposes))
        if swapped and (len(shapes[name]) != 2 or not is_made_name(name)):
            continue
        yield f"{node.module}.{role}", Found(name, transposed=swapped)


def _is_per_channel(shape: tuple[int, ...]) -> bool:
    """Whether it is one number for each channel of a map: (C, 1, 1), (1, C, 1, 1) or (1, 1, 1, C)."""
    return len(shape) in (3, 4) and sum(size > 1 for size in shape) == 1 and (len(shape) == 4 or shape[0] > 1)


def _is_token(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] == 1


def _token(module: str, shape: tuple[int, ...]) -> str:
    """The name of tokens that are put before those of an image."""
    return ".".join(filter(None, (module, "cls_token" if shape[1] == 1 else "reg_token")))
