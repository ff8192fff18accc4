"""In which type an edited weight is written, and what is left of an edit in it."""

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from revive.errors import SpecError
from revive.export.gguf_types import (
    BLOCKS,
    DEFAULT,
    Kind,
    bits,
    encoded,
    fitting,
    kind_of,
    rounded,
    size_of,
    writable,
)

ROWS, COLUMNS = 64, 256


def weights(seed=0):
    return np.random.default_rng(seed).normal(0, 0.05, (ROWS, COLUMNS)).astype(np.float32)


def update_of(weight, share, seed=1):
    """A dense low-rank update whose norm is a share of the weight's."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(ROWS, 4)) @ rng.normal(size=(4, COLUMNS))
    return (found * share * np.linalg.norm(weight) / np.linalg.norm(found)).astype(np.float32)


def survives(weight, update, kind):
    """The share of an update that is in what is read back, along the update itself."""
    change = rounded(weight + update, kind) - rounded(weight, kind)
    return float((change * update).sum() / np.square(update).sum())


@pytest.mark.parametrize("share", [0.01, 0.03])
@pytest.mark.parametrize("kind", [Kind.Q4_0, Kind.Q4_1])
def test_on_its_own_grid_an_update_is_lost_and_in_f16_it_is_not(kind, share):
    weight = rounded(weights(), kind)  # as a model that was read from such a file has it
    update = update_of(weight, share)
    assert survives(weight, update, kind) < 0.3
    assert survives(weight, update, DEFAULT) == pytest.approx(1, abs=0.01)
    assert survives(weight, update, Kind.Q8_0) == pytest.approx(1, abs=0.1)
    # What was never on that grid keeps an update in it, on average.
    assert survives(weights(), update, kind) > 0.5


@given(st.sampled_from((Kind.F32, Kind.F16, Kind.BF16, *BLOCKS)))
def test_a_weight_is_as_long_as_said_and_read_back_the_same(kind):
    weight = weights()
    assert len(encoded(weight, kind)) == size_of(weight.shape, kind)
    back = gguf.quants.dequantize(np.frombuffer(encoded(weight, kind), np.uint8), kind)
    assert np.array_equal(back.reshape(weight.shape), rounded(weight, kind))


def test_types_that_cannot_be_written_give_way_to_wider_ones():
    told = {kind.name: writable(kind).name for kind in Kind if kind.name in WIDER}
    assert told == WIDER
    for kind in BLOCKS:
        assert writable(kind) == kind
    assert all(bits(writable(Kind[name])) > bits(Kind[name]) for name in WIDER)


WIDER = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q4_1",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "IQ4_XS": "Q4_0",
    "IQ4_NL": "Q4_1",
}


def test_a_weight_has_room_in_what_is_taken():
    assert fitting(Kind.Q8_0, weights()[:, :48]) is Kind.F16  # no whole number of blocks
    large = weights()
    large[0, 0] = 1e5
    assert fitting(Kind.F16, large) is Kind.F32
    assert fitting(Kind.BF16, large) is Kind.BF16
    assert fitting(Kind.Q8_0, weights()) is Kind.Q8_0


def test_names_of_types():
    assert [kind_of(name) for name in ("float16", "F16", "q8_0", "bfloat16")] == [
        Kind.F16,
        Kind.F16,
        Kind.Q8_0,
        Kind.BF16,
    ]
    with pytest.raises(SpecError, match="'q4_k' cannot be written to GGUF; use one of float32"):
        kind_of("q4_k")
