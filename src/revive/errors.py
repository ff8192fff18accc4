"""Errors that a user can act on, each with its exit code.

A message says what is wrong, where, and what to do. The command line prints it as one line, and
one more for each detail; Python users catch `ReviveError`.
"""

from collections.abc import Sequence


class ReviveError(Exception):
    """Base of every error that REVIVE raises on purpose.

    Attributes:
        details: What belongs to the message, where that is a list.
    """

    exit_code = 1

    def __init__(self, *args: object, details: Sequence[str] = ()) -> None:
        """Take the message, and its list."""
        super().__init__(*args)
        self.details = tuple(details)

    def __str__(self) -> str:
        """The message, and its list."""
        return "\n  ".join((super().__str__(), *self.details))


class SpecError(ReviveError, ValueError):
    """A bad spec, edit file, argument or model input."""

    exit_code = 2


class PrerequisiteError(ReviveError):
    """Something outside the spec is missing: a package, a device, disk space."""

    exit_code = 3


class NumericalError(ReviveError, ArithmeticError):
    """A non-finite or otherwise unusable number. Nothing was written to the model."""

    exit_code = 4
