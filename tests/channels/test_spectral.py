"""The method `spectral`: what an RGB camera would have seen, from bands with wavelengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.adapt.request import AdaptRequest
from zoo.core.channels.bands import parse_bands
from zoo.core.channels.sensors import Band
from zoo.core.channels.spectral import band_responses, colour_responses, mixing_matrix, spectral_mixing, widths
from zoo.core.errors import UsageError

from weight_bytes import weight_bytes

RGB = parse_bands("red,green,blue")
VISIBLE = parse_bands(",".join(f"{430 + 10 * i}nm" for i in range(25)))
WAVELENGTHS = np.arange(380.0, 781.0, 5.0)

# The 1931 standard observer at some wavelengths, CIE 15:2004, table T.4.
STANDARD_OBSERVER = {
    450: (0.3362, 0.0380, 1.77211),
    500: (0.0049, 0.3230, 0.2720),
    550: (0.4334499, 0.9949501, 0.008749999),
    600: (1.0622, 0.6310, 0.0008),
    650: (0.2835, 0.1070, 0.0),
}
SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # IEC 61966-2-1


def test_the_responses_are_those_of_the_standard_observer_in_srgb():
    nanometres = np.arange(380.0, 781.0, 1.0)
    # Of a light of equal energy all three are the same; undo that with the sums of the published functions.
    colours = colour_responses(nanometres)
    scales = np.linalg.inv(SRGB_TO_XYZ) @ np.array([106.857, 106.857, 106.857])
    found = SRGB_TO_XYZ @ (colours * scales[:, None])
    for wavelength, published in STANDARD_OBSERVER.items():
        np.testing.assert_allclose(found[:, wavelength - 380], published, atol=0.06)


def test_bands_see_a_mean_of_the_spectrum_around_their_centre():
    bands = [Band(name="a", wavelength=500, width=20), Band(name="b", wavelength=600, width=40)]
    responses = band_responses(bands, np.arange(380.0, 781.0, 1.0))
    np.testing.assert_allclose(responses.sum(1), 1)
    np.testing.assert_allclose(responses @ np.arange(380.0, 781.0), [500, 600], atol=1e-6)
    half = responses[0, 500 - 380] / 2
    assert np.isclose(responses[0, 490 - 380], half)  # 10 nm from the centre, at half of 20 nm
    assert widths(parse_bands("450nm,460nm,500nm")) == [10, 10, 40]


def test_a_grey_picture_is_seen_as_before():
    for bands in (VISIBLE, parse_bands(None, "sentinel2"), parse_bands("800nm,900nm"), parse_bands("550nm")):
        np.testing.assert_allclose(mixing_matrix(bands).sum(1), 1, atol=1e-10)


def smooth_spectra(count: int) -> np.ndarray:
    """Reflectances between 0 and 1 that change slowly, made otherwise than the method supposes: sums of cosines."""
    random = np.random.default_rng(0)
    waves = np.cos(np.pi * np.arange(6)[:, None] * (WAVELENGTHS - 380) / 400)
    spectra = random.normal(size=(count, 6)) / (1 + np.arange(6)) @ waves
    return (spectra - spectra.min(1, keepdims=True)) / np.ptp(spectra, axis=1)[:, None]


def test_the_colours_of_smooth_spectra_are_found_again():
    spectra = smooth_spectra(500)
    truth = spectra @ colour_responses(WAVELENGTHS).T
    seen = spectra @ band_responses(VISIBLE, WAVELENGTHS).T
    errors_of = {"spectral": seen @ mixing_matrix(VISIBLE).T - truth}
    for name, centre in (("red", 650), ("green", 560), ("blue", 470)):  # one band for each colour
        errors_of[name] = seen[:, [(centre - 430) // 10]] - truth[:, [("red", "green", "blue").index(name)]]
    rms = {name: float(np.sqrt(np.mean(values**2))) for name, values in errors_of.items()}
    assert rms["spectral"] < 0.01
    assert rms["spectral"] < min(rms[name] for name in ("red", "green", "blue")) / 4


def test_no_other_matrix_with_rows_of_sum_one_does_better():
    """The expected error under the model of spectra grows in every direction."""
    wavelengths = np.arange(380.0, 786.0, 5.0)
    colours, seen = colour_responses(wavelengths), band_responses(VISIBLE, wavelengths)
    correlation = 0.98 ** (np.abs(wavelengths[:, None] - wavelengths[None]) / 10)

    def expected_error(matrix: np.ndarray) -> float:
        difference = colours - matrix @ seen
        return float(np.trace(difference @ correlation @ difference.T) + 1e-3 * (matrix**2).sum())

    best = mixing_matrix(VISIBLE)
    random = np.random.default_rng(2)
    for _ in range(50):
        change = random.normal(size=best.shape) * 1e-3
        change -= change.mean(1, keepdims=True)
        assert expected_error(best + change) > expected_error(best)


def test_bands_that_show_no_colour_get_no_filter_and_the_order_of_the_source_counts():
    mixing = spectral_mixing(RGB, parse_bands("450nm,NDVI,550nm,10.9um,650nm"))
    assert [bool(row) for row in mixing.rows] == [True, False, True, False, True]
    turned = spectral_mixing(RGB[::-1], parse_bands("450nm,NDVI,550nm,10.9um,650nm"))
    assert [sorted((2 - c, k) for c, k in row) for row in turned.rows] == [sorted(row) for row in mixing.rows]


def test_the_filters_compute_what_the_source_computes_of_the_colours():
    mixing = spectral_mixing(RGB, VISIBLE)
    random = np.random.default_rng(1)
    weight, image = random.normal(size=(8, 3, 5)).astype(np.float32), random.normal(size=25)
    found = np.einsum("onk,n->ok", mixing.apply(weight).astype(np.float64), image)
    expected = np.einsum("ock,c->ok", weight.astype(np.float64), mixing_matrix(VISIBLE) @ image)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("source", "bands", "message"),
    [
        (parse_bands("red,nir,blue"), VISIBLE, "starts from red, green and blue, and the source reads red, nir, blue"),
        (RGB[:1], VISIBLE, "starts from red, green and blue"),
        (RGB, parse_bands("NDVI,DEM"), "needs the wavelengths"),
    ],
)
def test_what_has_no_colours_is_refused(source: tuple[Band, ...], bands: tuple[Band, ...], message: str):
    with pytest.raises(UsageError, match=message):
        spectral_mixing(source, bands)


def test_the_method_needs_bands():
    with pytest.raises(UsageError, match="needs the wavelengths of the new channels"):
        AdaptRequest(in_chans=25, method="spectral")


@pytest.mark.parametrize("method", ["balanced", "mean", "zero", "luma"])
def test_a_method_by_place_is_refused_beside_bands(method: str):
    with pytest.raises(UsageError, match="goes by the places of channels") as refused:
        AdaptRequest(method=method, bands=tuple(parse_bands("B2,B3,B4", "sentinel2")))
    assert "--missing-bands" in refused.value.hint


def test_verify_proves_a_file_and_finds_a_wrong_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    values = np.random.default_rng(0).normal(size=(8, 3, 3, 3)).astype("<f4")
    tensors = {"conv.weight": ("F32", (8, 3, 3, 3), values.tobytes())}
    Path("net.safetensors").write_bytes(weight_bytes(tensors, {"format": "pt"}))
    words = ["adapt-weights", "net.safetensors", "--method", "spectral", "--bands", "450nm,500nm,550nm,600nm,650nm"]
    words += ["--input-layer", "conv", "--verify"]
    assert errors.run(app, [*words, "-o", "five.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "f_N(x) = f_C(mixed x)" in out
    assert "f_N(g, ..., g) = f_C(g, ..., g)" in out
    assert "450nm <- " in out
    import zoo.core.channels.mixing as mixing

    apply = mixing.ChannelMixing.apply_to_floats
    monkeypatch.setattr(
        mixing.ChannelMixing,
        "apply_to_floats",
        lambda self, weight, rest: type(weight)("f", [1.01 * value for value in apply(self, weight, rest)]),
    )
    assert errors.run(app, [*words, "-o", "wrong.safetensors"]) == 4
    assert not Path("wrong.safetensors").exists()
