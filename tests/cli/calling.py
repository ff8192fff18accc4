"""What a call of the command did, and the files it is given."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

PEOPLE = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Farid")
CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Quito", "Delhi")


@dataclass(frozen=True)
class Ran:
    """What one call of the command did."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The only line on stderr."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, f"expected one line on stderr, got:\n{self.err}"
        return lines[0]

    def refused(self, code: int, *parts: str) -> None:
        """One clear line with all of `parts`, the documented exit code, nothing on stdout."""
        assert self.code == code, self.err
        assert "Traceback" not in self.err + self.out
        assert self.line.startswith("revive: ")
        for part in parts:
            assert part in self.line, f"{part!r} is not in: {self.line}"
        assert self.out == ""


def environment(folder: Path) -> dict[str, str]:
    """The environment of a real process: one thread, no hub, a cache of its own."""
    own = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(cache(folder))}
    return {**os.environ, **own}


def cache(folder: Path) -> Path:
    """Beside the working folder, of which tests say that nothing new is in it."""
    return folder.with_name(folder.name + "-cache")


def arguments(*args: object) -> list[str]:
    return [sys.executable, "-m", "revive.cli.main", *map(str, args)]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def updates(folder: Path) -> dict[str, bytes]:
    return files(folder / "updates")


def events(folder: Path) -> list[str]:
    lines = (folder / "journal.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line)["event"] for line in lines]


def edit(number: int, **fields: object) -> dict[str, object]:
    person = PEOPLE[number]
    return {
        "id": f"home-{number}",
        "prompt": f"{person} lives in",
        "subject": person,
        "target_new": CITIES[number],
        **fields,
    }


def write_edits(path: Path, *edits: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(e) + "\n" for e in edits), "utf-8")
    return path
