"""What else moves when one edit is taken out: the model measured with and without it."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from revive.data.edits import Edit
from revive.linalg.lowrank import LowRank
from revive.models.forward.precision import products
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.probes.base import Probe, ProbeContext
from revive.probes.retention_snapshot import (
    RetentionChange,
    RetentionSnapshot,
    answer,
    retention_change,
    retention_snapshot,
)
from revive.spec.schema import RunSpec

GENERAL = ("general", "perplexity")
"""Probes that measure what no edit is about."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Answers:
    """What the model says where the removed edit was asked for.

    Attributes:
        unedited: Before any edit.
        before: With the edit.
        after: Without it.
    """

    unedited: str
    before: str
    after: str

    @property
    def returned(self) -> bool:
        """Whether the unedited model's answer is back."""
        return self.after == self.unedited


@dataclass(frozen=True)
class EditRemoval:
    """What taking one edit out did.

    Attributes:
        answers: To the removed edit's prompt.
        removed: The removed edit itself.
        batch: The others of its batch.
        others: A sample of the edits of other batches.
        general: Metrics of general ability, (before, after) by name; empty where the run has no
            probe of it.
    """

    answers: Answers
    removed: RetentionChange
    batch: RetentionChange
    others: RetentionChange
    general: Mapping[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as the journal and `--json` have it."""
        groups = {name: asdict(getattr(self, name)) for name in ("removed", "batch", "others")}
        return {
            "answers": {**asdict(self.answers), "returned": self.answers.returned},
            **groups,
            "general": {k: {"before": b, "after": a} for k, (b, a) in self.general.items()},
        }


@dataclass(frozen=True)
class _Look:
    """One measurement of everything."""

    answer: str
    removed: RetentionSnapshot
    batch: RetentionSnapshot
    others: RetentionSnapshot
    general: Mapping[str, float]


class SideEffects:
    """Measures a model before and after one edit's part is taken out of it.

    Args:
        spec: The run's, resolved.
        loaded: The model, with its edits in it.
        ledger: Of that model.
        removed: The edit.
        batch: The other edits of its batch that are in the model.
        others: The edits of other batches that are in it.
        probes: Those of the run that `GENERAL` names.
        sample: Measure at most so many of the others.
        told: Called with what is being measured.
    """

    def __init__(
        self,
        spec: RunSpec,
        loaded: LoadedModel,
        ledger: Ledger,
        *,
        removed: Edit,
        batch: Sequence[Edit],
        others: Sequence[Edit],
        probes: Sequence[Probe],
        sample: int,
        told: Told,
    ) -> None:
        rng = random.Random(f"{spec.seed} {removed.id}")
        self._spec = spec
        self._loaded = loaded
        self._ledger = ledger
        self._removed = removed
        self._batch = tuple(batch)
        self._others = tuple(rng.sample(list(others), min(sample, len(others))))
        self._probes = probes
        self._told = told

    def take_out(self, parts: Mapping[str, LowRank]) -> EditRemoval:
        """Measure, take the parts out of the model in memory, and measure again.

        Args:
            parts: The edit's part of every weight, by parameter name.
        """
        with self._ledger.pristine():
            unedited = self._answer()
        before = self._look("before")
        for key, part in parts.items():
            self._ledger.commit(key, part.scaled(-1.0))
        after = self._look("after")
        return EditRemoval(
            Answers(unedited, before.answer, after.answer),
            retention_change(before.removed, after.removed),
            retention_change(before.batch, after.batch),
            retention_change(before.others, after.others),
            {k: (v, after.general[k]) for k, v in before.general.items()},
        )

    def _look(self, when: str) -> _Look:
        model, tokenizer = self._loaded.model, self._loaded.tokenizer
        count = 1 + len(self._batch) + len(self._others)
        self._told(f"measuring {count} edits {when}")
        with products(self._spec.model.precision):
            removed, batch, others = (
                retention_snapshot(model, tokenizer, edits)
                for edits in ((self._removed,), self._batch, self._others)
            )
        return _Look(self._answer(), removed, batch, others, self._general(when))

    def _answer(self) -> str:
        with products(self._spec.model.precision):
            return answer(self._loaded.model, self._loaded.tokenizer, self._removed)

    def _general(self, when: str) -> dict[str, float]:
        found: dict[str, float] = {}
        everything = (self._removed, *self._batch, *self._others)
        context = ProbeContext(
            self._loaded.model, self._loaded.tokenizer, self._ledger, everything, self._spec.seed
        )
        for probe in self._probes:
            self._told(f"measuring {probe.name} {when}")
            with products(self._spec.model.precision):
                found.update(probe.measure(context).metrics)
        return found
