"""Fixtures for report tests."""

from pathlib import Path

import pytest
from constructed_runs import MakeRun, folder_maker


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    return folder_maker(tmp_path)
