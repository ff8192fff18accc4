"""The examples do what they say: every spec is checked, what fits a CPU is run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from e2e_runs import journal
from nbclient import NotebookClient

from revive.cli.main import app
from revive.runs.loop import start
from revive.sources.model_config import read_model_config
from revive.spec.parsing import load_spec, resolve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SPECS = sorted(p.name for p in EXAMPLES.glob("*.yaml"))
SCRIPTS = sorted(p.name for p in EXAMPLES.glob("*.py"))
NOTEBOOK = EXAMPLES / "first-edits.ipynb"

# What `config.json` on the hub says of the models that examples name, as far as a check reads it.
CONFIGS = {
    "Qwen/Qwen2.5-7B": {
        **{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 3584},
        **{"intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064},
    },
    "meta-llama/Llama-3.1-70B": {
        **{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192},
        **{"intermediate_size": 28672, "num_hidden_layers": 80, "vocab_size": 128256},
    },
}


def call(capsys, *args):
    """The command in this process, at the repository's root as the comments say."""
    code = app(args=[str(a) for a in args], prog_name="revive", standalone_mode=False)
    assert not code
    return capsys.readouterr()


@pytest.mark.parametrize("name", SPECS)
def test_every_spec_passes_check(name, capsys, monkeypatch, tmp_path):
    """With the model's config in a folder: a hub id would be fetched."""
    monkeypatch.chdir(EXAMPLES.parent)
    model = load_spec(EXAMPLES / name).model.name
    given = []
    if model != "lab":
        (tmp_path / "config.json").write_text(json.dumps(CONFIGS[model]), "utf-8")
        given = ["--set", f"model.name={tmp_path}"]
    told = call(capsys, "check", EXAMPLES / name, *given)
    assert "ok: " in told.err
    first = (EXAMPLES / name).read_text("utf-8").splitlines()[0]
    assert first.startswith("# ")


def test_the_cpu_spec_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    # A shorter stream; second moments as the notebook takes them, so that one pass serves both.
    less = ("threads=1", "edits.limit=4", "edits.batch_size=2")
    spec = load_spec(EXAMPLES / "cpu.yaml", less)
    summary = start(resolve(spec, read_model_config("lab")), tmp_path / "run")
    assert summary["edits"] == 4
    assert summary["final"]["efficacy"] > summary["unedited"]["efficacy"]
    assert journal(tmp_path / "run")[-1]["event"] == "finish"
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def script(name):
    """The notebook does the same as one of them; that one is for the long suite."""
    return pytest.param(name, marks=[pytest.mark.slow] if name == "edit_and_export.py" else [])


@pytest.mark.parametrize("name", [script(name) for name in SCRIPTS])
def test_every_script_runs(name, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if name == "guard_your_training.py":
        for changed, inside in re.findall(
            r"changed by (\S+), protected part by (\S+)", done.stdout
        ):
            assert float(inside) < 1e-4 * float(changed)
    else:
        assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_the_notebook_runs_and_is_stored_without_outputs(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    stored = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    code = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    client = NotebookClient(stored, timeout=600, kernel_name="python3", resources={})
    client.execute(cwd=str(tmp_path), env={**os.environ, "TMPDIR": str(tmp_path)})
    said = "".join(o.get("text", "") for cell in code for o in cell.outputs if o.name == "stdout")
    assert "2 edits are left" in said
    assert "% removed" in said
    (folder,) = tmp_path.glob("tmp*/edited")
    assert (folder / "model.safetensors").exists()
    efficacy = re.search(r"^efficacy +(\S+) -> (\S+)$", said, re.MULTILINE)
    assert efficacy is not None
    before, after = map(float, efficacy.groups())
    assert after > before
