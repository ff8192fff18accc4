"""Where the GGUF file is that a run's model was read from."""

from pathlib import Path

from revive.errors import SpecError
from revive.paths import at_home
from revive.progress import Told
from revive.sources.fetch import file_of
from revive.sources.named import FETCHED, NAMED
from revive.sources.source import find_source


def original_file(name: str, given: Path | None, told: Told) -> Path | None:
    """The file that a model was read from; None where it was not read from one.

    Args:
        name: The model's, as in the spec.
        given: What the user says it is; None where nothing is said.
        told: Called with the progress of fetching it.

    Raises:
        SpecError: There is no such file.
        PrerequisiteError: A named model's file cannot be fetched.
    """
    if given is not None:
        path = at_home(given)
        if not path.is_file():
            raise SpecError(f"--gguf: there is no file {path}; check the path.")
        return path
    if name in FETCHED:
        return file_of(NAMED[name], told)
    return None if name in NAMED else find_source(name).gguf


def require_original(name: str, given: Path | None, told: Told) -> Path:
    """The same, where there must be one.

    Raises:
        SpecError: The model was not read from a GGUF file, and none is given.
    """
    found = original_file(name, given, told)
    if found is None:
        raise SpecError(
            f"--format gguf: {name} was not read from a GGUF file, and edited weights are put into "
            "one. Make one from the unedited model with llama.cpp's `python convert_hf_to_gguf.py "
            "FOLDER --outfile base.gguf` (and `llama-quantize`, if it shall be smaller), then call "
            "the same with --gguf base.gguf."
        )
    return found
