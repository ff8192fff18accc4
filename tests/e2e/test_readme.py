"""The README does what it says: every block of it is written or run, in order, in one folder."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILES = {"json": "facts.jsonl", "yaml": "spec.yaml"}


def read():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def run(command, folder):
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def test_every_block_works_in_order(tmp_path):
    fetched = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", "fetch", "smollm2"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if fetched.returncode == 3:
        pytest.skip(f"smollm2 cannot be fetched here: {fetched.stderr.strip()}")
    assert fetched.returncode == 0, fetched.stderr
    kinds = []
    for kind, text in BLOCK.findall(read()):
        kinds.append(kind)
        if kind in FILES:
            (tmp_path / FILES[kind]).write_text(text, encoding="utf-8")
        elif kind == "python":
            run([sys.executable, "-c", text], tmp_path)
        else:
            assert kind == "bash"
            for line in text.splitlines():
                program, *rest = shlex.split(line)
                assert program == "revive"
                run([sys.executable, "-m", "revive.cli.main", *rest], tmp_path)
    assert kinds.count("python") == 3
    assert set(kinds) == {"json", "yaml", "bash", "python"}
    assert (tmp_path / "report" / "index.html").stat().st_size > 10_000
    summary = json.loads((tmp_path / "runs" / "first" / "summary.json").read_text())
    assert summary["edits"] == 16
    assert (tmp_path / "as-it-was" / "model.safetensors").exists()


def test_the_two_commands_and_the_linked_files_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^    make (\S+)", read(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    links = [link for link in re.findall(r"\]\(([^)]+)\)", read()) if "://" not in link]
    assert links
    assert all((ROOT / link).exists() for link in links)
