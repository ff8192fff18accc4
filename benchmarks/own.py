"""What the package does where nobody says anything, beside the literature's way.

Results are not equal here: targets are solved by another rule, with fewer contexts. What is
compared is how many edits the written model answers, and the time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks import needs
from benchmarks.machine import timed
from benchmarks.row import Row
from benchmarks.stage import ENERGY, Stage
from benchmarks.work import NOTHING
from revive.guards.revive import Revive
from revive.io.cache import cache_folder
from revive.models.forward.precision import Precision
from revive.probes.edits import score_edits

_FACTS = Path(__file__).resolve().parents[1] / "examples" / "facts.jsonl"
_FEW = 3


def answered(stage: Stage) -> str:
    """How many edits the model as it stands answers with the new target."""
    bare = [replace(e, paraphrases=(), neighborhood=()) for e in stage.edits]
    exact = score_edits(stage.loaded.model, stage.loaded.tokenizer, bare).exact
    return f"{int(exact.sum())} of {len(bare)} edits answer with the new target"


def own_rows(stage: Stage, batch: Sequence[Row]) -> list[Row]:
    """Targets and the whole batch by rule, at either precision; the weights end as W0.

    Args:
        stage: The batch.
        batch: Rows of the same batch as published, with the plain way's times.
    """
    whole = next(row for row in batch if row.part.startswith("whole batch"))
    solver = next(row for row in batch if row.part == "target solver")
    found: list[Row] = []
    precisions: tuple[Precision, ...] = ("strict", "fast")
    for precision in precisions:
        own = stage.own(precision)
        options, n, sites = own.shape.options, len(own.edits), own.sites
        engine = own.engine(Revive(energy=ENERGY))
        result, took = timed(lambda e=engine, s=own: e.apply(s.edits), own.device)
        evaluations = result.outcome.notes["target_evaluations"]
        work = needs.targets(own.cost, own.rows, sites[-1].layer, evaluations)
        rest = (
            needs.keys(own.cost, own.rows, sites),
            needs.solve(sites, n),
            needs.write(sites, n, own.loaded.model.dtype.itemsize),
        )
        told = (
            f"{options.optimizer} to a margin of {options.stop_margin}, {options.contexts} "
            f"contexts, {evaluations:.1f} evaluations a target; {answered(own)}; the plain way is "
            "that of the published settings, above"
        )
        named = f"by rule, {precision}"
        found += [
            Row(
                f"target solver, {named}",
                result.seconds["targets"],
                work,
                plain=solver.plain,
                scaled=solver.scaled,
            ),
            Row(
                f"batch of {n}, {named}",
                took,
                sum((work, *rest), NOTHING),
                plain=whole.plain,
                scaled=whole.scaled,
                note=told,
            ),
        ]
        stage.ledger.reset()
    return found


@dataclass(frozen=True)
class EndToEnd:
    """`revive edit smollm2` with few facts, from the shell to the saved folder.

    Attributes:
        facts: How many.
        first: Seconds with nothing but the model in the cache.
        later: Seconds with what the first time has kept.
    """

    facts: int
    first: float
    later: float


def end_to_end(threads: int) -> dict[str, Any]:
    """Time the command, twice."""
    with tempfile.TemporaryDirectory() as scratch, _FACTS.open(encoding="utf-8") as lines:
        folder = Path(scratch)
        own = folder / "cache" / "revive"
        own.mkdir(parents=True)
        (own / "models").symlink_to(cache_folder() / "models")
        (folder / "facts.jsonl").write_text("".join(islice(lines, _FEW)), encoding="utf-8")
        seconds = [_edited(folder, name, threads) for name in ("first", "later")]
    return asdict(EndToEnd(_FEW, *seconds))


def own_verdicts(
    rows: Sequence[Mapping[str, Any]], few: Mapping[str, Any], unjudged: str
) -> list[str]:
    """What the project wants of the real model, and whether it holds here."""
    by_part = {row["part"]: row for row in rows}

    def line(told: str, met: bool) -> str:
        word = f"not judged ({unjudged})" if unjudged else "met" if met else "missed"
        return f"{told}, {word}"

    wanted = {"strict": 8, "fast": 12}
    speeds = {
        precision: next(
            row["speedup"]
            for part, row in by_part.items()
            if part.startswith("batch of") and part.endswith(precision)
        )
        for precision in wanted
    }
    return [
        *(
            line(
                f"a batch by rule, {precision}, at least {least} times the plain way: "
                f"{speeds[precision]:.1f}",
                speeds[precision] >= least,
            )
            for precision, least in wanted.items()
        ),
        line(
            f"moments under 90 s: {by_part['moments']['seconds']:.0f} s",
            by_part["moments"]["seconds"] < 90,
        ),
        line(
            f"{few['facts']} facts end to end under 60 s: {few['first']:.0f} s, again "
            f"{few['later']:.0f} s",
            few["first"] < 60,
        ),
    ]


def _edited(folder: Path, name: str, threads: int) -> float:
    source = str(Path(__file__).resolve().parents[1] / "src")
    env = {
        **os.environ,
        "PYTHONPATH": source,
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": str(threads),
    }
    words = ("edit", "smollm2", "facts.jsonl", "--out", name, "--quiet", "--json")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["edits"] == _FEW, "every fact was edited"
    return took
