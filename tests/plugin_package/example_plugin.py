"""A whole third-party package: one editor, one guard, one model family and one task."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from pydantic import Field

from revive.editors.base import BatchOutcome, EditMethod, WeightUpdate
from revive.editors.key_sweep import KeySweep
from revive.editors.target_editor import encode_batch, target_settings
from revive.editors.target_solver.targets import solve_targets
from revive.guards.base import Blocks, Guard, GuardResult, Protector
from revive.linalg.lowrank import LowRank
from revive.models.family import Family
from revive.options.editors import MemitOptions
from revive.tasks.item import Item
from revive.tasks.task import Task

PERSIMMON = Family(
    name="persimmon",
    architectures=("PersimmonForCausalLM",),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.dense_4h_to_h",
    transposed=False,
)


class LeastNormOptions(MemitOptions):
    """The shared settings, and one more."""

    damping: float = Field(default=0.1, gt=0)


class LeastNorm(EditMethod):
    """dW = R (K^T K + damping I)^{-1} K^T at the last site, without a second moment."""

    name: ClassVar[str] = "least-norm"
    paper: ClassVar[str] = "none, an example"
    summary: ClassVar[str] = "the smallest update of one layer that writes the batch"
    options_model: ClassVar[type[MemitOptions]] = LeastNormOptions

    def prepare(self, context):
        self._batches = 0

    def edit(self, batch, context):
        rows, failed = encode_batch(batch, context)
        site = context.sites[-1]
        chosen = list(rows.values())
        solved = solve_targets(context.runner, chosen, target_settings(self.options, site.layer))
        sweep = KeySweep(context.runner, chosen, site.layer)
        keys = sweep.keys(site)
        residual = solved.z.T - sweep.outputs(site.layer)
        gram = keys.T @ keys + self.options.damping * torch.eye(keys.shape[1])
        yield WeightUpdate(site, LowRank(residual, torch.linalg.solve(gram, keys.T)))
        return BatchOutcome({"batches": torch.tensor([self._batches + 1])}, failed)

    def advance(self, increment):
        self._batches = int(increment["batches"])


class FadeProtector(Protector):
    """Scales whatever comes."""

    basis = None

    def __init__(self, share):
        self._share = share

    def filter(self, update):
        gone = 1 - self._share**2
        return GuardResult(update.scaled(self._share), Blocks(0.0, 0.0, 0.0, gone), 0)

    def filter_dense(self, update):
        return update * self._share


@dataclass(frozen=True, kw_only=True)
class Fade(Guard):
    """Lets only a share of every update through."""

    name: ClassVar[str] = "fade"
    paper: ClassVar[str] = "none, an example"
    summary: ClassVar[str] = "every update, only weaker"

    share: float = 0.5

    def protector(self, weight, key, *, cache=None):
        return FadeProtector(self.share)


@dataclass(frozen=True, kw_only=True)
class Capitals(Task):
    """Lines `country, capital, another city`."""

    def read(self, path):
        rows = [line.split(", ") for line in path.read_text("utf-8").splitlines()]
        return [
            Item(prompt=f"The capital of {country} is", choices=(f" {right}", f" {wrong}"))
            for country, right, wrong in rows
        ]


CAPITALS = Capitals(
    name="capitals",
    summary="which of two cities is the capital",
    paper="none, an example",
    places=("capitals.txt",),
    expects="capitals.txt",
    rules=("likelihood",),
)
