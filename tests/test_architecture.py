"""The rooms of the house: who imports whom (see rooms.py), and what a start-up must not load."""

import ast
import subprocess
import sys

import pytest
import rooms

import zoo

TEXTS = rooms.sources()


def test_every_import_keeps_the_contracts_and_there_is_no_circle():
    assert rooms.breaches(TEXTS) == []


@pytest.mark.parametrize(
    ("module", "line", "told"),
    [
        ("core.files.planted", "from zoo.core.adapt import plan", "core.files stands not above core.adapt"),
        ("core.files.planted", "def f():\n    from zoo.models import base", "core.files stands not above models"),
        ("models.planted", "import zoo.weights_cache.hub", "models stands not above weights_cache"),
        ("core.convert.planted", "def f():\n    import torch", "core.convert.planted imports torch"),
        ("core.adapt.planted", "import huggingface_hub", "core.adapt.planted imports huggingface_hub"),
        ("core.adapt.planted", "import zoo.core.images.preprocess", "numpy: core.adapt.planted is light"),
        ("core.lost", "", "core.lost is in no room"),
    ],
)
def test_a_planted_breach_is_told(module, line, told):
    assert any(told in breach for breach in rooms.breaches(TEXTS | {module: line}))


def test_a_planted_circle_is_told_though_its_imports_are_lazy():
    planted = {
        "core.files.one": "import zoo.core.files.two",
        "core.files.two": "def f():\n    from zoo.core.files import one",
    }
    assert any("is a circle" in breach for breach in rooms.breaches(TEXTS | planted))


def test_core_itself_is_no_hall():
    assert sorted(path.name for path in (rooms.ROOT / "core").glob("*.py")) == ["__init__.py", "errors.py", "extras.py"]


def test_only_the_output_module_prints():
    for module, text in TEXTS.items():
        calls = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)]
        prints = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not prints or module == "cli.output", module


@pytest.mark.parametrize("module", [m for m in TEXTS if m.startswith("models")])
def test_model_files_stay_short(module):
    assert len(TEXTS[module].splitlines()) <= 450


def test_type_checkers_see_the_names_that_zoo_answers():
    tree = ast.parse(TEXTS["zoo"])
    block = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {f"{node.module}.{alias.name}" for node in block.body for alias in node.names}
    assert declared == {f"zoo.{home}.{name}" for name, home in zoo._HOME.items()}


def test_importing_zoo_is_cheap_and_answers_names():
    code = (
        "import sys, zoo; assert zoo.__version__; zoo.list_models;"
        "assert not {'torch', 'numpy', 'PIL', 'huggingface_hub'} & set(sys.modules), sys.modules;"
        "assert all(hasattr(zoo, name) for name in zoo.__all__)"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
