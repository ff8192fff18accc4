"""`revive edit` on a pretrained model: it saves an ordinary model that says the new things."""

import json
import subprocess
import sys

import pytest
import torch
from e2e_runs import journal, logits_elsewhere, logits_here, revive

from revive.apply_edits import apply_and_save, edit_spec
from revive.models.loading import load_model
from revive.runs.rebuild import finish_model
from revive.spec.parsing import read_model_config, resolve
from shared import shared

# A model of toy stories knows no facts: what follows these words is what it can be taught.
EDITS = (
    ("One day, the dog", "dog", "said"),
    ("Tom and his mom", "mom", "play"),
    ("The big cat", "cat", "had"),
    ("She saw a bird", "bird", "but"),
)
SHORT = ("layers=[1,2]", "contexts=1", "context_length=3", "steps=15", "ridge=30", "clamp=4")


def answer(loaded, prompt, target):
    """The greedy continuation, as long as the target."""
    length = len(loaded.tokenizer(target, add_special_tokens=False)["input_ids"])
    ids = loaded.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = loaded.model.generate(
            ids, max_new_tokens=length, do_sample=False, attention_mask=torch.ones_like(ids)
        )
    return loaded.tokenizer.decode(out[0, ids.shape[1] :]).strip()


@pytest.fixture(scope="module")
def model():
    return shared("data", "models", "stories260K-hf")


@pytest.fixture(scope="module")
def edits(tmp_path_factory):
    path = tmp_path_factory.mktemp("edits") / "edits.jsonl"
    rows = [
        {"id": f"e{n}", "prompt": p, "subject": s, "target_new": t}
        for n, (p, s, t) in enumerate(EDITS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def edited(model, edits, corpus, tmp_path_factory):
    """The output of the command, and its run folder beside it."""
    out = tmp_path_factory.mktemp("out") / "edited"
    overrides = [word for s in SHORT for word in ("--set", f"editor.{s}")]
    done = revive("edit", model, edits, "--out", out, "--text", corpus, "--json", *overrides)
    return out, json.loads(done.stdout)


def test_the_saved_model_is_the_edited_one(edited, model):
    out, summary = edited
    assert (summary["edits"], summary["failed"], summary["guard"]) == (4, 0, "revive")
    assert summary["final"]["efficacy_exact"] > summary["unedited"]["efficacy_exact"]
    prompts = [p for p, _, _ in EDITS]
    rebuilt, before = finish_model(out.with_name("edited.run")), load_model(str(model))
    elsewhere = logits_elsewhere(out, prompts)
    for prompt in prompts:
        here = logits_here(rebuilt, prompt)
        assert float((elsewhere[prompt] - here).abs().max()) <= 1e-5 * float(here.abs().max())
        assert float((logits_here(before, prompt) - here).abs().max()) > 1e-2


def test_most_answers_are_the_new_ones(edited, model):
    before, after = load_model(str(model)), load_model(str(edited[0]))
    assert not any(answer(before, p, t) == t for p, _, t in EDITS)
    assert sum(answer(after, p, t) == t for p, _, t in EDITS) >= 3


def test_the_guard_kept_the_dominant_directions(edited):
    events = journal(edited[0].with_name("edited.run"))
    sites = [s for e in events if e["event"] == "batch" for s in e["sites"].values()]
    assert len(sites) == 2
    assert all(s["leak"] < 1e-8 and s["rank"] > 0 and s["applied"] > 0 for s in sites)


def test_an_interrupted_edit_is_completed_by_the_same_call(model, edits, corpus, tmp_path):
    """A kill between the spec and the journal's first line leaves a spec alone."""
    overrides = [f"editor.{s}" for s in SHORT]
    spec = edit_spec(str(model), edits, "memit-seq", "revive", (corpus,), "error", overrides)
    spec = resolve(spec, read_model_config(str(model)))
    out, run = tmp_path / "edited", tmp_path / "run"
    apply_and_save(spec, run, out)
    wanted = (out / "model.safetensors").read_bytes()
    for left in ((".lock", "spec.yaml"), (".lock", "spec.yaml", "env.json", "journal.jsonl")):
        folder = tmp_path / f"left-{len(left)}"
        folder.mkdir()
        for name in left:
            (folder / name).write_bytes((run / name).read_bytes())
        if "journal.jsonl" in left:
            start = (run / "journal.jsonl").read_text("utf-8").splitlines()[0]
            (folder / "journal.jsonl").write_text(start + "\n", "utf-8")
        again = tmp_path / f"again-{len(left)}"
        apply_and_save(spec, folder, again)
        assert (again / "model.safetensors").read_bytes() == wanted


def test_another_runs_folder_is_not_continued(model, edits, edited, corpus, tmp_path):
    """Other settings with the same run folder: refused, nothing written."""
    run = edited[0].with_name("edited.run")
    before = journal(run)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "revive.cli.main", "edit", str(model), str(edits)),
            *("--out", str(tmp_path / "other"), "--run", str(run), "--text", str(corpus)),
            *("--set", "editor.layers=[1,2]", "--set", "editor.ridge=31"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "holds a run with other settings" in done.stderr
    assert journal(run) == before
    assert not (tmp_path / "other").exists()
