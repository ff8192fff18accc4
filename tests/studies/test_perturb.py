"""Perturbation on projections whose answer is known, and the laws of the noise."""

import itertools
import math
from statistics import fmean

import pytest
import torch
from constructed_spectra import INNER, OUT, Projection, dominant, falling, level, low_rank, planted

from revive.errors import SpecError
from revive.linalg.lowrank import LowRank
from revive.studies.perturb import PerturbSettings, band_noise, isotropic_noise, perturb
from revive.studies.perturb_tables import perturbation_tables
from revive.studies.points import PointLog
from revive.studies.sensitivity import mean_of, trends
from revive.studies.spectra import Spectrum, generator, study_head

SETTINGS = PerturbSettings(bands=8, levels=(0.1, 0.2, 0.4), seeds=(0, 1, 2), one_sided=(0.2,))


def order(found, scheme="index", side="both", scaling="norm"):
    wanted = (scheme, side, scaling)
    return next(
        t
        for t in trends(found, "kept")
        if (t.setting.scheme, t.setting.side, t.setting.scaling) == wanted
    )


def studied(made, **more):
    return perturb(made.ledger, made.ability, {made.key: made.moment()}, settings=SETTINGS, **more)


def test_small_singular_values_are_reported_where_they_are_what_matters():
    found = studied(planted())
    assert order(found).order == "smaller"
    assert order(found, side="right").order == "smaller"
    first = next(r for r in found.rows if r.setting == order(found).setting and r.band == 0)
    assert max(first.losses["kept"]) < 1e-5 * order(found).bottom.value


def test_no_order_is_reported_for_white_inputs_and_noise_of_equal_norm():
    """White inputs: the loss is the noise's squared norm, whatever the band."""
    made = dominant()
    found = studied(made)
    for row in found.rows:
        if row.scaling == "norm" and (row.setting is None or row.setting.side != "left"):
            inside = row.setting is not None
            expected = row.level**2 if inside and row.setting.side in ("both", "right") else None
            if expected is not None:
                assert row.losses["kept"] == pytest.approx([expected] * 3, rel=1e-9)
    low, high = order(found, side="left").correlation.interval
    assert low < 0.5
    assert high > -0.5


def test_large_ones_are_reported_where_inputs_are_large_and_equal_effect_explains_it():
    """Inputs grow with the singular value, so equal norm is not equal effect."""
    s = torch.tensor(falling(), dtype=torch.float64)
    made = Projection(s, s.pow(4))
    found = studied(made)
    assert order(found).order == "larger"
    assert order(found).top.value > 10 * order(found).bottom.value
    for row in found.rows:
        if row.scaling == "effect":
            assert row.losses["kept"] == pytest.approx([row.level**2] * 3, rel=1e-9)
    assert order(found, scaling="effect").top.value == pytest.approx(0.16, rel=1e-9)


def test_noise_has_the_size_and_the_directions_that_it_says():
    made = level()
    spectrum = Spectrum.of(made.ledger.original(made.key))
    outside = {"both": (True, True), "left": (True, False), "right": (False, True)}
    for side, (left, right) in outside.items():
        noise = band_noise(spectrum, 4, 8, side, generator(side)).dense()
        assert float(noise.norm()) == pytest.approx(1.0)
        u, v = spectrum.u[:, 4:8], spectrum.v[:, 4:8]
        assert bool((noise - u @ (u.T @ noise)).norm() < 1e-12) == left
        assert bool((noise - (noise @ v) @ v.T).norm() < 1e-12) == right
    for shape in ((OUT, INNER), (INNER, OUT)):
        noise = isotropic_noise(shape, generator("isotropic"))
        assert noise.shape == shape
        assert noise.rank == OUT
        assert noise.fro() == pytest.approx(1.0)


def test_what_is_written_has_equal_norm_or_equal_effect(monkeypatch):
    made = dominant()
    written = []
    commit = made.ledger.commit

    def watched(key, update, basis=None):
        written.append(update)
        return commit(key, update, basis)

    monkeypatch.setattr(made.ledger, "commit", watched)
    found = studied(made)
    moment, weight = made.moment(), made.ledger.original(made.key)

    def effect(matrix):
        return float((matrix @ moment @ matrix.T).trace())

    sizes = [row.level for row in found.rows for _ in SETTINGS.seeds]
    scalings = [row.scaling for row in found.rows for _ in SETTINGS.seeds]
    assert len(written) == len(sizes)
    for update, size, scaling in zip(written, sizes, scalings, strict=True):
        assert isinstance(update, LowRank)
        dense = update.dense()
        if scaling == "norm":
            assert float(dense.norm()) == pytest.approx(size * float(weight.norm()))
        else:
            assert effect(dense) == pytest.approx(size**2 * effect(weight))
    assert torch.equal(made.weight(), weight)


def test_bands_cover_the_spectrum_and_leave_its_null_space_out():
    spectrum = Spectrum.of(dominant().ledger.original(dominant().key))
    index, energy = spectrum.bands("index", 8), spectrum.bands("energy", 8)
    assert [b - a for a, b in index] == [4] * 8
    for bands in (index, energy):
        assert bands[0][0] == 0
        assert bands[-1][1] == OUT
        assert all(a[1] == b[0] for a, b in itertools.pairwise(bands))
    assert [b - a for a, b in energy] == sorted(b - a for a, b in energy)
    held = [float(spectrum.s[a:b].sum() / spectrum.s.sum()) for a, b in energy]
    assert fmean(held) == pytest.approx(1 / len(energy))
    assert max(held) - min(held) < float(spectrum.s[0] / spectrum.s.sum())
    made = low_rank(rank=8)
    flat = Spectrum.of(made.ledger.original(made.key))
    assert flat.bands("index", 4) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert flat.bands("energy", 4)[-1][1] == 8


def test_a_draw_does_not_depend_on_what_else_is_measured():
    whole = studied(dominant())
    fewer = PerturbSettings(bands=8, levels=(0.2,), seeds=(1,), one_sided=())
    made = dominant()
    part = perturb(made.ledger, made.ability, settings=fewer)
    for row in part.rows:
        same = next(
            r
            for r in whole.rows
            if (r.setting, r.scaling, r.band, r.level)
            == (row.setting, row.scaling, row.band, row.level)
        )
        assert row.losses["kept"][0] == pytest.approx(same.losses["kept"][1], abs=1e-12)


def test_without_moments_only_equal_norm_is_measured(tmp_path):
    made = dominant()
    head = study_head(made.ledger, "model", "kept", SETTINGS)
    path = tmp_path / "points.jsonl"
    first = perturb(made.ledger, made.ability, None, PointLog(path, head), settings=SETTINGS)
    assert {row.scaling for row in first.rows} == {"norm"}
    calls, made.calls = made.calls, 0
    moments = {made.key: made.moment()}
    both = perturb(made.ledger, made.ability, moments, PointLog(path, head), settings=SETTINGS)
    assert made.calls == calls - 1
    assert both.rows[: len(first.rows)] == first.rows


def test_a_band_that_no_input_reaches_is_refused():
    made = planted()
    narrow = made.v[:, -8:]
    with pytest.raises(SpecError, match="no input of the text reaches components 0 to"):
        perturb(made.ledger, made.ability, {made.key: narrow @ narrow.T}, settings=SETTINGS)


def test_intervals_are_students():
    found = mean_of([1.0, 2.0, 3.0])
    half = 4.302652729911275 / math.sqrt(3)
    assert found.interval == pytest.approx((2 - half, 2 + half))
    assert mean_of([1.0]).interval == (-math.inf, math.inf)


def test_tables_say_what_was_found():
    found = studied(planted())
    orders, bands = perturbation_tables(found)
    assert len(orders.rows) == 8
    assert orders.rows[0][-1] == "smaller"
    assert len(bands.rows) == len(found.rows)
    assert bands.csv().count("\n") == len(found.rows) + 1
