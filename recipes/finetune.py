"""Does the guard help ordinary fine-tuning? AdamW on new facts, with and without the guard.

    python recipes/finetune.py [--loop adamw|trainer] [--seeds 0 1 2]

The MLP output projections of every block of the lab model are trained on 64 counterfactual
sentences, by a plain loop (`guard.attach`) or by `transformers.Trainer` (`guard.callback`), and
general ability is measured on the way. Fine-tuning may simply be slower under a guard, so arms are
compared at equal training loss (linear between measurements), not at equal steps. The controls
are no guard with a smaller learning rate, a random subspace of the same rank, and a mere shrinking
of every step (about 60 s a run on one core).
"""

import argparse
import tempfile
from collections.abc import Callable
from typing import Any

import torch
from fact_training import FACTS, GUARDS, Facts, Point, Subject, print_table
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from revive.guards import ModelGuard

BATCH = 16
STEPS = 96
EVERY = 12
RATE = 3e-4
SLOWER = "no guard, third of the rate"
ARMS = ("no guard", SLOWER, *(name for name in GUARDS if name != "no guard"))

Train = Callable[[Subject, ModelGuard, float, int], list[Point]]


def plain_loop(subject: Subject, guard: ModelGuard, rate: float, seed: int) -> list[Point]:
    """A training loop as anybody writes it, with the guard attached to its optimizer."""
    model = subject.loaded.model
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(seed)
    found = [subject.measure()]
    with guard.attach(optimizer):
        for step in range(1, STEPS + 1):
            chosen = torch.randperm(FACTS, generator=order)[:BATCH].tolist()
            optimizer.zero_grad()
            subject.facts.loss(model, chosen).backward()
            optimizer.step()
            if step % EVERY == 0:
                found.append(subject.measure())
    return found


class _Rows(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def __len__(self) -> int:
        return len(self._facts.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        facts = self._facts
        return {
            "input_ids": facts.ids[index],
            "attention_mask": facts.mask[index],
            "labels": facts.labels[index],
        }


class _Measuring(TrainerCallback):
    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self.found = [subject.measure()]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        del args, control, kwargs
        if state.global_step % EVERY == 0:
            self.found.append(self._subject.measure())


def trainer_loop(subject: Subject, guard: ModelGuard, rate: float, seed: int) -> list[Point]:
    """`transformers.Trainer`, with the guard as one of its callbacks."""
    measuring = _Measuring(subject)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            max_steps=STEPS,
            per_device_train_batch_size=BATCH,
            learning_rate=rate,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            seed=seed,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        Trainer(
            model=subject.loaded.model,
            args=settings,
            train_dataset=_Rows(subject.facts),
            callbacks=[guard.callback(), measuring],
        ).train()
    return measuring.found


LOOPS: dict[str, Train] = {"adamw": plain_loop, "trainer": trainer_loop}


def main() -> None:
    """Run every arm, then print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--loop", choices=sorted(LOOPS), default="adamw")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)

    def path(arm: str, seed: int) -> list[Point]:
        subject = Subject(seed)
        guard = GUARDS["no guard" if arm == SLOWER else arm].fit(subject.loaded.model, "mlp_out")
        trained = {id(subject.loaded.model.get_parameter(key)) for key in guard.keys}
        for parameter in subject.loaded.model.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        return LOOPS[options.loop](subject, guard, RATE / 3 if arm == SLOWER else RATE, seed)

    print_table(ARMS, options.seeds, path)


if __name__ == "__main__":
    main()
