"""What the package weighs, and that the lab model is in it."""

import subprocess
import sys
import zipfile

import pytest

from shared import ROOT

WHEEL, TRACKED = 20e6, 40e6  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_is_light(wheel):
    assert wheel.stat().st_size <= WHEEL


def test_the_lab_model_of_the_wheel_is_whole(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "installed")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from revive.lab import weights\n"
        "assert weights.__file__.startswith(sys.argv[1])\n"
        "print(weights.model_path())\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "installed")],
        env={"XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (weights,) = (tmp_path / "cache" / "revive" / "models").glob("lab-*/model.safetensors")
    assert done.stdout.strip() == str(weights.parent)


def test_tracked_files_are_light():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("the sources are no git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert len(paths) > 100
    assert sum(p.lstat().st_size for p in paths if p.exists()) <= TRACKED
