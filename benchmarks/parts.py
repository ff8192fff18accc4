"""Every part of a batch, timed, beside its floor and the plain reference with an equal result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from benchmarks import needs
from benchmarks.machine import fastest, timed, typical
from benchmarks.own import answered
from benchmarks.plain import (
    PlainBatch,
    plain_batch,
    plain_moments,
    plain_nll,
    plain_target,
)
from benchmarks.row import Row, relative
from benchmarks.stage import ENERGY, Stage
from benchmarks.work import NOTHING, counted
from revive.editors.target_editor import SolvedBatch, TargetEditor, target_settings
from revive.editors.target_solver.targets import solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.guards.fitted import FittedGuard
from revive.guards.revive import Revive
from revive.linalg.basis import SpectralBasis
from revive.models.forward.runner import context_length
from revive.models.site import Site
from revive.moments.packing import windows
from revive.probes.base import ProbeContext
from revive.probes.spectrum import SpectrumProbe
from revive.scoring.score import score_targets

Say = Callable[[str], None]
_Z, _UPDATE = 1e-4, 1e-5
_WINDOW, _SMALL_FORWARD, _PASSAGE = 1024, 1024, 128  # tokens
_FP64, _MOST = 8, 4 << 30  # bytes; of the sums of all layers, which are there twice


@dataclass(frozen=True)
class Comparison:
    """The same few edits both ways, scaled to the batch.

    Attributes:
        count: Edits timed.
        targets: Seconds of all targets of a batch, the plain way.
        phases: Seconds of the other phases, likewise.
        z: Largest relative difference of a target.
        updates: Largest of a layer's update, given the same targets.
        keys: Largest of a layer's keys in the loop and keys taken again after the batch.
    """

    count: int
    targets: float
    phases: dict[str, float]
    z: float
    updates: float
    keys: float


def compare(stage: Stage) -> Comparison:
    """Run the plain way on the first edits, and ours on the same; the weights end as W0."""
    shape, model = stage.shape, stage.loaded.model
    count = min(shape.reference, len(stage.rows))
    rows = stage.rows[:count]
    layer = stage.sites[-1].layer
    block = stage.loaded.family.blocks_of(model)[layer]
    plain, seconds = timed(
        lambda: torch.stack([plain_target(model, block, r, shape.options) for r in rows]),
        stage.device,
    )
    ours = solve_targets(stage.runner, rows, target_settings(shape.options, layer))
    z = max(relative(a, b) for a, b in zip(ours.z, plain, strict=True))
    engine = stage.engine(Revive(energy=ENERGY))
    solved = SolvedBatch(rows, tuple(range(count)), ours.z, {}, {}, 0.0)
    editor = engine.editor
    assert isinstance(editor, TargetEditor)
    with stage.ledger.transaction():
        outcome, applied, _ = engine.drive(editor.spread(solved, stage.context))
    stage.ledger.reset()
    moments = {s.parameter: stage.moment(s) for s in stage.sites}
    other: PlainBatch = plain_batch(
        model,
        stage.loaded.family,
        stage.sites,
        rows,
        ours.z,
        moments,
        shape.options.ridge or 0.0,
        ENERGY,
        stage.device,
    )
    stage.ledger.reset()
    updates = max(
        relative(a.factors.to(torch.float64).dense(), other.updates[a.site.parameter])
        for a in applied
    )
    keys = max(
        relative(outcome.increment[f"keys.{s.parameter}"], other.keys[s.parameter])
        for s in stage.sites
    )
    # Edits differ in length: the plain way's time goes with the tokens of its padded rows.
    scale = _padded_tokens(stage.rows) / _padded_tokens(rows)
    phases = {k: v * (scale if k == "keys" else 1.0) for k, v in other.seconds.items()}
    return Comparison(count, seconds * scale, phases, z, updates, keys)


def batch_rows(stage: Stage, say: Say) -> tuple[list[Row], float]:
    """Targets, keys, solve, guard, write and the whole batch; also the whole batch's seconds."""
    say("plain reference")
    plain = compare(stage)
    n, sites = len(stage.rows), stage.sites
    engine = stage.engine(Revive(energy=ENERGY))
    ranks = [_basis(engine.guard, s.parameter).rank for s in sites]
    say("whole batch")
    result, whole = timed(lambda: engine.apply(stage.edits), stage.device)
    assert len(result.made) == n, "every edit of the batch was made"
    took = result.seconds
    said = answered(stage) if stage.shape.own is not None else ""
    evaluations = result.outcome.notes["target_evaluations"]
    say("counting")
    work = {
        "targets": needs.targets(stage.cost, stage.rows, sites[-1].layer, evaluations),
        "keys": needs.keys(stage.cost, stage.rows, sites),
        "solve": needs.solve(sites, n),
        "guard": needs.guard(sites, ranks, n),
        "write": needs.write(sites, n, stage.loaded.model.dtype.itemsize),
    }
    per_edit = f"timed on {plain.count} edits, scaled to the padded tokens of {n}"
    once = f"timed on a batch of {plain.count}; its cost hardly depends on the size"
    total = plain.targets + sum(plain.phases.values())
    rows = [
        Row(
            "target solver",
            took["targets"],
            work["targets"],
            _excess_of_targets(stage),
            plain.targets,
            per_edit,
            plain.z,
            _Z,
        ),
        Row(
            "key sweep",
            took["keys"],
            work["keys"],
            None,
            plain.phases["keys"],
            per_edit,
            plain.keys,
            _UPDATE,
            note="the plain way takes them again after the batch",
        ),
        Row(
            "solve",
            took["solve"],
            work["solve"],
            None,
            plain.phases["solve"],
            once,
            plain.updates,
            _UPDATE,
        ),
        Row(
            "guard, original basis",
            took["guard"],
            work["guard"],
            None,
            plain.phases["guard"],
            once,
            plain.updates,
            _UPDATE,
        ),
        _current(stage, ranks),
        Row("write", took["write"], work["write"], None, plain.phases["write"], once),
        Row(
            f"whole batch of {n}",
            whole,
            sum(work.values(), NOTHING),
            None,
            total,
            f"sum of the parts above: {per_edit} where it depends on the number of edits",
            plain.updates,
            _UPDATE,
            note=said,
        ),
    ]
    return rows, whole


def moments_rows(stage: Stage) -> list[Row]:
    """Moments of the edited layers, and of all; the plain way goes over the text once per layer.

    It stops each pass at its layer, so what one pass can save hangs on which layers they are.
    """
    every = stage.loaded.family.sites(stage.loaded.model)
    rows = [_moments(stage, stage.sites, "moments")]
    if stage.shape.every_layer and sum(2 * _FP64 * s.shape[1] ** 2 for s in every) <= _MOST:
        rows.append(_moments(stage, every, "moments, all layers"))
    return rows


def _moments(stage: Stage, sites: Sequence[Site], part: str) -> Row:
    """Both ways at the size of forwards that suits this machine best, of two."""
    texts = stage.texts
    tokens = windows(stage.loaded.tokenizer, texts, _PASSAGE)
    stage.ledger.reset()
    model = stage.loaded.model
    published = 3 * (context_length(model) or _WINDOW)
    tried: dict[int, float] = {}
    plain: dict[str, torch.Tensor] = {}
    for size in (published, _SMALL_FORWARD):
        plain = {}  # of many layers two of them are more than memory may hold
        plain, tried[size] = timed(
            lambda size=size: plain_moments(model, sites, tokens, size), stage.device
        )
    ours, took = fastest(lambda: stage.collect(texts, sites), stage.device)
    difference = max(relative(ours[k].value(), plain[k]) for k in plain)
    del ours, plain
    done = sum(len(t) for t in tokens)
    needed = needs.moments(stage.cost, sites, [len(t) for t in tokens])
    return Row(
        part,
        took,
        needed,
        counted(lambda: stage.collect(texts, sites)) / needed.total,
        min(tried.values()),
        "",
        difference,
        _UPDATE,
        note=f"{done} tokens, {len(sites)} layers; the plain way makes a pass to each "
        f"({tried[published]:.3g} s with forwards of {published} tokens, "
        f"{tried[_SMALL_FORWARD]:.3g} s with {_SMALL_FORWARD})",
        plain_needed=needs.plain_moments(stage.cost, sites, [len(t) for t in tokens]),
    )


def probe_row(stage: Stage, count: int) -> Row:
    """Scores of edits, paraphrases and neighbours; the plain way runs every text alone."""
    model, tokenizer = stage.loaded.model, stage.loaded.tokenizer
    asked = [
        (prompt, target)
        for e in stage.edits[:count]
        for prompt in (e.text, *e.paraphrases)
        for target in (e.target_new, e.target_true or e.target_new)
    ]
    prompts, targets = [p for p, _ in asked], [t for _, t in asked]
    found, seconds = timed(lambda: score_targets(model, tokenizer, prompts, targets), stage.device)
    few = range(min(8, len(asked)))
    with torch.no_grad():
        plain, took = timed(
            lambda: torch.tensor([plain_nll(model, tokenizer, *asked[i]) for i in few]),
            stage.device,
        )
    sequences = [
        (tuple(tokenizer(f"{p} {t}")["input_ids"]), len(tokenizer(t)["input_ids"]))
        for p, t in asked
    ]
    needed = needs.scores(stage.cost, sequences)
    return Row(
        "probe: edits",
        seconds,
        needed,
        counted(lambda: score_targets(model, tokenizer, prompts, targets)) / needed.total,
        took * len(asked) / len(few),
        f"timed on {len(few)} texts, scaled to {len(asked)}",
        relative(found.nll[: len(few)], plain),
        _Z,
    )


def drift_rows(stage: Stage) -> list[Row]:
    """Spectral drift, the summary and with detail; warm, as from the second measurement on."""
    rows: list[Row] = []
    context = ProbeContext(stage.loaded.model, stage.loaded.tokenizer, stage.ledger, stage.edits)
    for detail in (False, True):
        probe = SpectrumProbe(energy=ENERGY, detail=detail)
        probe.measure(context)
        found, seconds = typical(lambda p=probe: p.measure(context), stage.device)
        plain, took = timed(lambda: _plain_overlap(stage), stage.device)
        ranks = [b.rank for b in probe._bases.values()]  # pyright: ignore[reportPrivateUsage]
        rows.append(
            Row(
                "drift probe, detail" if detail else "drift probe",
                seconds,
                needs.drift(stage.sites, ranks),
                None,
                took,
                "",
                abs(found.metrics["subspace_overlap"] - plain),
                1e-3 if detail else 1e-6,
                note="the plain way is a full SVD of both weights",
            )
        )
    return rows


def _current(stage: Stage, ranks: list[int]) -> Row:
    """The guard fitted to the weight as it stands after the batch."""
    guard = stage.engine(Revive(energy=ENERGY, basis="current")).guard
    now = {s.parameter: stage.ledger.weight(s.parameter) for s in stage.sites}
    # Two weights in turn: one that was fitted last is not fitted again.
    before = {s.parameter: stage.ledger.original(s.parameter) for s in stage.sites}
    turns = iter([now, before] * 2 + [now])

    def refit() -> None:
        for key, weight in next(turns).items():
            guard.refit(key, weight)

    _, seconds = typical(refit, stage.device)
    worst, took = timed(
        lambda: max(_apart(_basis(guard, k).v, w) for k, w in now.items()), stage.device
    )
    return Row(
        "guard, current basis",
        seconds,
        needs.refit(stage.sites, ranks),
        None,
        took,
        "",
        worst,
        1e-6,
        note="fitting alone; filtering is as above",
    )


def _basis(guard: FittedGuard, key: str) -> SpectralBasis:
    basis = guard.basis(key)
    assert basis is not None, "REVIVE has one"
    return basis


def _apart(v: torch.Tensor, weight: torch.Tensor) -> float:
    """How far a subspace of inputs is from the weight's dominant one, by a full SVD."""
    _, _, vh = torch.linalg.svd(weight.double(), full_matrices=False)
    inside = vh[: v.shape[1]] @ v
    return float((1 - inside.square().sum() / v.shape[1]).abs())


def _plain_overlap(stage: Stage) -> float:
    found: list[float] = []
    for site in stage.sites:
        before = torch.linalg.svd(
            stage.ledger.original(site.parameter).double(), full_matrices=False
        )
        now = torch.linalg.svd(stage.ledger.weight(site.parameter).double(), full_matrices=False)
        s = before[1]
        k = int((s.cumsum(0) < ENERGY * s.sum()).sum()) + 1
        left = (before[0][:, :k].T @ now[0][:, :k]).square().sum() / k
        right = (before[2][:k] @ now[2][:k].T).square().sum() / k
        found.append(float(0.5 * (left + right)))
    return sum(found) / len(found)


def _excess_of_targets(stage: Stage) -> float:
    """Counted at one step and at two: every further one does what the second does."""
    settings = target_settings(stage.shape.options, stage.sites[-1].layer)
    first, second = (
        counted(lambda n=n: solve_targets(stage.runner, stage.rows, replace(settings, steps=n)))
        for n in (1, 2)
    )
    done = first + (settings.steps - 1) * (second - first)
    return done / needs.targets(stage.cost, stage.rows, settings.layer, settings.steps).total


def _padded_tokens(rows: Sequence[TokenizedEdit]) -> int:
    found = 0
    for edit in rows:
        texts = [*edit.rewrite, edit.essence]
        found += len(texts) * max(len(r.input_ids) for r in texts)
    return found
