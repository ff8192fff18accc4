"""`make corrupt`: every file of a run folder damaged in every way, under every command.

Whatever was damaged, a command ends in one of two ways: it refuses, with one line and a documented
exit code, or it ends well with the weights (for `report`, the page) of the undamaged folder.
"""

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from safetensors.torch import load_file

from reliability.bed import SITES, Bed, Ran, call, copied, same, weights
from revive.errors import ReviveError

DOCUMENTED = {0, 2, 3, 4}


@dataclass(frozen=True)
class Damage:
    """One file of a run changed in one way."""

    kind: str
    file: str
    do: Callable[[Path], None]


@dataclass(frozen=True)
class State:
    """A run folder to be damaged, and what may be put into it.

    Attributes:
        name: For people.
        folder: Undamaged. Not to be changed.
        older: The same run at an earlier time.
        other: Another run of the same shape.
    """

    name: str
    folder: Path
    older: Path
    other: Path


def damages(state: State, rng: random.Random, flips: int) -> Iterator[Damage]:
    """Every damage of every file of a folder."""
    files = sorted(p for p in state.folder.rglob("*") if p.is_file() and p.name != ".lock")
    names = [str(p.relative_to(state.folder)) for p in files]
    for path, name in zip(files, names, strict=True):
        content = path.read_bytes()

        def put(new: bytes, name: str = name) -> Callable[[Path], None]:
            return lambda run: (run / name).write_bytes(new) and None

        size = len(content)
        yield Damage("cut by one byte", name, put(content[:-1]))
        yield Damage("cut", name, put(content[: rng.randrange(1, size)]))
        lines = content.splitlines(keepends=True)
        if name == "journal.jsonl":
            for keep in range(len(lines)):
                yield Damage("cut behind a line", name, put(b"".join(lines[:keep])))
            for gone in range(len(lines) - 1):
                yield Damage("a line less", name, put(b"".join(lines[:gone] + lines[gone + 1 :])))
            yield Damage("a line twice", name, put(content + lines[-1]))
        yield Damage("emptied", name, put(b""))
        yield Damage("zero-filled", name, put(bytes(size)))
        yield Damage("deleted", name, lambda run, name=name: (run / name).unlink())
        places = {0, size - 1, *(rng.randrange(size) for _ in range(flips))}
        for place in sorted(places):
            flipped = bytearray(content)
            flipped[place] ^= 1 << rng.randrange(8)
            yield Damage("a bit flipped", name, put(bytes(flipped)))
        for origin, kind in ((state.older, "an older one"), (state.other, "another run's")):
            if (origin / name).is_file() and (origin / name).read_bytes() != content:
                yield Damage(kind, name, put((origin / name).read_bytes()))
        for mate in names:
            if Path(mate).suffix == path.suffix and mate > name:
                yield Damage("swapped", name, lambda run, a=name, b=mate: swap(run / a, run / b))
        yield Damage("a link", name, lambda run, name=name: link(run, name))
    for part in ("updates", "checkpoints", "measures"):
        yield Damage("a link", part, lambda run, part=part: link(run, part))
        yield Damage("deleted", part, lambda run, part=part: shutil.rmtree(run / part))


def swap(a: Path, b: Path) -> None:
    one, other = a.read_bytes(), b.read_bytes()
    a.write_bytes(other)
    b.write_bytes(one)


def link(run: Path, name: str) -> None:
    """Put a link to something outside the folder in a file's place."""
    outside = run.parent / "outside" / name
    outside.parent.mkdir(parents=True, exist_ok=True)
    (run / name).rename(outside)
    (run / name).symlink_to(outside)


@dataclass(frozen=True)
class Command:
    """A call, and how to know what it gave."""

    name: str
    argv: Callable[[Path, Path], tuple[object, ...]]
    result: Callable[[Path, Path], object]


def _model(_run: Path, out: Path) -> object:
    stored = load_file(out / "model.safetensors")
    return {k: stored[k] for k in SITES}


def _page(_run: Path, out: Path) -> object:
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix != ".html"}


def _delta(_run: Path, out: Path) -> object:
    return load_file(out / "delta.safetensors")


def _nothing(_run: Path, _out: Path) -> object:
    return {}


def _folder(run: Path, _out: Path) -> object:
    """The run's own model; a folder that is refused from now on gives no other weights."""
    try:
        return weights(run)
    except ReviveError:
        return None


COMMANDS = [
    Command("export", lambda run, out: ("export", run, out, "--quiet"), _model),
    Command("export --step", lambda r, o: ("export", r, o, "--step", 1, "--quiet"), _model),
    Command(
        "export --format delta",
        lambda run, out: ("export", run, out, "--format", "delta", "--quiet"),
        _delta,
    ),
    Command("resume", lambda run, out: ("resume", run, "--quiet"), _folder),
    Command("rollback --to", lambda run, out: ("rollback", run, "--to", 1), _folder),
    Command(
        "rollback --to --out",
        lambda run, out: ("rollback", run, "--to", 1, "--out", out, "--quiet"),
        _model,
    ),
    Command(
        "rollback --edit",
        lambda run, out: ("rollback", run, "--edit", "home-2", "--no-measure"),
        _folder,
    ),
    Command("report", lambda run, out: ("report", run, "--out", out), _page),
    Command("status", lambda run, out: ("status", run), _nothing),
    Command("verify", lambda run, out: ("verify", run), _nothing),
]


class Corruption:
    """Damages folders, calls commands, and counts what became of it."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._expected: dict[tuple[str, str], object] = {}

    def states(self) -> list[State]:
        """A finished run, one that was killed, and one of which an edit was taken out."""
        bed, root = self.bed, self.bed.root
        runs = {}
        for name, parts in {"one": {}, "two": {"seed": 5, "edits": 6}}.items():
            spec = bed.spec("memit-seq", name=name, **parts)
            runs[name] = root / name / "run"
            ran = call("run", spec, "--out", runs[name], "--quiet")
            assert ran.code == 0, ran.err
        stages = [weights(runs["one"], step) for step in range(4)]
        assert not any(same(a, b) for a, b in pairwise(stages)), "every batch must change weights"
        assert not same(stages[-1], weights(runs["two"]))
        killed = copied(runs["one"], root / "killed" / "run")
        cut_to(killed, "measure", 2)
        older = copied(runs["one"], root / "older" / "run")
        cut_to(older, "batch", 1)
        removed = copied(runs["one"], root / "removed" / "run")
        for argv in (
            ("rollback", removed, "--edit", "home-1", "--no-measure"),
            ("resume", removed),
        ):
            ran = call(*argv)
            assert ran.code == 0, ran.err
        return [
            State("finished", runs["one"], killed, runs["two"]),
            State("killed", killed, older, runs["two"]),
            State("an edit taken out", removed, runs["one"], runs["two"]),
        ]

    def one(self, state: State, damage: Damage | None, command: Command) -> None:
        """One damage under one command."""
        place = self.bed.root / "case"
        shutil.rmtree(place, ignore_errors=True)
        run, out = copied(state.folder, place / "run"), place / "out"
        if damage is not None:
            damage.do(run)
        outside = snapshot(place / "outside")
        ran = call(*command.argv(run, out))
        key = (state.name, command.name)
        result = command.result(run, out) if ran.code == 0 else None
        if damage is None:
            assert ran.code == 0, ran.err
            self._expected[key] = result
            return
        if snapshot(place / "outside") != outside:
            self._tell(state, damage, command, ran, "something outside was changed")
        elif ran.code not in DOCUMENTED or "Traceback" in ran.err:
            self._tell(state, damage, command, ran, "a crash")
        elif ran.code:
            self.counts["refused"] += 1
        elif result is None:
            self.counts["refused afterwards"] += 1
        elif not alike(result, self._expected[key]):
            self._tell(state, damage, command, ran, "another result with exit 0")
        else:
            self.counts["right in spite of it"] += 1

    def _tell(self, state: State, damage: Damage, command: Command, ran: Ran, what: str) -> None:
        self.counts["WRONG"] += 1
        self.wrong.append(
            f"{what}: {state.name}, {damage.file} {damage.kind}, {command.name}: exit {ran.code} "
            f"{ran.err.strip()[-300:]}"
        )


def cut_to(run: Path, kind: str, step: int) -> None:
    """Leave a run as a kill right after a line would, its witness included."""
    from revive.run_folder.journal import remains
    from revive.run_folder.journal_witness import Witness, write_witness

    path = run / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    start = f'{{"event": "{kind}", '.encode()
    here = f'"step": {step}, '.encode()
    at = next(i for i, x in enumerate(lines) if x.startswith(start) and here in x)
    (run / "journal.head").unlink()
    path.write_bytes(b"".join(lines[: at + 1]))
    left = remains(path)
    write_witness(path, Witness(len(left.content), left.sum))
    for part in ("updates", "checkpoints", "measures"):
        for file in (run / part).iterdir():
            if int(file.name.partition(".")[0]) > step:
                file.unlink()
    for name in ("summary.json", "edits.json", "edits.csv"):
        (run / name).unlink()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def alike(a: object, b: object) -> bool:
    if isinstance(a, dict) and a and not isinstance(next(iter(a.values())), bytes):
        return isinstance(b, dict) and same(a, b)
    return a == b


def sweep(bed: Bed, *, flips: int, every: int = 1, seed: int = 0) -> Corruption:
    """Every damage under every command, or every so many of them."""
    found, rng, number = Corruption(bed), random.Random(seed), 0
    for state in found.states():
        for command in COMMANDS:
            found.one(state, None, command)
        for damage in damages(state, rng, flips):
            for command in COMMANDS:
                number += 1
                if number % every == 0:
                    found.one(state, damage, command)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=6, help="Bits flipped in every file.")
    parser.add_argument("--every", type=int, default=1, help="Take one case in so many.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="revive-corrupt-") as root:
        found = sweep(Bed(Path(root)), flips=options.flips, every=options.every)
    for line in found.wrong[:40]:
        print(line)
    total = found.counts.total()
    told = ", ".join(f"{count:,} {what}" for what, count in sorted(found.counts.items()))
    print(f"{total:,} damaged folders under a command: {told}.")
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
