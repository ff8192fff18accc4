"""The same tiny model on the CPU and on the device, and what edits it."""

import torch
from tiny import byte_tokenizer, tiny_model

from revive.data.edits import Edit
from revive.editors.alphaedit import AlphaEdit
from revive.editors.base import EditContext
from revive.editors.memit import MemitSeq
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.engine.engine import Engine
from revive.guards.fitted import FittedGuard
from revive.linalg.moments import SecondMoment
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.models.ledger import Ledger
from revive.options.editors import AlphaEditOptions, MemitOptions

CONTEXTS = ("So it was said", "Yes")
EDITS = (
    Edit("{} is in", "Rome", "France", id="a"),
    Edit("The very old mother tongue of the honourable {} is", "Danielle D", "Thai", id="b"),
    Edit("Of all towns, {} was the one she had wanted to see,", "Ulm", "or Bath", id="c"),
)
COMMON = {"layers": [0, 1], "steps": 6, "lr": 0.05, "weight_decay": 0.5, "kl_factor": 0.0625}
COMMON |= {"clamp": 0.75, "stop_loss": 0.0}
EDITORS = {
    "memit-seq": lambda: MemitSeq(MemitOptions(**COMMON, ridge=1000.0)),
    "alphaedit": lambda: AlphaEdit(AlphaEditOptions(**COMMON, l2=1.0)),
}


def runner(name, device, dtype=torch.float64, precision="strict"):
    model = tiny_model(name, dtype=dtype).to(device)
    return BlockRunner(model, family_of(model), precision)


def rows():
    return [encode_edit(byte_tokenizer(), edit, CONTEXTS) for edit in EDITS]


def engine(name, device, guard, editor="memit-seq", dtype=torch.float64):
    """An engine whose moments are the same numbers on either device."""
    run = runner(name, device, dtype)
    sites = run.family.sites(run.model, layers=[0, 1])
    ledger = Ledger(run.model, sites)
    moments = {}
    for seed, site in enumerate(sites):
        moments[site.parameter] = SecondMoment(site.shape[1])
        generator = torch.Generator().manual_seed(seed)
        keys = torch.randn(300, site.shape[1], generator=generator, dtype=torch.float64)
        moments[site.parameter].update(keys.to(device))
    context = EditContext(run, byte_tokenizer(), sites, CONTEXTS, moments, ledger)
    made = EDITORS[editor]()
    made.prepare(context)
    fitted = FittedGuard(guard, {s.parameter: ledger.original(s.parameter) for s in sites})
    return Engine(context, ledger, made, fitted)


def relative(actual, expected):
    a, b = actual.detach().cpu().double(), expected.detach().cpu().double()
    return float((a - b).norm() / b.norm())
