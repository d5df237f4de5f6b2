"""What an installation puts where."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: setuptools leaves its build folders beside pyproject.toml.
    source = folder / "source"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "-a", "--prefix", f"{source}/"], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, source]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def test_nothing_but_zoo_reaches_site_packages(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name and "/share/man/" not in name}
    assert tops == {"zoo"}
    data = {"architectures/index.json", "architectures/families.json"}
    data |= {"architectures/configs/pruned.json", "channels/sensors.json", "identify/layer_digests.json"}
    assert {"zoo/py.typed", *(f"zoo/core/{name}" for name in data)} <= set(names)


def test_the_wheel_works(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import zoo, zoo.core.architectures.registry as r;"
        "assert all(m.__file__.startswith(sys.argv[1]) for m in (zoo, r)), r.__file__;"
        "print(sum(p.numel() for p in zoo.create_model('resnet34').parameters()))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code, tmp_path], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "21797672"


def test_every_module_folder_is_packaged(wheel):
    packaged = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "*.py"], check=True, capture_output=True, text=True)
    for path in tracked.stdout.split():
        room = path.split("/")[0]
        if room == "zoo":
            assert path in packaged
        elif room in ("cli", "core", "models", "weights_cache"):
            assert f"zoo/{path}" in packaged
