"""`zoo evaluate`: the same counts as a plain loop over the same images."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.cli import errors
from zoo.cli.app import app
from zoo.core.errors import InvalidInputError, UsageError
from zoo.core.export.evaluation import Share, ranks_of
from zoo.core.export.job import FeatureEngine
from zoo.core.images.inputs.image_input import ImageInput
from zoo.core.images.inputs.labels import class_numbers, labels_of_folders, synsets

MODEL, CLASSES, SIDE = "mobilenetv3_small_050", 8, 224
NAMES = [f"class {letter}" for letter in "hgfedcba"]  # not in alphabetical order
Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture
def zoo_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        return errors.run(app, words), *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with random weights and images for them: photographs in folders of classes, cubes of five bands."""
    folder = tmp_path_factory.mktemp("evaluate")
    for name, channels in (("rgb", 3), ("five", 5)):
        words = ("create", MODEL, "--num-classes", str(CLASSES), "--in-chans", str(channels), "--seed", "3", "--quiet")
        assert errors.run(app, (*words, "-o", str(folder / f"{name}.safetensors"))) == 0
    random = np.random.default_rng(0)
    for number in range(24):
        label = folder / "val" / str(random.integers(CLASSES))
        label.mkdir(parents=True, exist_ok=True)
        cells = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = Image.fromarray(cells).resize((300, 260), Image.Resampling.BILINEAR)
        image.save(label / f"{number}.png")
        cube = random.random((5, 256, 256), dtype=np.float32) ** random.uniform(0.2, 5, (5, 1, 1)).astype(np.float32)
        (folder / "cubes").mkdir(exist_ok=True)
        np.save(folder / "cubes" / f"{number}.npy", cube)
    with open(folder / "cubes.csv", "w", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["id", "class", "file"])
        rows.writerows([i, NAMES[random.integers(CLASSES)], folder / "cubes" / f"{i}.npy"] for i in range(24))
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return folder


def photograph(path: Path) -> torch.Tensor:
    """The published transform: shorter side 256, bicubic, the middle 224 x 224, ImageNet's mean and deviation."""
    image = Image.open(path).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize((int(image.width * scale), int(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    values = torch.from_numpy(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))).copy()).permute(2, 0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (values / 255 - mean[:, None, None]) / std[:, None, None]


def plain_loop(weights: Path, images: list[tuple[torch.Tensor, int]], channels: int) -> tuple[int, int]:
    """Hits among the first and among the first five, image by image."""
    model = zoo.create_model(MODEL, num_classes=CLASSES, in_chans=channels, checkpoint_path=str(weights)).eval()
    first = five = 0
    with torch.inference_mode():
        for image, label in images:
            order = model(image[None])[0].topk(5).indices.tolist()
            first += order[0] == label
            five += label in order
    return first, five


def test_folders_of_classes_give_the_counts_of_a_plain_loop(places: Path, zoo_at: Zoo):
    images = [(photograph(path), int(path.parent.name)) for path in (places / "val").rglob("*.png")]
    expected = plain_loop(places / "rgb.safetensors", images, 3)
    code, out, _ = zoo_at("evaluate", str(places / "rgb.safetensors"), str(places / "val"), "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["images"], found["num_classes"]) == (24, CLASSES)
    assert (found["top1"]["hits"], found["top5"]["hits"]) == expected
    assert 0 < expected[0] < expected[1] < 24, "the images tell the ranks apart"
    assert sum(one["top1"]["images"] for one in found["classes"]) == 24
    assert sum(one["top5"]["hits"] for one in found["classes"]) == expected[1]


def test_a_table_of_images_with_five_bands_gives_the_counts_of_a_plain_loop(places: Path, zoo_at: Zoo):
    with open(places / "cubes.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    middle = slice(16, 240)
    cfg = zoo.create_model(
        MODEL, in_chans=5, num_classes=CLASSES, checkpoint_path=str(places / "five.safetensors")
    ).pretrained_cfg
    mean, std = (torch.tensor(cfg[key])[:, None, None] for key in ("mean", "std"))
    images = [
        ((torch.from_numpy(np.load(row["file"])[:, middle, middle]) - mean) / std, NAMES.index(row["class"]))
        for row in rows
    ]
    expected = plain_loop(places / "five.safetensors", images, 5)
    words = ("evaluate", str(places / "five.safetensors"), str(places / "cubes.csv"), "--column", "file")
    words += ("--label-column", "class", "--classes", str(places / "classes.txt"))
    code, out, err = zoo_at(*words, "--predictions", "told.jsonl", "--json")
    found = json.loads(out)
    assert (code, found["top1"]["hits"], found["top5"]["hits"]) == (0, *expected), err
    told = [json.loads(line) for line in Path("told.jsonl").read_text().splitlines()]
    assert sum(line["rank"] == 1 for line in told) == expected[0]
    assert sum(line["predicted"] == line["expected"] for line in told) == expected[0]
    assert {line["label"]: line["expected"] for line in told}.items() <= dict(zip(NAMES, range(8), strict=True)).items()


@pytest.mark.parametrize("form", ["label_names", "pretrained_cfg", "id2label"])
def test_the_names_of_classes_are_those_of_the_models_own_config(places: Path, zoo_at: Zoo, form: str):
    """A folder as timm or transformers save it: the classes are not in the order of the alphabet."""
    model = zoo.create_model(MODEL, num_classes=CLASSES, checkpoint_path=places / "rgb.safetensors")
    zoo.models.save_for_hf(model, "net")
    config = json.loads(Path("net/config.json").read_text())
    stated = {
        "label_names": {"label_names": NAMES},
        "pretrained_cfg": {"pretrained_cfg": {**config["pretrained_cfg"], "label_names": NAMES}},
        "id2label": {"id2label": {str(number): name for number, name in enumerate(NAMES)}},
    }
    Path("net/config.json").write_text(json.dumps(config | stated[form]))
    for folder in (places / "val").iterdir():
        shutil.copytree(folder, Path("named", NAMES[int(folder.name)]))

    def counted(folder: str | Path) -> tuple[int, int, str]:
        code, text, notes = zoo_at("evaluate", "local-dir:net", str(folder), "--json")
        assert code == 0
        return json.loads(text)["top1"]["hits"], json.loads(text)["top5"]["hits"], notes

    assert counted("named") == counted(places / "val")
    Path("net/config.json").write_text(json.dumps(config))
    other = counted("named")
    assert other[:2] != counted(places / "val")[:2]
    assert "alphabetical order" in other[2]


def test_a_run_that_was_cut_off_is_completed(places: Path, zoo_at: Zoo, monkeypatch: pytest.MonkeyPatch):
    words = ("evaluate", MODEL, str(places / "val"), "--weights", str(places / "rgb.safetensors"), "-o", "kept")
    first = zoo_at(*words)
    assert first[0] == 0
    Path("kept/features-00000.logits.npy").unlink()
    assert zoo_at(*words) == first
    # What is there is not computed again.
    monkeypatch.setattr(FeatureEngine, "start", None)
    assert zoo_at(*words) == first


def test_an_image_that_cannot_be_read_is_told(places: Path, zoo_at: Zoo):
    for label in range(CLASSES):
        Path("val", str(label)).mkdir(parents=True)
    Path("val/0/good.png").write_bytes(next((places / "val").rglob("*.png")).read_bytes())
    Path("val/1/bad.png").write_bytes(b"no picture")
    code, out, err = zoo_at("evaluate", str(places / "rgb.safetensors"), "val", "--json")
    assert code == 3
    assert (json.loads(out)["images"], json.loads(out)["num_failed"]) == (1, 1)
    assert "1 of 2 images could not be read" in err
    Path("val/0/good.png").unlink()
    assert zoo_at("evaluate", str(places / "rgb.safetensors"), "val")[:2] == (4, "")


def test_features_may_be_logits(places: Path, zoo_at: Zoo):
    words = ("export-features", MODEL, str(places / "val"), "--weights", str(places / "rgb.safetensors"), "--exact")
    assert zoo_at(*words, "--pool", "logits", "--format", "npy", "-o", "scores")[0] == 0
    assert zoo_at("evaluate", str(places / "rgb.safetensors"), str(places / "val"), "-o", "kept")[0] == 0
    scores, kept = (np.load(f"{folder}/features-00000.logits.npy") for folder in ("scores", "kept"))
    assert scores.shape == (24, CLASSES)
    np.testing.assert_allclose(scores, kept, atol=1e-4)
    code, _, err = zoo_at(*words, "--pool", "logits", "--out-indices", "1", "-o", "other")
    assert (code, "The logits are one vector" in err) == (2, True)


# ---------------------------------------------------------------- labels and counts


def test_ranks_are_the_places_in_a_stable_order():
    random = np.random.default_rng(1)
    logits = random.integers(0, 6, (200, 9)).astype(np.float32)
    labels = random.integers(0, 9, 200)
    order = np.argsort(-logits, 1, kind="stable")
    assert ranks_of(logits, labels) == [int(np.flatnonzero(order[i] == labels[i])[0]) + 1 for i in range(200)]
    assert ranks_of(np.array([[np.nan, 1.0], [0.0, np.inf]]), [1, 1]) == [0, 1]


# Wilson's interval as published: Newcombe 1998 (DOI 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E),
# table I, method 3.
@pytest.mark.parametrize(
    ("hits", "images", "low", "high"),
    [(81, 263, 25.53, 36.62), (15, 148, 6.24, 16.05), (0, 20, 0.0, 16.11), (1, 29, 0.61, 17.18)],
)
def test_the_interval_is_wilsons(hits: int, images: int, low: float, high: float):
    assert Share(hits, images).interval == pytest.approx((low, high), abs=0.006)


def test_the_interval_holds_what_was_seen():
    assert Share(0, 5).interval[0] == 0
    assert Share(5, 5).interval[1] == 100
    assert Share(0, 0).interval is None


def test_the_classes_of_imagenet_are_in_order():
    # Classes 281 and 967 are tabby and espresso.
    assert (len(synsets()), synsets()[281], synsets()[967]) == (1000, "n02123045", "n07920052")
    assert synsets() == sorted(synsets())
    assert class_numbers(["n07920052", "n02123045"], 1000).numbers == {"n02123045": 281, "n07920052": 967}


@pytest.mark.parametrize(
    ("labels", "num_classes", "names", "expected"),
    [
        (["2", "0", "2"], 3, None, {"0": 0, "2": 2}),
        (["cat", "ant", "bee"], 3, None, {"ant": 0, "bee": 1, "cat": 2}),
        (["cat"], 3, ["cat", "ant", "bee"], {"cat": 0}),
        (["7"], 2, ["7", "8"], {"7": 0}),
    ],
)
def test_labels_become_numbers(labels: list[str], num_classes: int, names: list[str] | None, expected: dict[str, int]):
    found = class_numbers(labels, num_classes, names)
    assert found.numbers == expected
    assert found.alphabetical == (labels == ["cat", "ant", "bee"])


@pytest.mark.parametrize(
    ("labels", "num_classes", "names", "message"),
    [
        (["3"], 3, None, "classes 0 to 2, found the label 3"),
        (["cat", "ant"], 3, None, "has 3 classes, and the images have 2 labels: ant, cat"),
        (["cat"], 3, ["cat"], "has 3 classes, and 1 names"),
        (["dog"], 1, ["cat"], "The label 'dog' is not among"),
        (["n00000000"], 1000, None, "'n00000000' is not among ImageNet-1k"),
    ],
)
def test_labels_that_fit_no_class_are_refused(
    labels: list[str], num_classes: int, names: list[str] | None, message: str
):
    with pytest.raises(UsageError, match=message):
        class_numbers(labels, num_classes, names)


def test_an_image_outside_the_folders_of_classes_is_refused():
    with pytest.raises(InvalidInputError, match="lies in no folder of a class"):
        labels_of_folders([ImageInput("a/1.png", "val/a/1.png"), ImageInput("2.png", "val/2.png")])


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["evaluate", MODEL], 2, "There is nothing to evaluate on."),
        (["evaluate", MODEL, "a", "b"], 2, "One folder or table is evaluated at a time, found 2."),
        (["evaluate", "rgb", "nowhere"], 5, "No model is called 'rgb'."),
        (["evaluate", "{rgb}", "nowhere"], 5, "There is no file or folder 'nowhere'."),
        (["evaluate", "{rgb}", "table.csv"], 5, "has no column 'path'"),
        (["evaluate", "{rgb}", "table.csv", "--column", "a"], 5, "has no column 'label'"),
        (["evaluate", "{rgb}", "table.csv", "--column", "a", "--label-column", "b"], 4, "gives no label for"),
        (["evaluate", "table.csv", "{val}"], 4, "table.csv"),
        (["evaluate", "{rgb}", "{val}", "--classes", "none.txt"], 5, "none.txt cannot be read"),
        (["evaluate", "{rgb}", "{val}", "--classes", "table.csv"], 2, "8 classes, and 2 names"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(places: Path, zoo_at: Zoo, words: list[str], code: int, sentence: str):
    Path("table.csv").write_text("a,b\nx.png,\n")
    found, out, err = zoo_at(*(w.format(rgb=places / "rgb.safetensors", val=places / "val") for w in words))
    assert (found, out) == (code, ""), err
    assert sentence in err
