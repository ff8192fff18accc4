"""Does the guard help ordinary fine-tuning? AdamW on new facts, with and without `guard.attach`.

    python recipes/finetune.py [--seeds 0 1 2]

The MLP output projections of every block of the lab model are trained on 64 counterfactual
sentences, and general ability is measured on the way. Fine-tuning may simply be slower under a
guard, so arms are compared at equal training loss (linear between measurements), not at equal
steps; the controls are a random subspace of the same rank and no guard with a smaller learning rate
(about 90 s a run on one core).
"""

import argparse
import itertools
import statistics
from dataclasses import dataclass

import torch

from revive.data.readers import load_edits
from revive.guards import NoGuard, RandomSubspace, Revive
from revive.guards.base import Guard
from revive.models.loading import LoadedModel, load_model
from revive.studies.ability import QUICK, model_ability

FACTS = 64
BATCH = 16
STEPS = 96
EVERY = 12
RATE = 3e-4
LEVELS = (2.0, 1.0, 0.5)

ARMS: dict[str, tuple[Guard, float]] = {
    "no guard": (NoGuard(), RATE),
    "no guard, third of the rate": (NoGuard(), RATE / 3),
    "revive .1": (Revive(energy=0.1), RATE),
    "revive .3": (Revive(energy=0.3), RATE),
    "random subspace .3": (RandomSubspace(energy=0.3), RATE),
}


@dataclass(frozen=True)
class Point:
    """One measurement on the way."""

    loss: float
    general: float
    likelihood: float


def batch_loss(loaded: LoadedModel, rows: list[tuple[list[int], int]]) -> torch.Tensor:
    """Mean negative log-likelihood of the targets' tokens."""
    length = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for i, (tokens, start) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens)
        mask[i, : len(tokens)] = 1
        labels[i, start : len(tokens)] = ids[i, start : len(tokens)]
    return loaded.model(input_ids=ids, attention_mask=mask, labels=labels).loss


def tokenized(loaded: LoadedModel, seed: int) -> list[tuple[list[int], int]]:
    """Token ids of every sentence, and where its target begins."""
    rows: list[tuple[list[int], int]] = []
    for edit in load_edits("lab", limit=FACTS, seed=seed).edits:
        prompt = edit.template.replace("{}", edit.subject)
        start = len(loaded.tokenizer(prompt)["input_ids"])
        rows.append((loaded.tokenizer(f"{prompt} {edit.target_new}")["input_ids"], start))
    return rows


def path(guard: Guard, rate: float, seed: int) -> list[Point]:
    """Fine-tune once; measurements from the untrained model on."""
    torch.manual_seed(seed)
    loaded = load_model("lab", device="cpu")
    rows, ability = tokenized(loaded, seed), model_ability(loaded, items=QUICK)
    fitted = guard.fit(loaded.model, "mlp_out")
    parameters = [loaded.model.get_parameter(key) for key in fitted.keys]
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(any(parameter is p for p in parameters))
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(seed)
    found: list[Point] = []
    with fitted.attach(optimizer):
        for step in range(STEPS + 1):
            if step % EVERY == 0:
                with torch.no_grad():
                    loss = float(batch_loss(loaded, rows))
                values = ability()
                found.append(Point(loss, values["general"], values["log_likelihood"]))
            chosen = torch.randperm(len(rows), generator=order)[:BATCH].tolist()
            optimizer.zero_grad()
            batch_loss(loaded, [rows[i] for i in chosen]).backward()
            optimizer.step()
    return found


def at_loss(points: list[Point], level: float, name: str) -> float | None:
    """Ability where training loss first comes down to a level; None if it never does."""
    for before, after in itertools.pairwise(points):
        if after.loss <= level < before.loss:
            part = (before.loss - level) / (before.loss - after.loss)
            low, high = getattr(before, name), getattr(after, name)
            return low + part * (high - low)
    return None


def main() -> None:
    """Run every arm, then print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"General ability, and likelihood of prose, at training loss {LEVELS}.\n")
    print(
        "| arm | " + " | ".join(f"general at {x} | nats at {x}" for x in LEVELS) + " | end loss |"
    )
    print("|---" * (2 * len(LEVELS) + 2) + "|")
    for name, (guard, rate) in ARMS.items():
        paths = [path(guard, rate, seed) for seed in options.seeds]
        cells = [
            spread([at_loss(p, level, measure) for p in paths])
            for level in LEVELS
            for measure in ("general", "likelihood")
        ]
        ends = spread([p[-1].loss for p in paths])
        print(f"| {name} | {' | '.join(cells)} | {ends} |", flush=True)


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation of those that are there."""
    known = [v for v in values if v is not None]
    if not known:
        return "-"
    text = f"{statistics.fmean(known):.3f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):.3f}"
    return text if len(known) == len(values) else f"{text} ({len(known)} of {len(values)})"


if __name__ == "__main__":
    main()
