"""Every family: targets are solved on the model's own loss, and an edit succeeds."""

import pytest
import torch
from matrix import engine
from tiny import BUILDERS, MIXTURES, byte_tokenizer, tiny_model

from revive.data.edits import Edit
from revive.editors.rows import encode_edit
from revive.editors.target_settings import TargetSettings
from revive.editors.targets import solve_targets
from revive.models.family import family_of
from revive.models.runner import BlockRunner

FAMILIES = sorted(BUILDERS | MIXTURES)
# GPT-J computes attention in fp32 whatever the model's dtype, mixtures their router.
TOLERANCE = dict.fromkeys(FAMILIES, 1e-9) | dict.fromkeys(("gptj", *MIXTURES), 1e-6)
EDITS = (
    Edit(id="a", prompt="Ada lives in", subject="Ada", target_new="Rome"),
    Edit(id="b", prompt="They say that Boris sings", subject="Boris", target_new="well"),
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


@pytest.mark.parametrize("name", FAMILIES)
def test_an_edit_succeeds(name):
    """The first token of the target, predicted where the subject ends, becomes the first choice."""
    made = engine("memit", "none", name, "fp32", steps=25, lr=0.5, ridge=1.0)
    edits = [
        Edit(id="a", prompt="We met Ada", subject="Ada", target_new="#"),
        Edit(id="b", prompt="This is Boris", subject="Boris", target_new="@"),
    ]
    rows = [encode_edit(made.context.tokenizer, edit, ()).rewrite[0] for edit in edits]

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
    made.apply(edits)
    assert hits() == [True, True]
