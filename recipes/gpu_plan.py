"""What `gpu_study.py` does at each size, and in which order its runs come."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from frontier import GUARDS
from frontier_tables import arm_name
from lab.architecture import Size

from revive.studies.ability import AbilityItems
from revive.sweeps.demo import lab_spec
from revive.sweeps.variants import RunVariant

CORE = ("none", "revive .1", "constrained .1")
"""Guards of the first runs: the editor alone, the paper's guard, and the better form of it."""


@dataclass(frozen=True)
class Training:
    """One stage of training; see `recipes.lab.train`."""

    exposures: int
    rate: float


@dataclass(frozen=True)
class Plan:
    """Everything that a study's numbers depend on, but for the device.

    Attributes:
        size: The model's shape.
        facts: Facts that it learns; 0 is all of them.
        learn: Facts and language.
        finish: Copying in context.
        rows: Rows per training step, of 96 tokens.
        evaluated: Facts that the evaluation asks for; None is everything, with public sets.
        layers: Sets of blocks tried on a fresh batch.
        rates: Step sizes of the target solver, tried with each.
        fresh: Edits of the fresh batch.
        counts: Edits at which arms are compared; the last is the stream's length.
        batch: Edits per batch.
        every: Batches between two measurements of edits and ability.
        sample: Edits measured.
        guards: Those that are compared, the core first.
        factors: By editor, lambda over the fresh batch's, the central one first.
        bands: Bands of the perturbation study.
        draws: Draws of the studies.
        drift_draws: Bootstrap draws of the drift study.
        items: Items of the general battery, as of its probe; None is what the other recipes ask.
        study: What the studies measure at every point; None is their own choice.
    """

    size: Size
    facts: int
    learn: Training
    finish: Training
    rows: int
    evaluated: int | None
    layers: tuple[tuple[int, ...], ...]
    rates: tuple[float, ...]
    fresh: int
    counts: tuple[int, ...]
    batch: int
    every: int
    sample: int
    guards: tuple[str, ...]
    factors: dict[str, tuple[float, ...]]
    bands: int
    draws: int
    drift_draws: int
    items: dict[str, int] | None = None
    study: AbilityItems | None = None


PLANS: dict[str, Plan] = {
    "large": Plan(
        size="large",
        facts=0,
        # Half the rate of the shipped model, which is half as wide, and twice its rows a step.
        learn=Training(exposures=100, rate=1e-3),
        finish=Training(exposures=8, rate=2.5e-4),
        rows=64,
        evaluated=None,
        layers=((0, 7), (2, 3, 4), (4, 5, 6, 7), (7,)),
        rates=(10.0, 1.0, 0.1),
        fresh=100,
        counts=(2_000, 10_000),
        batch=100,
        every=5,
        sample=300,
        guards=(
            *CORE,
            *("revive .02", "constrained .02", "weighted p1"),
            *("left-only", "random-subspace", "norm-matched"),
        ),
        # Without a history lambda must stand in for it: the longer the stream, the larger.
        factors={"memit": (30.0, 10.0, 100.0, 3.0), "memit-seq": (10.0, 3.0, 30.0, 1.0)},
        bands=10,
        draws=3,
        drift_draws=1_000,
    ),
    "tiny": Plan(
        size="tiny",
        facts=40,
        learn=Training(exposures=40, rate=3e-3),
        finish=Training(exposures=2, rate=1e-3),
        rows=16,
        evaluated=20,
        layers=((0,),),
        rates=(1.0,),
        fresh=4,
        counts=(4, 8),
        batch=2,
        every=2,
        sample=8,
        guards=("none", "constrained .1"),
        factors={"memit-seq": (10.0,)},
        bands=2,
        draws=2,
        drift_draws=20,
        items={"facts": 10, "pairs": 10, "copies": 10},
        study=AbilityItems(words=50, facts=10),
    ),
}


@dataclass(frozen=True)
class Fitted:
    """What the fresh batch chose.

    Attributes:
        layers: Blocks that are edited.
        rate: Step size of the target solver.
        ridge: lambda, to be multiplied.
    """

    layers: tuple[int, ...]
    rate: float
    ridge: float


Cell = tuple[str, str, float]
"""Editor, guard and factor of lambda."""


def passes(plan: Plan) -> dict[str, list[Cell]]:
    """All cells, most informative first.

    First every editor with the core's guards at its central lambda; then those guards at the other
    lambdas, which gives the frontiers; then the other guards, likewise.
    """
    core = [g for g in plan.guards if g in CORE]
    others = [g for g in plan.guards if g not in CORE]

    def cells(guards: list[str], *, central: bool) -> list[Cell]:
        return [
            (editor, guard, factor)
            for guard in guards
            for editor, factors in plan.factors.items()
            for factor in (factors[:1] if central else factors[1:])
        ]

    found = {
        "core": cells(core, central=True),
        "core over lambda": cells(core, central=False),
        "controls": cells(others, central=True),
        "controls over lambda": cells(others, central=False),
    }
    return {name: listed for name, listed in found.items() if listed}


def ridge_of(fitted: Fitted, factor: float) -> int:
    """lambda of a cell; whole, as it is part of a folder's name."""
    return max(1, round(fitted.ridge * factor))


def grid(plan: Plan, fitted: Fitted) -> dict[str, dict[str, list[int]]]:
    """Every lambda by editor and guard, ascending, as the tables want it."""
    return {
        editor: {
            guard: sorted({ridge_of(fitted, factor) for factor in factors}) for guard in plan.guards
        }
        for editor, factors in plan.factors.items()
    }


def arms(
    plan: Plan, fitted: Fitted, cells: list[Cell], seeds: list[int], model: Path, device: str
) -> Iterator[RunVariant]:
    """The runs of some cells."""
    for editor, guard, factor in cells:
        for seed in seeds:
            name = arm_name(editor, guard, ridge_of(fitted, factor), seed)
            spec = lab_spec(
                plan.counts[-1],
                plan.batch,
                seed,
                editor_spec(editor, fitted, ridge_of(fitted, factor)),
                GUARDS[guard],
                every=plan.every,
                sample=plan.sample,
            )
            spec["edits"]["on_conflict"] = "sequence"
            spec["probes"][1] |= plan.items or {}
            # The drift study reads these runs, too.
            spec["probes"][-1] |= {"every": 1, "detail": True}
            yield RunVariant(
                name, name, {**spec, **model_parts(model, device), "checkpoint": {"every": 20}}
            )


def editor_spec(name: str, fitted: Fitted, ridge: float | None) -> dict[str, Any]:
    """The shipped lab model's settings, on the blocks and at the step size that fit this one."""
    chosen: dict[str, Any] = {"name": name, "preset": "lab", "layers": list(fitted.layers)}
    return {**chosen, "lr": fitted.rate, **({} if ridge is None else {"ridge": float(ridge)})}


def model_parts(model: Path, device: str) -> dict[str, Any]:
    """What a spec says of the trained model."""
    return {
        "model": {"name": str(model), "precision": "fast", "device": device},
        "moments": {"text": "lab"},
    }
