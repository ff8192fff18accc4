"""Engines over tiny models, for any editor and guard that the registry names."""

import torch
from tiny import byte_tokenizer, tiny_model

from revive import registry
from revive.data.edits import Edit
from revive.editors.base import EditContext
from revive.engine.engine import Engine
from revive.engine.originals import originals
from revive.guards import FittedGuard
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.moments.input_moments import collect_moments
from revive.options.editors import OPTIONS

FAMILIES = ("gpt2", "gptj", "gpt_neox", "llama")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
LAYERS = (0, 1)
CONTEXTS = ("It rains",)
TEXTS = ["The ship left the harbour at dawn and nobody saw it come back.", "It was cold. " * 8]

# Strong enough to be seen, weak enough to stay finite; an option that an editor lacks is left out.
SETTINGS = {
    "layers": list(LAYERS),
    "steps": 4,
    "lr": 0.1,
    "weight_decay": 0.0,
    "kl_factor": 0.0625,
    "clamp": 4.0,
    "ridge": 100.0,
    "l2": 10.0,
    "threshold": 0.3,
}
OWN = {"ft": {"lr": 1e-3}, "ultraedit": {"lr": 1e-3}}


def edit(name, subject, prompt, target):
    return Edit(id=name, prompt=prompt, subject=subject, target_new=target)


BATCHES = (
    (edit("a", "Ada", "Ada lives in", "Rome"), edit("b", "Boris", "Boris lives in", "Oslo")),
    (edit("c", "Clara", "Clara lives in", "Lima"), edit("d", "Ada", "Ada likes", "tea")),
)


def options(name, **changed):
    kind = OPTIONS[name]
    settings = {**SETTINGS, **OWN.get(name, {}), **changed}
    return kind(**{k: v for k, v in settings.items() if k in kind.model_fields})


def engine(editor, guard, family, dtype, *, model=None, **changed):
    """Model, ledger, editor and guard, prepared; the same every time."""
    model = tiny_model(family, dtype=DTYPES[dtype]) if model is None else model
    runner = BlockRunner(model, family_of(model))
    tokenizer = byte_tokenizer(bos=family == "llama")
    chosen = options(editor, **changed)
    sites = runner.family.sites(model, layers=chosen.layers)
    ledger = Ledger(model, sites)
    moments = collect_moments(runner, tokenizer, sites, TEXTS)
    context = EditContext(runner, tokenizer, sites, CONTEXTS, moments, ledger)
    made = registry.load("editors", editor)(chosen)
    made.prepare(context)
    fitted = FittedGuard(registry.load("guards", guard)(), originals(ledger))
    return Engine(context, ledger, made, fitted)


def parameters(made):
    return {n: p.detach().clone() for n, p in made.context.runner.model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
