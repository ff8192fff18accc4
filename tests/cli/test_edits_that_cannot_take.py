"""A model on which no edit can take: every editor, with settings by rule, says so in words.

Its head is zero, so that every token is as likely as any other whatever the states are.
"""

import json
from pathlib import Path

import pytest
import torch
from tiny import byte_tokenizer, tiny_model


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "deaf"
    model = tiny_model("llama", dtype=torch.float32)
    with torch.no_grad():
        model.get_output_embeddings().weight.zero_()
    model.save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


def told(ran) -> str:
    """What was said, on one line."""
    return " ".join(ran.err.split())


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("The ship left the harbour at dawn.\nNobody saw it come back.\n" * 8, "utf-8")
    return path


FADES = "That is too few (the targets are not reached): expect edits that do not take."
NO_STRENGTH = "No strength that was tried made it work: expect that no edit takes."


@pytest.mark.parametrize(
    ("editor", "words"),
    [
        ("memit", (FADES,)),
        ("alphaedit", (FADES, NO_STRENGTH)),
        ("rome", (FADES,)),
        ("ft", (NO_STRENGTH,)),
        ("ultraedit", (NO_STRENGTH,)),
    ],
)
def test_an_edit_that_cannot_take_is_never_silent(
    revive, deaf, edits, text, tmp_path, editor, words
):
    out = tmp_path / "edited"
    ran = revive(
        *("edit", deaf, edits, "--out", out, "--editor", editor, "--guard", "none", "--text", text),
        *("--json", "--set", "editor.layers=[0]" if editor == "rome" else "seed=0"),
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["final"]["efficacy_exact"] == 0
    for part in words:
        assert part in told(ran)


def test_doctor_says_it_before_any_edit_and_check_remembers(revive, deaf, spec):
    ran = revive("doctor", deaf, "--json")
    assert ran.code == 0
    found = {f["check"]: f for f in json.loads(ran.out)["findings"]}["trial edits"]
    assert found["verdict"] == "warning"
    assert found["text"].startswith("0 of 12 trial edits answer, targets ")
    assert "too few (the targets are not reached)" in found["text"]
    assert "trial edits" not in revive("doctor", deaf, "--json", "--no-trial").out

    ruled = spec("ruled.yaml", model={"name": str(deaf)})
    plain = ("check", ruled, "--set", "editor={name: memit-seq}")
    known = told(revive(*plain))
    assert "0 of 12 answer with the new target" in known
    assert "The run takes clamp" in known
    new = told(revive(*plain, "--set", "editor.contexts=1"))
    assert "are tried on 12 edits of the package before the first batch" in new
    assert json.loads(revive(*plain, "--json").out)["trial"]["answered"] == 0


def test_no_blocks_are_kept_where_none_serve(revive, deaf):
    ran = revive("calibrate", deaf)
    assert ran.code == 0
    assert "blocks" in ran.out
    assert "expect edits that do not take" in told(ran)
    assert "kept" not in ran.err
    assert "nothing is kept" in told(revive("calibrate", deaf, "--forget"))


def test_a_model_with_a_preset_keeps_its_blocks(revive, spec):
    revive("calibrate", "lab").refused(2, "has settings of its own (preset lab)")
    revive("calibrate", spec(), "--forget").refused(2, "--forget are for a model")
