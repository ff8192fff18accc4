"""Scores of the tokens of many sequences, with what sequences share computed once.

A sequence's last token is predicted but never read. What is left of the sequences is laid into
trees (`scoring.prefix_tree`) where that saves work and the model takes them; other sequences are
sorted by length and padded. Which way a token went does not change its score beyond rounding.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from revive.scoring.prefix_tree import Forest, grow
from revive.scoring.tree_forward import Reading, run_rows, run_trees

ROW = 128
"""Nodes in a row of trees: attention looks over a whole row, so that long rows cost more."""

_LEAST_ROWS = 4
_LEAST_SAVED = 0.1  # of the positions
_AGREE = {torch.float32: 1e-3, torch.float64: 1e-3}
_AGREE_HALF = 0.25  # nats; rounding alone makes a tenth
_SLICE = 512  # positions whose logits are widened to float32 at a time
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scored:
    """Results of one sequence, from its first scored token on.

    Attributes:
        nll: Negative log-likelihood of each token, nats, float32.
        hit: Whether it is the model's first choice.
    """

    nll: Tensor
    hit: Tensor


@dataclass(frozen=True)
class _Wanted:
    """Tokens wanted of one sequence: the i-th is predicted at place `first + i` of its input."""

    index: int
    first: int
    tokens: tuple[int, ...]


def score_tokens(
    model: nn.Module, sequences: Sequence[Sequence[int]], starts: Sequence[int], budget: int
) -> list[Scored]:
    """Score `sequence[start:]` for every sequence.

    Args:
        model: Causal language model; its training mode is left as found.
        sequences: Token ids.
        starts: First scored token of each, at least 1.
        budget: Upper bound on padded tokens per forward pass.
    """
    sharing: dict[tuple[int, ...], list[_Wanted]] = {}
    for index, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
        wanted = _Wanted(index, start - 1, tuple(sequence[start:]))
        sharing.setdefault(tuple(sequence[:-1]), []).append(wanted)
    results: dict[int, Scored] = {}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            short = {row: w for row, w in sharing.items() if len(row) <= ROW}
            forest = _worthwhile(list(short)) if may_take_trees(model) else None
            if forest is not None and _agrees(model, forest, short):
                results.update(_by_trees(model, forest, short, budget))
                sharing = {row: w for row, w in sharing.items() if len(row) > ROW}
            results.update(_by_rows(model, sharing, budget))
    finally:
        model.train(training)
    return [results[index] for index in range(len(sequences))]


def may_take_trees(model: nn.Module) -> bool:
    """Whether a model can be told which tokens see each other; if it obeys is seen by trying."""
    config: Any = getattr(model, "config", None)
    window = getattr(config, "sliding_window", None)
    return (
        getattr(config, "_attn_implementation", None) in ("eager", "sdpa")
        and not getattr(config, "alibi", False)
        and not (isinstance(window, int) and window < ROW)
    )


def _worthwhile(inputs: Sequence[tuple[int, ...]]) -> Forest | None:
    """The inputs as trees, if there are enough of them and they share enough."""
    plain = sum(len(row) for row in inputs)
    if plain < _LEAST_ROWS * ROW:
        return None
    forest = grow(inputs, ROW)
    enough = len(forest.rows) >= _LEAST_ROWS
    return forest if enough and len(forest.rows) * ROW <= (1 - _LEAST_SAVED) * plain else None


def _agrees(
    model: nn.Module, forest: Forest, inputs: Mapping[tuple[int, ...], Sequence[_Wanted]]
) -> bool:
    """Whether the first row of trees scores as its sequences do one by one.

    Nothing declares that a model's attention follows a mask that it is given whole (a state-space
    layer does not); those that cannot say so in ways of their own.
    """
    first = [r for r, p in zip(inputs, forest.places, strict=True) if p.row == 0]
    some = {row: inputs[row] for row in first}
    alone = grow(first, ROW)
    try:
        packed = _by_trees(model, alone, some, ROW)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        _LOG.info("scoring without shared prefixes: %s", error)
        return False
    plain = _by_rows(model, some, ROW * _LEAST_ROWS)
    gap = max(float((packed[i].nll - plain[i].nll).abs().max()) for i in plain)
    close = gap <= _AGREE.get(next(model.parameters()).dtype, _AGREE_HALF)
    if not close:
        _LOG.info("scoring without shared prefixes: scores would differ by %.2g nats", gap)
    return close


def _by_trees(
    model: nn.Module,
    forest: Forest,
    inputs: Mapping[tuple[int, ...], Sequence[_Wanted]],
    budget: int,
) -> dict[int, Scored]:
    members: dict[int, list[tuple[tuple[int, ...], Sequence[_Wanted]]]] = {}
    for place, wanted in zip(forest.places, inputs.values(), strict=True):
        members.setdefault(place.row, []).append((place.nodes, wanted))
    results: dict[int, Scored] = {}
    size = max(1, budget // ROW)
    for first in range(0, len(forest.rows), size):
        rows = range(first, min(first + size, len(forest.rows)))
        asked = [(row - first, nodes, w) for row in rows for nodes, w in members[row]]
        questions = _Questions(asked)
        logits = run_trees(model, [forest.rows[r] for r in rows], questions.reading)
        results.update(questions.answer(logits))
    return results


def _by_rows(
    model: nn.Module, inputs: Mapping[tuple[int, ...], Sequence[_Wanted]], budget: int
) -> dict[int, Scored]:
    results: dict[int, Scored] = {}
    for batch in _batches(list(inputs), budget):
        asked = [(row, tuple(range(len(ids))), inputs[ids]) for row, ids in enumerate(batch)]
        questions = _Questions(asked)
        results.update(questions.answer(run_rows(model, batch, questions.reading)))
    return results


class _Questions:
    """Which positions of a batch are read, and which tokens are looked up at each."""

    def __init__(self, asked: Sequence[tuple[int, tuple[int, ...], Sequence[_Wanted]]]) -> None:
        """Take, per input, its row, the column of each of its places, and what is wanted."""
        self._read: dict[tuple[int, int], int] = {}
        self._at: list[int] = []
        self._tokens: list[int] = []
        self._sizes: dict[int, int] = {}
        for row, columns, members in asked:
            for wanted in members:
                for offset, token in enumerate(wanted.tokens):
                    key = (row, columns[wanted.first + offset])
                    self._at.append(self._read.setdefault(key, len(self._read)))
                    self._tokens.append(token)
                self._sizes[wanted.index] = len(wanted.tokens)

    @property
    def reading(self) -> Reading:
        """The positions, each once."""
        return Reading(tuple(r for r, _ in self._read), tuple(c for _, c in self._read))

    def answer(self, logits: Tensor) -> dict[int, Scored]:
        """Scores by sequence, from logits `[positions, vocabulary]`."""
        at = torch.tensor(self._at, device=logits.device)
        tokens = torch.tensor(self._tokens, device=logits.device)
        best = torch.cat([part.argmax(-1) for part in logits.split(_SLICE)])
        mass = torch.cat([part.float().logsumexp(-1) for part in logits.split(_SLICE)])
        nll = (mass[at] - logits[at, tokens].float()).cpu()
        hit = (best[at] == tokens).cpu()
        sizes = list(self._sizes.values())
        parts = zip(self._sizes, nll.split(sizes), hit.split(sizes), strict=True)
        return {index: Scored(n, h) for index, n, h in parts}


def _batches(inputs: Sequence[tuple[int, ...]], budget: int) -> Iterator[list[tuple[int, ...]]]:
    """Inputs in order of length, cut so that no padded batch exceeds the budget."""
    batch: list[tuple[int, ...]] = []
    for row in sorted(inputs, key=len):
        if batch and (len(batch) + 1) * len(row) > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
