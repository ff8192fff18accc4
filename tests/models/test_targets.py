"""Solved targets depend on the edit alone: not on its batch, on padding, or on a BOS token.

Whether they are right is tested against a plain solver in tests/reference; here texts go in.
"""

from dataclasses import replace

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from revive.data.edits import Edit
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.scoring.score import score_targets

EDITS = (
    Edit("{} is in", "Rome", "France"),
    Edit("The very old mother tongue of the honourable {} is", "Danielle Darrieux", "Thai"),
    Edit("{}", "Al", "x"),
    Edit("Of all towns, {} was the one that she had always wanted to see,", "Ulm", "or Bath"),
)
CONTEXTS = ("So it was said", "Yes")
SETTINGS = TargetSettings(
    layer=1, steps=8, lr=0.05, weight_decay=0.3, kl_factor=0.0625, clamp=1.5, stop_loss=0.0
)
PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-4)], ids=["fp64", "fp32"]
)
MODELS = pytest.mark.parametrize("name", ["gpt2", "llama", "olmo2"])
BOS = pytest.mark.parametrize("bos", [False, True], ids=["plain", "bos"])


def encoded(*, bos, side="right", contexts=CONTEXTS):
    tokenizer = byte_tokenizer(bos=bos)
    tokenizer.padding_side = side
    return [encode_edit(tokenizer, edit, contexts) for edit in EDITS]


def runner(name, dtype):
    model = tiny_model(name, dtype=dtype)
    return BlockRunner(model, family_of(model))


def relative(actual, expected):
    return float((actual.double() - expected.double()).norm() / expected.double().norm())


@BOS
@PRECISIONS
@MODELS
def test_a_batch_of_one_equals_a_batch_of_many(name, dtype, tolerance, bos):
    run, rows = runner(name, dtype), encoded(bos=bos)
    together = solve_targets(run, rows, SETTINGS)
    reverse = solve_targets(run, rows[::-1], SETTINGS)
    for i, edit in enumerate(rows):
        alone = solve_targets(run, [edit], SETTINGS)
        assert relative(together.z[i], alone.z[0]) <= tolerance
        assert relative(reverse.z[len(rows) - 1 - i], alone.z[0]) <= tolerance
        assert relative(alone.z, alone.z0) > 1e-3, "the target must have moved"


def left_padded_target(model, block, edit):
    """One edit's target, all rows in one left-padded batch through the whole model.

    The shift is added to the MLP's output, whatever the block makes of it.
    """
    rows = (*edit.rewrite, edit.essence)
    length = max(len(r.input_ids) for r in rows)
    pad = [length - len(r.input_ids) for r in rows]
    ids = torch.tensor([[0] * p + list(r.input_ids) for p, r in zip(pad, rows, strict=True)])
    mask = (torch.arange(length)[None] >= torch.tensor(pad)[:, None]).long()
    inputs = {"input_ids": ids, "attention_mask": mask}
    inputs["position_ids"] = (mask.cumsum(dim=1) - 1).clamp(min=0)
    at = torch.tensor([p + r.lookup for p, r in zip(pad, rows, strict=True)])
    every = torch.arange(len(rows))
    s = SETTINGS
    start, outputs = [], []

    def log_p(delta):
        def shift(_module, _args, output):
            outputs.append(output[0, at[0]].detach().clone())
            out = output.clone()
            out[every, at] = out[every, at] + delta * unit
            return out

        def keep(_module, _args, output):
            hidden = output[0] if isinstance(output, tuple) else output
            start.append(hidden[0, at[0]].detach().clone())

        handles = [block.mlp.register_forward_hook(shift), block.register_forward_hook(keep)]
        try:
            return torch.log_softmax(model(**inputs).logits, dim=-1)
        finally:
            for handle in handles:
                handle.remove()

    unit = 1.0
    with torch.no_grad():
        if hasattr(block, "post_feedforward_layernorm"):
            log_p(torch.zeros(32, dtype=next(model.parameters()).dtype))
            y = outputs[0]
            unit = y.norm() / block.post_feedforward_layernorm(y).norm()
    delta = torch.zeros(32, dtype=next(model.parameters()).dtype, requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=s.lr)
    base = None
    for _ in range(s.steps - 1):
        optimizer.zero_grad()
        out = log_p(delta)
        rewrite = [
            -torch.stack(
                [out[i, pad[i] + q, y] for q, y in zip(r.positions, r.labels, strict=True)]
            ).mean()
            for i, r in enumerate(edit.rewrite)
        ]
        essence = out[-1, at[-1]]
        base = essence.detach() if base is None else base
        loss = torch.stack(rewrite).mean()
        loss = loss + s.kl_factor * (essence.exp() * (essence - base)).sum()
        loss = loss + s.weight_decay * delta.norm() / start[0].norm() ** 2
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            bound = s.clamp * start[0].norm()
            if delta.norm() > bound:
                delta.mul_(bound / delta.norm())
    with torch.no_grad():
        log_p(delta)
    return start[-1]


@BOS
@PRECISIONS
@MODELS
def test_left_padding_gives_the_same_targets(name, dtype, tolerance, bos):
    run, rows = runner(name, dtype), encoded(bos=bos)
    solved = solve_targets(run, rows, SETTINGS)
    block = run.family.blocks_of(run.model)[SETTINGS.layer]
    for i, edit in enumerate(rows):
        assert relative(solved.z[i], left_padded_target(run.model, block, edit)) <= tolerance


@BOS
def test_a_tokenizers_padding_side_does_not_matter(bos):
    assert encoded(bos=bos, side="left") == encoded(bos=bos, side="right")


def test_a_bos_token_moves_every_position_by_one():
    for plain, bos in zip(encoded(bos=False), encoded(bos=True), strict=True):
        for a, b in zip((*plain.rewrite, plain.essence), (*bos.rewrite, bos.essence), strict=True):
            assert b.input_ids == (0, *a.input_ids)
            assert b.lookup == a.lookup + 1
            assert b.positions == tuple(p + 1 for p in a.positions)
            assert b.labels == a.labels


@pytest.mark.parametrize(
    ("template", "count"), [("<s> $A", 1), ("<s> <s> $A", 2)], ids=["once", "twice"]
)
def test_rows_hold_as_many_bos_as_the_tokenizer_adds(template, count):
    tokenizer = byte_tokenizer(bos=True, template=template)
    for plain, edit in zip(encoded(bos=False), EDITS, strict=True):
        bos = encode_edit(tokenizer, edit, CONTEXTS)
        for a, b in zip((*plain.rewrite, plain.essence), (*bos.rewrite, bos.essence), strict=True):
            assert b.input_ids == (*[0] * count, *a.input_ids)
            assert b.lookup == a.lookup + count
            assert b.positions == tuple(p + count for p in a.positions)
            assert b.labels == a.labels


@pytest.mark.parametrize("template", ["$A", "<s> $A", "<s> <s> $A"], ids=["no", "once", "twice"])
def test_what_is_solved_for_is_what_is_scored(template):
    """The solver's rows and the probes' prompts begin alike, whatever the tokenizer adds."""
    tokenizer = byte_tokenizer(bos=True, template=template)
    run = runner("llama", torch.float32)
    rows = [encode_edit(tokenizer, edit, ()) for edit in EDITS]
    solved = solve_targets(run, rows, replace(SETTINGS, steps=1, kl_factor=0.0)).first_loss
    prompts = [edit.template.replace("{}", edit.subject) for edit in EDITS]
    scored = score_targets(run.model, tokenizer, prompts, [edit.target_new for edit in EDITS])
    torch.testing.assert_close(solved, scored.nll, rtol=0, atol=1e-5)


def test_a_position_that_is_off_by_one_is_noticed():
    """Negative control: the tolerance is far below what a wrong position does."""
    run = runner("llama", torch.float64)
    plain = solve_targets(run, encoded(bos=False), SETTINGS)
    bos = solve_targets(run, encoded(bos=True), SETTINGS)
    assert all(relative(b, a) > 1e-2 for a, b in zip(plain.z, bos.z, strict=True))
