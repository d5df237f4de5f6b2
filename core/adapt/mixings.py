"""Which mixing of its channels each input layer gets, and where each filter comes from. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.core.adapt.request import AdaptRequest
from zoo.core.channels.mixing import SPECTRAL, ChannelMixing, band_mixing, channel_mixing
from zoo.core.channels.stem import Stem
from zoo.core.errors import InvalidInputError, UsageError

if TYPE_CHECKING:
    from zoo.core.channels.band_placement import Placement
    from zoo.core.channels.sensors import Band


def choose_mixings(
    stem: Stem, request: AdaptRequest, stated_bands: Sequence[str]
) -> tuple[tuple[ChannelMixing, ...], tuple[str, ...]]:
    """The mixing of each layer's channels (of one group, in a grouped layer), and how each band got its filter.

    Args:
        stem: the input layers.
        request: how many channels or which bands they are to read, and by which method.
        stated_bands: the bands that the file states for its own channels.

    Raises:
        UsageError: the channels or the source's bands are not all said, or the method does not suit them.
        InvalidInputError: bands are named for layers in which they have no place.
    """
    if stem.apart:
        return _mixings_apart(stem, request), ()
    mixing, placements = _mixing(stem, request, stated_bands)
    return (mixing,) * len(stem.layers), placements


def _mixings_apart(stem: Stem, request: AdaptRequest) -> tuple[ChannelMixing, ...]:
    """The mixings of layers that each read channels of their own."""
    if request.bands:
        raise InvalidInputError(
            "Bands cannot be placed by name in a model whose input layers each read their own bands.",
            hint="Use --method.",
        )
    if not stem.new_chans and request.in_chans not in (None, stem.from_chans):
        raise UsageError(
            f"The {stem.from_chans} channels are read by {len(stem.layers)} layers, {' + '.join(map(str, stem.chans))};"
            f" which of them should read the {request.in_chans} is not said.",
            hint=f"Say it: {' '.join(f'--input-layer {layer}=N' for layer in stem.layers)}",
        )
    if request.in_chans not in (None, sum(stem.new_chans or stem.chans)):
        raise UsageError(
            f"The layers were given {' + '.join(map(str, stem.new_chans))} channels, but {request.in_chans} asked for.",
            hint="Leave out --in-chans: it is their sum.",
        )
    layout = stem.layout
    return tuple(
        channel_mixing(request.method, layout.mixed_channels(before), layout.mixed_channels(after))
        for before, after in zip(stem.chans, stem.new_chans or stem.chans, strict=True)
    )


def _mixing(stem: Stem, request: AdaptRequest, stated_bands: Sequence[str]) -> tuple[ChannelMixing, tuple[str, ...]]:
    if not request.bands:
        in_chans = stem.from_chans if request.in_chans is None else request.in_chans
        layout = stem.layout
        return (
            channel_mixing(request.method, layout.mixed_channels(stem.from_chans), layout.mixed_channels(in_chans)),
            (),
        )
    from zoo.core.channels.band_placement import place_bands
    from zoo.core.channels.bands import parse_bands

    if stem.layout.kind == "groups":
        raise InvalidInputError("Bands cannot be placed by name in a grouped input layer.", hint="Use --method.")
    source_bands = request.from_bands
    if not source_bands and len(stated_bands) == stem.from_chans:
        source_bands = parse_bands(stated_bands)
    if not source_bands and stem.from_chans == 3:
        source_bands = parse_bands("red,green,blue")
    if len(source_bands) != stem.from_chans:
        found = f"{len(source_bands)} were named" if source_bands else "they are not known"
        raise UsageError(
            f"The source reads {stem.from_chans} bands; {found}.", hint="Name all of them, in order, with --from-bands."
        )
    if request.method == SPECTRAL:
        from zoo.core.channels.spectral import spectral_mixing

        mixing = spectral_mixing(source_bands, request.bands)
        names = [band.name for band in source_bands]
        return mixing, tuple(
            f"{band.name} <- {_mixture_told(row, names)}" for band, row in zip(request.bands, mixing.rows, strict=True)
        )
    placements = place_bands(source_bands, request.bands, request.missing_bands)
    told = tuple(f"{placement.band.name} <- {_filters_told(placement, source_bands)}" for placement in placements)
    return band_mixing([placement.shares for placement in placements], stem.from_chans), told


def main_source(row: Sequence[tuple[int, float]], names: Sequence[str]) -> str:
    """The source channel that has most of a filter, with a plus if others have a part; "mixed" if none has half."""
    if not row:
        return "zeros"
    sizes = [abs(coefficient) for _, coefficient in row]
    if len(row) > 1 and max(sizes) < sum(sizes) / 2:
        return "mixed" if max(sizes) - min(sizes) > 1e-6 * max(sizes) else "all"
    return names[row[sizes.index(max(sizes))][0]] + "+" * (len(row) > 1)


def _mixture_told(row: Sequence[tuple[int, float]], names: Sequence[str]) -> str:
    """The coefficients of a band's filter."""
    return " ".join(f"{coefficient:+.3f} {names[c]}" for c, coefficient in row) or "zeros (no wavelength)"


def _filters_told(placement: Placement, source_bands: Sequence[Band]) -> str:
    """Where a band's filter comes from, and why."""
    if placement.how in ("no wavelength", "not by wavelength"):
        return f"mean of all ({placement.how})"
    shares = " + ".join(f"{share:.3g} {source_bands[i].name}" for i, share in placement.shares)
    return f"{shares or 'zero'} ({placement.how})"
