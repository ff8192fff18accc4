"""What a user is told about an exception, and the exit code."""

import os
import re
import shutil
from typing import Any

from revive.errors import PrerequisiteError, ReviveError, SpecError
from revive.io.atomic import error_number, is_disk_full
from revive.wording import brief

INTERRUPTED = 130
_OWN_MISTAKE = 1
_AT_PATH = re.compile(r'at path "([^"]*)"')


def account(error: Exception) -> tuple[int, str]:
    """Exit code and message, in one line, of an exception that ended the command."""
    code, message = _account(error)
    return code, brief(message)


def _account(error: Exception) -> tuple[int, str]:
    if isinstance(error, ReviveError):
        return error.exit_code, str(error.args[0] if error.args else error)
    # Typer has had click's exceptions inside and outside; what they have in common is this method.
    if hasattr(error, "format_message"):
        return SpecError.exit_code, _usage(error)
    if is_disk_full(error):
        what = "no space left on the disk, or a limit on file sizes (ulimit -f); make some"
        return PrerequisiteError.exit_code, f"{_place(error)}{what}."
    number = error_number(error)
    if number is not None:
        return (
            PrerequisiteError.exit_code,
            f"{_place(error)}{os.strerror(number)}; check that it is there and may be used, and "
            "that the disk is sound.",
        )
    # torch's own class is not imported for this: most commands never load torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            PrerequisiteError.exit_code,
            "out of memory; use a smaller edits.batch_size, a smaller model.dtype or another "
            "model.device.",
        )
    return (
        _OWN_MISTAKE,
        f"unexpected {type(error).__name__}: {error}. This is a mistake of revive; what a run "
        "committed is kept. Run the command again with --debug and report what it prints.",
    )


def _usage(error: Any) -> str:
    context = getattr(error, "ctx", None)
    command = "revive" if context is None else str(context.command_path)
    message = str(error.format_message()).replace("Value error, ", "").rstrip(".")
    end = "" if message.endswith("?") else "."
    where = command.partition(" ")[2]
    return f"{where}{': ' if where else ''}{message}{end} See '{command} --help'."


def _place(error: BaseException) -> str:
    """The file that a failure is about, where it says so."""
    name = getattr(error, "filename", None)
    if isinstance(error, shutil.Error) and error.args and error.args[0]:
        name = error.args[0][0][1]  # of the first file that could not be copied, its copy
    elif name is None:
        found = _AT_PATH.search(str(error))
        name = None if found is None else found[1]
    return f"{name}: " if name else ""
