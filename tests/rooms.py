"""The contracts between the rooms of the house, read from the sources: `python tests/rooms.py` prints the breaches.

Imports inside functions count as those at the top do; only those under TYPE_CHECKING do not. What a module loads when
it is imported is followed through all modules that it imports.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TOP = ("cli", "core", "models", "weights_cache")

ORDER = (
    "cli",
    "core.export | core.average",
    "core.convert",
    "core.adapt | core.graphs",
    "core.model | core.inspection",
    "models | weights_cache",
    "core.metadata | core.identify | core.images",
    "core.channels",
    "core.layouts | core.resize | core.catalog",
    "core.architectures",
    "core.files",
    "core.extras",
    "core.errors",
)
"""A module imports from its own room and from lines further down; rooms of one line do not know each other."""

UPWARDS = {("models.entrypoints", "core.model.build")}
"""The one lazy way up: a registered model is built by `create_model`."""

AT_HOME = {
    "torch": ("models", "core.model", "core.graphs", "core.export"),
    "huggingface_hub": ("weights_cache",),
    "typer": ("cli",),
    "rich": ("cli",),
    "safetensors": ("core.adapt",),  # which reads back what it wrote
}
"""Where a package may be imported, be it inside a function."""

LIGHT = (
    "cli", "core.average", "core.convert", "core.adapt", "core.inspection", "weights_cache", "core.metadata",
    "core.identify", "core.images.inputs", "core.catalog", "core.channels", "core.layouts", "core.resize",
    "core.architectures", "core.files", "core.extras", "core.errors", "zoo", "core.export.plan", "core.export.folder",
    "core.export.run", "core.export.writers", "core.export.decode_pool", "core.export.devices",
    "core.export.device_processes", "core.export.ray_engine", "core.export.shard_worker",
)  # fmt: skip
HEAVY = {"torch", "numpy", "PIL", "huggingface_hub", "safetensors", "rich"}
"""What the import of a light room must not load, neither itself nor through others."""


class Import(NamedTuple):
    """`target` is a module of zoo without "zoo.", or the name of another package."""

    target: str
    at_start: bool


def sources() -> dict[str, str]:
    """Module without "zoo." -> its text."""
    found = {}
    for top in (*TOP, "zoo"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path.read_text()
    return found


def imports_of(texts: Mapping[str, str]) -> dict[str, list[Import]]:
    """What each module imports."""
    return {module: list(_imports(text, texts)) for module, text in texts.items()}


def _imports(text: str, modules: Mapping[str, str]) -> Iterator[Import]:
    for package, names, at_start in _statements(text):
        if package:
            whole = [f"{package}.{name}" for name in names]
            names = tuple(full if full.removeprefix("zoo.") in modules else package for full in whole)
        for name in dict.fromkeys(names):
            target = name.removeprefix("zoo.") if name.startswith("zoo.") else name.partition(".")[0]
            yield Import(target, at_start)


@cache
def _statements(text: str) -> list[tuple[str, tuple[str, ...], bool]]:
    """The import statements that run: the module that names come from or "", the names, whether they run at start."""
    tree = ast.parse(text)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    lazy = {id(n) for f in ast.walk(tree) if isinstance(f, functions) for n in ast.walk(f)}
    typing = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    unseen = {id(n) for block in typing for n in ast.walk(block)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in unseen:
            package = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            assert package or isinstance(node, ast.Import), "imports are absolute"
            found.append((package, tuple(alias.name for alias in node.names), id(node) not in lazy))
    return found


def room_of(module: str) -> str:
    """The room that a module is in: "core.files" of "core.files.checkpoint.legacy"; "" of what is in none."""
    parts = module.split(".")
    room = ".".join(parts[:2]) if parts[0] == "core" else parts[0]
    return room if room in _LINES else ""


_LINES = {room: number for number, line in enumerate(ORDER) for room in line.split(" | ")}


def breaches(texts: Mapping[str, str]) -> list[str]:
    """One sentence for each import that goes against the contracts, and for each circle."""
    imports = imports_of(texts)
    return [
        *_against_the_order(imports),
        *_away_from_home(imports),
        *_heavy_at_start(imports),
        *(f"{' -> '.join(circle)} is a circle" for circle in circles(imports)),
        *(f"{module} is in no room" for module in texts if module.startswith("core.") and not room_of(module)),
    ]


def _against_the_order(imports: Mapping[str, list[Import]]) -> Iterator[str]:
    for module, found in imports.items():
        room = room_of(module)
        for target in (i.target for i in found):
            other = room_of(target)
            goes_up = other and room and other != room and _LINES[other] <= _LINES[room]
            if goes_up and (module, target) not in UPWARDS:
                yield f"{module} imports {target}, and {room} stands not above {other}"


def _away_from_home(imports: Mapping[str, list[Import]]) -> Iterator[str]:
    for module, found in imports.items():
        for target in (i.target for i in found):
            if target in AT_HOME and not _within(module, AT_HOME[target]):
                yield f"{module} imports {target}"


def _heavy_at_start(imports: Mapping[str, list[Import]]) -> Iterator[str]:
    for module in imports:
        if _within(module, LIGHT):
            for way in _ways_to_heavy(module, imports):
                yield f"{' -> '.join(way)}: {module} is light"


def _ways_to_heavy(module: str, imports: Mapping[str, list[Import]]) -> Iterator[list[str]]:
    """The first way to each heavy package that importing the module takes."""
    ways = {module: [module]}
    queue = [module]
    for current in queue:
        for found in imports.get(current, []):
            if found.at_start and found.target not in ways:
                ways[found.target] = [*ways[current], found.target]
                queue.append(found.target)
    yield from (way for target, way in ways.items() if target in HEAVY)


def _within(module: str, rooms: Iterable[str]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def circles(imports: Mapping[str, list[Import]]) -> list[list[str]]:
    """Modules that import each other, by whatever way: one circle for each such group, by Tarjan's algorithm."""
    edges = {
        module: [i.target for i in found if i.target in imports and (module, i.target) not in UPWARDS]
        for module, found in imports.items()
        if module != "zoo"  # its names are imported when they are asked for
    }
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in edges[module]:
            if target not in edges:
                continue
            if target not in number:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[-len(group) :]
            if len(group) > 1:
                groups.append(group)

    for module in edges:
        if module not in number:
            visit(module)
    return groups


if __name__ == "__main__":
    found = breaches(sources())
    sys.stdout.write("".join(f"{breach}.\n" for breach in found))
    sys.exit(bool(found))
