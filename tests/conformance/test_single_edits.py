"""Edits that need nothing, and edits that cannot be made."""

import pytest
import torch
from matrix import BATCHES, CONTEXTS, TEXTS, edit, engine, same
from tiny import byte_tokenizer, tiny_model

from revive import registry
from revive.editors.target_solver.tokenized_edit import encode_edit

EDITORS = registry.names("editors")
KNOWN = edit("known", "Ada", "Ada lives in", "Rome")
NEW = edit("new", "Boris", "Boris lives in", "Oslo")


@pytest.fixture(scope="module")
def taught():
    """A tiny model that has learnt the known edit by heart, in every context."""
    tokenizer = byte_tokenizer(bos=True)
    rows = encode_edit(tokenizer, KNOWN, CONTEXTS).rewrite

    def build():
        model = tiny_model("llama", dtype=torch.float32)
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(800):
            optimizer.zero_grad()
            loss = torch.zeros(())
            for row in rows:
                log_p = torch.log_softmax(model(torch.tensor([row.input_ids])).logits[0], dim=-1)
                loss = loss - log_p[list(row.positions), list(row.labels)].mean()
            if float(loss.detach()) < 5e-3:
                break
            loss.backward()
            optimizer.step()
        assert float(loss.detach()) < 5e-3
        optimizer.zero_grad()
        return model.eval()

    return build().state_dict()


def on(taught):
    model = tiny_model("llama", dtype=torch.float32)
    model.load_state_dict(taught)
    return model


def length(editor, taught, one):
    made = engine(editor, "none", "llama", "fp32", model=on(taught))
    result = made.apply([one])
    assert not result.failed
    return sum(float(made.ledger.delta(key).norm()) for key in made.ledger.sites)


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edit_that_holds_already_is_nearly_nothing(editor, taught):
    known, new = (length(editor, taught, e) for e in (KNOWN, NEW))
    assert new > 0
    assert known <= 0.05 * new


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edit_without_its_subject_fails_alone(editor):
    absent = edit("absent", "Zoe", "Nobody lives in", "Bern")
    made = engine(editor, "revive", "llama", "fp32")
    result = made.apply([BATCHES[0][0], absent, BATCHES[0][1]])
    assert list(result.failed) == ["absent"]
    assert "subject 'Zoe' is not in the prompt" in result.failed["absent"]
    assert result.made == ("a", "b")
    alone = engine(editor, "revive", "llama", "fp32").apply(BATCHES[0])
    assert same(dict_of(result), dict_of(alone))


@pytest.mark.parametrize("editor", EDITORS)
def test_an_edit_whose_loss_is_not_a_number_fails_alone(editor):
    def poisoned():
        model = tiny_model("llama", dtype=torch.float32)
        token = byte_tokenizer()("Q")["input_ids"][0]
        with torch.no_grad():
            model.get_input_embeddings().weight[token] = float("nan")
        return model

    assert "Q" not in "".join(TEXTS)
    hostile = edit("hostile", "Queen", "Queen lives in", "Bern")
    made = engine(editor, "revive", "llama", "fp32", model=poisoned())
    result = made.apply([BATCHES[0][0], hostile, BATCHES[0][1]])
    assert result.failed == {"hostile": "the target's loss is not finite"}
    assert result.made == ("a", "b")
    alone = engine(editor, "revive", "llama", "fp32", model=poisoned()).apply(BATCHES[0])
    ours, theirs = dict_of(result), dict_of(alone)
    for key in theirs:
        if not key.startswith("owner|"):
            torch.testing.assert_close(ours[key], theirs[key], rtol=1e-3, atol=1e-5)


def dict_of(result):
    return dict(result.tensors())
