"""The memory that a run needs, part by part. No torch.

Standing parts stay for the whole run; of the working parts one is there at a time, and the largest
counts. With L edited blocks, widths d (hidden) and f (inside the MLP), q and k (all queries, all
keys), h heads, V tokens in the vocabulary, b bytes a number, of the model's dtype (a mixture of
experts has E projections where others have one: at most, since experts that no edit is sent to need
a moment and a ledger entry alone):

program     the interpreter, torch, transformers and their buffers: 430 MiB, measured with a CPU
            build of torch 2.13 on a model of a few kilobytes. Builds with CUDA need more.
model       parameters * b; in 8 bits one byte a number of the blocks, in 4 bits half a byte and a
            scale of a byte per 64; embeddings, head and edited projections in full.
ledger      8 L d f: W0 and the sum of updates, fp32 (twice that in fp64).
moments     8 L f^2: E[k k^T], fp64, where the editor reads it. While they are taken as much again
            is there for the chunk of text at hand; it is gone before there are equations.
equations   8 L f^2: the Cholesky factor, fp64. With a history of n_h keys (memit-seq keeps
            n_h <= f / 2 before they are folded in) 16 L f n_h + 8 L n_h^2 more.
basis       8 L r (d + f), with r at most the guard's share of min(d, f).
loading     the checkpoint, where it is stored in another dtype: its pages are mapped until they are
            converted. The system may take these back; they count as memory until it does.
text        the pass over text, N = 1,024 tokens on a CPU, 4,096 elsewhere, or all there are:
            f N ((L + 2) b + 12), that is L recorded inputs and the MLP's own, then one of them
            picked out and widened to fp64.
targets     the largest chunk of edits (`estimate.target_chunks`), S = tokens from the subject on,
            padded, R = tokens of whole rows:
              2 k b R * blocks            keys and values before the subject
              + S * (a f b + 8 d + q b + 2 q b R / S + h t (4 + b if b < 4)) * blocks above
                                          what autograd keeps of a block: the activation's inputs
                                          and outputs (a = 3 for a gated MLP, 4 where GELU is
                                          spelled out, else 1), both norms' inputs, queries, keys
                                          and values of whole rows, and a row's t attention weights
              + 4 V * 4 * reads           logits, their logarithms, and the gradient of each
basis fit   16 d f + 24 min(d, f)^2: a weight in fp64, its Gram matrix and eigenvectors.
fold        24 f^2: when a history is folded in, or equations are first factorised.
probes      logits of a scored batch, b V a token, at most 4,096 tokens of it.

Working parts are counted 1.3 times, up to 64 MiB: an allocator fits new tensors between old ones
with gaps, and keeps blocks under 32 MB that were freed. Live tensors alone came to 0.65 to 0.85 of
what was taken where they were few, to all of it where they were hundreds of megabytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.estimate.lengths import Lengths
from revive.estimate.target_chunks import CHUNK, Size, split_batch, step_on
from revive.estimate.widths import Widths, edited_widths
from revive.options.editors import EditorOptions, TargetOptions, solved_at
from revive.presets.facts import ModelFacts
from revive.spec.resolve import editor_options, probe_settings
from revive.spec.schema import RunSpec
from revive.texts.package import CHARACTERS, PACKAGE

_PROGRAM = 430 * 2**20
_GAPS, _MOST_GAPS = 1.3, 64 * 2**20
_BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
_QUANTIZED = {"8bit": 1.0, "4bit": 0.5 + 1 / 64}
_PASS = 4096  # tokens of a scored batch, and of a forward over text,
_CPU_PASS = 1024  # but on a CPU
_CUDA_CONTEXT = 500 * 2**20
_ESSENCE = 8  # tokens of "{subject} is a" from the subject on
_SHARED = 6  # positions that scored prompts of one batch differ by
_LAB_SENTENCE, _LAB_SENTENCES = 82, 2_000  # characters of one, and how many a run reads
_KEEPS_HISTORY = frozenset({"memit-seq", "alphaedit", "encore", "nse"})

_TRIAL_EDITS = 12


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by part.

    Attributes:
        standing: There for the whole run.
        working: One at a time.
    """

    standing: Mapping[str, int]
    working: Mapping[str, int]

    @property
    def peak(self) -> int:
        """The most that is there at a time."""
        rest = {name: size for name, size in self.working.items() if name != "loading"}
        loading = self.standing["program"] + self.standing["model"] + self.working["loading"]
        return max(loading, sum(self.standing.values()) + max(rest.values()))

    @property
    def on_gpu(self) -> int:
        """What of it lies on a GPU, where there is one, and what CUDA takes for itself."""
        lasting = sum(size for name, size in self.standing.items() if name != "program")
        rest = [size for name, size in self.working.items() if name != "loading"]
        return lasting + max(rest) + _CUDA_CONTEXT

    @property
    def beside_gpu(self) -> int:
        """What of it is the host's then: the model passes through it."""
        return self.standing["program"] + self.standing["model"] + self.working["loading"]


def memory(spec: RunSpec, facts: ModelFacts, edits: int, lengths: Lengths) -> Memory:
    """Estimate a resolved spec's memory.

    Args:
        spec: A resolved spec.
        facts: The model's sizes.
        edits: Number of edits of the stream.
        lengths: Of their texts.
    """
    options = editor_options(spec.editor)
    layers = options.layers or [0]
    sites, widths = len(layers), edited_widths(facts, layers)
    d, f = facts.hidden, max(w.inner for w in widths if w.count)
    inputs, squares = sum(w.inputs for w in widths), sum(w.squares for w in widths)
    count = sum(w.count for w in widths)
    wide = 2 if spec.model.dtype == "float64" else 1
    text = options.needs_moments or spec.guard.solve == "weighted"
    rank = _share(spec) * min(d, f)
    standing = {
        "program": _PROGRAM,
        "model": _model(spec, facts, inputs),
        "ledger": 8 * d * inputs * wide,
        "moments": 8 * squares if text else 0,
        "equations": _equations(spec, options, widths, edits),
        "basis": 8 * rank * (count * d + inputs),
    }
    working = {
        "text": _text(spec, facts, sites, lengths) if text else 0,
        "targets": _targets(spec, options, facts, edits, lengths),
        "fit": 16 * d * f + 24 * min(d, f) ** 2,
        "fold": 24 * f * f if text else 0,
        "probes": _probes(spec, facts, edits, lengths),
    }
    stored = _BYTES.get(facts.stored, _BYTES[spec.model.dtype])
    same = stored == _BYTES[spec.model.dtype] and spec.model.quantize is None
    held = {name: int(min(_GAPS * size, size + _MOST_GAPS)) for name, size in working.items()}
    # Mapped pages are the file's own: nothing lies between them.
    held["loading"] = 0 if same else facts.parameters * stored
    return Memory({name: int(size) for name, size in standing.items()}, held)


def _model(spec: RunSpec, facts: ModelFacts, inputs: int) -> float:
    size = _BYTES[spec.model.dtype]
    if spec.model.quantize is None:
        return facts.parameters * size
    edited = facts.hidden * inputs
    blocks = facts.parameters - facts.embedding_parameters - edited
    return (facts.embedding_parameters + edited) * size + blocks * _QUANTIZED[spec.model.quantize]


def _share(spec: RunSpec) -> float:
    energy = spec.guard.energy
    if isinstance(energy, dict):
        return max(energy.values(), default=0.0)
    return 0.3 if energy == "auto" else energy


def _equations(spec: RunSpec, options: EditorOptions, widths: Sequence[Widths], edits: int) -> int:
    if not options.needs_moments:
        return 0
    total = 0
    for group in widths:
        history = min(edits, group.inner // 2) if spec.editor.name in _KEEPS_HISTORY else 0
        total += group.squares + 2 * group.inputs * history + group.count * history**2
    return 8 * total


def text_tokens(spec: RunSpec, lengths: Lengths) -> float:
    """Tokens of the text that second moments are taken from."""
    named, most = spec.moments.text, spec.moments.samples
    if isinstance(named, list):
        size = sum(Path(path).stat().st_size for path in named if Path(path).is_file())
    elif named == PACKAGE:
        size = CHARACTERS
    else:
        size = _LAB_SENTENCE * min(most, _LAB_SENTENCES)
    return size / lengths.characters


def _text(spec: RunSpec, facts: ModelFacts, sites: int, lengths: Lengths) -> float:
    most_tokens = _CPU_PASS if spec.model.device == "cpu" else _PASS
    tokens = min(most_tokens, text_tokens(spec, lengths))
    return facts.inner * tokens * ((sites + 2) * _BYTES[spec.model.dtype] + 12)


@dataclass(frozen=True, slots=True)
class TargetChunk:
    """Edits whose targets are solved together.

    Attributes:
        edits: How many.
        rows: Of each, besides "{subject} is a".
        row: Tokens of a row with its context, mean.
        suffix: Tokens of the longest row from the subject's last on: of all rows, padded.
    """

    edits: int
    rows: int
    row: float
    suffix: int


def target_chunks(
    device: str, options: EditorOptions, batch: int, lengths: Lengths
) -> list[TargetChunk]:
    """How a batch is divided whose edits are as long as those of the sample."""
    contexts = options.contexts if isinstance(options, TargetOptions) else 0
    length = options.context_length + 2 if isinstance(options, TargetOptions) else 0
    rows, row = contexts + 1, lengths.row + length * contexts / (contexts + 1)
    sample = sorted(lengths.suffixes)
    sizes = [
        Size(sample[int((i + 0.5) * len(sample) / batch)], rows, rows * row) for i in range(batch)
    ]
    return [
        TargetChunk(len(chunk), rows, row, max(sizes[i].suffix for i in chunk))
        for chunk in split_batch(sizes, CHUNK, step_on(device))
    ]


def _targets(
    spec: RunSpec, options: EditorOptions, facts: ModelFacts, edits: int, lengths: Lengths
) -> float:
    """The largest chunk of a batch."""
    batch = max(1, min(spec.edits.batch_size, edits))
    if spec.editor.fit:
        # Settings by rule are tried on the package's own edits first, all of them at once.
        batch = max(batch, _TRIAL_EDITS)
    above = facts.blocks - solved_at(options, options.layers or [0]) - 1
    found: list[float] = []
    for chunk in target_chunks(spec.model.device, options, batch, lengths):
        whole = chunk.edits * (chunk.rows * chunk.row + _ESSENCE)
        tokens = chunk.edits * (chunk.rows * chunk.suffix + _ESSENCE)
        reads = chunk.edits * (chunk.rows * lengths.target + 1)
        kept = _kept(facts, _BYTES[spec.model.dtype], chunk.row, whole / tokens)
        prefixes = 2 * facts.keys * _BYTES[spec.model.dtype] * whole * facts.blocks
        found.append(prefixes + tokens * kept * above + 16 * facts.vocabulary * reads)
    return max(found)


def _kept(facts: ModelFacts, size: int, row: float, whole: float) -> float:
    """What autograd keeps of a token in a block; `whole`: tokens of whole rows per token."""
    kept = (3 if facts.gated else 1) * facts.inner * size + 8 * facts.hidden
    kept += facts.queries * size * (1 + 2 * whole)
    return kept + facts.heads * row * (4 if size >= 4 else 4 + size)


def _probes(spec: RunSpec, facts: ModelFacts, edits: int, lengths: Lengths) -> float:
    """Logits of the largest batch that a probe scores."""
    read = 0.0
    for probe in spec.probes:
        if probe.name == "perplexity":
            read = max(read, _PASS)
        elif probe.name == "edits":
            sample = min(edits, probe_settings(probe).get("sample") or edits)
            rows = min(2 * sample * lengths.questions, _PASS / max(1.0, lengths.row))
            read = max(read, rows * (lengths.target + _SHARED))
    return facts.vocabulary * read * _BYTES[spec.model.dtype]
