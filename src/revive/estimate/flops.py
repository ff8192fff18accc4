"""The arithmetic of a run, part by part, from the model's sizes and the texts' lengths. No torch.

With P weights of a block, V d of the head, B blocks, l the last edited one, f and d the widths of a
projection, n edits of a batch, r rows an edit of t tokens, s of them from the subject on (padded in
their chunk), q targets tokens that are read, T tokens of moment text:

targets     n r t tokens through every block once, then at each of e evaluations the n r s suffixes
            through the B - l - 1 blocks above, and q rows of the head, there and back. e is what
            was measured (`EVALUATIONS`), not the most that is allowed: targets stop early.
            Fine-tuning: whole rows from its lowest block on, at every step. UltraEdit: once.
keys        rows to their subject up to block l, the plain ones once more after every layer.
solve       4 f^2 n + 2 f n (n + h) a site, h the keys of a history; f^3 / 3 where it is factorised.
guard       4 k (d + f) n a site for k protected directions; where it follows the weight, d^2 f +
            4 / 3 d^3 + 4 k d f more at every batch.
moments     T tokens up to the last edited block, T f^2 a site.
probes      every prompt asked, with the new and the true target, through the whole model.

A product of [a, b] with [b, c] is 2 a b c operations; there and back is four times b c a token.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from revive.estimate.lengths import Lengths
from revive.estimate.memory import target_chunks, text_tokens
from revive.estimate.widths import edited_widths
from revive.options.editors import (
    EditorOptions,
    FtOptions,
    NseOptions,
    TargetOptions,
    UltraEditOptions,
    solved_at,
)
from revive.presets.facts import ModelFacts
from revive.spec.resolve import editor_options, probe_settings
from revive.spec.schema import ProbeSpec, RunSpec
from revive.texts.package import PACKAGE

SHIPPED = Path(__file__).resolve().parent.parent / "presets" / "moments"

# Loss evaluations of a target: of Polyak's step in all, of Adam's as a share of its steps.
EVALUATIONS = {"polyak": 8.0, "adam": 0.9}
_TRIAL, _CALIBRATED, _UNEDITED = 12, 100, 200  # edits
_ANSWERED, _MORE = 200, 4  # edits whose answers are written out, and tokens beyond a target's
_SAMPLE, _SAMPLED = 24, 6.0  # edits that a strength is scored on, and prompts of each
_HISTORY = frozenset({"memit-seq", "alphaedit", "encore", "nse"})
_LAB_TOKENS = 15_000  # of the lab's battery with its defaults
_CHOICES, _CHOICE = 3, 60  # of an item of a public test set, and tokens of each


@dataclass(frozen=True, slots=True)
class Flops:
    """Floating point operations by kind, and calls.

    Attributes:
        forward: Of blocks, without gradients.
        gradient: Of blocks, there and back.
        head: Of the head, whichever way.
        double: In float64.
        calls: Of one block on one batch of rows, there and back counted as three.
    """

    forward: float = 0.0
    gradient: float = 0.0
    head: float = 0.0
    double: float = 0.0
    calls: float = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        """Both."""
        return Flops(
            self.forward + other.forward,
            self.gradient + other.gradient,
            self.head + other.head,
            self.double + other.double,
            self.calls + other.calls,
        )

    def __mul__(self, times: float) -> "Flops":
        """The same, so many times."""
        return Flops(
            self.forward * times,
            self.gradient * times,
            self.head * times,
            self.double * times,
            self.calls * times,
        )


class Arithmetic:
    """What parts of one run cost."""

    def __init__(self, spec: RunSpec, facts: ModelFacts, edits: int, lengths: Lengths) -> None:
        self._spec, self._facts, self._edits, self._lengths = spec, facts, edits, lengths
        self._options: EditorOptions = editor_options(spec.editor)
        self._layers = self._options.layers or [facts.blocks // 2]
        self._batch = max(1, min(spec.edits.batch_size, edits))
        self._block = (facts.active - facts.embedding_parameters) / facts.blocks
        self._head = facts.vocabulary * facts.hidden
        self._widths = edited_widths(facts, self._layers)

    @property
    def lengths(self) -> Lengths:
        """Of the texts."""
        return self._lengths

    def editing(self) -> dict[str, Flops]:
        """Every batch of the stream, by the phases that a journal tells."""
        full, rest = divmod(self._edits, self._batch)
        found = {name: effort * full for name, effort in self._phases(self._batch).items()}
        if rest:
            for name, effort in self._phases(rest).items():
                found[name] = found.get(name, Flops()) + effort
        return found

    def before(self) -> dict[str, Flops]:
        """What happens once, before the first batch; what of it is kept in the cache costs less."""
        found: dict[str, Flops] = {}
        weighted = self._spec.guard.solve == "weighted"
        if (self._options.needs_moments or weighted) and not self._shipped():
            found["moments"] = self._moments()
        if self._spec.guard.name != "none":
            d = self._facts.hidden
            found["guard"] = self._per_site(lambda f: Flops(double=d * d * f + 9 * min(d, f) ** 3))
        if self._spec.editor.fit:
            found["trial"] = sum(
                self._phases(_TRIAL).values(), self._scored(_TRIAL) + self._factorised()
            )
        grid = getattr(self._options, "grid", ())
        if grid and getattr(self._options, self._options.strength) is None:
            found["calibration"] = self._calibration(len(grid))
        return found

    def probing(self) -> tuple[dict[str, Flops], tuple[str, ...]]:
        """By probe, and the answers before and after; and probes that nothing is known of."""
        found: dict[str, Flops] = {}
        unknown: list[str] = []
        for probe in self._spec.probes:
            effort = self._probe(probe)
            if effort is None:
                unknown.append(probe.name)
            else:
                found[probe.name] = found.get(probe.name, Flops()) + effort
        asked = min(_ANSWERED, self._edits)
        length = self._lengths.target + _MORE
        tokens = asked * (self._lengths.row + length)
        once = self._through(tokens, self._facts.blocks, length)
        found["answers"] = (once + Flops(head=2 * self._head * asked * length)) * 2
        return found, tuple(unknown)

    def _phases(self, edits: int) -> dict[str, Flops]:
        if not isinstance(self._options, TargetOptions):
            return {
                "targets": self._tuned(edits),
                "solve": self._regressed(edits),
                "guard": self._guarded(edits),
            }
        keys, solve = self._keys(edits), self._solved(edits)
        if isinstance(self._options, NseOptions):
            keys, solve = keys * self._options.passes, solve * self._options.passes
        return {
            "targets": self._targets(edits),
            "keys": keys,
            "solve": solve,
            "guard": self._guarded(edits),
        }

    def _through(self, tokens: float, blocks: float, calls: float = 1.0) -> Flops:
        return Flops(forward=2 * self._block * tokens * blocks, calls=calls * blocks)

    def _there_and_back(self, tokens: float, blocks: float, reads: float) -> Flops:
        return Flops(
            gradient=4 * self._block * tokens * blocks,
            head=4 * self._head * reads,
            calls=3 * blocks,
        )

    def _targets(self, edits: int) -> Flops:
        options, lengths, blocks = self._options, self._lengths, self._facts.blocks
        assert isinstance(options, TargetOptions)
        steps = float(options.steps or 25)
        polyak = options.optimizer == "polyak"
        share = EVALUATIONS["adam"] * steps if options.stop_loss > 0 else steps
        evaluations = min(steps, EVALUATIONS["polyak"]) if polyak else share
        above = blocks - solved_at(options, self._layers) - 1
        total = Flops()
        for chunk in target_chunks(self._spec.model.device, options, edits, lengths):
            # What the contexts have before the prompt is run once for all edits.
            whole = chunk.edits * (chunk.rows + 0.5) * lengths.row
            total += self._through(whole, blocks, 2)
            once = self._there_and_back(
                chunk.edits * (chunk.rows * chunk.suffix + 1),
                above,
                chunk.edits * (chunk.rows * lengths.target + 1),
            )
            total += once * evaluations
        return total

    def _tuned(self, edits: int) -> Flops:
        """Gradients of weights, over whole rows."""
        lowest, blocks = self._layers[0], self._facts.blocks
        steps = self._options.steps if isinstance(self._options, FtOptions) else 1
        tokens, parts = edits * self._lengths.row, -(-edits // 32)
        once = self._there_and_back(tokens, blocks - lowest, edits * self._lengths.target)
        once += Flops(calls=3 * (parts - 1) * (blocks - lowest))
        return self._through(tokens, lowest, parts) + once * (steps + 0.5)

    def _regressed(self, edits: int) -> Flops:
        if not isinstance(self._options, UltraEditOptions):
            return Flops()
        rows = edits * self._lengths.target
        return self._per_site(lambda f: Flops(double=4 * f * rows**2 + rows**3))

    def _keys(self, edits: int) -> Flops:
        options, lengths = self._options, self._lengths
        rows = options.contexts + 1 if isinstance(options, TargetOptions) else 1
        before = max(1.0, lengths.row - sum(lengths.suffixes) / len(lengths.suffixes) + 1)
        last = self._layers[-1] + 1
        again = sum(last - layer for layer in self._layers)
        return self._through(edits * rows * before, last) + self._through(edits * before, again)

    def _solved(self, edits: int) -> Flops:
        keeps = self._spec.editor.name in _HISTORY

        def site(f: float) -> Flops:
            past = min(self._edits / 2, f / 4) if keeps else 0.0
            return Flops(double=4 * f * f * edits + 2 * f * edits * (edits + 2 * past))

        return self._per_site(site)

    def _factorised(self) -> Flops:
        return self._per_site(lambda f: Flops(double=f**3 / 3))

    def _guarded(self, edits: int) -> Flops:
        guard, d = self._spec.guard, self._facts.hidden
        if guard.name == "none":
            return Flops()
        share = guard.energy if isinstance(guard.energy, float) else 0.1
        follows = guard.basis == "current"

        def site(f: float) -> Flops:
            k = share * min(d, f)
            fitted = d * d * f + 4 / 3 * d**3 + 4 * k * d * f if follows else 0.0
            return Flops(double=4 * k * (d + f) * edits + fitted)

        return self._per_site(site)

    def _moments(self) -> Flops:
        tokens = text_tokens(self._spec, self._lengths)
        passes = max(1.0, tokens / 1024)
        return self._through(tokens, self._layers[-1] + 1, passes) + self._per_site(
            lambda f: Flops(double=tokens * f * f)
        )

    def _shipped(self) -> bool:
        """Whether the moments come with the package, as far as a model's name tells."""
        path = SHIPPED / f"{self._spec.model.name}.safetensors"
        known = path.parent == SHIPPED and path.is_file()  # a name may be a path itself
        if self._spec.moments.text != PACKAGE or not known:
            return False
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(8), "little")).decode("utf-8")
        return all(f"layers.{layer}." in header for layer in self._layers)

    def _calibration(self, values: int) -> Flops:
        """Every third value of a grid and two more, each scored on a sample of the batch."""
        tried = min(values, -(-values // 3) + 2)
        aimed = isinstance(self._options, TargetOptions)
        edits = min(_CALIBRATED if aimed else _SAMPLE, self._batch)
        phases = self._phases(edits)
        targets = phases.pop("targets") if aimed else Flops()
        scored = self._scored(min(_SAMPLE, edits)) * (_SAMPLED / self._lengths.questions)
        return targets + sum(phases.values(), scored + self._factorised()) * tried

    def _scored(self, edits: float) -> Flops:
        """Prompts that differ in the target alone are one row."""
        prompts = edits * self._lengths.questions
        tokens = prompts * self._lengths.question
        rows = self._through(tokens, self._facts.blocks, max(1.0, tokens / 4096))
        return rows + Flops(head=4 * self._head * prompts * self._lengths.target)

    def _probe(self, probe: ProbeSpec) -> Flops | None:
        steps = -(-self._edits // self._batch)
        measured = sorted({0, steps, *range(probe.every, steps, probe.every)})
        made = [min(s * self._batch, self._edits) or min(_UNEDITED, self._edits) for s in measured]
        if probe.name in ("edits", "generation"):
            sample = probe_settings(probe).get("sample")
            made = [min(n, sample or n) for n in made]
        once = self._measured(probe, made)
        if once is None:
            return None
        return once if probe.name in ("edits", "generation") else once * len(measured)

    def _measured(self, probe: ProbeSpec, made: list[int]) -> Flops | None:
        """Of one measurement; of `edits` and `generation`, of all."""
        settings = probe_settings(probe)
        d, blocks = self._facts.hidden, self._facts.blocks

        def whole(tokens: float, calls: float) -> Flops:
            return self._through(tokens, blocks, calls) + Flops(head=2 * self._head * tokens)

        match probe.name:
            case "edits":
                return sum((self._scored(n) for n in made), Flops())
            case "generation":
                rows = sum(made) * settings["prompts"]
                calls = settings["length"] * max(1.0, rows / settings["rows"])
                return whole(rows * settings["length"], calls)
            case "spectrum":
                energy = settings["energy"]
                detail = 14 if settings["detail"] else 0
                return self._per_site(
                    lambda f: Flops(double=4 * energy * d * d * f + detail * d * d * f)
                )
            case "general":
                return whole(_LAB_TOKENS, _LAB_TOKENS / 2048)
            case "perplexity":
                tokens = 2 * settings["characters"] / self._lengths.characters
                return whole(tokens, tokens / 4096)
            case "tasks":
                items = len(settings["tasks"]) * (settings["limit"] or 1000)
                tokens = items * _CHOICES * _CHOICE
                return whole(tokens, tokens / 4096)
            case _:
                return None

    def _per_site(self, effort: Callable[[float], Flops]) -> Flops:
        total = Flops()
        for group in self._widths:
            if group.count:
                total += effort(float(group.inner)) * group.count
        return total
