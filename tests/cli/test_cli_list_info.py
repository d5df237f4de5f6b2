"""`zoo list`, `zoo info`, completion and start-up, run as a user runs them over a made-up registry."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from zoo.cli import errors
from zoo.cli.app import app

import toy_registry
from processes import read_terminal, started

TOY = Path(__file__).parents[1] / "toy_registry.py"
HEAVY = ("torch", "numpy", "rich", "PIL", "huggingface_hub", "safetensors")


class Run(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Zoo = Callable[..., Run]


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Zoo:
    """Run `zoo <words>` in this process, with stdout and stderr in pipes."""
    toy_registry.install(monkeypatch.setattr)

    def run(*words: str) -> Run:
        return Run(errors.run(app, words), *capsys.readouterr())

    return run


def zoo_on_terminal(*words: str, columns: int = 100, **env: str) -> str:
    """What `zoo` writes to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unset = {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}
    clean = {key: value for key, value in os.environ.items() if key not in unset} | {"TERM": "xterm"}
    with started([sys.executable, TOY, *words], stdout=slave, stderr=slave, env=clean | env) as process:
        os.close(slave)
        written = read_terminal(master)
    assert process.returncode == 0, written
    return written.decode().replace("\r\n", "\n")


# ---------------------------------------------------------------- list


def test_list_in_a_pipe_is_one_name_a_line_in_natural_order(zoo: Zoo):
    run = zoo("list")
    assert (run.returncode, run.stdout, run.stderr) == (0, "toynet_2\ntoynet_10\ntoynet_raw\n", "")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--filter", "*_1*"], ["toynet_10"]),
        (["-f", "*_2", "-f", "*raw"], ["toynet_2", "toynet_raw"]),
        (["--exclude", "*_2", "--exclude", "*_10"], ["toynet_raw"]),
        (["--family", "toynet", "--sort", "params"], ["toynet_raw", "toynet_10", "toynet_2"]),
        (["--sort", "macs"], ["toynet_2", "toynet_10", "toynet_raw"]),
        (["--sort", "-macs"], ["toynet_10", "toynet_2", "toynet_raw"]),  # what is unknown is last in either order
        (["--sort", "family,-params", "--limit", "2"], ["toynet_2", "toynet_10"]),
        (["--limit", "1"], ["toynet_2"]),
        (["--where", "params>=1M"], ["toynet_2", "toynet_10"]),
        (["--where", "params>=1M", "--filter", "*_2"], ["toynet_2"]),
        (["--where", "license=mit", "--pretrained"], ["toynet_2.a_in1k"]),
        (["--where", "not pretrained"], ["toynet_raw"]),
        (["--where", "stride=8 and macs=unknown"], ["toynet_raw"]),
        (["--where", "input<200", "--pretrained"], ["toynet_2.a_in1k"]),
        (["--pretrained"], ["toynet_2.a_in1k", "toynet_2.b_in1k", "toynet_10.a_in1k"]),
        (["--pretrained", "--filter", "*.a_in1k", "--exclude", "toynet_2"], ["toynet_10.a_in1k"]),
    ],
)
def test_list_options(zoo: Zoo, options: list[str], expected: list[str]):
    assert zoo("list", *options).stdout.split() == expected


def test_list_json_is_one_document_with_the_facts(zoo: Zoo):
    document = json.loads(zoo("list", "--pretrained", "--filter", "*_10", "--json").stdout)
    assert document["schema_version"] == 1
    (model,) = document["models"]
    assert (model["name"], model["architecture"], model["tag"]) == ("toynet_10.a_in1k", "toynet_10", "a_in1k")
    assert (model["params"], model["macs"], model["input_size"]) == (1_000_000, 4_100_000_000, [3, 224, 224])
    assert model["levels"][2] == {"module": "stages.1", "channels": 32, "reduction": 8}


def test_columns_in_a_pipe_are_separated_by_tabs(zoo: Zoo):
    columns = "name,params,macs,input,license,stride,pretrained,top1"
    assert zoo("list", "--columns", columns).stdout.splitlines() == [
        "toynet_2\t2000000\t900\t192\tmit\t2,4,8\tyes\t?",
        "toynet_10\t1000000\t4100000000\t224\t?\t2,4,8\tyes\t?",
        "toynet_raw\t3000\t?\t224\tapache-2.0\t2,4,8\tno\t?",
    ]


def test_facts_at_another_size_than_the_measured_one_are_unknown(zoo: Zoo):
    run = zoo("list", "--pretrained", "--filter", "toynet_2", "--columns", "tag,params,macs,input")
    assert run.stdout.splitlines() == ["a_in1k\t2000000\t900\t192", "b_in1k\t2000000\t?\t224"]


def test_columns_as_json_keep_their_types(zoo: Zoo):
    run = zoo("list", "--columns", "name,macs,stride,fixed", "--filter", "*raw", "--json")
    assert json.loads(run.stdout)["models"] == [
        {"name": "toynet_raw", "macs": None, "stride": [2, 4, 8], "fixed": False}
    ]


def test_json_has_what_the_condition_names_besides_the_facts(zoo: Zoo):
    (model,) = json.loads(zoo("list", "--where", "license=mit and not top1>2", "--json").stdout)["models"]
    assert (model["license"], model["top1"], model["architecture"], model["tag"]) == ("mit", None, "toynet_2", "")


def test_a_table_shows_what_the_condition_and_the_order_name():
    heading, first, second = zoo_on_terminal(
        "list", "--where", "license!~apache", "--sort", "-features", NO_COLOR="1"
    ).splitlines()
    assert heading.split() == ["name", "params", "MACs", "input", "license", "features", "stage", "channels"]
    assert first.split()[:6] == ["toynet_2", "2M", "900", "3x192x192", "mit", "32"]
    assert second.split()[:6] == ["toynet_10", "1M", "4.1G", "3x224x224", "?", "32"]


def test_a_mistake_in_a_condition_is_pointed_at(zoo: Zoo):
    run = zoo("list", "--where", "params<3M and lisence=mit")
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.splitlines() == [
        "zoo: error: No column is called 'lisence'.",
        "zoo:   params<3M and lisence=mit",
        "zoo:                 ^^^^^^^",
        "zoo: hint: Did you mean license?",
    ]
    run = zoo("list", "--where", "params<3M and lisence=mit", "--json")
    assert json.loads(run.stderr)["error"]["place"] == {"text": "params<3M and lisence=mit", "start": 14, "stop": 21}


def test_the_place_is_right_under_wide_and_invisible_characters(zoo: Zoo):
    shown, carets = zoo("list", "--where", "name~模型 and \x1bx=1").stderr.splitlines()[1:3]
    assert shown == "zoo:   name~模型 and \\x1bx=1"
    assert carets == "zoo:                 ^^^^^"  # two columns for each character, four for the escape


def test_of_a_long_condition_the_surroundings_are_shown(zoo: Zoo):
    text = "params<3M and " * 50 + "x=1" + " and params<3M" * 50
    shown, carets = zoo("list", "--where", text).stderr.splitlines()[1:3]
    assert len(shown) < 140
    at = carets.index("^")
    assert shown[at - 4 : at + 3] == "and x=1"
    assert shown.endswith("…")


def test_list_on_a_terminal_is_a_table():
    heading, first, second, third = zoo_on_terminal("list", NO_COLOR="1").splitlines()
    assert heading.split() == ["name", "params", "MACs", "input", "stage", "channels"]
    assert first.split() == ["toynet_2", "2M", "900", "3x192x192", "8", "16", "32"]
    assert second.split()[:3] == ["toynet_10", "1M", "4.1G"]
    assert third.split()[:3] == ["toynet_raw", "3k", "?"]


def test_a_narrow_terminal_never_cuts_a_name():
    written = zoo_on_terminal("list", "--pretrained", columns=30, NO_COLOR="1")
    assert "toynet_10.a_in1k" in written


@pytest.mark.parametrize(("env", "styled"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_a_table_is_styled_only_where_wanted(env: dict[str, str], styled: bool):
    assert ("\x1b[" in zoo_on_terminal("list", **env)) is styled


@pytest.mark.parametrize(
    ("options", "code", "sentence", "hint"),
    [
        (["-f", "toynte_2"], 5, "No model matches 'toynte_2'.", "Did you mean toynet_2"),
        (["-f", "toynet"], 5, "No model matches 'toynet'.", "--filter '*toynet*'"),
        (["-f", "*raw", "--pretrained"], 5, "No model with published weights matches '*raw'.", "zoo list"),
        (["--family", "toynte"], 5, "No family is called 'toynte'.", "Did you mean toynet?"),
        (["-f", "toy[net"], 2, "'toy[net' opens a bracket", "']'"),
        (["--filter", "toy.txt", "toys.txt", "toy.md"], 2, "2 unexpected words", "--filter 'resnet*', in quotes"),
        (["toy*"], 2, "1 unexpected word after the options, first 'toy*'", "in quotes"),
        (["-f", "toynet_2.txt"], 5, "'toynet_2.txt', which is a file here", "--filter 'toynet*', in quotes"),
        (["-f", "*", "-f", "toynet_2.txt"], 5, "'toynet_2.txt', which is a file here", "--filter 'toynet*', in quotes"),
        (["--exclude", "toynet_2.txt"], 5, "'toynet_2.txt', which is a file here", "--exclude 'toynet*', in quotes"),
        (["-f", "42_out"], 5, "'42_out', which is a folder here", "--filter '*', in quotes"),
        (["--sort", "speed"], 2, "--sort takes names of columns", "The columns are name, family, tag"),
        (["--sort", ""], 2, "--sort takes names of columns with commas between them, found ''", "The columns are"),
        (["--columns", "name,,params"], 2, "--columns takes names of columns", "The columns are name, family, tag"),
        (["--columns", "names"], 2, "found 'names'", "Did you mean name? The columns are name, family, tag"),
        (["--limit", "0"], 2, "--limit takes a number of models, 1 or more, found 0.", "--limit 10"),
        (["--where", "params>3M"], 5, "The condition does not hold for any of 3 models.", "--columns name,params`"),
        (["--where", "top1>80"], 5, "The condition does not hold", "Nothing is known about their top1."),
    ],
)
def test_list_refuses_with_a_sentence_and_a_hint(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, sentence: str, hint: str
):
    monkeypatch.chdir(tmp_path)
    Path("toynet_2.txt").touch()
    Path("42_out").mkdir()
    run = zoo("list", *options)
    assert (run.returncode, run.stdout) == (code, "")
    error, advice = run.stderr.splitlines()
    assert error.startswith("zoo: error: ")
    assert sentence in error
    assert advice.startswith("zoo: hint: ")
    assert hint in advice


@pytest.mark.parametrize(
    ("words", "sentence", "hint"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?", "zoo --help"),
        (["info"], "Missing argument 'NAME...'.", "zoo info --help"),
        (["help", "lst"], "No such command 'lst'. Did you mean 'list'?", "zoo --help"),
        (["-q", "cache", "lst"], "No such command 'lst'. Did you mean 'list'?", "zoo cache --help"),
        (["list", "-qx"], "No such option: -x", "zoo list --help"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(zoo: Zoo, words: list[str], sentence: str, hint: str):
    expected = f"zoo: error: {sentence}\nzoo: hint: `{hint}` shows the options and an example.\n"
    assert zoo(*words) == (2, "", expected)


def test_a_file_that_is_called_as_a_model_is_in_nobodys_way(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("toynet_2", "toynet"):
        Path(name).touch()
    assert zoo("list", "-f", "toynet_2").stdout == "toynet_2\n"
    assert zoo("list", "--exclude", "toynet_2", "-f", "toynet_1*").stdout == "toynet_10\n"
    assert "--filter '*toynet*'" in zoo("list", "-f", "toynet").stderr
    assert zoo("info", "toynet_2").returncode == 0


@pytest.mark.parametrize("command", ["info", "fetch", "create", "check", "lock", "bundle"])
def test_a_file_name_in_place_of_a_name(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str):
    monkeypatch.chdir(tmp_path)
    Path("toynet_2.safetensors").touch()
    more = {"check": ["x.pth"], "lock": ["-o", "lock"], "bundle": ["-o", "tar"]}.get(command, [])
    run = zoo(command, "toynet_2.safetensors", *more)
    assert (run.returncode, run.stdout) == (5, "")
    assert "'toynet_2.safetensors', which is a file here" in run.stderr
    assert "zoo inspect toynet_2.safetensors" in run.stderr
    assert "--filter 'toynet*', in quotes" in run.stderr


# ---------------------------------------------------------------- info


def test_info_json_has_the_default_config_size_levels_and_tags(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    document = json.loads(zoo("info", "toynet_2", "--json").stdout)
    assert (document["name"], document["params"], document["macs"]) == ("toynet_2.a_in1k", 2_000_000, 900)
    config = document["default_cfg"]
    assert config["url"] == "https://example.org/two.pth"
    assert config["input_size"] == [3, 192, 192]
    assert config["pool_size"] == [6, 6]  # 192 / 32
    assert (config["first_conv"], config["classifier"], config["crop_pct"]) == ("stem.conv", "head", 0.95)
    assert config["mean"] == [0.485, 0.456, 0.406]  # ImageNet's, the default of the row
    assert document["feature_levels"][1] == {"index": 1, "channels": 16, "reduction": 4, "module": "stages.0"}
    assert document["tags"] == [
        {"tag": "a_in1k", "license": "mit", "source": "hf-hub:timm/toynet_2.a_in1k", "cached": False, "accuracies": []},
        {"tag": "b_in1k", "license": "apache-2.0", "source": "hf-hub:someone/else", "cached": False, "accuracies": []},
    ]


def test_info_has_the_published_accuracies_with_their_source(capsys: pytest.CaptureFixture[str]):
    assert errors.run(app, ["info", "resnet50d", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (tag,) = [tag for tag in document["tags"] if tag["tag"] == "ra2_in1k"]
    # The rows of results-imagenet.csv.
    found = [(one["size"], one["top1"], one["top5"]) for one in tag["accuracies"]]
    assert found == [(224, 80.546, 95.16), (288, 81.354, 95.742)]
    assert document["accuracy_source"].startswith("https://github.com/huggingface/pytorch-image-models/")
    assert errors.run(app, ["info", "resnet50d"]) == 0
    assert "accuracy: ra2_in1k size=224 crop_pct=0.875 interpolation=bicubic top1=80.546" in capsys.readouterr().out


def test_info_takes_a_tag(zoo: Zoo):
    document = json.loads(zoo("info", "toynet_2.b_in1k", "--json").stdout)
    assert (document["name"], document["default_cfg"]["hf_hub_id"]) == ("toynet_2.b_in1k", "someone/else")


def test_info_of_several_models(zoo: Zoo):
    several = json.loads(zoo("info", "toynet_2", "toynet_raw", "--json").stdout)
    single = [json.loads(zoo("info", name, "--json").stdout) for name in ("toynet_2", "toynet_raw")]
    assert several.pop("schema_version") == 1
    assert several == {"models": [{k: v for k, v in one.items() if k != "schema_version"} for one in single]}
    blocks = [zoo("info", name).stdout for name in ("toynet_2", "toynet_raw")]
    assert zoo("info", "toynet_2", "toynet_raw").stdout == "\n".join(blocks)
    assert zoo("info", "toynet_2", "toynet_3")[:2] == (5, "")


@pytest.mark.parametrize("name", ["timm/toynet_2.a_in1k", "hf-hub:timm/toynet_2.a_in1k", "hf_hub:timm/toynet_2.a_in1k"])
def test_info_takes_the_names_of_the_hub(zoo: Zoo, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert zoo("info", name) == zoo("info", "toynet_2.a_in1k")
    assert zoo("info", "timm/toynet_2") == zoo("info", "toynet_2")


def test_info_sees_weights_in_the_hub_cache(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--toynet_2.a_in1k"
    commit = "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "model.safetensors").write_bytes(b"weights")
    document = json.loads(zoo("info", "toynet_2", "--json").stdout)
    assert [tag["cached"] for tag in document["tags"]] == [True, False]


def test_info_in_a_pipe_is_plain_lines(zoo: Zoo):
    lines = zoo("info", "toynet_10").stdout.splitlines()
    assert "params: 1000000" in lines
    assert "mean: 0.485 0.456 0.406" in lines
    assert "feature_level: index=2 channels=32 reduction=8 module=stages.1" in lines
    assert "tag: a_in1k license=unknown source=package:toy_package:weights.pth cached=no" in lines


def test_info_of_a_model_without_weights(zoo: Zoo):
    document = json.loads(zoo("info", "toynet_raw", "--json").stdout)
    assert (document["name"], document["macs"], document["tags"]) == ("toynet_raw", None, [])
    assert document["cached"] is None


def test_several_models_stand_side_by_side_on_a_terminal():
    lines = zoo_on_terminal("info", "toynet_2", "toynet_raw", NO_COLOR="1").splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines}
    assert rows["model"] == ["toynet_2.a_in1k", "toynet_raw"]
    assert rows["params"] == ["2M", "3k"]
    assert rows["macs"] == ["900", "unknown"]
    assert rows["input_size"] == ["3x192x192", "3x224x224"]
    assert [line.split() for line in lines if line.startswith("level")] == [
        ["level", "0", "8", "at", "1/2", "8", "at", "1/2"],
        ["level", "1", "16", "at", "1/4", "16", "at", "1/4"],
        ["level", "2", "32", "at", "1/8", "32", "at", "1/8"],
    ]


def test_info_on_a_terminal_keeps_a_long_value_whole():
    written = zoo_on_terminal("info", "toynet_2", columns=60, NO_COLOR="1")
    assert "https://example.org/two.pth" in written
    assert "2000000 (2M)" in written
    assert "hf-hub:someone/else" in written


@pytest.mark.parametrize("columns", [80, 50, 30])
def test_the_tables_of_info_fit_the_terminal(columns: int):
    written = zoo_on_terminal("info", "toynet_2", columns=columns, NO_COLOR="1")
    tags = written[written.rindex("\ntag ") :].split("\n")[1:4]
    assert [line.split()[0] for line in tags] == ["tag", "a_in1k", "b_in1k"]
    assert all(len(line.rstrip()) <= max(columns, 40) for line in tags)  # 40: what is never cut
    assert tags[1].rstrip().endswith("hf-hub:timm/toynet_2.a_in1k" if columns == 80 else "…")


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("toynet_3", "No model is called 'toynet_3'.", "Did you mean toynet_2"),
        ("toynet_2.c_in1k", "toynet_2 has no tag 'c_in1k'; its tags are: a_in1k, b_in1k.", "Did you mean toynet_2."),
    ],
)
def test_info_of_an_unknown_name(zoo: Zoo, name: str, sentence: str, hint: str):
    run = zoo("info", name)
    assert (run.returncode, run.stdout) == (5, "")
    assert sentence in run.stderr
    assert hint in run.stderr


# ---------------------------------------------------------------- completion and start-up


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("zoo info toynet_1", {"toynet_10"}),
        ("zoo info toynet_2.", {"toynet_2.a_in1k", "toynet_2.b_in1k"}),
        ("zoo list --family t", {"toynet"}),
        ("zoo list --sort p", {"params", "pretrained"}),
        ("zoo list --columns name,mac", {"name,macs"}),
        ("zoo l", {"list", "lock"}),
    ],
)
def test_bash_completion(typed: str, expected: set[str]):
    words = str(len(typed.split()) - 1)
    env = os.environ | {"_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": words}
    run = subprocess.run([sys.executable, str(TOY)], capture_output=True, text=True, env=env)
    assert set(run.stdout.split()) == expected


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["--help"], {}),
        (["--version"], {}),
        (["list"], {}),
        (["list", "--json"], {}),
        (["list", "--where", "params<3M", "--sort", "-macs", "--columns", "name,top1"], {}),
        (["info", "toynet_2"], {}),
        ([], {"_ZOO_COMPLETE": "complete_bash", "COMP_WORDS": "zoo info toy", "COMP_CWORD": "2"}),
    ],
)
def test_nothing_heavy_is_imported(words: list[str], env: dict[str, str]):
    program = (
        "import sys, toy_registry\n"
        "from zoo.cli.start import main\n"
        "toy_registry.install()\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        f"    sys.stderr.write(' '.join(sorted(set({HEAVY!r}) & set(sys.modules))))\n"
    )
    # -c puts the working directory on the path: there toy_registry is, and no folder of the project.
    command = [sys.executable, "-c", program, *words]
    run = subprocess.run(command, capture_output=True, text=True, cwd=TOY.parent, env=os.environ | env)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout != ""
