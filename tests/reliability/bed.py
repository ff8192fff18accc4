"""Short runs of a tiny model, and the command on them in this process or in a forked one."""

import io
import logging
import os
import shutil
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from tiny import byte_tokenizer, tiny_model

from e2e.e2e_runs import short_editor, write_spec_in
from revive.cli import main as command
from revive.options.editors import OPTIONS
from revive.runs.rebuild import finish_model

EDITORS = {"memit-seq": {}, "alphaedit": {}, "ft": {"lr": 1e-3}}
"""The first two keep state between batches."""
SITES = tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1))
SHARED = {"steps": 2, "l2": 10.0, "threshold": 0.3}
SPEC = {"probes": [{"name": "edits", "every": 2}], "checkpoint": {"every": 2}}


@dataclass(frozen=True)
class Ran:
    """What one call of the command did."""

    code: int
    out: str
    err: str


class Bed:
    """A tiny model and specs of runs of it, below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        os.environ.update(
            XDG_CACHE_HOME=str(root / "cache"),
            MPLCONFIGDIR=str(root / "fonts"),
            HF_HUB_OFFLINE="1",
            OMP_NUM_THREADS="1",
        )
        torch.set_num_threads(1)
        self.model = root / "model"
        tiny_model("llama", dtype=torch.float32).save_pretrained(self.model)
        byte_tokenizer(bos=True).save_pretrained(self.model)
        self.corpus = root / "corpus.txt"
        self.corpus.write_text("The ship left the harbour at dawn.\nIt was cold.\n" * 5, "utf-8")

    def spec(self, editor: str, *, name: str | None = None, edits: object = 6, **parts) -> Path:
        """A spec of a run of so many edits, two a batch."""
        known = {"name", *OPTIONS[editor].model_fields}
        own = {**short_editor(), **SHARED, "name": editor, **EDITORS.get(editor, {})}
        folder = self.root / (name or editor)
        folder.mkdir()
        whole = {k: v for k, v in own.items() if k in known}
        return write_spec_in(
            folder, self.model, self.corpus, edits=edits, whole_editor=whole, **{**SPEC, **parts}
        )


def call(*argv: object) -> Ran:
    """The command in this process."""
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["revive", *map(str, argv)]
    # A new process has no handlers yet.
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    code = 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            command.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        err.write(traceback.format_exc())
        code = 1
    finally:
        sys.argv, root.handlers = before, handlers
    return Ran(code, out.getvalue(), err.getvalue())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


def weights(folder: Path, to: int | None = None) -> dict[str, torch.Tensor]:
    """The edited weights of a run, rebuilt from its folder."""
    with redirect_stderr(io.StringIO()):
        model = finish_model(folder, to).model
    return {k: model.get_parameter(k).detach().clone() for k in SITES}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Same names, same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def copied(folder: Path, to: Path) -> Path:
    """A fresh copy."""
    shutil.rmtree(to, ignore_errors=True)
    return shutil.copytree(folder, to, symlinks=True)
