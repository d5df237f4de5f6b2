"""Names and wavelengths of bands against published tables, and the placement of filters against its definition."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.core.channels.auxiliary_channels import auxiliary_channel, known_names
from zoo.core.channels.band_placement import LONGEST_REFLECTED, place_bands
from zoo.core.channels.bands import ALIASES, NARROWER, assumed_sensor, parse_bands
from zoo.core.channels.sensors import Band, find_sensor, sensors
from zoo.core.errors import UsageError

WAYS = ("nearest", "interpolate", "mean", "zero")

# STAC EO extension v2.0.0, Common Band Names, in nanometres.
STAC_RANGES = {
    "pan": (400, 1000), "coastal": (400, 450), "blue": (450, 530), "green": (510, 600), "green05": (510, 550),
    "yellow": (580, 620), "red": (620, 690), "rededge": (690, 790), "rededge071": (690, 730), "rededge075": (730, 760),
    "rededge078": (760, 790), "nir": (760, 1000), "nir08": (800, 900), "nir09": (900, 1000), "cirrus": (1350, 1400),
    "swir16": (1550, 1750), "swir22": (2080, 2350), "lwir": (10400, 12500), "lwir11": (10500, 11500),
    "lwir12": (11500, 12500),
}  # fmt: skip

# Centres from documents other than those that the table names.
SECOND_SOURCE = {
    # Measured on Sentinel-2A (ESA), as in the Earth Engine Data Catalog; nominal values are rounder.
    "sentinel2": [442.7, 492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 945.1, 1373.5, 1613.7, 2202.4],
    # stactools-landsat, Collection 2 Level-2 metadata; cirrus: landsat-pds metadata.
    "landsat8": [440, 480, 560, 650, 870, 1610, 2200, 1373.5],
    "landsat7": [480, 560, 660, 840, 1650, 2200],
    "landsat5": [490, 560, 660, 830, 1650, 2220],
    # Awesome Spectral Indices, platform bands.
    "planetscope": [441.5, 490, 531, 565, 610, 665, 705, 865],
    "modis": [645, 858.5, 469, 555, 1240, 1640, 2130],
    "worldview2": [425, 480, 545, 605, 660, 725, 832.5, 950],
    # stactools-aster.
    "aster": [560, 660, 820, 1650, 2165, 2205, 2260, 2330, 2395],
    # stactools-planet.
    "skysat": [470, 560, 645, 800],
}


def names(bands: tuple[Band, ...]) -> list[str]:
    return [band.name for band in bands]


def shares(source: str, target: str, missing: str, sensor: str | None = None) -> list[dict[int, float]]:
    placed = place_bands(parse_bands(source), parse_bands(target, sensor), missing)
    return [dict(p.shares) for p in placed]


# ---------------------------------------------------------------- the table


def test_sentinel2_as_published():
    bands = find_sensor("sentinel2").bands
    assert names(bands) == [*(f"B{n:02}" for n in range(1, 9)), "B8A", *(f"B{n:02}" for n in range(9, 13))]
    assert [b.wavelength for b in bands] == [443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1375, 1610, 2190]
    assert [b.width for b in bands] == [20, 65, 35, 30, 15, 15, 20, 115, 20, 20, 30, 90, 180]
    assert names(find_sensor("sentinel2-l2a").bands) == [name for name in names(bands) if name != "B10"]


def test_a_range_becomes_its_middle_and_its_length():
    blue = parse_bands("B2", "landsat8")[0]  # 0.45 - 0.51 micrometres
    assert (blue.wavelength, blue.width) == (480, 60)


@pytest.mark.parametrize("name", SECOND_SOURCE)
def test_two_sources_agree_on_the_centres(name: str):
    centres = [band.wavelength for band in find_sensor(name).bands]
    assert centres == pytest.approx(SECOND_SOURCE[name], abs=20)


@pytest.mark.parametrize("sensor", sensors(), ids=lambda sensor: sensor.name)
def test_the_table_is_consistent(sensor):
    assert sensor.name == "gray" or (sensor.source and sensor.url.startswith("http"))
    assert len({band.name for band in sensor.all_bands}) == len(sensor.all_bands)
    common = [band.common_name for band in sensor.all_bands if band.common_name]
    assert len(set(common)) == len(common), "STAC: common names are unique within a collection"
    for band in sensor.all_bands:
        assert (band.width is None) == (band.wavelength is None)
        if band.common_name and band.wavelength is not None:
            low, high = STAC_RANGES[band.common_name]
            assert low <= band.wavelength <= high, band


def test_spellings_of_sensors_name_one_each():
    spellings = [spelling for sensor in sensors() for spelling in (sensor.name, *sensor.aliases)]
    found = {spelling: find_sensor(spelling).name for spelling in spellings}
    assert all(found[sensor.name] == sensor.name for sensor in sensors())
    assert all(found[alias] == sensor.name for sensor in sensors() for alias in sensor.aliases)


def test_every_alias_is_of_a_common_name():
    assert set(ALIASES.values()) | {narrow for group in NARROWER.values() for narrow in group} <= set(STAC_RANGES)


@pytest.mark.parametrize("spelling", ["sentinel2", "Sentinel-2", "SENTINEL_2", "s2", " sentinel 2 "])
def test_spellings_of_a_sensor(spelling: str):
    assert find_sensor(spelling).name == "sentinel2"


def test_an_unknown_sensor_gets_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean sentinel2"):
        find_sensor("sentinal2")
    with pytest.raises(UsageError, match="landsat8"):
        find_sensor("qqqqqq")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("spelling", ["B2", "B02", "b02", "Band 2", "band_2", "band02", "2", "blue", "B", "Blue"])
def test_spellings_of_one_band(spelling: str):
    assert names(parse_bands(spelling, "sentinel2")) == ["B02"]


@pytest.mark.parametrize(
    ("name", "sensor", "expected"),
    [
        ("B8", "sentinel2", "B08"),
        ("b8a", "sentinel2", "B8A"),
        ("NIR", "sentinel2", "B08"),
        ("RE1", "sentinel2", "B05"),
        ("Red Edge 3", "sentinel2", "B07"),
        ("SWIR2", "sentinel2", "B12"),
        ("aerosol", "sentinel2", "B01"),
        ("B8", "landsat8", "B8"),
        ("pan", "landsat8", "B8"),
        ("N", "landsat8", "B5"),  # its only near infrared is the narrow one
        ("thermal", "landsat7", "B6"),
        ("RE", "planetscope", "rededge"),
        ("Green I", "planetscope", "green_i"),
        ("B1", "naip", "Red"),  # no numbers of its own: counted
        ("B1", "pleiades", "MS2"),  # counted from 0 by its operator
        ("SWIR1", "worldview3", "SWIR1"),  # a sensor's own name goes before the common one
        ("grey", "gray", "gray"),
    ],
)
def test_names_within_a_sensor(name: str, sensor: str, expected: str):
    assert names(parse_bands(name, sensor)) == [expected]


def test_the_order_is_the_one_given():
    assert names(parse_bands("B8,B4,B3", "sentinel2")) == ["B08", "B04", "B03"]
    assert names(parse_bands(["B8", "B4"], "sentinel2")) == ["B08", "B04"]


def test_a_sensor_alone_means_its_image():
    assert parse_bands(None, "landsat8") == find_sensor("landsat8").bands
    assert names(parse_bands(None, "naip")) == ["Red", "Green", "Blue", "NIR"]
    with pytest.raises(UsageError, match="--sensor"):
        parse_bands(None)


@pytest.mark.parametrize("text", ["B2,B3,B4,B8", "B02, B03, B04, B08", "2,3,4,8"])
def test_numbers_without_a_sensor_are_sentinel2_and_that_can_be_told(text: str):
    assert [band.wavelength for band in parse_bands(text)] == [490, 560, 665, 842]
    assert assumed_sensor(text, None) == "sentinel2"
    assert assumed_sensor(text, "sentinel2") == ""


@pytest.mark.parametrize("text", ["R,G,B", "450nm,550", "VV,VH", "landsat8:B2"])
def test_nothing_is_assumed_without_numbers(text: str):
    assert assumed_sensor(text, None) == ""


def test_common_names_beside_numbers_are_of_the_same_sensor():
    assert names(parse_bands("B2,NIR")) == ["B02", "B08"]


def test_other_names_without_a_sensor():
    assert [b.sensor for b in parse_bands("VV,VH,B2")] == ["sentinel1", "sentinel1", "sentinel2"]
    assert [b.wavelength for b in parse_bands("NIR2")] == [950]
    with pytest.raises(UsageError, match="'VV' is no band of sentinel2"):
        parse_bands("VV,B2", "sentinel2")


def test_rgb_lies_in_the_middle_of_the_common_ranges():
    assert [b.wavelength for b in parse_bands("R,G,B")] == [(620 + 690) / 2, (510 + 600) / 2, (450 + 530) / 2]


def test_wavelengths():
    bands = parse_bands("450nm, 0.55um, 700, 842.5 nm, 1.61\u00b5m")
    assert [b.wavelength for b in bands] == [450, 550, 700, 842.5, 1610]
    assert names(bands) == ["450nm", "550nm", "700nm", "842.5nm", "1610nm"]
    assert names(parse_bands("450nm,B3", "sentinel2")) == ["450nm", "B03"]


def test_a_band_with_its_sensor():
    assert [(b.sensor, b.name) for b in parse_bands("s1:VV,landsat8:B8,B8")] == [
        ("sentinel1", "VV"), ("landsat8", "B8"), ("sentinel2", "B08")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sensor", "message"),
    [
        ("blu", "sentinel2", "Did you mean blue"),
        ("B13", "sentinel2", "Did you mean B1"),
        ("B13", None, "--sensor"),
        ("VV", "landsat8", "another --sensor"),
        ("rededge", "sentinel2", "B05 .705 nm., .*B06 .740 nm., .*B07"),
        ("swir", None, "swir16"),
        ("B2,B02", "sentinel2", "'B2' and 'B02' are the same band"),
        ("red,B4", "sentinel2", "the same band"),
        ("450nm,0.45um", None, "the same band"),
        ("10nm", None, "100 nm or more"),
        ("foo", None, "no band of any sensor"),
        ("-1", "sentinel2", "no band"),
        ("", None, "Expected band names"),
        ("B2,,B3", "sentinel2", "Expected band names"),
        ([], None, "Expected band names"),
        ("nowhere:B2", None, "no sensor called 'nowhere'"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, sensor, message: str):
    with pytest.raises(UsageError, match=message):
        parse_bands(text, sensor)


def test_a_name_that_sensors_disagree_on_needs_its_sensor(monkeypatch):
    def sensor(name: str, wavelength: float):
        own = Band(name="Violet", wavelength=wavelength, width=20, sensor=name)
        return type(find_sensor("rgb"))(name=name, title="", source="", url="", bands=(own,))

    monkeypatch.setattr("zoo.core.channels.bands.sensors", lambda: (sensor("one", 400), sensor("other", 445)))
    with pytest.raises(UsageError, match=r"--sensor: one:Violet \(400 nm\), other:Violet \(445 nm\)"):
        parse_bands("violet")
    monkeypatch.setattr("zoo.core.channels.bands.sensors", lambda: (sensor("one", 400), sensor("other", 435)))
    assert [b.wavelength for b in parse_bands("violet")] == [400]


@given(st.text(max_size=12), st.sampled_from([None, *(s.name for s in sensors())]))
def test_any_text_is_read_or_refused_as_usage(text: str, sensor: str | None):
    with suppress(UsageError):
        assert len(parse_bands(text, sensor)) == text.count(",") + 1


# ---------------------------------------------------------------- placement


def test_the_documented_example():
    assert shares("R,G,B", "B2,B3,B4,B8", "nearest") == [{2: 1}, {1: 1}, {0: 1}, {0: 1}]
    assert shares("R,G,B", "B2,B3,B4,B8", "zero") == [{2: 1}, {1: 1}, {0: 1}, {}]
    third = pytest.approx(1 / 3)
    assert shares("R,G,B", "B2,B3,B4,B8", "mean")[3] == {0: third, 1: third, 2: third}


def test_interpolation_is_linear_in_wavelength():
    # Between blue at 490 and green at 555: 503 is a fifth of the way.
    assert shares("R,G,B", "503nm", "interpolate") == [{1: pytest.approx(0.2), 2: pytest.approx(0.8)}]
    assert shares("R,G,B", "400nm,555nm,900nm", "interpolate") == [{2: 1}, {1: 1}, {0: 1}]
    # B05 at 705 between 655 and 880.
    placed = shares("R,G,B,NIR", "B5", "interpolate", "sentinel2")
    assert placed == [{0: pytest.approx(175 / 225), 3: pytest.approx(50 / 225)}]


def test_bands_of_one_common_name_may_share_a_source():
    source, target = parse_bands("R,G,B,NIR"), parse_bands("B8,B8A,B9", "sentinel2")
    assert [(p.shares, p.how) for p in place_bands(source, target, "zero")] == [
        (((3, 1.0),), "name"),
        (((3, 1.0),), "wavelength"),  # 865 and 945 lie within 880 +- 120
        (((3, 1.0),), "wavelength"),
    ]


def test_what_was_done_is_said():
    def how(target: str, missing: str) -> list[str]:
        return [p.how for p in place_bands(parse_bands("R,G,B"), parse_bands(target, "sentinel2"), missing)]

    assert how("B1,B2,520nm", "interpolate") == ["nearest", "name", "interpolate"]
    assert how("B1,B2,520nm", "nearest") == ["nearest", "name", "wavelength"]
    assert how("B1,B2,520nm", "mean") == ["mean", "name", "wavelength"]
    assert how("B1,B2,520nm", "zero") == ["zero", "name", "wavelength"]


def test_the_width_limits_the_counterpart():
    wide, narrow = Band(name="wide", wavelength=600, width=100), Band(name="narrow", wavelength=650, width=10)
    beyond = Band(name="beyond", wavelength=650.5, width=10)
    assert [p.how for p in place_bands([wide], [narrow, beyond], "zero")] == ["wavelength", "zero"]
    assert [p.how for p in place_bands([narrow, beyond], [wide], "zero")] == ["wavelength"]


def test_equally_near_bands_share():
    assert shares("500nm,600nm", "550nm", "nearest") == [{0: 0.5, 1: 0.5}]
    narrow, wide = Band(name="a", wavelength=500, width=10), Band(name="b", wavelength=600, width=200)
    for source in ([narrow, wide], [wide, narrow]):
        (placed,) = place_bands(source, parse_bands("550nm"), "zero")
        assert (placed.shares, placed.how) == (((0, 0.5), (1, 0.5)), "wavelength")


@pytest.mark.parametrize(
    ("off_scale", "how"),
    [
        ("sentinel1:VV", "no wavelength"),
        ("landsat8:B8", "not by wavelength"),
        ("landsat8:B10", "not by wavelength"),
        ("gray", "no wavelength"),
        ("NDVI", "no wavelength"),
        ("aux:x1", "no wavelength"),
    ],
)
def test_bands_off_the_scale_match_by_name_only(off_scale: str, how: str):
    """Nothing is nearest to them, nor between: where that was asked for, they get the mean, and it is said."""
    source, target = parse_bands("R,G,B"), parse_bands(off_scale)
    third = pytest.approx(1 / 3)
    for missing in ("nearest", "interpolate"):
        placed = place_bands(source, target, missing)
        assert [(dict(p.shares), p.how) for p in placed] == [({0: third, 1: third, 2: third}, how)]
    assert place_bands(source, target, "zero")[0].shares == ()
    assert len(place_bands(source, target, "mean")[0].shares) == 3
    assert [(p.shares, p.how) for p in place_bands(target, target)] == [(((0, 1.0),), "name")]


def test_a_colour_finds_nothing_near_it_in_radar():
    with pytest.raises(UsageError, match="B02 lies in a part of the spectrum"):
        place_bands(parse_bands("VV,VH"), parse_bands("B2"))


def test_a_thermal_source_is_not_near_a_colour():
    source = parse_bands("red,lwir")
    assert dict(place_bands(source, parse_bands("swir22"))[0].shares) == {0: 1}


@pytest.mark.parametrize(("source", "missing"), [((), "nearest"), (find_sensor("rgb").bands, "random")])
def test_placement_needs_a_source_and_a_known_way(source, missing):
    with pytest.raises(UsageError):
        place_bands(source, find_sensor("rgb").bands, missing)


def wavelength_band(wavelength: float) -> Band:
    return Band(name=f"{wavelength}nm", wavelength=wavelength)


ANY_BAND = st.one_of(
    st.sampled_from([band for sensor in sensors() for band in sensor.all_bands]),
    st.floats(300, 2500).map(wavelength_band),
)
OPTICAL = ANY_BAND.filter(
    lambda b: b.wavelength is not None and b.wavelength < LONGEST_REFLECTED and b.common_name != "pan"
)
BAND_LISTS = st.lists(ANY_BAND, min_size=1, max_size=8, unique=True)
OPTICAL_LISTS = st.lists(OPTICAL, min_size=1, max_size=8, unique=True)


@given(OPTICAL_LISTS, OPTICAL_LISTS, st.sampled_from(WAYS))
def test_shares_are_a_convex_combination(source, target, missing):
    placed = place_bands(source, target, missing)
    assert [p.band for p in placed] == target
    for p in placed:
        indices = [index for index, _ in p.shares]
        assert indices == sorted(set(indices))
        assert set(indices) <= set(range(len(source)))
        assert all(0 <= share <= 1 for _, share in p.shares)
        assert sum(share for _, share in p.shares) == pytest.approx(0 if p.how == "zero" else 1)


@given(BAND_LISTS, st.sampled_from(WAYS))
def test_a_sensor_placed_at_itself_is_unchanged(bands, missing):
    placed = place_bands(bands, bands, missing)
    assert [p.shares for p in placed] == [((index, 1.0),) for index in range(len(bands))]


@given(OPTICAL_LISTS, OPTICAL_LISTS, st.sampled_from(WAYS), st.randoms(use_true_random=False))
def test_the_order_of_the_source_does_not_matter(source, target, missing, random):
    order = list(range(len(source)))
    random.shuffle(order)
    shuffled = place_bands([source[index] for index in order], target, missing)
    for before, after in zip(place_bands(source, target, missing), shuffled, strict=True):
        assert {order[index]: share for index, share in after.shares} == pytest.approx(dict(before.shares))


@given(OPTICAL_LISTS, OPTICAL)
def test_interpolation_meets_the_wavelength_or_the_nearest_end(source, band):
    (placed,) = place_bands(source, [band], "interpolate")
    centres = [s.wavelength for s in source]
    if placed.how != "name":
        mixed = sum(share * centres[index] for index, share in placed.shares)
        assert mixed == pytest.approx(min(max(band.wavelength, min(centres)), max(centres)))


@given(OPTICAL_LISTS, OPTICAL)
def test_nearest_is_nearest(source, band):
    (placed,) = place_bands(source, [band], "nearest")
    distances = [abs(s.wavelength - band.wavelength) for s in source]
    if placed.how != "name":
        assert {index for index, _ in placed.shares} == {i for i, d in enumerate(distances) if d == min(distances)}


def test_the_table_is_read_on_demand():
    code = (
        "import zoo.core.channels.bands, zoo.core.channels.band_placement, sys, zoo.core.channels.sensors as s;"
        "assert s.sensors.cache_info().misses == 0;"
        "assert not {'torch', 'numpy', 'difflib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


# ---------------------------------------------------------------- channels that are no band

ORDINARY = (
    "NDVI", "NDWI", "EVI", "EVI2", "DEM", "elevation", "Slope", "ASPECT", "mask", "cloud mask", "coherence",
    "ndvi_mean", "NDVI-2020", "DEM30", "s2_ndvi", "coherence_VV", "thermal index", "aux:x1", "aux:B8",
)  # fmt: skip


@pytest.mark.parametrize("sensor", [None, "sentinel2", "landsat8"])
@pytest.mark.parametrize("name", ORDINARY)
def test_channels_without_a_wavelength(name: str, sensor: str | None):
    *colours, channel = parse_bands(f"R,G,B,{name}", sensor)
    assert len(colours) == 3
    assert (channel.sensor, channel.wavelength, channel.width, channel.common_name) == ("aux", None, None, "")
    assert channel.name == name.removeprefix("aux:")


def test_the_fields_own_line():
    source, target = parse_bands("B2,B3,B4,NDVI"), parse_bands("B4,ndvi,DEM,B8")
    assert [(dict(p.shares), p.how) for p in place_bands(source, target)] == [
        ({2: 1}, "name"),
        ({3: 1}, "name"),
        ({0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}, "no wavelength"),
        ({2: 1}, "nearest"),  # of the bands: an index is near to nothing
    ]


@pytest.mark.parametrize(
    ("typo", "sensor", "message"),
    [
        ("gren", None, "Did you mean (?i:green)"),
        ("gren", "sentinel2", "Did you mean (?i:green)"),
        ("B8X", "sentinel2", "Did you mean B0?8"),
        ("B8X", None, "Did you mean B0?8.*--sensor"),
        ("NRI", None, "Did you mean (?i:nir)"),
        ("nirv", None, "Did you mean (?i:nir)"),
        ("TRI", None, "Did you mean (?i:tir)"),
        ("SWRI1", None, "Did you mean (?i:swir1)"),
        ("water vaper", "sentinel2", "Did you mean watervap"),
        ("NDVl", None, "Did you mean NDVI"),
        ("x1", None, "written aux:x1"),
        ("foo", "sentinel2", "written aux:foo"),
        ("aux:", None, "aux:NDVI"),
        ("aux:a:b", None, "aux:NDVI"),
        ("aux:" + "x" * 101, None, "at most 100"),
        ("NDVI,ndvi", None, "the same band"),
        ("NDVI,aux:NDVI", None, "the same band"),
    ],
)
def test_a_slip_of_the_finger_is_no_channel(typo: str, sensor: str | None, message: str):
    with pytest.raises(UsageError, match=message):
        parse_bands(typo, sensor)


def spellings_of_bands() -> list[str]:
    bands = [band for sensor in sensors() for band in sensor.all_bands]
    return [spelling for band in bands for spelling in (band.name, band.common_name, *band.aliases)]


def test_no_band_is_taken_for_a_channel_nor_one_with_a_letter_off():
    for name in filter(None, [*ALIASES, *spellings_of_bands()]):
        slips = {name[:i] + name[i + 1 :] for i in range(len(name))}
        slips |= {name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in range(len(name) - 1)}
        for slip in {name} | {slip for slip in slips if len(slip) > 2}:
            assert auxiliary_channel(slip) is None, (name, slip)


def test_every_known_name_is_a_channel_at_every_sensor():
    for name in known_names():
        for sensor in sensors():
            assert parse_bands(name, sensor.name)[0].sensor == "aux", (name, sensor.name)


def test_the_documented_list_is_the_one_that_is_accepted():
    page = Path(__file__).parents[2] / "docs" / "sensors.md"
    text = page.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in known_names())
