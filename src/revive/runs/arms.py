"""Arms: several runs over one stream, each in a process of its own, watched through their journals.

One process per arm keeps them apart and uses the cores better than threads do on small models.
The run folder is the truth: an arm that is finished is kept, one that was interrupted resumes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from revive.errors import ReviveError
from revive.runs.journal import JournalReader
from revive.runs.yaml_text import format_yaml

Report = Callable[[str, int, dict[str, float], str], None]
"""Called with an arm's label, edits done, its latest metrics, and what it is doing."""

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Arm:
    """One run of a comparison.

    Attributes:
        name: Its folder.
        label: Its name in the report.
        spec: Its spec, as plain data.
    """

    name: str
    label: str
    spec: dict[str, Any] = field(default_factory=dict[str, Any])


class ArmFailed(ReviveError):
    """An arm ended with an error; its own message and exit code are kept."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_arms(
    arms: Sequence[Arm],
    out: Path,
    *,
    jobs: int | None = None,
    report: Report | None = None,
    keep_going: bool = False,
    lead: bool = False,
) -> dict[str, str]:
    """Run every arm to its end, at most `jobs` at a time.

    Args:
        arms: What to run.
        out: Their folders are made below this one.
        jobs: Processes at a time; default one per core.
        report: Told about progress.
        keep_going: Whether the others go on when one fails.
        lead: Whether the others wait until the first has measured the unedited model. What arms
            share, moments and that measurement, is then computed once and kept, not by all at once.

    Returns:
        Reason by name, of those that failed.

    Raises:
        ArmFailed: An arm failed; the others were stopped, and all of them can resume.
    """
    failures: dict[str, str] = {}
    out.mkdir(parents=True, exist_ok=True)
    waiting = [arm for arm in arms if not (out / arm.name / "summary.json").exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    followers: dict[str, _Follower] = {}
    limit = jobs or os.cpu_count() or 1
    first = _Lead(waiting[0].name, out) if lead and waiting else None
    try:
        while waiting or running:
            if first is not None and running and (first.done() or first.name not in running):
                first = None
            while waiting and len(running) < (limit if first is None else 1):
                arm = waiting.pop(0)
                running[arm.name] = _launch(arm, out)
            time.sleep(_POLL_SECONDS)
            for arm in arms:
                if report is not None and arm.name in running:
                    followers.setdefault(arm.name, _Follower(arm, out, report)).tell()
                process = running.get(arm.name)
                if process is None or process.poll() is None:
                    continue
                del running[arm.name]
                if process.returncode != 0:
                    failure = _failure(arm, out, process.returncode)
                    if not keep_going:
                        raise failure
                    failures[arm.name] = str(failure)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return failures


def _launch(arm: Arm, out: Path) -> "subprocess.Popen[bytes]":
    folder = out / arm.name
    if (folder / "journal.jsonl").exists():
        command = ["resume", str(folder)]
    else:
        spec = out / f"{arm.name}.yaml"
        spec.write_text(format_yaml({**arm.spec, "label": arm.label}), encoding="utf-8")
        command = ["run", str(spec), "--out", str(folder)]
    threads = str(arm.spec.get("threads", 1))
    # The math libraries size their pools at import: too many of them fight for the cores.
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with (out / f"{arm.name}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "revive.cli.main", *command, "--quiet"],
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=environment,
            start_new_session=True,
        )


class _Lead:
    """The arm that goes ahead until it has measured the unedited model."""

    def __init__(self, name: str, out: Path) -> None:
        self.name = name
        self._journal = JournalReader(out / name / "journal.jsonl")

    def done(self) -> bool:
        """Whether it has measured, told by what is new in its journal."""
        return any(event["event"] == "measure" for event in self._journal.new())


class _Follower:
    """What is known of an arm; its journal is read once, however often one looks."""

    def __init__(self, arm: Arm, out: Path, report: Report) -> None:
        self._arm, self._report = arm, report
        self._journal = JournalReader(out / arm.name / "journal.jsonl")
        self._edits: dict[int, int] = {}
        self._metrics: dict[str, float] = {}
        self._begun = False

    def tell(self) -> None:
        """Report what is new, and what is known."""
        for event in self._journal.new():
            self._begun = True
            if event["event"] == "batch":
                self._edits[event["step"]] = len(event["edits"])
            elif event["event"] == "measure" and event["edits"]:
                self._metrics.update(event["metrics"])
            elif event["event"] == "rollback":
                # Of batches that were undone before this process looked.
                kept = {k: n for k, n in self._edits.items() if k <= event["step"]}
                self._edits = kept
        edits = sum(self._edits.values())
        phase = ("editing" if edits else "preparing") if self._begun else "loading"
        self._report(self._arm.label, edits, dict(self._metrics), phase)


def _failure(arm: Arm, out: Path, code: int) -> ArmFailed:
    log = out / f"{arm.name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = lines[-1].removeprefix("revive: ") if lines else f"exit code {code}"
    return ArmFailed(f"arm {arm.label}: {reason} (log: {log})", code if code > 0 else 1)
