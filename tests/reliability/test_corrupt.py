"""A short form of `make corrupt`: one case in so many, over every kind of damage and command."""

from reliability.bed import Bed
from reliability.corrupt import sweep


def test_no_damage_gives_other_weights_with_exit_0(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back afterwards
    found = sweep(Bed(tmp_path), flips=1, every=61)
    assert found.wrong == []
    assert found.counts.total() >= 60
    assert found.counts["refused"] >= 20
    assert found.counts["right in spite of it"] >= 20
