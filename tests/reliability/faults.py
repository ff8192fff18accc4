"""`make faults`: a command that fails at any point of its input and output, and what comes after.

Every fault is made in a process of its own, forked from one that has everything imported. After it
what was committed must be there, and calling the command that continues must end, to the bit, as if
nothing had happened; or it refuses with the reason, and nothing committed is lost.
"""

import argparse
import errno
import io
import mmap
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from reliability.bed import EDITORS, Bed, Ran, call, contents, copied, same, weights
from reliability.injector import KINDS, Fault, Injector, told
from revive.cli import main as command
from revive.run_folder.journal import Journal

_CODES = {0, 3, 130, 137, -signal.SIGKILL, -signal.SIGTERM}
_CLOCK = ("journal.jsonl", "journal.head", "summary.json", "env.json", "journal.damaged.jsonl")


@dataclass(frozen=True)
class Job:
    """A command, the folder it begins with, and what must hold in the end.

    Attributes:
        name: For people.
        argv: Of the call, given the folder of the case.
        before: Copied to the case first; None for an empty one.
        again: The call that continues, given the folder of the case.
        right: What must be there in the end, by whatever way.
        end: What is there.
        ends: Other ends that are right where the fault left nothing to be continued.
    """

    name: str
    argv: Callable[[Path], tuple[object, ...]]
    before: Path | None
    again: Callable[[Path], tuple[object, ...]]
    end: Callable[[Path], object]


def run_end(case: Path) -> object:
    """Everything in a run folder that the clock does not decide."""
    run = case / "run"
    found = {k: v for k, v in contents(run).items() if Path(k).name not in _CLOCK}
    events = Journal.read(run / "journal.jsonl")
    assert events[-1]["event"] == "finish", "not finished"
    batches = {e["step"]: e for e in events if e["event"] == "batch"}
    kept = ("edits", "made", "failed", "sites", "update")
    return found, [{k: repr(b[k]) for k in kept} for _, b in sorted(batches.items())]


def output_end(case: Path) -> object:
    """Every file of what was written, and nothing beside it."""
    beside = sorted(p.name for p in case.iterdir() if p.name not in ("run", "out"))
    found = contents(case / "out")
    return {k: v for k, v in found.items() if k != "index.html"}, beside


def both_ends(case: Path) -> object:
    return run_end(case), output_end(case)


def weights_end(case: Path) -> object:
    return {k: v.numpy().tobytes() for k, v in weights(case / "run").items()}


def jobs(bed: Bed, editor: str) -> Iterator[Job]:
    """Every command that writes, or that reads a run folder to write elsewhere."""
    spec = bed.spec(editor)
    home = bed.root / editor

    def made(name: str, *argvs: tuple[object, ...], before: Path | None = None) -> Path:
        place = home / name
        if before is not None:
            copied(before, place)
        for argv in argvs:
            ran = call(*argv)
            assert ran.code == 0, ran.err
        return place

    calm = made("calm", ("run", spec, "--out", home / "calm" / "run", "--quiet"))
    stages = [weights(calm / "run", step) for step in range(4)]
    assert not any(same(a, b) for a, b in pairwise(stages)), "every batch must change weights"
    back = made("back", ("rollback", home / "back" / "run", "--to", 1), before=calm)
    options = [f"editor.{k}={v}" for k, v in _editor_of(spec).items() if k != "name"]
    sets = [part for option in options for part in ("--set", option)]

    def edit(case: Path) -> tuple[object, ...]:
        return (
            *("edit", bed.model, home / "edits.jsonl", "--out", case / "out"),
            *("--run", case / "run", "--editor", editor, "--text", bed.corpus, "--quiet"),
            *("--set", "edits.batch_size=2", *sets),
        )

    def resume(case: Path) -> tuple[object, ...]:
        return ("resume", case / "run", "--quiet")

    def run(case: Path) -> tuple[object, ...]:
        return ("run", spec, "--out", case / "run", "--quiet")

    def begin_or_resume(case: Path) -> tuple[object, ...]:
        return resume(case) if (case / "run" / "spec.yaml").exists() else run(case)

    yield Job("run", run, None, begin_or_resume, run_end)
    yield Job("resume", resume, back, resume, run_end)
    yield Job("edit", edit, None, edit, both_ends)
    yield Job("rollback --to", _to(0), calm, resume, run_end)
    if editor != "ft":  # its updates are no sums of one part per edit
        yield Job("rollback --edit", _edit_out, calm, _edit_out, weights_end)
    for form in ("hf", "delta", "lora"):
        argv = _export(form)
        yield Job(f"export {form}", argv, calm, argv, output_end)
    yield Job("report", _report, calm, _report, output_end)


def _editor_of(spec: Path) -> dict[str, object]:
    import yaml

    return yaml.safe_load(spec.read_text("utf-8"))["editor"]


def _to(step: int) -> Callable[[Path], tuple[object, ...]]:
    return lambda case: ("rollback", case / "run", "--to", step)


def _edit_out(case: Path) -> tuple[object, ...]:
    return ("rollback", case / "run", "--edit", "home-2", "--no-measure")


def _export(form: str) -> Callable[[Path], tuple[object, ...]]:
    return lambda case: ("export", case / "run", case / "out", "--format", form, "--quiet")


def _report(case: Path) -> tuple[object, ...]:
    return ("report", case / "run", "--out", case / "out")


class Faults:
    """Makes faults and counts what became of them."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.case = bed.root / "case"
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.refusals: Counter[str] = Counter()
        self._ends: dict[str, object] = {}

    def prepare(self, job: Job) -> None:
        shutil.rmtree(self.case, ignore_errors=True)
        shutil.rmtree(f"{self.case}.after", ignore_errors=True)
        self.case.mkdir()
        if job.before is not None:
            copied(job.before, self.case)

    def points(self, job: Job, editor: str) -> int:
        """How many points a job has; keeps what it ends with."""
        self.prepare(job)
        code, points, _, err = self.forked(job, None)
        assert code == 0, f"{editor}, {job.name}: {err}"
        if job.name == "rollback --to":
            assert call(*job.again(self.case)).code == 0
        self._ends[editor + job.name] = job.end(self.case)
        return points

    def forked(self, job: Job, fault: Fault | None) -> tuple[int, int, int, str]:
        """Exit code, points, bytes of journal that were flushed, and what was said."""
        shared = mmap.mmap(-1, 64)
        errors = self.bed.root / "stderr"
        child = os.fork()
        if child == 0:
            self._child(job, fault, shared, errors)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        points, journal = told(shared)
        return code, points, journal, errors.read_text("utf-8", "replace")

    def _child(self, job: Job, fault: Fault | None, shared: mmap.mmap, errors: Path) -> None:
        """Never returns."""
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            with errors.open("w") as err, redirect_stderr(err), redirect_stdout(io.StringIO()):
                import logging

                logging.getLogger().handlers = []
                sys.argv = ["revive", *map(str, job.argv(self.case))]
                Injector(self.case, fault, shared).install()
                try:
                    command.main()
                except SystemExit as stop:
                    code = stop.code if isinstance(stop.code, int) else 0
        finally:
            os._exit(code)

    def one(self, editor: str, job: Job, fault: Fault) -> None:
        """One fault, and what comes after it."""
        self.prepare(job)
        old = self.case / "run" / "journal.jsonl"
        lines = old.read_bytes() if old.exists() else b""
        code, points, journal, err = self.forked(job, fault)
        after = Path(f"{self.case}.after")
        if after.exists():
            shutil.rmtree(self.case)
            after.rename(self.case)
        if points <= fault.point:
            self.counts["not reached"] += 1
            return
        self.kinds[fault.kind] += 1
        what = self._judged(editor, job, fault, code, err, max(journal, len(lines)))
        self.counts[what.partition(":")[0]] += 1
        if what.startswith("WRONG"):
            told = f"{editor}, {job.name}, {fault.kind} at {fault.point}: {what}"
            self.wrong.append(told)

    def _judged(
        self, editor: str, job: Job, fault: Fault, code: int, err: str, journal: int
    ) -> str:
        told = code in _CODES or (code == 2 and os.strerror(errno.EIO) in err)
        if not told or "Traceback" in err or "mistake of revive" in err:
            return f"WRONG: exit {code}: {err[-400:]}"
        path = self.case / "run" / "journal.jsonl"
        if journal > (path.stat().st_size if path.exists() else 0):
            return "WRONG: a line that was flushed is gone"
        again = self._continued(job)
        if again is not None and again.code:
            if again.code in (2, 3) and "Traceback" not in again.err:
                self.refusals[again.err.strip()[-200:]] += 1
                return f"WRONG: refused afterwards: {again.err.strip()[-300:]}"
            return f"WRONG: exit {again.code} afterwards: {again.err.strip()[-400:]}"
        try:
            end = job.end(self.case)
        except Exception as error:
            return f"WRONG: no end: {error!r}"
        if end != self._ends[editor + job.name]:
            return f"WRONG: another end: {differing(end, self._ends[editor + job.name])}"
        return "continued to the same end" if again is not None else "already at the same end"

    def _continued(self, job: Job) -> Ran | None:
        """Call what continues; None where the fault came after the end."""
        out = self.case / "out"
        whole = out.exists() and any(out.iterdir())
        if job.name.startswith("export") and whole:
            return None
        if job.name == "edit" and whole:
            return None
        if job.name == "rollback --edit":
            last = Journal.read(self.case / "run" / "journal.jsonl")[-1]
            if last["event"] == "rollback":
                return None
        return call(*job.again(self.case))


def differing(a: object, b: object) -> str:
    """Where two ends differ, shortly."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return "; ".join(filter(None, (differing(x, y) for x, y in zip(a, b, strict=True))))
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [k for k in {*a, *b} if a.get(k) != b.get(k)]
        return f"{sorted(map(str, keys))[:6]}" if keys else ""
    return "" if a == b else f"{str(a)[:200]} and {str(b)[:200]}"


def sweep(bed: Bed, faults: int, seed: int = 0) -> Faults:
    """So many faults, spread over editors, commands, kinds and points."""
    found, rng = Faults(bed), random.Random(seed)
    plan: list[tuple[str, Job, int]] = []
    for editor in EDITORS:
        for job in jobs(bed, editor):
            plan.append((editor, job, found.points(job, editor)))
    done = 0
    while done < faults:
        editor, job, points = plan[done % len(plan)]
        kind = KINDS[(done // len(plan) + done) % len(KINDS)]
        found.one(editor, job, Fault(kind, rng.randrange(points), rng.randrange(1 << 30)))
        done += 1
    found.counts["points"] = 0
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=2200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revive-faults-") as root:
        found = sweep(Bed(Path(root)), options.faults, options.seed)
    for line in found.wrong[:60]:
        print(line)
    for kind in KINDS:
        print(f"{found.kinds[kind]:6,} {kind}")
    told = ", ".join(f"{n:,} {what}" for what, n in sorted(found.counts.items()) if n)
    print(f"{sum(found.kinds.values()):,} faults: {told}.")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
