"""What a run will need: memory (see `memory`), disk and time, the latter two by rough formulas.

With L edited blocks, widths d (hidden) and f (inside the MLP), batches of n edits, E edits in all,
r rows of t tokens, b blocks above l* and P parameters:

Mixtures of experts have m matrices of d f where others have one: all E of them for checkpoints and
moments, and for updates and keys those that a batch of n edits in r rows, each sent to c experts,
can meet.

    disk     per edit 4 L (d + 2 f) (update factors, and keys for memit-seq)
             + (1 + keep) checkpoints of 4 L d f + 4 L f E, + moments 8 L f^2
    time     per edit 6 steps r t P (b / all blocks + head) flops, + 2 L (d + f) d f / n,
             over a throughput of 20 Gflop/s per CPU thread or 50 Tflop/s on a GPU

Measured runs on small models need more than the flops say, for Python's sake: 5 ms are added per
loss evaluation of a batch.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from revive.editors.options import TargetOptions
from revive.presets.facts import model_facts
from revive.runs.lengths import Lengths
from revive.runs.memory import Memory, memory
from revive.runs.resolve import editor_options
from revive.runs.schema import RunSpec
from revive.runs.widths import Widths, edited_widths

_TOKENS = 32  # of a row: context, prompt and target
_CPU_FLOPS, _GPU_FLOPS = 2e10, 5e13
_CALL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Estimate:
    """Needs of a run; of time without its probes.

    Attributes:
        edits: Number of edits it is for.
        batches: Number of batches.
        memory: Memory by part.
        disk_bytes: Size of the run folder, and of cached moments.
        seconds: Wall-clock time.
    """

    edits: int
    batches: int
    memory: Memory
    disk_bytes: int
    seconds: float

    @property
    def memory_bytes(self) -> int:
        """Peak memory."""
        return self.memory.peak


def estimate(
    spec: RunSpec,
    model_config: Mapping[str, object],
    edits: int | None = None,
    lengths: Lengths | None = None,
) -> Estimate:
    """Estimate a resolved spec's needs.

    Args:
        spec: A resolved spec.
        model_config: The model's `config.json`.
        edits: Number of edits; taken from `edits.limit` if None, else one batch is assumed.
        lengths: Of their texts; typical ones if None.
    """
    facts = model_facts(model_config)
    options = editor_options(spec.editor)
    layers = options.layers or [facts.blocks // 2]
    count = edits or spec.edits.limit or spec.edits.batch_size
    size = min(spec.edits.batch_size, count)
    batches = -(-count // size)
    d = facts.hidden
    aimed = isinstance(options, TargetOptions)
    rows = options.contexts + 2 if aimed else 1
    above = facts.blocks - layers[-1]
    steps = int(getattr(options, "steps", None) or 1)

    plain, experts = edited_widths(facts, layers)
    met = Widths(min(experts.count, size * rows * facts.chosen * len(layers)), experts.inner)
    inputs, held = plain.inputs + experts.inputs, plain.squares + experts.squares
    checkpoint = 4 * inputs * (d + count)
    disk = 4 * sum(w.count * d + 2 * w.inputs for w in (plain, met)) * count
    disk += (1 + spec.checkpoint.keep) * checkpoint
    disk += 8 * held
    active = facts.active * above / facts.blocks + facts.vocabulary * d
    work = sum((d + w.inner) * d * w.inputs for w in (plain, met))
    flops = count * 6 * steps * rows * _TOKENS * active + batches * 2 * work
    sites = len(layers)
    seconds = flops / _throughput(spec) + batches * (steps + sites) * _CALL_SECONDS
    needed = memory(spec, facts, count, lengths or Lengths())
    return Estimate(count, batches, needed, disk, seconds)


def _throughput(spec: RunSpec) -> float:
    if spec.model.device.startswith(("cuda", "mps")):
        return _GPU_FLOPS
    return _CPU_FLOPS * (spec.threads or os.cpu_count() or 1)
