"""Errors that a user can act on, each with its exit code.

A message says what is wrong, where, and what to do. The command line prints it as one line;
Python users catch `ReviveError`.
"""


class ReviveError(Exception):
    """Base of every error that REVIVE raises on purpose."""

    exit_code = 1


class SpecError(ReviveError, ValueError):
    """A bad spec, edit file, argument or model input."""

    exit_code = 2


class PrerequisiteError(ReviveError):
    """Something outside the spec is missing: a package, a device, disk space."""

    exit_code = 3


class NumericalError(ReviveError, ArithmeticError):
    """A non-finite or otherwise unusable number. Nothing was written to the model."""

    exit_code = 4
