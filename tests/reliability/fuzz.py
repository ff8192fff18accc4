"""`make fuzz`: every parser on files that were valid before they were made wrong.

A parser takes a file, or refuses it with one line and a documented exit code (2, 3 or 4). A crash,
a message that is none, a refusal that quotes pages, and a file that takes long are findings.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from reliability.bed import Bed
from reliability.parsers import Parser, parsers
from revive import registry
from revive.cli.complaints import account

DOCUMENTED = (2, 3, 4)
LONGEST = 2_000  # characters of a message
SLOWEST = 15.0  # seconds of one reading, on the processor


@dataclass
class Fuzz:
    """What became of the cases.

    Attributes:
        counts: Of cases by parser and end.
        wrong: Findings, the first of each kind.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    wrong: dict[str, str] = field(default_factory=dict[str, str])

    def cases(self, parser: str = "") -> int:
        """How many there were, of one parser or of all."""
        return sum(n for (name, _), n in self.counts.items() if parser in ("", name))

    def take(self, parser: Parser, files: dict[str, bytes], place: Path, keep: Path | None) -> None:
        """Have a parser read a case."""
        ends = list(self._ends(parser, files, place))
        kinds = [kind for kind, _ in ends]
        worst = next((kind for kind in ("WRONG", "refused") if kind in kinds), "taken")
        self.counts[parser.name, worst] += 1
        for kind, detail in ends:
            sort = detail.partition(": unexpected")[0]
            if kind == "WRONG" and sort not in self.wrong:
                shown = ", ".join(f"{name}: {content[:99]!r}" for name, content in files.items())
                self.wrong[sort] = f"{detail}\n    {shown[:400]}"
                if keep is not None:
                    where = keep / f"{parser.name}-{len(self.wrong)}"
                    for name, content in files.items():
                        (where / name).parent.mkdir(parents=True, exist_ok=True)
                        (where / name).write_bytes(content)

    def _ends(
        self, parser: Parser, files: dict[str, bytes], place: Path
    ) -> Iterable[tuple[str, str]]:
        """How every reading of a case ended, and what is wrong with it."""
        for number, read in enumerate(parser.readings):
            folder = parser.laid_out(place, files)
            began = time.process_time()
            kind, detail = judged(parser, number, read, folder)
            took = time.process_time() - began
            if kind != "WRONG" and took > SLOWEST:
                kind, detail = "WRONG", f"{parser.name}: reading {number + 1} takes {took:.0f} s"
            yield kind, detail


def judged(parser: Parser, number: int, read: object, folder: Path) -> tuple[str, str]:
    """How one reading ends."""
    where = f"{parser.name}: reading {number + 1}"
    try:
        read(folder)  # pyright: ignore[reportCallIssue]
    except Exception as error:
        code, message = account(error)
        line = " ".join(message.split())
        if code not in DOCUMENTED:
            at = traceback.extract_tb(error.__traceback__)
            ours = [f for f in at if "revive" in f.filename] or list(at)
            place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
            return "WRONG", f"{where}: {type(error).__name__} at {place}: {line[:160]}"
        if not line:
            return "WRONG", f"{where}: {type(error).__name__} without a message"
        if len(line) > LONGEST:
            return "WRONG", f"{where}: {len(line):,} characters of message: {line[:80]}"
        return "refused", line
    return "taken", ""


def sweep(
    bed: Bed, cases: int, first: int = 0, only: Sequence[str] = (), keep: Path | None = None
) -> Fuzz:
    """So many cases of every parser."""
    found = Fuzz()
    with in_peace():
        for parser in parsers(bed, only):
            place = bed.root / "case"
            for number, read in enumerate(parser.readings):
                # Where whole files are refused, wrong ones show nothing.
                end = judged(parser, number, read, parser.laid_out(place, parser.whole))
                assert end[0] == ("refused" if parser.refused else "taken"), (parser.name, end)
            _all_of(found, parser, cases, first, place, keep)
    return found


@contextmanager
def in_peace() -> Iterator[None]:
    """Ask once what is installed, which takes longer than most files; hear no warnings."""
    asked = registry.entry_points
    logging.disable(logging.WARNING)
    registry.entry_points = cache(asked)
    try:
        yield
    finally:
        registry.entry_points = asked
        logging.disable(logging.NOTSET)


def _all_of(
    found: Fuzz, parser: Parser, cases: int, first: int, place: Path, keep: Path | None
) -> None:
    @seed(first)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
    )
    @given(files=parser.cases)
    def one(files: dict[str, bytes]) -> None:
        found.take(parser, files, place, keep)

    one()
    shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="Of every parser.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="Names of parsers.")
    parser.add_argument("--keep", type=Path, help="Folder for the cases that fail.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revive-fuzz-") as root:
        found = sweep(Bed(Path(root)), options.cases, options.seed, options.only, options.keep)
    for line in found.wrong.values():
        print(line)
    for name in dict.fromkeys(name for name, _ in found.counts):
        ends = ", ".join(
            f"{n:,} {end}" for (parsed, end), n in sorted(found.counts.items()) if parsed == name
        )
        print(f"{found.cases(name):7,} {name}: {ends}")
    wrong = sum(n for (_, end), n in found.counts.items() if end == "WRONG")
    print(f"{found.cases():,} cases, seed {options.seed}: {wrong:,} wrong.")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
