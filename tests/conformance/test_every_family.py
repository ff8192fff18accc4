"""Every family: targets are solved on the model's own loss, and an edit succeeds."""

from contextlib import contextmanager

import pytest
import torch
from matrix import engine
from tiny import BUILDERS, MIXTURES, byte_tokenizer, tiny_model

from revive.data.edits import Edit
from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.target_problem import TargetProblem
from revive.editors.target_solver.target_settings import TargetSettings
from revive.editors.target_solver.targets import solve_targets
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner, hidden_of
from revive.models.residual_write import Normed

FAMILIES = sorted(BUILDERS | MIXTURES)
# These compute attention, the router, or parts of them, in fp32 whatever the model's dtype.
TOLERANCE = dict.fromkeys(FAMILIES, 1e-9) | dict.fromkeys(
    ("gptj", "gemma2", "bloom", *MIXTURES), 1e-6
)
# Norms in fp32 make the length of a shift, and the shifted state, that uncertain.
_CASTS = dict.fromkeys(FAMILIES, 0.0) | dict.fromkeys(
    ("gemma2", "gemma3", "glm4", "olmo2", "olmo3", "granite"), 1e-6
)
EDITS = (
    Edit(id="a", prompt="Ada lives in", subject="Ada", target_new="Rome"),
    Edit(id="b", prompt="They say that Boris sings", subject="Boris", target_new="well"),
)
SHORT = (
    Edit(id="a", prompt="We met Ada", subject="Ada", target_new="#"),
    Edit(id="b", prompt="This is Boris", subject="Boris", target_new="@"),
)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_target_solvers_loss_is_the_models_own(name):
    """With no shift yet, what the solver reads off its slices is what the whole model says."""
    model = tiny_model(name)
    rows = [encode_edit(byte_tokenizer(), edit, ("It rains",)) for edit in EDITS]
    settings = TargetSettings(layer=1, steps=1, lr=0.1, weight_decay=0.0, kl_factor=0.0, clamp=4.0)
    found = solve_targets(BlockRunner(model, family_of(model)), rows, settings)
    for edit, loss in zip(rows, found.loss, strict=True):
        own = torch.stack([own_loss(model, row) for row in edit.rewrite]).mean()
        torch.testing.assert_close(loss, own, rtol=0, atol=TOLERANCE[name])


def own_loss(model, row):
    """What the whole model loses on a row's target."""
    log_p = model(input_ids=torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
    return -log_p[torch.tensor(row.positions), torch.tensor(row.labels)].mean()


@contextmanager
def site_put_through(model, change):
    """The edited projection of block 1 puts out `change(y)`, `[length, d]` in and out."""
    site = family_of(model).sites(model, layers=[1])[0]

    def hook(_module, _args, output):
        return change(output.reshape(-1, 32).clone()).reshape(output.shape)

    handle = model.get_submodule(site.module).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def at_lookup(model, row, change=lambda y: y):
    """What the projection and its block put out at a row's lookup."""
    seen = []

    def keep(y):
        seen.append(y[row.lookup].clone())  # Falcon adds to it in place
        return change(y)

    runner = BlockRunner(model, family_of(model))
    ids = torch.tensor([row.input_ids])
    with site_put_through(model, keep), torch.no_grad():
        hidden = runner.embed_through(ids, torch.ones_like(ids), 1)
    return seen[-1], hidden[0, row.lookup]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_loss_of_a_shift_is_that_of_a_model_whose_projection_is_shifted(name):
    """Whatever lies between the projection and the stream: norms, scales, or nothing."""
    model = tiny_model(name)
    # Targets within the reach of a window.
    rows = [encode_edit(byte_tokenizer(), edit, ("It rains",)) for edit in SHORT]
    settings = TargetSettings(layer=1, steps=1, lr=0.1, weight_decay=0.0, kl_factor=0.0, clamp=4.0)
    problem = TargetProblem(BlockRunner(model, family_of(model)), rows, settings, None, None)
    delta = 3 * torch.randn(2, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found, _, _ = problem._loss(delta, torch.arange(2), problem._rewrite, None, None)
    for edit, loss, d in zip(rows, found, delta, strict=True):
        # delta is as long in the stream as it says: what the stream gets of y says how long y is.
        y, whole = at_lookup(model, edit.rewrite[0])
        _, without = at_lookup(model, edit.rewrite[0], torch.zeros_like)
        shift = d * y.norm() / (whole - without).norm()

        def shifted(row, shift=shift):
            def add(out):
                out[row.lookup] += shift
                return out

            with site_put_through(model, add):
                return own_loss(model, row)

        own = torch.stack([shifted(row) for row in edit.rewrite]).mean()
        plain = torch.stack([own_loss(model, row) for row in edit.rewrite]).mean()
        assert abs(float((own - plain).detach())) > 1e-3, "the shift must matter"
        torch.testing.assert_close(loss, own, rtol=0, atol=max(TOLERANCE[name], _CASTS[name]))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_target_is_what_the_shifted_block_puts_out(name):
    model = tiny_model(name)
    rows = [encode_edit(byte_tokenizer(), edit, ()) for edit in EDITS]
    settings = TargetSettings(layer=1, steps=5, lr=0.2, weight_decay=0.0, kl_factor=0.0, clamp=4.0)
    runner = BlockRunner(model, family_of(model))
    found = solve_targets(runner, rows, settings)
    block = runner.family.blocks_of(model)[1]
    for edit, z, loss in zip(rows, found.z, found.loss, strict=True):
        (row,) = edit.rewrite

        def put(_module, _args, output, row=row, z=z):
            hidden = hidden_of(output).clone()
            hidden[0, row.lookup] = z
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = block.register_forward_hook(put)
        try:
            torch.testing.assert_close(
                own_loss(model, row), loss, rtol=0, atol=max(TOLERANCE[name], _CASTS[name])
            )
        finally:
            handle.remove()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_residual_is_pulled_back_to_the_projection(name):
    """The projection's asked-for change brings the block's output nearer to what is wanted."""
    model = tiny_model(name)
    runner = BlockRunner(model, family_of(model))
    rows = [encode_edit(byte_tokenizer(), edit, ()) for edit in EDITS]
    sweep = KeySweep(runner, rows, 1)
    site = runner.family.sites(model, layers=[1])[0]
    before = sweep.outputs(1)
    wanted = 0.3 * torch.randn(32, 2, dtype=torch.float64, generator=torch.Generator())
    asked = sweep.pulled_back(site, wanted)
    for i, edit in enumerate(rows):
        (row,) = edit.rewrite

        def add(y, row=row, i=i):
            y[row.lookup] += asked[:, i]
            return y

        _, after = at_lookup(model, row, add)
        missing = float((before[:, i] + wanted[:, i] - after).norm() / wanted[:, i].norm())
        assert missing < (0.9 if isinstance(runner.family.entry_of(model, 1), Normed) else 1e-6)


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_the_last_block_is_measured_before_the_final_norm(name):
    model = tiny_model(name)
    runner = BlockRunner(model, family_of(model))
    rows = [encode_edit(byte_tokenizer(), edit, ()) for edit in SHORT]
    settings = TargetSettings(layer=2, steps=1, lr=0.1, weight_decay=0.0, kl_factor=0.0, clamp=4.0)
    z0 = solve_targets(runner, rows, settings).z0
    out = KeySweep(runner, rows, 1).outputs(2).T
    torch.testing.assert_close(out, z0, rtol=0, atol=max(TOLERANCE[name], _CASTS[name]))


@pytest.mark.parametrize("name", FAMILIES)
def test_an_edit_succeeds(name):
    """The first token of the target, predicted where the subject ends, becomes the first choice."""
    # Behind a norm a block can move what comes next only so far; the seed is one of a model that
    # can be moved far enough, in every family.
    model = tiny_model(name, dtype=torch.float32, seed=4)
    made = engine("memit", "none", name, "fp32", model=model, steps=25, lr=1.0, ridge=1.0)
    rows = [encode_edit(made.context.tokenizer, edit, ()).rewrite[0] for edit in SHORT]

    def hits():
        with torch.no_grad():
            logits = [
                made.context.runner.model(input_ids=torch.tensor([r.input_ids])) for r in rows
            ]
        first = [
            out.logits[0, r.positions[0]].argmax() for out, r in zip(logits, rows, strict=True)
        ]
        return [int(top) == r.labels[0] for top, r in zip(first, rows, strict=True)]

    assert hits() == [False, False]
    made.apply(SHORT)
    assert hits() == [True, True]
