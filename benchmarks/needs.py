"""What each part needs: the work of the exact method without padding, repetition or overhead.

Where rows begin alike that is counted once (`models.forward.partial_forward`).

A block costs two operations per weight and token; attention 4 d per pair of positions, counted as
the whole rectangle of a row, which is what libraries compute. A backward pass to the inputs costs
a forward pass (no gradient of a weight is wanted), its attention two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from benchmarks.work import NOTHING, Work, cholesky, eigvalsh, triangular
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, TokenizedPrompt
from revive.models.family import Family
from revive.models.forward.shared_prefixes import shared_prefixes
from revive.models.site import Site

_FP32, _FP64 = 4, 8


@dataclass(frozen=True)
class Cost:
    """What a model's parts cost.

    Attributes:
        dtype: Its forward products are computed in.
        depth: Number of blocks.
        block: Weights of a block's products.
        attention: Summed width of a block's attention heads.
        head: Weights of the head.
        mlp_out: Weights of the edited projection.
    """

    dtype: str
    depth: int
    block: int
    attention: int
    head: int
    mlp_out: int

    @classmethod
    def of(cls, model: Any, family: Family, dtype: str) -> "Cost":
        """Count a model's weights."""
        blocks = family.blocks_of(model)
        matrices = [p for p in blocks[0].parameters() if p.ndim == 2]
        config = model.config
        heads: int = config.num_attention_heads
        width: int = getattr(config, "head_dim", None) or config.hidden_size // heads
        site = family.site(model, 0)
        return cls(
            dtype,
            len(blocks),
            sum(p.numel() for p in matrices),
            heads * width,
            _matrix(model.get_output_embeddings()),
            site.shape[0] * site.shape[1],
        )

    def forward(self, queries: float, seen: float, blocks: float) -> Work:
        """Blocks on `queries` tokens of one row that look at `seen` positions."""
        per_block = 2 * self.block * queries + 4 * self.attention * queries * seen
        return Work({self.dtype: blocks * per_block})

    def backward(self, queries: float, seen: float, blocks: float) -> Work:
        """The gradient of the same, to the inputs."""
        per_block = 2 * self.block * queries + 8 * self.attention * queries * seen
        return Work({self.dtype: blocks * per_block})

    def logits(self, positions: float) -> Work:
        """The head."""
        return Work({self.dtype: 2 * self.head * positions})


def targets(cost: Cost, rows: Sequence[TokenizedEdit], layer: int, evaluations: float) -> Work:
    """Every row once to the layer, and what is before its lookup once to the end.

    Then, at every step, the suffixes and the head, there and back.
    """
    every = [row for edit in rows for row in (*edit.rewrite, edit.essence)]
    limits, above = [r.lookup for r in every], cost.depth - layer - 1
    total = _once(cost, [r.input_ids for r in every], limits, layer + 1)
    total = total + _once(cost, [r.input_ids[: r.lookup] for r in every], limits, above)
    for row in every:
        length, reads = len(row.input_ids), max(len(row.labels), 1)
        suffix = length - row.lookup
        there = cost.forward(suffix, length, above) + cost.logits(reads)
        back = cost.backward(suffix, length, above) + cost.logits(reads)
        total = total + there * evaluations + back * (evaluations - 1)
    return total


def keys(cost: Cost, rows: Sequence[TokenizedEdit], sites: Sequence[Site]) -> Work:
    """Every row up to its subject through the edited blocks, and the plain ones to the last again.

    The current output is needed at every layer, after what was written below.
    """

    def through(some: Sequence[TokenizedPrompt], blocks: int) -> Work:
        texts = [row.input_ids[: row.lookup + 1] for row in some]
        return _once(cost, texts, [row.lookup for row in some], blocks)

    last = sites[-1].layer
    total = through([row for edit in rows for row in edit.rewrite], last + 1)
    for site in sites:
        total = total + through([edit.rewrite[0] for edit in rows], last - site.layer + 1)
    return total


def _once(cost: Cost, texts: Sequence[tuple[int, ...]], limits: Sequence[int], blocks: int) -> Work:
    """Texts through blocks, what they begin with once."""
    shared = shared_prefixes(texts, limits)
    total = NOTHING
    for text in shared.texts:
        total = total + cost.forward(len(text), len(text), blocks)
    for text, of in zip(texts, shared.of, strict=True):
        begun = len(shared.texts[of]) if of >= 0 else 0
        total = total + cost.forward(len(text) - begun, len(text), blocks)
    return total


def solve(sites: Sequence[Site], edits: int) -> Work:
    """A^{-1} K by a factor that is at hand, and the small system of the batch; the plain case."""
    total = NOTHING
    for site in sites:
        d = site.shape[1]
        flops = 4 * triangular(d, edits) / 2 + 2 * d * edits**2 + cholesky(edits)
        flops += 2 * triangular(edits, d)
        total = total + Work({"float64": flops}, _FP64 * d * d)
    return total


def guard(sites: Sequence[Site], ranks: Sequence[int], edits: int) -> Work:
    """Two projections of the factors."""
    total = NOTHING
    for site, k in zip(sites, ranks, strict=True):
        size = k * sum(site.shape)
        total = total + Work({"float64": 4 * size * edits}, _FP64 * size)
    return total


def refit(sites: Sequence[Site], ranks: Sequence[int]) -> Work:
    """Singular values of the weight as it stands, which the energy asks for, and k directions."""
    total = NOTHING
    for site, k in zip(sites, ranks, strict=True):
        small, large = min(site.shape), max(site.shape)
        flops = small**2 * large + eigvalsh(small) + 4 * small * large * k
        total = total + Work({"float64": flops}, _FP32 * small * large)
    return total


def write(sites: Sequence[Site], edits: int, parameter_bytes: int) -> Work:
    """W0 and the sum are read, the sum and the parameter written; the product of the factors."""
    total = NOTHING
    for site in sites:
        size = site.shape[0] * site.shape[1]
        total = total + Work({"float32": 2 * size * edits}, size * (3 * _FP32 + parameter_bytes))
    return total


def moments(cost: Cost, sites: Sequence[Site], lengths: Sequence[int]) -> Work:
    """One pass to the last site's input; half of every symmetric sum, in fp64."""
    total = NOTHING
    depth = max(s.layer for s in sites) + 1
    for length in lengths:
        total = total + cost.forward(length, length, depth)
    tokens = sum(lengths)
    skipped = Work({cost.dtype: -2.0 * cost.mlp_out * tokens})
    sums = Work({"float64": sum(tokens * s.shape[1] ** 2 for s in sites)})
    return total + skipped + sums


def plain_moments(cost: Cost, sites: Sequence[Site], lengths: Sequence[int]) -> Work:
    """A pass to every site's input; whole sums, in fp32."""
    total, tokens = NOTHING, sum(lengths)
    for site in sites:
        total = total + moments(cost, [site], lengths)
        sums = tokens * site.shape[1] ** 2
        total = total + Work({"float64": -sums, "float32": 2.0 * sums})
    return total


def scores(cost: Cost, sequences: Sequence[tuple[tuple[int, ...], int]]) -> Work:
    """Every different input once through the model, the head at scored positions.

    Args:
        cost: Of the model.
        sequences: Tokens, and how many of the last ones are scored.
    """
    wanted: dict[tuple[int, ...], int] = {}
    for tokens, scored in sequences:
        inputs = tokens[:-1]
        wanted[inputs] = max(wanted.get(inputs, 0), scored)
    total = NOTHING
    for inputs, scored in wanted.items():
        total = total + cost.forward(len(inputs), len(inputs), cost.depth) + cost.logits(scored)
    return total


def drift(sites: Sequence[Site], ranks: Sequence[int]) -> Work:
    """One step of subspace iteration on either side of the weight."""
    total = NOTHING
    for site, k in zip(sites, ranks, strict=True):
        size = site.shape[0] * site.shape[1]
        total = total + Work({"float64": 4 * size * k}, _FP32 * size)
    return total


def _matrix(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.ndim == 2)
