"""Find the layers of an unknown network that read its image: those whose channels no other layer makes.

Only names and shapes are known. A convolution's weight (out, in, kernel...) reads `in` channels and makes `out`.
Suppose an image of C channels: every layer whose input channels are available makes its own output channels available,
and so on. The image has the C with which the most layers work. Some layers look like input layers and are not:

- grouped convolutions, including depthwise ones: (128, 4, 3, 3) may be 32 groups that read 128 channels; - transposed
convolutions have their axes the other way round, which the bias shows; - squeeze-and-excitation makes a few channels
that only its own second half reads; - decoders read concatenated channels of several layers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import NamedTuple

MAX_IMAGE_CHANS = 64
"""A layer with more input channels than any sensor has reads features, not an image."""

_MOST_PARTS = 4
"""The most layers whose channels are concatenated, if that can be told from an image's channels."""

_LEAST_PART = 8
"""The fewest channels of a layer whose output is concatenated with others."""

_MOST_LAYERS, _MOST_CANDIDATES, _MOST_MODELS = 20_000, 2_000, 8
"""The first two are six times as many as any architecture has; so many of the found layers are compared with others."""

_USUAL_CHANS = 3
"""No grouped convolution reads three channels per group, so three are an image's even if other numbers are possible."""

_FEW_READERS = 2
"""The most layers with one unexplained number of input channels that may read an image."""

Shapes = Mapping[str, Sequence[int]]


class Layer(NamedTuple):
    """A layer with a kernel: its weight's name and shape, and the numbers of channels it reads and makes."""

    weight: str
    shape: tuple[int, ...]
    reads: int
    makes: int

    @property
    def name(self) -> str:
        """The module's path."""
        return self.weight.removesuffix("weight").removesuffix(".")

    @property
    def is_spatial(self) -> bool:
        """Whether the layer is a convolution in two dimensions or more."""
        return len(self.shape) >= 4

    @property
    def is_pointwise(self) -> bool:
        """Whether the layer mixes channels at one position only."""
        return prod(self.shape[2:]) == 1


class ImageReaders(NamedTuple):
    """The layers that read the image. If that is uncertain, `sure` is empty and `possible` has the candidates."""

    sure: tuple[Layer, ...]
    possible: tuple[Layer, ...] = ()


def image_readers(shapes: Shapes) -> ImageReaders:
    """Find the layers that read an image of up to `MAX_IMAGE_CHANS` channels.

    Args:
        shapes: shapes of the floating-point tensors by name, in the order of the file. The order shows which layer is
            first, unless the file is sorted by name, as safetensors files are.
    """
    network = _Network(shapes)
    candidates = network.candidates
    if not candidates or network.is_too_large:
        return ImageReaders(())
    # Image readers have a kernel here; `beside` finds the pointwise ones later.
    spread = [layer for layer in candidates if not layer.is_pointwise] or candidates
    working = {chans: network.num_working(chans) for chans in {layer.reads for layer in spread}}
    best = {chans for chans, count in working.items() if count == max(working.values())}
    first = _first_in_order([layer for layer in network.layers if layer.is_spatial])
    readers = [layer for layer in candidates if layer.reads in best]
    chans = min(best)
    if len(best) > 1 or all(network.is_group(layer, chans) for layer in readers):
        found = _likeliest([layer for layer in spread if layer.reads in best], network, first)
        if not found:
            return ImageReaders((), tuple(candidates))
        readers = network.branches(found[0]) if len(found) == 1 else found
    else:
        readers = [layer for layer in readers if not network.is_group(layer, chans)]
        if not first and chans > _USUAL_CHANS and all(network.is_part(layer, chans) for layer in readers):
            return ImageReaders((), tuple(candidates))
    if first and first not in readers:
        # `first` may be a transposed convolution, which makes the image, or it may be a real input layer.
        return ImageReaders((), (*([first] if first in candidates else []), *readers))
    readers += network.beside(readers)
    weights = {layer.weight for layer in readers}
    return ImageReaders(tuple(layer for layer in candidates if layer.weight in weights))


def readers_beside(shapes: Shapes, weights: Sequence[str]) -> list[Layer]:
    """Find layers that clearly read the image, or a second image, in addition to those with these weights."""
    network = _Network(shapes)
    readers = [layer for layer in network.layers if layer.weight in weights and layer.is_spatial]
    return network.beside(readers) if readers and not network.is_too_large else []


def _is_alike(layer: Layer, reader: Layer) -> bool:
    """Whether both have the same shape, except for the channels they read."""
    return layer.makes == reader.makes and layer.shape[2:] == reader.shape[2:]


def _likeliest(candidates: Sequence[Layer], network: _Network, first: Layer | None) -> list[Layer]:
    """The layers that read the image if several numbers of channels are possible; empty if undecidable."""
    if first and first in candidates:
        return [first]
    plain = [c for c in candidates if c.reads not in network.made and not _may_be_grouped(c) and not c.is_pointwise]
    if len(plain) == len(candidates):
        return plain
    by_chans: dict[int, list[Layer]] = defaultdict(list)
    for layer in candidates:
        # Normalised channels are features.
        if layer.reads not in network.norm_sizes and not layer.is_pointwise:
            by_chans[layer.reads].append(layer)
    depthwise = by_chans.pop(1) if len(by_chans.get(1, ())) > 1 else []
    found = next(iter(by_chans.values()), [])
    if len(by_chans) != 1 or len(found) != 1 or (depthwise and found[0].reads >= _LEAST_PART):
        return []
    return found


class _Network:
    """The layers of a checkpoint, and what they make of an image with a given number of channels."""

    def __init__(self, shapes: Shapes) -> None:
        self.layers = layers_of(shapes)
        biases = {f"{layer.weight.removesuffix('weight')}bias" for layer in self.layers}
        self.norm_sizes = {shape[0] for name, shape in shapes.items() if len(shape) == 1 and name not in biases}
        self.made = {layer.makes for layer in self.layers}
        # A layer that makes as many channels as it reads is inside: it works on some of the channels, or on heads.
        self.candidates = [
            layer
            for layer in self.layers
            if layer.is_spatial and layer.reads <= MAX_IMAGE_CHANS and layer.reads != layer.makes
        ]
        self.is_too_large = len(self.layers) > _MOST_LAYERS or len(self.candidates) > _MOST_CANDIDATES
        self._sorted = sorted(self.layers)
        self._inside: dict[str, list[Layer]] = {}
        self._squeezes, self._excitations = _squeezes(self.layers)
        read = {layer.reads for layer in self.layers if layer.is_pointwise or len(layer.shape) == 2}
        read |= {layer.makes for layer in self.layers if _may_be_grouped(layer)} | self.norm_sizes
        self._links = Counter(
            (
                0 if layer.weight in self._excitations else layer.reads,
                0
                if layer.weight in self._squeezes or (len(layer.shape) == 2 and layer.makes not in read)
                else layer.makes,
                _may_be_grouped(layer),
            )
            for layer in self.layers
        )
        self._available: dict[int, set[int]] = {}

    def available(self, chans: int) -> set[int]:
        """The channel counts available in the network for an image of `chans` channels."""
        if chans not in self._available:
            there = {0, chans}
            waiting: dict[int, list[int]] = defaultdict(list)
            todo = [0, chans]
            for reads, makes, _ in self._links:
                if reads > MAX_IMAGE_CHANS:
                    todo.append(makes)
                else:
                    waiting[reads].append(makes)
            there.update(todo)
            while todo:
                for makes in waiting.pop(todo.pop(), ()):
                    if makes not in there:
                        there.add(makes)
                        todo.append(makes)
            self._available[chans] = there
        return self._available[chans]

    def num_working(self, chans: int) -> int:
        """How many layers find the channels they read."""
        there = self.available(chans)
        parts = [size for size in there if _LEAST_PART <= size < MAX_IMAGE_CHANS]
        joined = {one + other for one in parts for other in parts}
        return sum(
            count
            for (reads, makes, grouped), count in self._links.items()
            # A depthwise convolution may work on part of the channels.
            if reads == 1
            or reads > MAX_IMAGE_CHANS
            or reads in there
            or reads in joined
            or (grouped and makes in there)
        )

    def is_group(self, layer: Layer, chans: int) -> bool:
        """Whether this may be a grouped convolution that makes as many channels as it reads."""
        return _may_be_grouped(layer) and layer.makes in self.available(chans)

    def is_part(self, layer: Layer, chans: int) -> bool:
        """Whether this may be a grouped convolution of any kind: some layer makes a multiple of its input channels."""
        there = (size for size in self.available(chans) if size > layer.reads)
        return any(size % layer.reads == 0 and layer.makes % (size // layer.reads) == 0 for size in there)

    def beside(self, readers: Sequence[Layer]) -> list[Layer]:
        """The layers that read an image in addition to the known readers."""
        reader = readers[0]
        same = Counter(layer.reads for layer in self.candidates)
        known = {layer.weight for layer in readers}
        found: list[Layer] = []
        for layer in self.candidates:
            alike = _is_alike(layer, reader)
            as_many = layer.reads == reader.reads and not _may_be_grouped(layer)
            few = same[layer.reads] <= _FEW_READERS and layer.reads not in self.made
            unexplained = self.is_cut_off(layer, reader.reads) and (alike or few)
            if layer.weight not in known and (unexplained or (as_many and (alike or layer.reads not in self.made))):
                found.append(layer)
        counterparts: list[Layer] | None = None
        while counterparts is None or counterparts:
            known.update(layer.weight for layer in found)
            models = [*readers, *found][:_MOST_MODELS]
            counterparts = [
                layer
                for layer in self.candidates
                if layer.weight not in known and any(self._is_counterpart(layer, one, known) for one in models)
            ]
            found += counterparts
        return found

    def inside(self, prefix: str) -> list[Layer]:
        """The layers of a module, sorted by name."""
        if prefix not in self._inside:
            start = bisect_left(self._sorted, prefix, key=lambda layer: layer.weight)
            end = start
            while end < len(self._sorted) and self._sorted[end].weight.startswith(prefix):
                end += 1
            self._inside[prefix] = self._sorted[start:end]
        return self._inside[prefix]

    def branches(self, reader: Layer) -> list[Layer]:
        """The layers of the outermost module around `reader` whose layers all read as many channels as it does."""
        parts = reader.weight.split(".")
        for depth in range(1, len(parts)):
            inside = self.inside(".".join([*parts[:depth], ""]))
            if all(layer.reads == reader.reads for layer in inside):
                return inside
        return [reader]

    def _is_counterpart(self, layer: Layer, reader: Layer, readers: Collection[str]) -> bool:
        """Whether a layer does what a reader does, in a parallel network or branch: only the channels differ.

        A depthwise convolution has the shape of a layer that reads one channel; the surrounding layers tell them apart.
        """
        one, other = layer.weight.split("."), reader.weight.split(".")
        differing = [i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
        if len(one) != len(other) or len(differing) != 1 or differing[0] + 2 >= len(one):
            return False
        at = differing[0]
        mine, theirs = (
            {part.weight.removeprefix(prefix): part for part in self.inside(prefix)}
            for prefix in (".".join([*parts[: at + 1], ""]) for parts in (one, other))
        )
        rest = ".".join(one[at + 1 :])
        if layer.reads == reader.reads:
            branch = layer.is_pointwise and layer.makes == reader.makes
            return layer.reads > 1 or branch or (len(mine) > 1 and mine.keys() == theirs.keys())
        if not _is_alike(layer, reader):
            return False
        flows = [
            {name: (part.reads, part.makes) for name, part in parts.items() if name != rest and part.reads > 1}
            for parts in (mine, theirs)
        ]
        if flows[0] and flows[0] == flows[1]:
            return True  # two networks
        around = self.inside(".".join([*one[:at], ""]))
        alike = all(part.weight.endswith(f".{rest}") and part.makes == layer.makes for part in around)
        return alike and sum(part.weight in readers for part in around) > 1

    def is_cut_off(self, layer: Layer, chans: int) -> bool:
        """Whether nothing explains the layer's input channels: no layer, no group, no concatenation."""
        there = self.available(chans)
        inner = layer.reads == 1 or layer.is_pointwise or layer.weight in self._excitations
        if inner or layer.reads in there or self.is_group(layer, chans):
            return False
        if self.is_part(layer, chans):
            return False
        small = sorted(size for size in there if 1 < size < layer.reads)
        sums = {0}
        for _ in range(_MOST_PARTS):
            sums |= {total + size for total in sums for size in small if total + size <= layer.reads}
        return layer.reads not in sums


def _may_be_grouped(layer: Layer) -> bool:
    """Whether this may be a grouped convolution: a group reads a power of two or a multiple of eight channels."""
    usual = layer.reads in (1, 2, 4) or layer.reads % 8 == 0
    return layer.is_spatial and usual and layer.makes % layer.reads == 0 and layer.makes > layer.reads


def _squeezes(layers: Sequence[Layer]) -> tuple[set[str], set[str]]:
    """Find pairs in one module: one layer reduces many channels to a few, the other expands them to as many again.

    Returns the weights of the reducing and of the expanding layers: no other layer reads the few channels.
    """
    modules: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for layer in layers:
        if layer.is_pointwise:
            modules[layer.name.rpartition(".")[0], layer.reads, layer.makes].append(layer.weight)
    found: tuple[set[str], set[str]] = set(), set()
    for (module, reads, makes), weights in modules.items():
        back = modules.get((module, makes, reads), ())
        if makes < reads and makes <= MAX_IMAGE_CHANS and back:
            found[0].update(weights)
            found[1].update(back)
    return found


def _first_in_order(layers: Sequence[Layer]) -> Layer | None:
    """The first layer in the order of the file or, if that is sorted by name, in the order of the numbers in names."""
    names = [layer.weight for layer in layers]
    if names != sorted(names):
        return layers[0]
    inside = list(layers)
    depth = 0
    while len(inside) > 1:
        groups: dict[str, list[Layer]] = defaultdict(list)
        for layer in inside:
            groups[(layer.weight.split(".")[depth:] or [""])[0]].append(layer)
        if len(groups) > 1 and not all(map(str.isdecimal, groups)):
            return None
        inside = groups[min(groups, key=int)] if len(groups) > 1 else inside
        depth += 1
        if depth > max(layer.weight.count(".") for layer in inside):
            break
    return inside[0] if inside else None


def layers_of(shapes: Shapes) -> list[Layer]:
    """The layers with a kernel among the tensors, in their order; linear layers have two axes."""
    found = []
    for name, values in shapes.items():
        shape = tuple(values)
        if len(shape) < 2 or 0 in shape or not name.endswith("weight"):
            continue
        bias = tuple(shapes.get(f"{name.removesuffix('weight')}bias", ()))
        transposed = len(shape) > 2 and bias == (shape[1],) != (shape[0],)
        reads, makes = (shape[0], shape[1]) if transposed else (shape[1], shape[0])
        found.append(Layer(name, shape, reads, makes))
    return found
