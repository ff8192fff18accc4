"""A short form of `make faults`: every kind of fault, under every command of three editors."""

from reliability.bed import EDITORS, Bed
from reliability.faults import sweep
from reliability.injector import KINDS


def test_after_any_fault_a_command_ends_as_if_nothing_had_happened(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back afterwards
    assert len(EDITORS) >= 3
    found = sweep(Bed(tmp_path), faults=66, seed=1)
    assert found.wrong == []
    assert set(found.kinds) == set(KINDS)
    assert sum(found.kinds.values()) >= 60
    assert found.counts["continued to the same end"] >= 30
