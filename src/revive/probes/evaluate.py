"""Measure a model outside a run: what `revive evaluate` prints."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from revive.data.edits import Edit
from revive.lab import facts
from revive.lab.facts import state
from revive.metrics.outcomes import Outcomes
from revive.metrics.per_edit import EditTable
from revive.models.loading import LoadedModel
from revive.paths import read_text
from revive.probes import lab_battery
from revive.probes.answers import answers, edit_row
from revive.probes.edit_scores import EditScores
from revive.probes.edits import score_edits
from revive.probes.generation import GenerationSettings, score_generation
from revive.scoring.score import perplexity, score_targets


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        metrics: By name.
        intervals: 95 % interval by name, of metrics of edits.
        edits: What the metrics of edits are means of, edit by edit; None where not measured.
    """

    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    edits: Outcomes | None = None


def evaluate_model(
    loaded: LoadedModel, tasks: Sequence[str], edits: Sequence[Edit], texts: Sequence[Path]
) -> Evaluation:
    """Run the named tasks.

    Args:
        loaded: The model.
        tasks: Of `edits` (edit metrics), `generation` (what the model writes), `facts` (recall of
            every fact the lab ships as editable, by its first template, by its other training
            templates, and by the ones it was never trained on), `general` (the lab battery).
        edits: For `edits` and `generation`.
        texts: Files whose perplexity is reported.

    Raises:
        SpecError: A text cannot be read.
    """
    metrics: dict[str, float] = {}
    scored: list[EditScores] = []
    if "facts" in tasks:
        metrics.update(fact_metrics(loaded))
    if "general" in tasks:
        metrics.update(lab_battery.measure(loaded.model, loaded.tokenizer))
    outcomes = None
    if "edits" in tasks:
        scored.append(score_edits(loaded.model, loaded.tokenizer, edits))
        outcomes = scored[-1].outcomes([edit.id for edit in edits])
    if "generation" in tasks:
        scored.append(score_generation(loaded.model, loaded.tokenizer, edits, GenerationSettings()))
    intervals: dict[str, tuple[float, float]] = {}
    for scores in scored:
        metrics.update(scores.metrics())
        intervals.update(scores.intervals())
    for path in texts:
        text = read_text(path, "--text")
        metrics[f"perplexity_{path.stem}"] = perplexity(loaded.model, loaded.tokenizer, text)
    return Evaluation(metrics, intervals, outcomes)


def edit_table(
    loaded: LoadedModel, edits: Sequence[Edit], outcomes: Outcomes, most: int | None = None
) -> EditTable:
    """Every edit with what the model says where it is asked for.

    Args:
        loaded: The model.
        edits: Those that were measured.
        outcomes: What was measured of them, in their order.
        most: Write out so many answers only, those that did not take first; None writes all.
    """
    rows = [edit_row(edit, outcomes, place) for place, edit in enumerate(edits)]
    chosen = sorted(range(len(rows)), key=lambda i: rows[i].reached is True)[:most]
    said = answers(loaded.model, loaded.tokenizer, [edits[i] for i in chosen])
    for i, text in zip(chosen, said, strict=True):
        rows[i] = replace(rows[i], now=text)
    return EditTable(tuple(rows), len(rows))


def fact_metrics(loaded: LoadedModel) -> dict[str, float]:
    """Greedy recall of the lab's editable facts."""
    relations = facts.relations()
    editable = [f for f in facts.load_facts() if f.split == "editable"]

    def recall(pick: str) -> float:
        prompts: list[str] = []
        targets: list[str] = []
        for number, fact in enumerate(editable):
            relation = relations[fact.relation]
            templates = {
                "first": relation.templates[:1],
                "other": relation.templates[1:],
                "held_out": relation.held_out,
            }[pick]
            prompts.append(state(templates[number % len(templates)], fact.subject))
            targets.append(fact.object)
        scores = score_targets(loaded.model, loaded.tokenizer, prompts, targets)
        return float(scores.exact.double().mean())

    return {
        "editable_facts": float(len(editable)),
        "editable_recall": recall("first"),
        "editable_paraphrase_recall": recall("other"),
        "editable_held_out_recall": recall("held_out"),
    }
