"""Reconstruction on projections whose answer is known."""

import math

import pytest
import torch
from constructed_spectra import OUT, dominant, falling, level, low_rank, planted

from revive.errors import SpecError
from revive.studies.points import PointLog
from revive.studies.reconstruct import SELECTIONS, ReconstructSettings, reconstruct
from revive.studies.reconstruct_tables import reconstruction_tables
from revive.studies.recovery import area, back_at, beyond_energy, dominance, recovery
from revive.studies.spectra import study_head

GRID = ReconstructSettings(shares=tuple(i / 8 for i in range(1, 8)))


def top(found):
    return dict(recovery(found, "kept", "top").mean())


def test_an_exactly_low_rank_weight_is_back_at_its_rank():
    made = low_rank(rank=8)
    found = reconstruct(made.ledger, made.ability, settings=GRID)
    energy = torch.tensor(falling(8), dtype=torch.float64).square()
    half = float(energy[:4].sum() / energy.sum())
    assert found.intact == {"kept": 1.0}
    assert found.zero["kept"] == pytest.approx(0.0, abs=1e-12)
    assert top(found)[4 / OUT] == pytest.approx(half, abs=1e-9)
    assert all(top(found)[p] == pytest.approx(1.0, abs=1e-9) for p in (0.25, 0.5, 0.875))
    assert dict(recovery(found, "kept", "bottom").mean())[0.75] == pytest.approx(0.0, abs=1e-9)
    assert recovery(found, "kept", "top").back_at(0.9) <= 8 / OUT
    assert dominance(found, "kept") == "holds"
    assert found.holding[0.9] <= 8 / OUT


def test_dominance_is_reported_reversed_where_small_singular_values_matter():
    made = planted()
    found = reconstruct(made.ledger, made.ability, settings=GRID)
    assert dominance(found, "kept") == "reversed"
    assert top(found)[0.75] == pytest.approx(0.0, abs=1e-4)
    assert dict(recovery(found, "kept", "bottom").mean())[0.25] == pytest.approx(1.0, abs=1e-4)
    assert beyond_energy(found, "kept") < 0
    assert "reversed" in reconstruction_tables(found)[0].rows[0]


def test_dominance_is_not_reported_where_every_component_matters_the_same():
    made = level()
    found = reconstruct(made.ledger, made.ability, settings=GRID)
    assert dominance(found, "kept") == "not shown"
    assert recovery(found, "kept", "top").areas()[0] == pytest.approx(0.5, abs=1e-9)
    for selection in SELECTIONS[:3]:
        for p, r in recovery(found, "kept", selection).mean():
            assert r == pytest.approx(p, abs=1e-9)


def test_an_ability_that_does_not_need_the_weight_gets_no_verdict():
    made = dominant()
    found = reconstruct(made.ledger, lambda: {"other": 0.7}, settings=GRID)
    assert dominance(found, "other") == "no effect"
    assert "no effect" in reconstruction_tables(found)[0].rows[0]


def test_nothing_is_told_of_a_score_that_moves_as_much_by_chance():
    made = dominant()

    def score():
        return {"accuracy": 0.5 + 0.1 * made.ability()["kept"]}

    for chance, verdict in ((0.11, "no effect"), (0.09, "holds")):
        found = reconstruct(made.ledger, score, settings=GRID, resolution={"accuracy": chance})
        assert dominance(found, "accuracy") == verdict


def test_random_components_of_equal_energy_hold_it_and_no_more_than_one_over():
    made = dominant()
    found = reconstruct(made.ledger, made.ability, settings=GRID)
    s = torch.tensor(falling(), dtype=torch.float64)
    for row in found.rows:
        held = float(s[: round(row.share * OUT)].sum() / s.sum())
        if row.selection == "random, equal energy":
            assert held - 1e-9 <= row.energy <= held + float(s[0] / s.sum())
            assert row.count >= row.share - 1e-9
        elif row.selection == "top":
            assert row.energy == pytest.approx(held)
        assert row.selection == "random, equal energy" or row.count == row.share


def test_the_weights_are_as_before_bit_for_bit():
    made = dominant()
    before = made.weight().clone()
    reconstruct(made.ledger, made.ability, settings=GRID)
    assert torch.equal(made.weight(), before)
    calls = iter(range(5))

    def failing():
        if next(calls, None) is None:
            raise RuntimeError("no more")
        return made.ability()

    with pytest.raises(RuntimeError, match="no more"):
        reconstruct(made.ledger, failing, settings=GRID)
    assert torch.equal(made.weight(), before)


def test_an_interrupted_study_goes_on(tmp_path):
    made = dominant()
    head = study_head(made.ledger, "model", "kept", GRID)
    whole = reconstruct(made.ledger, made.ability, settings=GRID)
    all_calls, made.calls = made.calls, 0
    path = tmp_path / "study" / "points.jsonl"

    def interrupted():
        if made.calls == 10:
            raise KeyboardInterrupt
        return made.ability()

    with pytest.raises(KeyboardInterrupt):
        reconstruct(made.ledger, interrupted, PointLog(path, head), settings=GRID)
    with path.open("a") as file:
        file.write('{"point": "torn')
    made.calls = 0
    seen = []
    again = reconstruct(
        made.ledger,
        made.ability,
        PointLog(path, head),
        settings=GRID,
        progress=lambda *told: seen.append(told),
    )
    assert made.calls == all_calls - 10
    assert again == whole
    assert seen[-1] == ("reconstruct", all_calls, all_calls)
    reconstruct(made.ledger, made.ability, PointLog(path, head), settings=GRID)
    assert made.calls == all_calls - 10


def test_points_of_another_study_are_refused(tmp_path):
    made = dominant()
    path = tmp_path / "points.jsonl"
    PointLog(path, study_head(made.ledger, "model", "kept", GRID))
    for head in (
        study_head(made.ledger, "another", "kept", GRID),
        study_head(made.ledger, "model", "kept", ReconstructSettings()),
    ):
        with pytest.raises(SpecError, match=r"another study: (model|settings) differ"):
            PointLog(path, head)
    path.write_text(path.read_text() + "nonsense\n")
    with pytest.raises(SpecError, match="line 2: not a JSON object"):
        PointLog(path, study_head(made.ledger, "model", "kept", GRID))


def test_a_point_keeps_what_is_not_finite(tmp_path):
    log = PointLog(tmp_path / "points.jsonl", {"study": "x"})
    log.add("a", {"x": math.inf, "y": math.nan})
    read = PointLog(tmp_path / "points.jsonl", {"study": "x"})["a"]
    assert read["x"] == math.inf
    assert math.isnan(read["y"])


def test_a_zero_weight_is_refused():
    made = low_rank(rank=0)
    with pytest.raises(SpecError, match=r"is zero and has no spectrum"):
        reconstruct(made.ledger, made.ability, settings=GRID)


def test_a_level_is_reached_where_it_is_kept_from_then_on():
    curve = [(0.0, 0.0), (0.2, 0.8), (0.4, 0.4), (0.6, 0.8), (1.0, 1.0)]
    assert back_at(curve, 0.6) == pytest.approx(0.5)
    assert back_at(curve, 0.3) == pytest.approx(0.075)
    assert back_at(curve, 0.9) == pytest.approx(0.8)
    assert math.isnan(back_at(curve[:3], 0.6))
    assert area([(0.0, 0.0), (1.0, 1.0)]) == 0.5
