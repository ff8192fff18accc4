"""What leads the collapse, and how well an alarm foresees it, over many runs on the lab stream.

    python recipes/drift.py              # run what is missing, then print
    python recipes/drift.py --tables     # only print what is there

Each run edits the lab model 192 times in batches of 16; the spectrum is measured after every batch,
edits and general ability after every other one. Of a finished run the summary is kept, in
docs/results/drift, and a run with a summary is not repeated (about 2 minutes a run where a core is
idle).

The arms differ in lambda, so that general ability is lost at different times and weights grow at
different speeds, and in editor and guard; seeds change the facts, their objects and their order.
"""

import argparse
from pathlib import Path

from revive.studies.drift_study.drift_runs import drift_variants
from revive.studies.drift_study.study import drift_study
from revive.studies.drift_study.traces import compact
from revive.sweeps.variants import run_variants

EDITS = 192


def main() -> None:
    """Run what is missing, keep the summaries, then print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/drift"))
    parser.add_argument("--runs", type=Path, default=Path("runs/drift"), help="where runs are made")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time [one per core]")
    parser.add_argument("--tables", action="store_true", help="only print the tables")
    options = parser.parse_args()
    wanted = [arm for seed in options.seeds for arm in drift_variants(EDITS, seed)]
    if not options.tables:
        missing = [arm for arm in wanted if not (options.out / arm.name / "summary.json").exists()]
        run_variants(missing, options.runs, jobs=options.jobs)
        for arm in missing:
            keep(options.runs / arm.name, options.out / arm.name)
    kept = [options.out / arm.name for arm in wanted]
    study = drift_study([folder for folder in kept if (folder / "summary.json").exists()])
    print(f"{len(study.traces)} of {len(wanted)} runs.\n")
    for table in study.tables():
        print(table.markdown())


def keep(run: Path, out: Path) -> None:
    """Keep of a finished run what the study reads."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "summary.json").write_text(compact(run / "summary.json"), encoding="utf-8")


if __name__ == "__main__":
    main()
