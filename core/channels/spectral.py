"""Filters for many narrow bands that answer a spectrum as the filters of red, green and blue do.

A camera's channel sees the mean of a spectrum, weighted with the channel's response. If the new bands are x and what an
RGB camera would have seen is y, then the matrix M with the least mean error of M x against y gives filters that compute
f_N(x) = f_3(M x). The mean is taken over spectra whose values at two wavelengths are correlated by the power of their
distance, as in Pratt and Mancill (1976, DOI 10.1364/AO.15.000073), with noise in each band. Rows of M sum to one, so a
grey picture is seen exactly as before.

The responses of red, green and blue are those of linear sRGB under a light of equal energy: the colour matching
functions of CIE 1931 in the fit of Wyman, Sloan and Shirley (2013, JCGT 2(2), equation 4), by the matrix of IEC
61966-2-1. numpy is imported when needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo.core.channels.band_placement import LONGEST_REFLECTED
from zoo.core.channels.mixing import SPECTRAL, ChannelMixing, check_in_chans
from zoo.core.channels.sensors import Band
from zoo.core.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLOURS = ("red", "green", "blue")

_CIE_LOBES = (
    ((1.056, 599.8, 37.9, 31.0), (0.362, 442.0, 16.0, 26.7), (-0.065, 501.1, 20.4, 26.2)),
    ((0.821, 568.8, 46.9, 40.5), (0.286, 530.9, 16.3, 31.1)),
    ((1.217, 437.0, 11.8, 36.0), (0.681, 459.0, 26.0, 13.8)),
)
"""x, y and z: height, centre, and deviation below and above it in nanometres."""

_XYZ_TO_SRGB = ((3.2406, -1.5372, -0.4986), (-0.9689, 1.8758, 0.0415), (0.0557, -0.2040, 1.0570))

_VISIBLE = (380.0, 780.0)
_STEP = 5.0  # nanometres between the samples of a spectrum
_CORRELATION = 0.98  # of a spectrum's values 10 nm apart
_NOISE = 1e-3  # variance in a band, of that of the spectrum
_NARROWEST = 5.0  # nanometres: a width below the samples' distance would miss them
_DECIMALS = 12  # so that another machine's rounding gives the same filters


def spectral_mixing(source: Sequence[Band], bands: Sequence[Band]) -> ChannelMixing:
    """The mixing from red, green and blue to bands with wavelengths.

    A band without a wavelength, or with one that is thermal, tells nothing of a colour and gets zeros.

    Args:
        source: red, green and blue in the order of the source's channels.
        bands: the new channels. A band without a width is as wide as the gap to its nearest neighbour.

    Raises:
        UsageError: the source reads other bands, or no new band has a wavelength.
    """
    names = [band.common_name for band in source]
    if sorted(names) != sorted(COLOURS):
        found = ", ".join(band.name for band in source)
        raise UsageError(
            f"The method {SPECTRAL} starts from red, green and blue, and the source reads {found}.",
            hint="Leave out --method: filters are then placed by band.",
        )
    check_in_chans(len(bands))
    places = [index for index, band in enumerate(bands) if _has_place(band)]
    if not places:
        raise UsageError(
            f"The method {SPECTRAL} needs the wavelengths of the new bands.", hint="For example: --bands 450nm,460nm"
        )
    matrix = mixing_matrix([bands[index] for index in places])
    order = [COLOURS.index(name) for name in names]
    rows: list[tuple[tuple[int, float], ...]] = [()] * len(bands)
    for column, index in enumerate(places):
        rows[index] = tuple((c, float(matrix[row, column])) for c, row in enumerate(order))
    return ChannelMixing(SPECTRAL, len(source), tuple(rows))


def _has_place(band: Band) -> bool:
    return band.wavelength is not None and band.wavelength < LONGEST_REFLECTED and band.common_name != "pan"


def mixing_matrix(bands: Sequence[Band]) -> NDArray[np.float64]:
    """M of shape (3, N): red, green and blue from bands with wavelengths; each row sums to one."""
    import numpy as np

    wavelengths = _samples(bands)
    colours, seen = colour_responses(wavelengths), band_responses(bands, wavelengths)
    distance = np.abs(wavelengths[:, None] - wavelengths[None])
    correlation = _CORRELATION ** (distance / 10)
    of_bands = seen @ correlation @ seen.T + _NOISE * np.eye(len(bands))
    free = np.linalg.solve(of_bands, seen @ correlation @ colours.T).T
    # Lagrange's condition for rows that sum to one.
    ones = np.linalg.solve(of_bands, np.ones(len(bands)))
    fitted = free + np.outer(1 - free.sum(1), ones / ones.sum())
    rounded: NDArray[np.float64] = np.round(fitted, _DECIMALS)
    return rounded


def _samples(bands: Sequence[Band]) -> NDArray[np.float64]:
    import numpy as np

    centres = [band.wavelength or 0.0 for band in bands]
    margin = 2 * max(widths(bands))
    low, high = min(_VISIBLE[0], min(centres) - margin), max(_VISIBLE[1], max(centres) + margin)
    return np.arange(low, high + _STEP, _STEP)


def widths(bands: Sequence[Band]) -> list[float]:
    """Full width at half maximum of each band in nanometres; a stated one, or the gap to the nearest neighbour."""
    centres = [band.wavelength or 0.0 for band in bands]
    found = []
    for index, band in enumerate(bands):
        gaps = [abs(centres[index] - other) for n, other in enumerate(centres) if n != index]
        gap = min((gap for gap in gaps if gap), default=_NARROWEST)
        found.append(max(_NARROWEST, gap if band.width is None else band.width))
    return found


def band_responses(bands: Sequence[Band], wavelengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Responses (N, samples) that sum to one: a bell curve of each band's centre and width."""
    import numpy as np

    centres = np.array([band.wavelength for band in bands], np.float64)[:, None]
    deviation = np.array(widths(bands))[:, None] / (2 * np.sqrt(2 * np.log(2)))
    curves = np.exp(-0.5 * ((wavelengths[None] - centres) / deviation) ** 2)
    normalised: NDArray[np.float64] = curves / curves.sum(1, keepdims=True)
    return normalised


def colour_responses(wavelengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Responses (3, samples) of red, green and blue that sum to one; parts are negative, as in colour matching."""
    import numpy as np

    def lobe(height: float, centre: float, below: float, above: float) -> NDArray[np.float64]:
        deviation = np.where(wavelengths < centre, below, above)
        curve: NDArray[np.float64] = height * np.exp(-0.5 * ((wavelengths - centre) / deviation) ** 2)
        return curve

    matching = np.stack([sum((lobe(*one) for one in lobes), np.zeros_like(wavelengths)) for lobes in _CIE_LOBES])
    # Equal energy is white here, as a camera's white balance makes it.
    curves = np.array(_XYZ_TO_SRGB) @ matching
    normalised: NDArray[np.float64] = curves / curves.sum(1, keepdims=True)
    return normalised
