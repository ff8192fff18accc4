"""What came of `stream.yaml` and `stream-hold.yaml`: edit success beside ability, by arm and edits.

    revive sweep recipes/stream.yaml --out runs/stream --jobs 1
    revive sweep recipes/stream-hold.yaml --out runs/stream-hold
    python recipes/stream.py --runs runs/stream runs/stream-hold
    python recipes/stream.py              # print what is kept

Of every finished run its summary is kept in docs/results/stream.

The summary, fixed before the first run: the mean of what is kept of four things, 1 for a model as
good as the unedited one. LAMBADA: accuracy over the unedited model's. BLiMP and ARC-Easy: accuracy
above chance (1/2, 1/4) over the unedited model's. WikiText-2: the unedited model's perplexity over
the edited one's.
"""

import argparse
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from revive.studies.table import StudyTable

KEPT = Path(__file__).parent.parent / "docs/results/stream"
CHANCE = {"lambada_accuracy": 0.0, "blimp_accuracy": 0.5, "arc_easy_accuracy": 0.25}
PERPLEXITY = ("perplexity_test", "perplexity_wikitext")
HEADER = (
    *("arm", "edits", "exact", "paraphrase", "neighbourhood"),
    *("LAMBADA acc / ppl", "BLiMP", "ARC-Easy", "WikiText ppl", "ability kept", "norm x"),
)


def ability(unedited: Mapping[str, float], row: Mapping[str, float]) -> float:
    """The summary of a measurement beside the unedited model's."""
    parts = [(row[name] - low) / (unedited[name] - low) for name, low in CHANCE.items()]
    parts.append(_perplexity(unedited) / _perplexity(row))
    return sum(parts) / len(parts)


def _perplexity(row: Mapping[str, float]) -> float:
    return next(row[name] for name in PERPLEXITY if name in row)


def keep(folders: Sequence[Path]) -> None:
    """Copy the summaries of finished runs."""
    for folder in folders:
        for summary in sorted(folder.glob("*/summary.json")):
            target = KEPT / folder.name / summary.parent.name / "summary.json"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(summary, target)


def rows(summary: Mapping[str, Any], arm: str) -> Iterator[tuple[str, ...]]:
    """A run's measurements of everything."""
    first = summary["unedited"]
    for row in ({"edits": 0, **first}, *summary["curve"]):
        if "lambada_accuracy" not in row:
            continue
        yield (
            arm,
            f"{row['edits']:,}",
            *(f"{row[k]:.2f}" for k in ("efficacy_exact", "paraphrase", "neighborhood")),
            f"{row['lambada_accuracy']:.3f} / {row['lambada_perplexity']:.0f}",
            f"{row['blimp_accuracy']:.3f}",
            f"{row['arc_easy_accuracy']:.3f}",
            f"{_perplexity(row):.1f}",
            f"{ability(first, row):.2f}",
            f"{row['weight_norm_ratio']:.2f}",
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="folders of the sweeps")
    keep(parser.parse_args().runs)
    found: list[tuple[str, ...]] = []
    for path in sorted(KEPT.glob("*/*/summary.json")):
        summary = json.loads(path.read_text("utf-8"))
        arm = str(summary.get("label", summary["run"])).partition(" (seed")[0]
        told = [*rows(summary, arm)]
        found += told[1:] if found else told
    note = "100 edits and 200 items of each test sampled, one seed; ability kept: see the recipe."
    print(StudyTable("CounterFact on smollm2, 100 a batch", note, HEADER, tuple(found)).markdown())


if __name__ == "__main__":
    main()
