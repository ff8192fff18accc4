"""A short form of `make fuzz`: some cases of every parser."""

from reliability.bed import Bed
from reliability.fuzz import sweep


def test_files_that_were_made_wrong_are_taken_or_refused_in_a_line(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back afterwards
    found = sweep(Bed(tmp_path), cases=24, first=1)
    assert list(found.wrong.values()) == []
    names = {name for name, _ in found.counts}
    assert len(names) == 15
    assert found.cases() >= 300
    assert all(found.counts[name, "refused"] >= 5 for name in names)
    assert all(found.counts[name, "taken"] for name in names - {"adapter"})
