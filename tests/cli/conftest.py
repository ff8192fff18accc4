"""A tiny Llama folder, an edit file and a spec; the command in this process or in a real one."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from calling import Ran, arguments, cache, edit, environment, write_edits
from tiny import byte_tokenizer, tiny_model

from revive.cli import main as command


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, three blocks, 256 positions."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def fonts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where matplotlib lists the fonts, which takes it a second."""
    return tmp_path_factory.mktemp("fonts")


@pytest.fixture
def revive(
    tmp_path: Path,
    fonts: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """Run the command in this process, in an empty working folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache(tmp_path)))
    monkeypatch.setenv("MPLCONFIGDIR", str(fonts))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def call(*args: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["revive", *map(str, args)])
        # A new process has no handlers yet; pytest's would swallow what a user sees.
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            command.main()
        written = capfd.readouterr()
        return Ran(int(stopped.value.code or 0), written.out, written.err)

    return call


@pytest.fixture
def process(tmp_path: Path):
    """Run the command in a process of its own."""

    def call(*args: object, **options: object) -> Ran:
        done = subprocess.run(
            arguments(*args),
            env=environment(tmp_path),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            **options,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    """Six edits."""
    return write_edits(tmp_path / "edits.jsonl", *(edit(n) for n in range(6)))


@pytest.fixture
def spec(tmp_path: Path, model: Path, edits: Path):
    """Write a spec of a run of three batches; keywords replace parts of it."""
    text = tmp_path / "corpus.txt"
    text.write_text("The ship left the harbour at dawn.\nNobody saw it come back.\n" * 8, "utf-8")

    def write(name: str = "spec.yaml", **parts: object) -> Path:
        editor = {
            **{"name": "memit-seq", "layers": [0, 1], "ridge": 10.0, "steps": 3, "lr": 0.1},
            **{"weight_decay": 0.0, "kl_factor": 0.0, "clamp": 4.0, "contexts": 1},
            "context_length": 3,
        }
        whole = {
            "model": {"name": str(model), "device": "cpu"},
            "edits": {"path": str(edits), "batch_size": 2},
            "editor": {**editor, **parts.pop("editor", {})},
            "guard": {"name": "revive"},
            "probes": [{"name": "edits", "sample": 6}],
            "checkpoint": {"every": 2},
            "moments": {"text": [str(text)]},
            "threads": 1,
            **parts,
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(whole), "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def short_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models that take 64 tokens: GPT-2 has no place for more, Llama would go on."""
    found: dict[str, Path] = {}
    for name, limit in (("gpt2", "n_positions"), ("llama", "max_position_embeddings")):
        folder = tmp_path_factory.mktemp("short") / name
        config = tiny_model(name).config
        setattr(config, limit, 64)
        torch.manual_seed(0)
        type(tiny_model(name))(config).save_pretrained(folder)
        byte_tokenizer(bos=True).save_pretrained(folder)
        found[name] = folder
    return found
