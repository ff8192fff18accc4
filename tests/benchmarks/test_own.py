"""The package's own settings beside the published ones."""

from dataclasses import replace

import pytest
import torch

from benchmarks.own import own_rows, own_verdicts
from benchmarks.parts import batch_rows
from benchmarks.shapes import SHAPES, edits_of, texts_of
from benchmarks.stage import prepare
from revive.editors.target_editor import target_settings
from revive.editors.target_solver.targets import solve_targets
from revive.options.editors import MemitOptions


def by_rule():
    return MemitOptions(
        layers=[0, 1],
        optimizer="polyak",
        max_step=0.2,
        steps=4,
        stop_margin=3.0,
        contexts=1,
        context_length=4,
        weight_decay=0.5,
        kl_factor=0.0625,
        clamp=0.75,
        ridge=150.0,
    )


@pytest.fixture(scope="module")
def rows():
    shape = replace(SHAPES["tiny"], own=by_rule)
    stage = prepare(shape, "float32", "strict", torch.device("cpu"))
    batch, _ = batch_rows(stage, lambda _what: None)
    stage.ledger.reset()
    before = {key: stage.ledger.weight(key).clone() for key in stage.ledger.sites}
    own = own_rows(stage, batch)
    assert all(torch.equal(stage.ledger.weight(k), w) for k, w in before.items())
    return batch, own


def test_the_same_batch_is_timed_at_both_precisions_beside_the_plain_way(rows):
    batch, own = rows
    assert [row.part for row in own] == [
        "target solver, by rule, strict",
        "batch of 6, by rule, strict",
        "target solver, by rule, fast",
        "batch of 6, by rule, fast",
    ]
    whole = next(row for row in batch if row.part == "whole batch of 6")
    for row in own[1::2]:
        assert row.plain == whole.plain
        assert row.seconds > 0
        # Results are not equal, and no row says that they are.
        assert row.difference is None
        assert "1 contexts" in row.note
        assert "of 6 edits answer" in row.note
    assert "of 6 edits answer" in whole.note


def test_verdicts_can_be_met_missed_and_left_open():
    rows = [
        {"part": "batch of 100, by rule, strict", "speedup": 9.0},
        {"part": "batch of 100, by rule, fast", "speedup": 11.0},
        {"part": "moments", "seconds": 80.0},
    ]
    few = {"facts": 3, "first": 75.0, "later": 20.0}
    lines = own_verdicts(rows, few, "")
    assert [line.rpartition(", ")[2] for line in lines] == ["met", "missed", "met", "missed"]
    assert all("not judged" in line for line in own_verdicts(rows, few, "busy"))


def test_a_target_below_the_stop_loss_ends_the_plain_way_as_it_ends_ours():
    # Fewer evaluations than are allowed: targets are equal only if both ways stop together.
    shape = SHAPES["tiny"]
    free = {"steps": 12, "weight_decay": 0.0, "kl_factor": 0.0, "clamp": 400.0}

    def prepared(stop_loss):
        options = shape.options.model_copy(update={**free, "stop_loss": stop_loss})
        cpu = torch.device("cpu")
        stage = prepare(replace(shape, options=options), "float32", "strict", cpu, edits=1)
        settings = target_settings(options, stage.sites[-1].layer)
        return stage, solve_targets(stage.runner, stage.rows, settings)

    _, whole = prepared(0.0)
    assert whole.loss.max() < whole.first_loss.min()
    stage, solved = prepared(float(whole.loss.max() + whole.first_loss.min()) / 2)
    assert bool(solved.stopped.all())
    assert int(solved.evaluations.max()) < 12
    rows, _ = batch_rows(stage, lambda _what: None)
    assert rows[0].difference <= 1e-4


def test_real_records_and_text_are_taken_for_the_real_model():
    shape = SHAPES["smollm2"]
    edits = edits_of(shape, None, 30)
    assert len({edit.id for edit in edits}) == 30
    assert all(edit.subject and edit.target_new for edit in edits)
    texts = texts_of(shape, None)
    assert len(texts) == shape.passages
    assert sum(map(len, texts)) > 200_000
