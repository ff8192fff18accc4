"""Calibrating lambda: the rule, and that it leaves the model as it was."""

import math
import shutil

import pytest
from e2e_runs import batches, equal_tensors, journal, same_end, write_edits
from hypothesis import given
from hypothesis import strategies as st

from revive.assembly.build import build, load_from_spec
from revive.assembly.calibrate_from_spec import scan_strength
from revive.calibration.strength import TIE, calibrate_strength, choose
from revive.calibration.trials import (
    LEAST,
    NEIGHBORS,
    PARAPHRASES,
    SAMPLE,
    Calibration,
    CalibrationTrial,
    sample,
    suffices,
    trial_edits,
)
from revive.data.edits import Edit, Neighbor
from revive.editors.memit import MemitSeq
from revive.errors import NumericalError
from revive.linalg.least_squares.null_space import NullSpace
from revive.options.editors import RIDGES as GRID
from revive.probes.edits import score_edits
from revive.runs.loop import resume, start
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import load_spec, read_model_config, resolve

SCORES = st.lists(st.floats(0, 1), min_size=1, max_size=len(GRID))
LARGE = 13  # edits of a first batch that a strength is chosen on


def trials(scores, exact=1.0):
    return [CalibrationTrial(r, s, exact, s, s, s) for r, s in zip(GRID, scores, strict=False)]


def untaken(scores, tokens, probabilities):
    """Trials at which the model gives no new answer."""
    rows = zip(GRID, scores, tokens, probabilities, strict=False)
    return [CalibrationTrial(r, s, 0.0, s, s, s, t, p) for r, s, t, p in rows]


@given(SCORES)
def test_the_largest_lambda_among_the_best_is_chosen(scores):
    chosen = choose(trials(scores))
    best = max(scores)
    if best == 0:
        return
    by_ridge = dict(zip(GRID, scores, strict=False))
    assert by_ridge[chosen] >= best - TIE
    assert all(score < best - TIE for ridge, score in by_ridge.items() if ridge > chosen)


def test_the_tie_is_as_wide_as_it_says():
    assert choose(trials([0.5, 0.9, 0.8951, 0.2])) == GRID[2]
    assert choose(trials([0.5, 0.9, 0.8949, 0.2])) == GRID[1]
    assert choose(trials([0.9, 0.9, 0.9])) == GRID[2]


def test_a_trial_without_a_score_is_never_chosen():
    for place in range(3):
        scores = [0.5, 0.6, 0.1]
        scores.insert(place, math.nan)
        assert choose(trials(scores)) == GRID[scores.index(0.6)]
    with pytest.raises(NumericalError, match="no value of the grid"):
        choose(trials([math.nan, math.nan]))


def test_a_tie_at_zero_never_chooses_the_weakest():
    zero = [0.0] * 4
    assert choose(untaken(zero, [0.1, 0.4, 0.2, 0.0], zero)) == GRID[1]
    assert choose(untaken(zero, zero, [1e-9, 1e-3, 1e-2, 1e-5])) == GRID[2]
    assert choose(untaken(zero, zero, zero)) == GRID[0]
    assert choose(untaken(zero, [math.nan] * 4, [math.nan, 0.1, 0.2, math.nan])) == GRID[2]


def test_the_score_of_an_unedited_model_wins_nothing():
    """Some neighbours, paraphrases and prompts go the right way before any edit."""
    assert choose(untaken([0.1, 0.2, 0.36], [0.3, 0.1, 0.0], [0.2, 0.1, 0.0])) == GRID[0]
    strong, weak = (
        CalibrationTrial(1.0, 1.0, 0.9, 1.0, 0.1, 0.25),
        CalibrationTrial(3.0, 0.3, 0.0, 0.3, 0.7, 0.36),
    )
    assert choose([strong, weak]) == 1.0
    # Fewer answers for a better score are fine, to a half of them.
    assert choose([strong, CalibrationTrial(3.0, 0.9, 0.5, 0.8, 0.6, 0.7), weak]) == 3.0


def test_what_a_calibration_says():
    good = Calibration(1.0, tuple(trials([0.5], exact=0.9)), "l2", 20)
    assert good.enough
    assert good.told() == (
        "l2 1, chosen on 20 edits of the first batch: 18 of 20 answer with the new target."
    )
    few = Calibration(1.0, tuple(trials([0.5], exact=0.25)), "lr", 12, of_package=True)
    assert "edits of the package" in few.told()
    assert "3 of 12" in few.told()
    assert "too few" in few.told()
    none = Calibration(1.0, tuple(untaken([0.0], [0.0], [0.0])), "lr", 12)
    assert "No strength that was tried made it work" in none.told()
    assert not (few.enough)
    assert not (none.enough)


def test_a_sample_is_small_fixed_and_of_edits_that_can_be_scored():
    near = tuple(Neighbor(f"n{i}", "x") for i in range(9))
    whole = [
        Edit(f"p{i}", "s", "a", "b", id=f"{i}", paraphrases=("u", "v", "w"), neighborhood=near)
        for i in range(60)
    ]
    bare = [Edit(f"q{i}", "s", "a", "b", id=f"bare-{i}") for i in range(60)]
    mixed = [e for pair in zip(whole, bare, strict=True) for e in pair]
    found = sample(mixed)
    assert found == sample(mixed)
    assert len(found) == SAMPLE
    assert {len(e.paraphrases) for e in found} == {PARAPHRASES}
    assert {len(e.neighborhood) for e in found} == {NEIGHBORS}
    assert [int(e.id) for e in found] == sorted(int(e.id) for e in found)
    assert not suffices([*bare, *whole[: LEAST - 1]])
    assert suffices([*bare, *whole[:LEAST]])
    assert suffices(trial_edits())


@pytest.fixture
def spec(write_spec, tmp_path):
    def read(count=6, name="memit-seq", size=None, **editor):
        edits = {
            "path": str(write_edits(tmp_path / f"edits-{count}.jsonl", count)),
            "batch_size": size or count,
        }
        parts = (
            {"editor": editor}
            if name == "memit-seq"
            else {"whole_editor": {"name": name, **editor}}
        )
        found = load_spec(write_spec(edits=edits, guard="none", **parts))
        return resolve(found, read_model_config(found.model.name))

    return read


def prepared(spec):
    batch = read_edits(spec).edits
    return build(spec, load_from_spec(spec.model), batch), batch


def state(built):
    return {k: v.clone() for k, v in built.loaded.model.state_dict().items()}


def test_a_calibration_leaves_the_model_as_it_was(spec):
    built, batch = prepared(spec(steps=8))
    engine, grid = built.engine, (1.0, 1e4, 1e8)
    before = state(built)
    steps = []
    found = calibrate_strength(
        engine.editor,
        engine.context,
        engine.ledger,
        built.loaded.tokenizer,
        batch,
        grid=grid,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert equal_tensors(state(built), before)
    assert all(not engine.ledger.delta(key).any() for key in engine.ledger.sites)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [t.value for t in found.trials] == list(grid)
    assert len({t.score for t in found.trials}) > 1, "the grid must make a difference"
    assert found.value == choose(found.trials)
    # Afterwards the engine does what one does that was never calibrated.
    fresh, _ = prepared(spec(steps=8))
    tensors = fresh.engine.apply(batch).tensors()
    assert equal_tensors(engine.apply(batch).tensors(), tensors)


@pytest.mark.parametrize("ridge", [1.0, 1e4])
def test_a_trial_is_what_an_edit_with_that_lambda_does(spec, ridge):
    built, batch = prepared(spec(ridge=ridge))
    engine, tokenizer = built.engine, built.loaded.tokenizer
    found = calibrate_strength(
        engine.editor, engine.context, engine.ledger, tokenizer, batch, grid=(ridge,)
    )
    (trial,) = found.trials
    engine.apply(batch)
    metrics = score_edits(built.loaded.model, tokenizer, batch).metrics()
    for key in ("score", "efficacy", "efficacy_exact", "paraphrase", "neighborhood"):
        assert getattr(trial, key) == metrics[key]


def opened(spec):
    """The spec with lambda left open, as a preset without one leaves it."""
    return spec.model_copy(update={"editor": spec.editor.model_copy(update={"ridge": None})})


def counted(monkeypatch):
    """Every batch whose targets are solved from now on, by size."""
    sizes, solve = [], MemitSeq.solve_batch

    def counting(self, batch, context):
        sizes.append(len(batch))
        return solve(self, batch, context)

    monkeypatch.setattr(MemitSeq, "solve_batch", counting)
    return sizes


def test_every_third_value_then_the_neighbours_of_the_best(spec):
    found = scan_strength(spec(LARGE))
    places = [GRID.index(t.value) for t in found.trials]
    assert places == sorted(places)
    assert set(range(0, len(GRID), 3)) <= set(places)
    assert len(places) <= 6
    chosen = places[[t.value for t in found.trials].index(found.value)]
    assert {chosen - 1, chosen + 1} & set(places)
    assert found.value == choose(found.trials)
    assert (found.edits, found.of_package, found.setting) == (LARGE, False, "ridge")
    # The stream's first batch decides, whatever lambda the spec holds.
    assert scan_strength(spec(LARGE, ridge=3.0)) == found


def test_a_small_batch_leaves_the_choice_to_the_edits_of_the_package(spec):
    found = scan_strength(spec(LEAST - 1))
    assert found.of_package
    assert found.edits == len(trial_edits())
    assert scan_strength(spec(LEAST - 2)) == found


def test_targets_of_a_calibration_are_those_of_the_first_batch(spec, monkeypatch):
    sizes = counted(monkeypatch)
    given = opened(spec(LARGE))
    built, batch = prepared(given)
    assert sizes == [LARGE]
    tensors = built.engine.apply(batch).tensors()
    assert sizes == [LARGE], "the first batch's targets were solved again"
    fresh, _ = prepared(built.spec)
    assert fresh.calibration is None
    assert equal_tensors(fresh.engine.apply(batch).tensors(), tensors)
    assert sizes == [LARGE, LARGE]
    # A second batch, other edits, and edits of the package are solved for.
    built.engine.apply(batch)
    assert sizes == [LARGE] * 3
    other, batch = prepared(given)
    other.engine.apply(batch[:-1])
    assert sizes[-2:] == [LARGE, LARGE - 1]
    small, batch = prepared(opened(spec(3)))
    small.engine.apply(batch)
    assert sizes[-2:] == [len(trial_edits()), 3]


def test_targets_solved_ahead_are_not_for_an_edited_model(spec, monkeypatch):
    sizes = counted(monkeypatch)
    built, batch = prepared(opened(spec(LARGE)))
    tensors = built.engine.apply(batch).tensors()
    again, _ = prepared(opened(spec(LARGE)))
    again.engine.replay(tensors)
    again.engine.apply(batch)
    assert sizes == [LARGE] * 3


def test_a_guard_that_keeps_targets_out_of_its_directions_has_them_solved_anew(spec, monkeypatch):
    sizes = counted(monkeypatch)
    given = opened(spec(LARGE))
    guard = given.guard.model_copy(update={"name": "revive", "solve": "constrained"})
    built, batch = prepared(given.model_copy(update={"guard": guard}))
    tensors = built.engine.apply(batch).tensors()
    assert sizes == [LARGE, LARGE]
    fresh, _ = prepared(built.spec)
    assert equal_tensors(fresh.engine.apply(batch).tensors(), tensors)


def test_a_run_killed_after_its_calibration_ends_as_one_that_was_not(spec, tmp_path):
    """A kill before the journal's first line, and one before the first batch is committed."""
    calm = tmp_path / "calm" / "run"
    start(opened(spec(LARGE, size=9)), calm)
    first = journal(calm)[0]
    assert len(batches(calm)) == 2
    assert len(first["calibration"]["trials"]) >= 5
    assert first["calibration"]["edits"] == 9
    for kept in (0, 1, 2):
        folder = tmp_path / f"killed-{kept}" / "run"
        folder.mkdir(parents=True)
        for name in (".lock", "spec.yaml", *(("env.json",) if kept else ())):
            shutil.copy(calm / name, folder / name)
        lines = (calm / "journal.jsonl").read_text("utf-8").splitlines(keepends=True)
        if kept:
            (folder / "journal.jsonl").write_text("".join(lines[:kept]), "utf-8")
        for part in ("updates", "checkpoints", "outcomes"):
            if kept and (calm / part).exists():
                (folder / part).mkdir()
        resume(folder)
        same_end(folder, calm)


@pytest.mark.parametrize("name", ["ft", "ultraedit"])
def test_an_editor_without_targets_is_calibrated_on_the_sample(spec, name):
    given = spec(LARGE, name, layers=[0, 1])
    built, _ = prepared(given)
    assert built.calibration.setting == "lr"
    assert built.calibration.edits == LARGE
    assert built.engine.ahead is None


def test_null_spaces_are_found_once_for_all_strengths(spec, monkeypatch):
    found, holding = [], NullSpace.holding.__func__

    def counting(cls, moment, share):
        found.append(share)
        return holding(cls, moment, share)

    monkeypatch.setattr(NullSpace, "holding", classmethod(counting))
    settings = {"layers": [0, 1], "steps": 4, "lr": 0.1, "clamp": 4.0, "contexts": 1}
    given = spec(LARGE, "alphaedit", context_length=3, weight_decay=0.0, kl_factor=0.0, **settings)
    built, batch = prepared(given.model_copy(update={"editor": _without_fit(given.editor)}))
    assert len(built.calibration.trials) >= 5
    assert found == [0.02, 0.02]
    # The same as an editor that was never calibrated.
    fresh, _ = prepared(built.spec)
    tensors = built.engine.apply(batch).tensors()
    assert equal_tensors(fresh.engine.apply(batch).tensors(), tensors)
    editor = built.engine.editor
    other = editor.with_options(editor.options.model_copy(update={"threshold": 0.1}))
    other.prepare(built.engine.context)
    assert found[-2:] == [0.1, 0.1]


def _without_fit(editor):
    return editor.model_copy(update={"fit": []})
