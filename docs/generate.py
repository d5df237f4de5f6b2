"""Write the generated pages: docs/cli.md and docs/zoo.1 from the help of commands, docs/sensors.md, docs/layouts.md.

python docs/generate.py
"""

import os
import subprocess
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from textwrap import fill

from zoo.cli.app import COMMANDS
from zoo.core.channels.auxiliary_channels import GROUPS
from zoo.core.channels.sensors import Band, Sensor, sensors
from zoo.core.layouts.engine import LAYOUTS, tables
from zoo.core.layouts.operations import Dropped
from zoo.core.layouts.table import parse

HERE = Path(__file__).parent
PAGE = HERE / "cli.md"
MAN_PAGE = HERE / "zoo.1"
SENSORS_PAGE = HERE / "sensors.md"
LAYOUTS_PAGE = HERE / "layouts.md"

HEADER = """\
<!-- Written by docs/generate.py from the help of the commands; change it there, then run `make docs`. -->

# The command line

This page has the help of every command, as `zoo COMMAND --help` prints it. The options of all commands stand last,
under "Common options". The exit codes are those of every command.
"""

SENSORS_HEADER = """\
<!-- Written by docs/generate.py from core/channels/sensors.json; change it there, then run `make docs`. -->

# Sensors and bands

This page lists the bands that zoo knows by name, and where each number is published. Wavelengths are in nanometres: the
centre, and the full width at half maximum or the length of the published range. A range counts as its middle, as in the
[STAC EO extension](https://github.com/stac-extensions/eo). The common names are those of that extension. A sensor that
its table does not list gets them by wavelength.

## How a band is named

- By the name in the sensor's documents. Case, spaces, hyphens, underscores and leading zeros do not count: `B02`, `b2`,
  `Band 2` and `2` are one band. If a sensor has no band numbers, its bands count from 1 in the order of its image.
- By common name: `red`, `nir`, `swir16`, and short `R`, `G`, `B`, `N`, `RE1`, `SWIR1`, `CA`, `PAN`. A wider name is
  enough if the sensor has only one such band: `NIR` of Landsat 8 is its `nir08`.
- By wavelength: `450nm`, `0.45um`, or a number from 100 on.
- With its sensor, to mix two sensors: `sentinel1:VV`.
- A channel that is no band (an index, elevation, a mask) by one of the names [below](#channels-that-are-no-band), or by
  any name as `aux:NAME`.

A number means nothing without its sensor: B8 is near infrared on Sentinel-2 and panchromatic on Landsat 8. If no sensor
is named, numbers are read as Sentinel-2's. A common name in a list without numbers lies in the middle of its range in
the first table below. Any other name counts if all sensors that have it agree within 40 nm.

A sensor alone stands for the bands of its multispectral image. Bands marked with `+` have to be named.

## Which filter a band gets

A band gets the filter of its counterpart. This is the source band of the same name and sensor, else that of the same
common name, else the one nearest in wavelength if it is no further away than half the width of the wider of the two.
For a band without a counterpart `--missing-bands` decides:

| | |
|---|---|
| `nearest` | the filter of the source band nearest in wavelength |
| `interpolate` | a mixture of the two neighbours in wavelength, beyond them the nearest; counterparts by name only |
| `mean` | the mean of all source filters |
| `zero` | zeros |

Source bands that are equally near share. Panchromatic, thermal and radar bands, and channels that are no band, have no
place among the wavelengths. They match by name only, and they are nearest to nothing. With `nearest` and `interpolate`
they get the mean of all source filters. The report says so: `NDVI <- mean of all (no wavelength)`.

## Channels that are no band

    zoo adapt-weights resnet34 --bands B2,B3,B4,NDVI -o ndvi.safetensors
    zoo adapt-weights resnet34 --weights ndvi.safetensors --bands B2,B3,B4,NDVI,DEM,aux:x1 -o six.safetensors

If a checkpoint does not say what it reads, add `--from-bands B2,B3,B4,NDVI`.

A name is such a channel if one of its words is listed here, in any case: `NDVI`, `ndvi_mean`, `DEM30`, `coherence_VV`.
Any other unknown name is refused, because it may be a mistyped band. `aux:` before a name says that it is no band. A
file states such channels, and the next `adapt-weights` finds them there by name.

{channels}

## Where sources differ

- Sentinel-2: the nominal values. Those measured on 2A are within 13 nm (B08: 832.8 instead of 842).
- Landsat 5 and 7, SkySat: metadata of other archives differ by up to 20 nm.
- NAIP: the camera changes with contractor and year; one of them stands for all.
- SPOT 6 and 7: other documents give green as 530-600 and red as 620-690.
- QuickBird: CATALYST gives 430-545, 466-620, 590-710 and 715-918.
- No source was found for the thermal band of the MicaSense Altum, nor for the first MicaSense RedEdge and Altum-PT.
"""

LAYOUTS_HEADER = """\
<!-- Written by docs/generate.py: the table from core/layouts/, the text from there; run `make docs`. -->

# Key layouts

`zoo convert` brings a checkpoint from the names and shapes of one ecosystem into those of another. timm's layout is the
one that zoo loads, adapts and identifies. Every other layout is a table between it and timm's, and runs both ways.

    zoo convert vit_b_16-c867db91.pth -o vit.safetensors
    zoo convert vit.safetensors --to transformers -o model.safetensors
    zoo convert model.safetensors --to augreg --arch vit_base_patch16_224 -o vit.npz

A prefix that a wrapper put before all names (`model.`) is removed. If a file holds several networks, `--strip-prefix`
takes one of them. zoo finds the source's layout by its keys, and the architecture by keys and shapes. `--from` and
`--arch` state them if a file does not tell. A vision transformer for another image or patch size is recognised too, and
the converted file states the size.

`--canonical` sorts the tensors and leaves out of the metadata which file they came from. The same weights then make the
same bytes, whether they came in one file, in shards, `.pth`, `.npz` or `.h5`. What a layout tells of its models, such
as their mean and std, is still said.

Values keep their bits unless `--dtype` asks for another type. A key that a layout has no place for is an error that
names it. A tensor that is left out on purpose is listed with the reason. `--drop PATTERN` leaves out tensors whose
names match.

Some families have names of their authors that no table lists and that the loader knows. `zoo convert` guesses the
architecture from shapes, or takes it from `--arch`, and writes the names that the loader gives. It calls this layout
`authors`, too. It goes in one direction, and reads the whole file into memory.

A file of no known layout and no known architecture keeps its names. It can still be given another dtype (`--dtype`),
another file format (`checkpoint.pth` to `checkpoint.safetensors`, shards to one file), another prefix or fewer tensors.
A note says that zoo does not know it. The exit code is 4 if only the names could change: because nothing else was asked
for, or because `--from` or `--to` asks for names. The error says what is nearest.

"""

LAYOUTS_FOOTER = """\
zoo recognises a published file of torchvision, or of a package or URL that it knows, by the file's sha256. The
converted file then states the published size, crop, mean and standard deviation. For any other file it states what is
usual for the family, and a note says so, because weights of the same keys may have been trained with other values.

## What is proven

The tests build models of torchvision, efficientnet_pytorch, transformers, open_clip, MMPretrain, MMSegmentation,
MMDetection, segmentation_models_pytorch, lightly, terratorch (Prithvi), Keras, and timm 0.4 to 0.9 with random values
in every parameter and statistic, where the package is installed. They convert the models, and compare logits or
features with zoo's model within 1e-5 of their largest value. The way back must give every tensor that was not left out,
bit by bit; a table that loses something must refuse. Google's arrays, Detectron2's files, EVA-CLIP's towers, MAE, and
Meta's names of DINOv2 and DINOv3 are compared with the equations of the papers, written down in numpy and torch. The
six pretrainings (MoCo, SimCLR, BYOL, SwAV, VICReg) are compared by the keys of the authors' checkpoints. Every row of
every table is run both ways.

## What no architecture of timm computes

Clay makes the kernel of its patches from wavelengths, and its positions from the size of a pixel on the ground. SatMAE
with groups of bands has a token for each group at each place, and its temporal form one for each date. Such trunks have
no place among timm's names: `zoo convert` leaves their names as they are, and says that it does not know them. SatMAE's
network for colour images is a vision transformer, and converts as `mae`.

## Adding a layout

A layout is a module of `core/layouts/` with `TABLES`, and its name in `LAYOUTS` of `core/layouts/engine.py`. A table is
text with one row per line; `core/layouts/table.py` says how it reads. Then run `make docs`: the table above is made
from the modules.
"""

# As it looks in a pipe, whatever terminal or CI system this runs in.
PLAIN = {"COLUMNS": "100", "NO_COLOR": "1", "TYPER_USE_RICH": "0", "TERM": "dumb"}


def command_names() -> list[str]:
    """Every command, in the order of the help."""
    return list(COMMANDS)


@cache
def help_text(*words: str) -> str:
    """What `zoo <words> --help` prints."""
    command = [sys.executable, "-P", "-c", "from zoo.cli.start import main; main()", *words, "--help"]
    run = subprocess.run(command, env=os.environ | PLAIN, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in run.stdout.strip().splitlines())


def manual() -> str:
    """The manual page."""
    sys.path.insert(0, str(HERE))
    from man_page import man_page

    names = []
    for name in command_names():
        names += [name, *(f"{name} {sub}" for sub in getattr(COMMANDS[name].load(name), "commands", ()))]
    return man_page(names, help_text)


def page() -> str:
    """The whole page."""
    sections = [f"## `zoo`\n\n```text\n{help_text()}\n```\n"]
    for name in command_names():
        sections.append(f"## `zoo {name}`\n\n```text\n{help_text(name)}\n```\n")
        for sub in getattr(COMMANDS[name].load(name), "commands", ()):
            sections.append(f"### `zoo {name} {sub}`\n\n```text\n{help_text(name, sub)}\n```\n")
    return "\n".join([HEADER, *sections])


def sensors_page() -> str:
    """The page of the sensors, one table each."""
    listed = (f"- {topic}: {', '.join(f'`{name}`' for name in names)}" for topic, names in GROUPS.items())
    channels = "\n".join(fill(line, 120, subsequent_indent="  ", break_on_hyphens=False) for line in listed)
    return "\n".join([SENSORS_HEADER.format(channels=channels), *map(_sensor_section, sensors())])


def _sensor_section(sensor: Sensor) -> str:
    lines = [f"## {sensor.name}", "", f"{sensor.title}.", ""]
    if sensor.aliases:
        lines += [f"Also called {', '.join(f'`{alias}`' for alias in sensor.aliases)}.", ""]
    if sensor.source:
        lines += [f"Source: [{sensor.source}]({sensor.url}).", ""]
    lines += ["| band | common name | centre | width |", "|---|---|---:|---:|"]
    lines += [_band_row(band, "") for band in sensor.bands]
    lines += [_band_row(band, "+ ") for band in sensor.other_bands]
    return "\n".join([*lines, ""])


def _band_row(band: Band, mark: str) -> str:
    name = ", ".join((band.name, *band.aliases))
    numbers = ["" if value is None else f"{value:g}" for value in (band.wavelength, band.width)]
    return f"| {mark}{name} | {band.common_name} | {' | '.join(numbers)} |"


def layouts_page() -> str:
    """The page of the key layouts, with a row for each."""
    rows = ["| layout | families | what to know |", "|---|---|---|", *map(_layout_row, LAYOUTS)]
    return f"{LAYOUTS_HEADER}{chr(10).join(rows)}\n\n{LAYOUTS_FOOTER}"


def _layout_row(layout: str) -> str:
    own = tables(layout)
    families = dict.fromkeys(table.family for table in own)
    module = import_module(f"zoo.core.layouts.{layout}")
    told = " ".join((module.__doc__ or "").split())
    notes = dict.fromkeys(table.note for table in own if table.note)
    left_out = [row.operation.reason for t in own for g in parse(t.rows) for kind in g.kinds for row in kind
                if isinstance(row.operation, Dropped) and row.theirs]  # fmt: skip
    told += "".join(f" {note[0].upper()}{note[1:]}." for note in notes)
    if left_out:
        told += f" Left out: {'; '.join(dict.fromkeys(left_out))}."
    return f"| `{layout}` | {'; '.join(families)} | {told} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    LAYOUTS_PAGE.write_text(layouts_page(), encoding="utf-8")
    SENSORS_PAGE.write_text(sensors_page(), encoding="utf-8")
    MAN_PAGE.write_text(manual(), encoding="utf-8")
