"""Several tasks under one name, and names that belong to the evaluation harness."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SIX = ("sst2", "mrpc", "cola", "rte", "nli", "mmlu_six")
"""The sets whose F1 the literature on sequential editing averages (arXiv:2601.11042)."""

SUITES: Mapping[str, tuple[str, ...]] = MappingProxyType({"six": SIX})

HARNESS = "lm-eval:"
"""Prefix of a task of lm-evaluation-harness."""


def split(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of our tasks, and those of the harness without their prefix."""
    own = [name for name in names if not name.startswith(HARNESS)]
    return own, [name.removeprefix(HARNESS) for name in names if name.startswith(HARNESS)]
