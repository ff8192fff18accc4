"""Targets that spread forward from the first edited block, and targets of an anchored length."""

from dataclasses import replace

import pytest
import torch
from test_targets import EDITS, encoded, relative, runner

from revive import registry
from revive.editors.base import EditContext
from revive.editors.key_sweep import KeySweep
from revive.editors.memit import MemitSeq
from revive.editors.norm_anchor import ANCHOR, norm_anchored
from revive.editors.target_editor import SolvedBatch
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.engine.engine import Engine
from revive.errors import SpecError
from revive.guards import FittedGuard, NoGuard
from revive.models.ledger import Ledger
from revive.spec.parsing import parse_spec

LAYERS = [0, 1]
SETTINGS = TargetSettings(
    layer=0, steps=8, lr=0.05, weight_decay=0.3, kl_factor=0.0625, clamp=1.5, stop_loss=0.0
)
MODELS = pytest.mark.parametrize("name", ["gpt2", "llama", "olmo2"])


class Identity:
    """Ordinary keys that are alike in every direction."""

    def __init__(self, size):
        self._size = size

    def value(self):
        return torch.eye(self._size).double()


def outputs(run, ids, lookup, z=None):
    """Outputs of the edited blocks at a token, by stock hooks; the first puts out z there."""
    blocks, seen, handles = run.family.blocks_of(run.model), {}, []

    def hook(layer):
        def see(module, args, out):
            hidden = out[0] if isinstance(out, tuple) else out
            if layer == LAYERS[0] and z is not None:
                hidden[0, lookup] = z
            seen[layer] = hidden[0, lookup].clone()
            return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

        return see

    for layer in LAYERS:
        handles.append(blocks[layer].register_forward_hook(hook(layer)))
    with torch.no_grad():
        run.model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return seen


@MODELS
def test_replayed_is_a_forward_pass_behind_the_first_target(name):
    run, rows = runner(name, torch.float64), encoded(bos=True)
    z = solve_targets(run, rows, SETTINGS).z
    found = KeySweep(run, rows, LAYERS[0]).replayed(z, LAYERS)
    for i, edit in enumerate(rows):
        plain = outputs(run, edit.rewrite[0].input_ids, edit.rewrite[0].lookup, z[i])
        bare = outputs(run, edit.rewrite[0].input_ids, edit.rewrite[0].lookup)
        for layer in LAYERS:
            assert relative(found[layer][:, i], plain[layer]) <= 1e-12
            assert relative(found[layer][:, i], bare[layer]) > 1e-3


def engine(run, **options):
    sites = run.family.sites(run.model, layers=LAYERS)
    ledger = Ledger(run.model, sites)
    moments = {s.parameter: Identity(s.shape[1]) for s in sites}
    context = EditContext(run, None, sites, (), moments, ledger)
    editor = MemitSeq(MemitSeq.options_model(layers=LAYERS, key_average=False, **options))
    editor.prepare(context)
    originals = {s.parameter: ledger.original(s.parameter) for s in sites}
    return Engine(context, ledger, editor, FittedGuard(NoGuard(), originals))


def written(made, rows, z):
    """Write solved targets; the editor's own way from there."""
    solved = SolvedBatch(tuple(rows), tuple(range(len(rows))), z, {}, {}, 0.0)
    with made.ledger.transaction():
        made.drive(made.editor.spread(solved, made.context))


@pytest.mark.parametrize("spread", ["forward", "backward"])
def test_forward_every_block_puts_out_what_follows_from_the_first(spread):
    run, rows = runner("llama", torch.float64), encoded(bos=True)
    made = engine(run, spread=spread, ridge=1e-9)
    at = made.editor.anchor_site(made.context).layer
    assert at == (LAYERS[0] if spread == "forward" else LAYERS[-1])
    z = solve_targets(run, rows, replace(SETTINGS, layer=at)).z
    first = z if spread == "forward" else solve_targets(run, rows, SETTINGS).z
    wanted = KeySweep(run, rows, LAYERS[0]).replayed(first, LAYERS)
    written(made, rows, z)
    for i, edit in enumerate(rows):
        now = outputs(run, edit.rewrite[0].input_ids, edit.rewrite[0].lookup)
        assert relative(now[at], z[i]) <= 1e-6
        for layer in LAYERS:
            holds = relative(now[layer], wanted[layer][:, i]) <= 1e-6
            assert holds == (spread == "forward")


@MODELS
def test_what_the_projection_adds_is_known(name):
    """z0 without v0 is what the block puts out with its MLP silent."""
    run, rows = runner(name, torch.float64), encoded(bos=False)
    targets = solve_targets(run, rows, replace(SETTINGS, layer=1))
    (site,) = run.family.sites(run.model, layers=[1])
    weight = run.model.get_parameter(site.parameter)
    with torch.no_grad():
        kept = weight.clone()
        weight.zero_()
        bare = KeySweep(run, rows, 1).outputs(1).T
        weight.copy_(kept)
    if run.model.get_submodule(site.module).bias is None:
        assert relative(targets.z0 - targets.v0, bare) <= 1e-12
    assert relative(targets.z0, bare) > 1e-3


def test_anchored_targets_have_the_first_batchs_length():
    run, rows = runner("llama", torch.float64), encoded(bos=True)
    targets = solve_targets(run, rows, SETTINGS)
    rest, value = targets.z0 - targets.v0, targets.v0 + targets.z - targets.z0
    first = norm_anchored(targets, None)
    anchor = first.state[ANCHOR]
    assert float(anchor) == pytest.approx(float(value.norm(dim=1).mean()))
    assert set(first.dropped) == set((value.norm(dim=1) > 2 * anchor).nonzero().flatten().tolist())
    added = first.z - rest
    assert torch.allclose(added.norm(dim=1), anchor.expand(len(rows)))
    cosine = torch.nn.functional.cosine_similarity(added, value)
    assert torch.allclose(cosine, torch.ones_like(cosine))
    # A later batch whose values are longer is brought back, and an odd one is not made.
    grown = 1.5 * anchor * torch.nn.functional.normalize(targets.v0)
    grown[2] *= 2
    grown = replace(targets, v0=grown, z=targets.z0)
    later = norm_anchored(grown, anchor)
    assert set(later.dropped) == {2}
    assert "is 3.0 times as long as the norm anchor" in later.dropped[2]
    left = [0, 1, 3]
    lengths = (later.z - (grown.z0 - grown.v0))[left].norm(dim=1)
    assert torch.allclose(lengths, anchor.expand(3))
    assert torch.equal(later.state[ANCHOR], anchor)


FAMILY = ["memit", "memit-seq", "alphaedit", "encore", "emmet", "rect", "prune", "nse"]


@pytest.mark.parametrize("name", FAMILY)
def test_every_editor_keeps_the_anchor_of_its_first_batch(name):
    run, rows = runner("llama", torch.float64), encoded(bos=True)
    targets = solve_targets(run, rows, SETTINGS)
    made = registry.load("editors", name)
    editor = made(made.options_model(layers=LAYERS, norm_anchor=True))
    own = editor.adjusted(targets).state[ANCHOR]
    editor.advance({ANCHOR: 3 * own})
    assert torch.equal(editor.adjusted(targets).state[ANCHOR], 3 * own)


def test_mixtures_have_no_anchor():
    run, rows = runner("mixtral", torch.float64), encoded(bos=True)
    with pytest.raises(SpecError, match="a mixture of experts has no one projection"):
        norm_anchored(solve_targets(run, rows, SETTINGS), None)


def test_nse_spreads_backward_only():
    edits = {"model": "lab", "edits": "lab", "probes": []}
    with pytest.raises(SpecError, match="only 'backward' goes"):
        parse_spec({**edits, "editor": {"name": "nse", "spread": "forward"}}, "spec")
    assert len(EDITS) == 4
