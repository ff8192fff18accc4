"""What a run will need: memory (see `memory`), disk and time.

With L edited blocks, widths d (hidden) and f (inside the MLP), batches of n edits, E edits in all:

Mixtures of experts have m matrices of d f where others have one: all E of them for checkpoints and
moments, and for updates and keys those that a batch of n edits in r rows, each sent to c experts,
can meet.

    disk     per edit 4 L (d + 2 f) (update factors, and keys for memit-seq)
             + (1 + keep) checkpoints of 4 L d f + 4 L f E, + moments 8 L f^2

Time is the arithmetic of `effort` over the rate at which this machine multiplies float32 matrices
of the model's shapes (`rates`). Runs make of that rate the shares below, which were set once, by
runs of `recipes/estimates.py`; the table it prints, of estimates beside runs, is in
docs/scale.md. What is no product (norms, attention, softmax) counts in the shares, and every call
of a block takes time for Python's sake. On a GPU rates are assumed: none was at hand to measure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from revive.estimate.flops import Arithmetic, Flops
from revive.estimate.lengths import Lengths
from revive.estimate.machine_rates import Rates
from revive.estimate.memory import Memory, memory
from revive.estimate.widths import Widths, edited_widths
from revive.options.editors import TargetOptions
from revive.presets.facts import ModelFacts, model_facts
from revive.spec.resolve import editor_options
from revive.spec.schema import RunSpec

_GPU = Rates(5e13, "a GPU, whose rate is assumed")
_CPU = Rates(4e10, "a CPU thread, whose rate is assumed")
# Of the measured rate of float32 products, what passes through a model reach.
_FORWARD, _GRADIENT, _DOUBLE = 0.6, 0.6, 0.5
_CALL = 4e-4  # seconds that a block takes besides
_START = 8.0  # seconds to start the program, and
_READ = 5e8  # bytes a second of a checkpoint


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds.

    Attributes:
        before: Once, before the first batch, by part; moments, the trial of settings and bases are
            kept in the cache.
        editing: By phase, as in a journal.
        probing: By probe.
        unknown: Probes that nothing is known of: they come on top.
        measured_on: Where the rate is from.
    """

    before: Mapping[str, float]
    editing: Mapping[str, float]
    probing: Mapping[str, float]
    unknown: tuple[str, ...]
    measured_on: str

    @property
    def total(self) -> float:
        """Of a whole run with an empty cache."""
        return sum(sum(part.values()) for part in (self.before, self.editing, self.probing))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Needs of a run.

    Attributes:
        edits: Number of edits it is for.
        batches: Number of batches.
        memory: Memory by part.
        disk_bytes: Size of the run folder, and of cached moments.
        times: Wall-clock time by part.
    """

    edits: int
    batches: int
    memory: Memory
    disk_bytes: int
    times: Times

    @property
    def memory_bytes(self) -> int:
        """Peak memory."""
        return self.memory.peak

    @property
    def seconds(self) -> float:
        """Wall-clock time of everything."""
        return self.times.total


def estimate(
    spec: RunSpec,
    model_config: Mapping[str, object],
    edits: int | None = None,
    lengths: Lengths | None = None,
    rates: Rates | None = None,
) -> Estimate:
    """Estimate a resolved spec's needs.

    Args:
        spec: A resolved spec.
        model_config: The model's `config.json`.
        edits: Number of edits; taken from `edits.limit` if None, else one batch is assumed.
        lengths: Of their texts; typical ones if None.
        rates: Of this machine, for a run on its CPU; assumed if None.
    """
    facts = model_facts(model_config)
    options = editor_options(spec.editor)
    layers = options.layers or [facts.blocks // 2]
    count = edits or spec.edits.limit or spec.edits.batch_size
    size = min(spec.edits.batch_size, count)
    batches = -(-count // size)
    d = facts.hidden
    rows = options.contexts + 2 if isinstance(options, TargetOptions) else 1

    plain, experts = edited_widths(facts, layers)
    met = Widths(min(experts.count, size * rows * facts.chosen * len(layers)), experts.inner)
    inputs, held = plain.inputs + experts.inputs, plain.squares + experts.squares
    checkpoint = 4 * inputs * (d + count)
    disk = 4 * sum(w.count * d + 2 * w.inputs for w in (plain, met)) * count
    disk += (1 + spec.checkpoint.keep) * checkpoint
    disk += 8 * held
    lengths = lengths or Lengths()
    needed = memory(spec, facts, count, lengths)
    times = _times(spec, facts, count, lengths, rates)
    return Estimate(count, batches, needed, disk, times)


def on_gpu(spec: RunSpec) -> bool:
    """Whether a run takes a GPU, as far as that is known without torch."""
    device = spec.model.device
    if device == "auto" and spec.model.device_map is None:
        return Path("/dev/nvidiactl").exists()
    return device.startswith(("cuda", "mps")) or spec.model.device_map is not None


def _times(
    spec: RunSpec, facts: ModelFacts, edits: int, lengths: Lengths, rates: Rates | None
) -> Times:
    if on_gpu(spec):
        rates = _GPU
    elif rates is None:
        threads = spec.threads or 1
        rates = Rates(_CPU.products * threads, _CPU.measured_on)
    work = Arithmetic(spec, facts, edits, lengths)
    probing, unknown = work.probing()

    def each(efforts: Mapping[str, Flops]) -> dict[str, float]:
        return {name: _seconds(effort, rates) for name, effort in efforts.items()}

    start = {"start": _START + 4 * facts.parameters / _READ}
    return Times(
        before={**start, **each(work.before())},
        editing=each(work.editing()),
        probing=each(probing),
        unknown=unknown,
        measured_on=rates.measured_on,
    )


def _seconds(effort: Flops, rates: Rates) -> float:
    products = effort.forward / _FORWARD + (effort.gradient + effort.head) / _GRADIENT
    return (products + effort.double / _DOUBLE) / rates.products + effort.calls * _CALL
