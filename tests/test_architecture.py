"""The rooms of the house: who imports whom, and what a start-up must not load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zoo

ROOT = Path(__file__).parent.parent
ROOMS = ("cli", "core", "models", "weights_cache", "zoo")

# core has two sides: these modules build and run models, all others are free of torch.
TORCH_SIDE = {
    "core.adapt.sources", "core.model.build", "core.model.build_index", "core.model.check", "core.export.job",
    "core.export.batches", "core.export.engine", "core.export.fold_batch_norm", "core.export.pool",
    "core.convert.job", "core.export.prepare", "core.export.preview", "core.export.request", "core.model.features",
    "core.model.load", "core.model.match", "core.model.named_model", "core.images.preprocess",
    "core.model.save", "core.adapt.verify_loading",
    "core.export.watched_weights",
}  # fmt: skip
LAYER = {"cli": 3, "core torch side": 2, "models": 1, "weights_cache": 1, "core": 0}


def modules():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


MODULES = dict(modules())
TORCH_SIDE |= {module for module in MODULES if module.startswith("core.images.rasters")}  # numpy and Pillow


def layer(module):
    room = module.split(".")[0]
    return LAYER["core torch side" if module in TORCH_SIDE else room]


def imports(path):
    """(imported module, whether it is imported when the file is) for each import of the file."""
    tree = ast.parse(path.read_text())
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    inside |= {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for n in ast.walk(block)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full.removeprefix("zoo.") in MODULES else node.module), id(node) not in inside


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith("zoo")])
def test_imports_go_downwards(module):
    for imported, _ in imports(MODULES[module]):
        target = imported.removeprefix("zoo.")
        if not imported.startswith("zoo.") or target.split(".")[0] not in ROOMS:
            continue
        rooms = {module.split(".")[0], target.split(".")[0]}
        assert rooms != {"models", "weights_cache"}, f"{module} imports {target}"
        same_room = module.split(".")[0] == target.split(".")[0] and layer(module) == layer(target)
        assert same_room or layer(target) < layer(module), f"{module} imports {target}"


@pytest.mark.parametrize("module", [m for m in MODULES if m.split(".")[0] in ("cli", "core") and m not in TORCH_SIDE])
def test_the_start_up_path_imports_nothing_heavy(module):
    heavy = {"torch", "numpy", "PIL", "huggingface_hub", "safetensors", "rich"}
    for imported, at_start in imports(MODULES[module]):
        assert not (at_start and imported.split(".")[0] in heavy), f"{module} imports {imported}"


def test_only_the_output_module_prints():
    for module, path in MODULES.items():
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        prints = [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"]
        assert not prints or module == "cli.output", module


@pytest.mark.parametrize("module", [m for m in MODULES if m.startswith("models")])
def test_model_files_stay_short(module):
    assert len(MODULES[module].read_text().splitlines()) <= 600


def test_type_checkers_see_the_names_that_zoo_answers():
    tree = ast.parse(MODULES["zoo"].read_text())
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
