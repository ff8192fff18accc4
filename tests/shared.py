"""Where the shared test inputs are; tests that need them skip with a reason without them."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared test input {'/'.join(parts)} is not beside the repository")
    return path
