"""Greedy answers of llama.cpp, the engine that runs GGUF files, to prompts."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.errors import PrerequisiteError
from revive.progress import Told

PACKAGE = "xllamacpp"
_SLOTS = 8  # prompts at a time
_ROOM = 16  # tokens: a tokenizer of llama.cpp's own may need a few more than ours
_STEP = 256  # tokens: of what llama.cpp rounds contexts to
_SHOWN = 300  # characters of what it says


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt.

    Attributes:
        prompt: Text, which llama.cpp makes tokens of, or tokens.
        length: Of the prompt, in tokens.
        tokens: How many the answer shall have.
    """

    prompt: str | tuple[int, ...]
    length: int
    tokens: int


def missing() -> str:
    """What to install, as a sentence; empty where it is at hand."""
    if importlib.util.find_spec(PACKAGE) is not None:
        return ""
    return (
        "llama.cpp is not here to ask the written file: pip install 'revive-edit[gguf]' "
        f"(package {PACKAGE}), or --no-check."
    )


def answers(
    model: Path, asked: Sequence[Asked], told: Told, *, adapter: Path | None = None
) -> list[tuple[int, ...]]:
    """The tokens that a file's model answers with; fewer than asked for where it ends.

    Args:
        model: GGUF file.
        asked: The prompts.
        told: Called with prompts answered.
        adapter: LoRA adapter in GGUF.

    Raises:
        PrerequisiteError: llama.cpp cannot run the file.
    """
    order = sorted(range(len(asked)), key=lambda i: (asked[i].tokens, asked[i].length))
    groups = [order[first : first + _SLOTS] for first in range(0, len(order), _SLOTS)]
    request = {
        "model": str(model),
        "adapter": None if adapter is None else str(adapter),
        "threads": _threads(),
        "context": _contexts(max(a.length + a.tokens for a in asked) + _ROOM),
        "groups": [
            {"prompts": [asked[i].prompt for i in g], "tokens": max(asked[i].tokens for i in g)}
            for g in groups
        ],
    }
    found: dict[int, tuple[int, ...]] = {}
    with tempfile.TemporaryFile("w+") as said:
        # Nothing that lies beside the file, or where the user is, is imported in its place.
        command = [sys.executable, "-P", str(Path(__file__).with_name("llama_worker.py"))]
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
        ) as worker:
            assert worker.stdin is not None
            assert worker.stdout is not None
            try:
                json.dump(request, worker.stdin)
                worker.stdin.close()
                for group, line in zip(groups, worker.stdout, strict=False):
                    for i, tokens in zip(group, json.loads(line), strict=True):
                        found[i] = tuple(tokens[: asked[i].tokens])
                    told(f"asking llama.cpp, {model.name}", len(found), len(asked))
            except BrokenPipeError:
                pass  # it ended early, and has said why
            finally:
                worker.terminate()
        if len(found) < len(asked):
            said.seek(0)
            raise PrerequisiteError(f"llama.cpp cannot run {model.name}: {_reason(said.read())}")
    return [found[i] for i in range(len(asked))]


def _contexts(tokens: int) -> int:
    """What llama.cpp rounds a context to."""
    return -(-tokens // _STEP) * _STEP


def _threads() -> int:
    """As many as torch would take."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdigit() and int(wanted) else len(os.sched_getaffinity(0))


def _reason(said: str) -> str:
    """The first error that llama.cpp logged, else the last line of all."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.partition(" E ")[2] for line in lines if " E " in line]
    first = [error for error in errors if "error" in error] or errors
    reason = first[0].strip() if first else (lines or ["it says nothing"])[-1]
    return reason[:_SHOWN].rstrip(".") + "."
