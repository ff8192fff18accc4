"""A short form of `make soak`: files and journal, which do not depend on how busy a machine is."""

from reliability.bed import Bed
from reliability.soak import MOST_JOURNAL, soak


def test_a_batch_costs_the_same_after_many_others(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HUB_OFFLINE", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # put back afterwards
    found = soak(Bed(tmp_path), batches=60)
    assert found.batches == 60
    assert found.files[1] <= found.files[0]
    assert found.journal[1] <= found.journal[0] * (1 + MOST_JOURNAL)
    assert found.resident[1] <= found.resident[0] * 1.05
    assert found.seconds[1] <= found.seconds[0] * 2
