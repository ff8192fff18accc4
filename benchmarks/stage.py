"""A model made ready: moments, contexts, editor, guard, and the batch of edits in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchmarks.needs import Cost
from benchmarks.shapes import Shape, edits_of, texts_of
from revive.data.edits import Edit
from revive.editors.base import EditContext
from revive.editors.memit import MemitSeq
from revive.editors.target_solver.context_templates import generate_context_templates
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, encode_edit
from revive.engine.engine import Engine
from revive.guards.fitted import FittedGuard
from revive.guards.revive import Revive
from revive.linalg.moments import SecondMoment
from revive.models.forward.precision import Precision
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.models.site import Site
from revive.moments.input_moments import collect_moments

ENERGY = 0.1


@dataclass
class Stage:
    """Everything that is constant over a run, on one shape.

    Attributes:
        shape: What is timed.
        loaded: The model.
        runner: Runs its blocks.
        sites: Edited sites.
        ledger: Of them.
        context: What the editor reads.
        cost: What the model's parts cost.
        edits: The batch.
        rows: Its tokens.
        texts: Passages for moments.
    """

    shape: Shape
    loaded: LoadedModel
    runner: BlockRunner
    sites: tuple[Site, ...]
    ledger: Ledger
    context: EditContext
    cost: Cost
    edits: tuple[Edit, ...]
    rows: tuple[TokenizedEdit, ...]
    texts: list[str]
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.loaded.model.parameters()).device

    def collect(self, texts: Sequence[str], sites: Sequence[Site]) -> dict[str, SecondMoment]:
        """Key second moments, in one pass."""
        return collect_moments(self.runner, self.loaded.tokenizer, sites, texts)

    def engine(self, guard: Revive) -> Engine:
        """A fresh editor under a guard, on this ledger."""
        editor = MemitSeq(self.shape.options)
        editor.prepare(self.context)
        originals = {s.parameter: self.ledger.original(s.parameter) for s in self.sites}
        return Engine(self.context, self.ledger, editor, FittedGuard(guard, originals))

    def own(self, precision: Precision) -> "Stage":
        """The same batch with the settings that the package itself takes, by rule."""
        assert self.shape.own is not None, "asked of shapes that have them"
        options = self.shape.own()
        loaded, before = self.loaded, self.shape.options
        assert options.layers == before.layers, "moments and ledger are of the same blocks"
        contexts = generate_context_templates(
            loaded.model, loaded.tokenizer, count=options.contexts, length=options.context_length
        )
        runner = BlockRunner(loaded.model, loaded.family, precision)
        return replace(
            self,
            shape=replace(self.shape, options=options),
            runner=runner,
            context=replace(self.context, runner=runner, contexts=contexts),
            rows=tuple(encode_edit(loaded.tokenizer, e, contexts) for e in self.edits),
        )

    def moment(self, site: Site) -> Tensor:
        """C of one site, fp64."""
        return self.context.moments[site.parameter].value().double()


def prepare(
    shape: Shape,
    dtype: str,
    precision: Precision,
    device: torch.device,
    edits: int | None = None,
    layers: list[int] | None = None,
    passages: int | None = None,
    *,
    edited: bool = True,
) -> Stage:
    """Build the model and what a run computes once; where nothing is edited, without moments."""
    if layers is not None:
        shape = replace(shape, options=shape.options.model_copy(update={"layers": layers}))
    shape = replace(shape, passages=passages or shape.passages)
    loaded = shape.model(dtype, device)
    options = shape.options
    sites = loaded.family.sites(loaded.model, layers=options.layers)
    runner = BlockRunner(loaded.model, loaded.family, precision)
    contexts = generate_context_templates(
        loaded.model, loaded.tokenizer, count=options.contexts, length=options.context_length
    )
    texts = texts_of(shape, loaded)
    moments = collect_moments(runner, loaded.tokenizer, sites, texts) if edited else {}
    ledger = Ledger(loaded.model, sites)
    context = EditContext(runner, loaded.tokenizer, sites, contexts, moments, ledger)
    batch = edits_of(shape, loaded, edits or shape.edits)
    rows = tuple(encode_edit(loaded.tokenizer, e, contexts) for e in batch)
    rate = "bfloat16" if precision == "fast" and device.type == "cuda" else dtype
    cost = Cost.of(loaded.model, loaded.family, rate)
    return Stage(shape, loaded, runner, sites, ledger, context, cost, batch, rows, texts)
