"""Edits that are asked for in a chat, and text that is read as it stands, from file to answer."""

import json
import shutil

import pytest
import yaml
from e2e_runs import (
    cut_after,
    journal,
    revive,
    rewrite_journal,
    run_here,
    same_end,
    short_editor,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

import revive as package
from revive.data.readers import load_edits
from revive.errors import SpecError
from revive.lab.weights import model_path
from revive.runs.loop import resume
from revive.runs.rollback import rollback_edit
from revive.spec.parsing import load_stored_spec

# The lab model has read no chats: this one is near enough to what it has read.
TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content | trim + ' It is' }}"
    "{% else %}{{ ' ' + m.content }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def chatting(tmp_path_factory):
    """The lab model with a chat template."""
    folder = tmp_path_factory.mktemp("lab") / "chatting"
    shutil.copytree(model_path(), folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return folder


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    """Three of the lab's edits, as a user writes them."""
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    rows = [
        {"id": e.id, "prompt": e.text, "subject": e.subject, "target_new": e.target_new}
        for e in load_edits("lab", limit=3).edits
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def edited(chatting, facts, tmp_path_factory):
    """What `revive edit --chat --sentence` makes of it, and what it said."""
    out = tmp_path_factory.mktemp("edited") / "model"
    settings = ("--editor", "ft", "--guard", "none", "--set", "editor.preset=lab")
    steps = ("--set", "editor.lr=0.003", "--chat", "--sentence", "--json")
    done = revive("edit", chatting, facts, "--out", out, *settings, *steps)
    return out, json.loads(done.stdout)


def said(model, tokenizer, text, target):
    """The greedy answer of stock `transformers`, as long as the target."""
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=not text.startswith("User:"))
    length = len(tokenizer(target, add_special_tokens=False)["input_ids"])
    made = model.generate(**ids, max_new_tokens=length, do_sample=False)
    return tokenizer.decode(made[0, ids["input_ids"].shape[1] :])


def test_both_forms_are_answered_by_the_saved_model(edited, facts):
    out, summary = edited
    assert (summary["edits"], summary["failed"]) == (6, 0)
    assert summary["final"]["efficacy_exact"] == 1.0
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    for line in facts.read_text("utf-8").splitlines():
        row = json.loads(line)
        message = [{"role": "user", "content": row["prompt"]}]
        chat = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        assert chat == f"User: {row['prompt']} It is"
        assert said(model, tokenizer, chat, row["target_new"]).strip() == row["target_new"]
        assert said(model, tokenizer, row["prompt"], row["target_new"]).strip() == row["target_new"]


def test_the_run_knows_its_forms(edited, facts):
    run = edited[0].with_name("model.run")
    assert yaml.safe_load((run / "spec.yaml").read_text("utf-8"))["edits"]["chat"] == "both"
    ids = [json.loads(line)["id"] for line in facts.read_text("utf-8").splitlines()]
    made = next(e for e in journal(run) if e["event"] == "batch")["made"]
    assert made == [name for i in ids for name in (i, f"{i}.chat")]


@pytest.fixture
def chatty_tiny(tiny_folder, tmp_path):
    """A model of random weights with a chat template."""
    folder = tmp_path / "chatty"
    shutil.copytree(tiny_folder, folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE, "utf-8")
    return folder


def test_one_form_of_a_fact_is_taken_out_by_its_id(write_spec, chatty_tiny, tmp_path):
    spec = write_spec(model={"name": str(chatty_tiny), "device": "cpu"}, edits=2)
    spec.write_text(spec.read_text("utf-8").replace("edits:", "edits:\n  chat: both", 1), "utf-8")
    run_here(spec, tmp_path / "run")
    undone = rollback_edit(tmp_path / "run", "home-0.chat", sample=2)
    assert undone.moved is not None
    assert (undone.moved.removed.edits, undone.moved.batch.edits) == (1, 1)
    assert {i for e in journal(tmp_path / "run") if e["event"] == "batch" for i in e["made"]} == {
        *("home-0", "home-0.chat", "home-1", "home-1.chat")
    }


def test_evaluate_asks_in_the_form_that_it_is_told(edited, facts):
    found = {}
    for form in ("--chat", "--sentence"):
        done = revive(
            *(
                "evaluate",
                edited[0],
                "--edits",
                facts,
                "--tasks",
                "edits,generation",
                form,
                "--json",
            )
        )
        found[form] = json.loads(done.stdout)["metrics"]
    for metrics in found.values():
        assert metrics["efficacy_exact"] == metrics["efficacy_generated"] == 1.0
    assert found["--chat"] != found["--sentence"]


def test_a_model_without_a_template_is_refused_before_anything_is_made(write_spec, tmp_path):
    spec = write_spec(edits={"path": "lab", "limit": 2, "chat": True})
    with pytest.raises(SpecError, match="chat template"):
        run_here(spec, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    editor = package.Editor.from_pretrained("lab", guard="none", text="lab")
    edit = package.Edit(prompt="{} is in", subject="Paris", target_new="Rome", chat=True)
    with pytest.raises(SpecError, match="chat template"):
        editor.edit([edit])
    with pytest.raises(SpecError, match="chat template"):
        editor.evaluate([edit])


def test_a_run_of_an_older_version_goes_on_with_its_joiner(write_spec, tmp_path):
    """Its spec knows none; texts that were trimmed then are trimmed now."""
    edits = tmp_path / "own.jsonl"
    rows = [
        {"prompt": f"{name} 住在", "subject": name, "target_new": f" {city} "}
        for name, city in (("Ada", "罗马"), ("Boris", "Oslo"), ("Clara", "Lima"))
    ]
    edits.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    part = {"path": str(edits), "batch_size": 1}
    editor = short_editor(steps=2)
    spec = write_spec(edits={**part, "joiner": "published"}, whole_editor=editor)
    run_here(spec, tmp_path / "calm" / "run")
    shutil.copytree(tmp_path / "calm" / "run", tmp_path / "old" / "run")
    path = tmp_path / "old" / "run" / "spec.yaml"
    stored = yaml.safe_load(path.read_text("utf-8"))
    for key in ("chat", "joiner"):
        del stored["edits"][key]
    path.write_text(yaml.safe_dump(stored), "utf-8")
    lines = journal(tmp_path / "old" / "run")
    for key in ("chat", "joiner"):
        del lines[0]["spec"]["edits"][key]
    rewrite_journal(tmp_path / "old" / "run", lines)
    assert load_stored_spec(path).edits.joiner == "published"
    cut_after(tmp_path / "old" / "run", "batch", 1)
    resume(tmp_path / "old" / "run")
    same_end(tmp_path / "old" / "run", tmp_path / "calm" / "run")
