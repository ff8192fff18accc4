"""What every command has: JSON on stdout alone, progress on stderr, silence where asked for."""

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import typer
from calling import arguments, edit, environment, events, files, write_edits
from tiny import byte_tokenizer, tiny_model

from revive.cli import main
from revive.cli.main import app

LOOK_ONLY = {"status", "check", "list", "report", "verify"}
"""They compute nothing that takes time, so there is no progress to leave out."""


def options(whole):
    """What every command of an app can be given, long names, by command."""
    commands = typer.main.get_command(whole).commands
    return {n: {o for p in c.params for o in p.opts} for n, c in commands.items()}


def test_every_command_prints_json_and_can_be_quiet():
    found = options(app)
    assert len(found) >= 16
    assert {name for name, given in found.items() if "--json" not in given} == set()
    assert {name for name, given in found.items() if "--quiet" not in given} == LOOK_ONLY


def test_the_walk_sees_a_command_without_them():
    """Negative control of the test above."""
    other = typer.Typer()
    other.command("bare")(lambda: None)
    other.command("full")(app.registered_commands[0].callback)
    found = options(other)
    assert not {"--json", "--quiet"} & found["bare"]
    assert {"--json", "--quiet"} <= found["full"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, model):
    """A run of two edits, and what it was made of."""
    folder = tmp_path_factory.mktemp("finished")
    write_edits(folder / "edits.jsonl", edit(0), edit(1))
    (folder / "corpus.txt").write_text("The ship left the harbour at dawn.\n" * 8, "utf-8")
    whole = {
        "model": {"name": str(model), "device": "cpu"},
        "edits": {"path": "edits.jsonl", "batch_size": 2},
        "editor": {"name": "memit-seq", "layers": [0], "ridge": 10.0, "steps": 2, "contexts": 0},
        "probes": [{"name": "edits"}],
        "moments": {"text": ["corpus.txt"]},
        "threads": 1,
    }
    (folder / "spec.yaml").write_text(json.dumps(whole), "utf-8")
    return folder


def test_json_is_all_of_stdout_and_quiet_means_no_progress(
    revive, finished, model, tmp_path, monkeypatch
):
    monkeypatch.chdir(finished)
    run = tmp_path / "run"
    fast = ("--set", "editor.layers=[0]", "--set", "editor.ridge=10", "--set", "editor.steps=2")
    text = ("--text", "corpus.txt")
    calls = {
        "run": ("run", "spec.yaml", "--out", run, "--sink", "tensorboard"),
        "resume": ("resume", run),
        "status": ("status", run),
        "check": ("check", "spec.yaml"),
        "report": ("report", run, "--out", tmp_path / "page"),
        "export": ("export", run, tmp_path / "exported"),
        "moments": ("moments", model, "--layers", "0", *text),
        "evaluate": ("evaluate", model, "--edits", "edits.jsonl", "--tasks", "edits"),
        "edit": ("edit", model, "edits.jsonl", "--out", tmp_path / "edited", *text, *fast),
        "rollback": ("rollback", run, "--edit", "home-0"),
        "list": ("list", "sinks"),
    }
    for name, call in calls.items():
        quiet = () if name in LOOK_ONLY else ("--quiet",)
        ran = revive(*call, "--json", *quiet)
        assert ran.code == 0, (name, ran.err)
        assert json.loads(ran.out), name
        for sign in ("%|", "edits/s", "measuring", " left", "Loading", "Writing"):
            assert sign not in ran.err, (name, ran.err)
    assert list((run / "tensorboard").iterdir())


def test_moments_and_batches_are_told_of_on_stderr(revive, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(finished)
    ran = revive("run", "spec.yaml", "--out", tmp_path / "run", "--json")
    assert json.loads(ran.out)["edits"] == 2
    assert "moments: 1/1" in ran.err
    assert "2/2 edits" in ran.err


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub of one model, on this machine; what it was asked for, and with which token."""
    folder = tmp_path_factory.mktemp("hub")
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    files = {p.name: p.read_bytes() for p in folder.iterdir()}
    commit = "0123456789abcdef0123456789abcdef01234567"
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            asked.append((self.path, self.headers.get("Authorization")))
            name = self.path.partition("?")[0].rpartition("/")[2]
            known = self.path.startswith("/nobody/tiny/resolve/") and name in files
            content = files[name] if known else b"{}"
            if self.path.startswith("/api/models/nobody/tiny") and "/tree/" not in self.path:
                siblings = [{"rfilename": n} for n in files]
                whole = {"id": "nobody/tiny", "sha": commit, "siblings": siblings}
                content, known = json.dumps(whole).encode(), True
            self.send_response(200 if known else 404)
            if not known:
                there = "nobody/tiny/" in self.path
                self.send_header("X-Error-Code", "EntryNotFound" if there else "RepoNotFound")
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{name}-{len(content)}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *args):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", asked
    server.shutdown()


def with_hub(tmp_path, *given, **variables):
    """The command in a process of its own: the hub's variables are read when it is imported."""
    own = {k: v for k, v in environment(tmp_path).items() if not k.startswith("HF_")}
    done = subprocess.run(
        arguments(*given),
        env={**own, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1", **variables},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_hubs_variables_hold(hub, spec, edits, tmp_path):
    address, asked = hub
    given = ("evaluate", "nobody/tiny", "--edits", edits, "--tasks", "edits", "--device", "cpu")
    done = with_hub(tmp_path, *given, HF_ENDPOINT=address, HF_TOKEN="hf_ours")
    assert "efficacy_exact" in done.stdout
    assert {token for path, token in asked if "/resolve/" in path} == {"Bearer hf_ours"}
    kept = {p.name for p in (tmp_path / "home" / "hub" / "models--nobody--tiny").rglob("*")}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= kept
    # The copy is enough: offline nothing is asked for.
    before = len(asked)
    path = spec(model={"name": "nobody/tiny"})
    with_hub(tmp_path, "check", path, HF_ENDPOINT=address, HF_HUB_OFFLINE="1")
    assert len(asked) == before


def test_offline_an_unknown_model_is_one_clear_line(revive, spec, edits, tmp_path):
    given = ("nobody/none", edits, "--out", "out", "--text", "corpus.txt")
    revive("edit", *given).refused(3, "nobody/none", "HF_HUB_OFFLINE", "hf download nobody/none")
    revive("check", spec(model={"name": "nobody/none"})).refused(3, "hf download nobody/none")
    revive("evaluate", "nobody/none", "--quiet").refused(3, "hf download nobody/none", "offline")
    assert not (tmp_path / "out").exists()


def test_what_the_hub_warns_of_is_said_once(tmp_path):
    """Its logger has a handler of its own, and ours would repeat it."""
    script = (
        "import sys, huggingface_hub.file_download, logging; from revive.cli.main import main\n"
        "sys.argv = ['revive', 'list', 'guards']\n"
        "try: main()\n"
        "finally:\n"
        "    logging.getLogger('huggingface_hub.utils').warning('the hub is slow')\n"
        "    logging.getLogger('revive').warning('so are we')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.count("the hub is slow") == 1
    assert done.stderr.count("so are we") == 1


WRITES = re.compile(r"environ(\[[^]]*\]\s*=[^=]|\.(setdefault|update|pop|clear)\b)|putenv")


def test_nothing_of_ours_sets_a_variable():
    sources = Path(main.__file__).resolve().parents[1].rglob("*.py")
    texts = {path.name: path.read_text("utf-8") for path in sources}
    assert "loading.py" in texts
    # While lm-evaluation-harness works it must not fork, and only a variable tells it so; Ray is
    # told in no other way to report to nobody. Both put back what they found.
    kept = [line for line in texts["harness.py"].splitlines() if "[_SERIAL]" not in line]
    assert WRITES.search(texts["harness.py"])
    texts["harness.py"] = "\n".join(kept)
    assert {name for name, text in texts.items() if WRITES.search(text)} == {"connection.py"}
    # Negative control: the pattern does find them.
    assert WRITES.search("os.environ['HF_HOME'] = folder")
    assert WRITES.search("os.environ.setdefault('HF_HUB_OFFLINE', '1')")


@pytest.fixture
def with_code(model, tmp_path):
    """The tiny model with code of its own, that leaves a marker where it runs."""
    folder = shutil.copytree(model, tmp_path / "with-code")
    marker = tmp_path / "marker"
    (folder / "marked.py").write_text(
        "import pathlib\n"
        f"pathlib.Path({str(marker)!r}).write_text('ran')\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class MarkedConfig(LlamaConfig):\n    model_type = 'marked'\n"
        "class MarkedForCausalLM(LlamaForCausalLM):\n    config_class = MarkedConfig\n",
        "utf-8",
    )
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["model_type"] = "marked"
    config["auto_map"] = {
        "AutoConfig": "marked.MarkedConfig",
        "AutoModelForCausalLM": "marked.MarkedForCausalLM",
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder, marker


def test_code_of_a_model_runs_only_where_a_command_allows_it(
    revive, spec, edits, with_code, tmp_path, monkeypatch
):
    folder, marker = with_code
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = spec(model={"name": str(folder), "device": "cpu"})
    told = ("code", "which was not run", "add --trust-remote-code")
    revive("run", path, "--out", "out", "--quiet").refused(2, *told)
    given = ("evaluate", folder, "--edits", edits, "--tasks", "edits", "--device", "cpu", "--quiet")
    revive(*given).refused(2, *told)
    # A spec may come from somebody else: what it says is no consent.
    asking = spec("asking.yaml", model={"name": str(folder), "trust_remote_code": True})
    for name in (asking, path):
        more = () if name is asking else ("--set", "model.trust_remote_code=true")
        revive("run", name, "--out", "out", "--quiet", *more).refused(2, *told)
        revive("calibrate", name, "--quiet", *more).refused(2, *told)
    assert not marker.exists()
    assert not (tmp_path / "out").exists()
    # Negative control: allowed, it does run.
    ran = revive(*given, "--trust-remote-code", "--json")
    assert ran.code == 0, ran.err
    assert marker.read_text("utf-8") == "ran"
    ran = revive("run", path, "--trust-remote-code", "--out", "out", "--quiet")
    assert ran.code == 0, ran.err
    assert events(tmp_path / "out")[-1] == "finish"


LOADING = {
    "resume": ("resume", "out"),
    "export": ("export", "out", "exported"),
    "delta": ("export", "out", "exported", "--format", "delta"),
    "lora": ("export", "out", "exported", "--format", "lora"),
    "rollback --out": ("rollback", "out", "--to", "1", "--out", "exported"),
    "rollback --edit": ("rollback", "out", "--edit", "home-1"),
}


def test_a_run_folder_allows_no_code_for_whoever_takes_it_over(
    revive, spec, with_code, tmp_path, monkeypatch
):
    folder, marker = with_code
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    path = spec(model={"name": str(folder), "device": "cpu"})
    ran = revive("run", path, "--trust-remote-code", "--out", "made", "--quiet")
    assert ran.code == 0, ran.err
    made = {p: b for p, b in files(tmp_path / "made").items() if p != ".lock"}
    for name, command in LOADING.items():
        for allowed in (False, True):
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
            shutil.rmtree(tmp_path / "exported", ignore_errors=True)
            shutil.copytree(tmp_path / "made", tmp_path / "out")
            if name == "resume":
                assert revive("rollback", "out", "--to", "1").code == 0
            marker.unlink(missing_ok=True)
            ran = revive(*command, "--quiet", *(("--trust-remote-code",) if allowed else ()))
            if allowed:
                assert ran.code == 0, (name, ran.err)
            else:
                ran.refused(2, "code that comes with", "add --trust-remote-code")
                assert not (tmp_path / "exported").exists()
                assert not marker.exists()
                kept = files(tmp_path / "out")
                if name != "resume":
                    assert {p: kept.get(p) for p in made} == made, name


@pytest.mark.parametrize("key", ["_attn_implementation", "_experts_implementation"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_config_fetches_no_kernels(revive, spec, model, tmp_path, key, nested):
    folder = shutil.copytree(model, tmp_path / "kernels")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    named = {key: "somebody/kernel"}
    (folder / "config.json").write_text(
        json.dumps({**config, **({"text_config": named} if nested else named)}), "utf-8"
    )
    path = spec(model={"name": str(folder), "device": "cpu"})
    ran = revive("run", path, "--out", "out", "--quiet", "--trust-remote-code")
    ran.refused(2, key, "somebody/kernel", "names code from the hub")
