"""`python -m benchmarks.compiled`: every way solves the same targets."""

import shutil

import pytest
import torch
from torch._dynamo.utils import counters

from benchmarks.compiled import main


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++")
def test_compiled_or_not_the_targets_are_the_same(capsys):
    threads, before = torch.get_num_threads(), counters["stats"]["unique_graphs"]
    assert main(["--shape", "tiny", "--edits", "3", "--repeat", "1", "--device", "cpu"]) == 0
    torch.set_num_threads(threads)
    lines = capsys.readouterr().out.splitlines()[2:]
    ways = {cells[1].strip(): cells for cells in (line.split("|") for line in lines)}
    assert list(ways) == ["eager", "MLPs compiled", "blocks compiled"]
    assert all(float(cells[5]) < 1e-5 for cells in ways.values())
    # The control: something was compiled.
    assert counters["stats"]["unique_graphs"] > before
