"""What a model's name means: one of ours, a folder, a GGUF file, or a hub id. No torch."""

from dataclasses import dataclass
from pathlib import Path

from revive.errors import PrerequisiteError, SpecError
from revive.paths import at_home
from revive.sources.fetch import folder_of
from revive.sources.gguf_config import file_type
from revive.sources.named import named
from revive.sources.refusals import is_pointer, refuse_adapter, refuse_pickled, refuse_pointers

_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model is read from.

    Attributes:
        place: A folder, or a hub id, as transformers takes it.
        folder: The folder, if it is one.
        gguf: The GGUF file in it, if the model is that.
    """

    place: str
    folder: Path | None = None
    gguf: Path | None = None


def find_source(name: str) -> Source:
    """Where a model is read from; one of ours that is not here yet is fetched.

    Args:
        name: As in the spec.

    Raises:
        SpecError: It names a place here where no model is.
        PrerequisiteError: One of ours cannot be had.
    """
    known = named(name)
    if known is not None:
        folder = folder_of(known)
        if not (folder / _CONFIG).is_file():
            raise PrerequisiteError(
                f"model.name: the {name} model is not whole in {folder}; "
                + (
                    "remove that folder; it is written anew from the package."
                    if known.package is None
                    else f"fetch it again with `revive fetch {name} --again`."
                )
            )
        return Source(str(folder), folder)
    path = at_home(name)
    if path.is_dir():
        return _in_folder(path)
    if path.is_file() and path.suffix.lower() == ".gguf":
        if is_pointer(path):
            raise SpecError(
                f"model.name: {path} is a git-lfs pointer, not the file itself; run `git lfs pull` "
                f"in {path.parent}."
            )
        return Source(str(path.parent), path.parent, path)
    if path.exists() or looks_like_path(name):
        raise SpecError(
            f"model.name: {name} is neither a model's folder nor a GGUF file; check the path."
            if path.exists()
            else f"model.name: there is no {name}; check the path."
        )
    return Source(name)


def _in_folder(path: Path) -> Source:
    refuse_pointers(path)
    if (path / _CONFIG).is_file():
        refuse_pickled(str(path), (file.name for file in path.iterdir()))
        return Source(str(path), path)
    refuse_adapter(path)
    files = sorted(path.glob("*.gguf"))
    if len(files) == 1:
        return Source(str(path), path, files[0])
    if files:
        raise SpecError(
            f"model.name: folder {path} holds {len(files)} GGUF files; name one of them: "
            f"{', '.join(f.name for f in files[:10])}."
        )
    raise SpecError(
        f"model.name: folder {path} has no config.json and no GGUF file; name the folder of a "
        "Hugging Face model."
    )


def looks_like_path(name: str) -> bool:
    """Whether a name can only be a path: hub ids have at most one slash, and inside."""
    return (
        name.startswith((".", "/", "~"))
        or "\\" in name
        or name.count("/") > 1
        or name.lower().endswith(".gguf")
    )


def stored_as(name: str) -> str:
    """What a model's file was rounded to, in words; empty where it was not, or nothing says so."""
    known = named(name)
    if known is not None:
        return known.quantized
    gguf = find_source(name).gguf
    return "" if gguf is None else f"{file_type(gguf)} file, dequantised"
