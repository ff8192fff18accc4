"""Pack documents into rows of fixed length."""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revive.lab.copying import vocabulary
from revive.lab.facts import Fact

from .mix import Mix, Piece, drill_pieces, fact_passes, line_pieces, skill_lines

_OPEN_ROWS = 48  # best fit over this many rows wastes about two per cent


class Encoder:
    """Turn pieces into (token, weight) pairs; remembers pieces, which repeat often."""

    def __init__(self, tokenizer: object) -> None:
        self._backend = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
        self._seen: dict[str, list[int]] = {}

    def __call__(self, pieces: Iterable[Piece]) -> list[tuple[int, float]]:
        """Tokens without BOS. Word-level pre-tokenization makes pieces join without a seam."""
        return [(token, weight) for text, weight in pieces for token in self._ids(text)]

    def _ids(self, text: str) -> list[int]:
        if text == ".":
            # A lone full stop would otherwise receive the tokenizer's prefix space.
            return [self._backend.token_to_id(".")]
        if text not in self._seen:
            self._seen[text] = self._backend.encode(text, add_special_tokens=False).ids
        return self._seen[text]


@dataclass(frozen=True)
class Rows:
    """Packed training data.

    Attributes:
        tokens: [rows, length] token ids.
        weights: [rows, length] loss weight of each token as a target; 0 for BOS and padding.
        documents: [rows, length] index of the document within its row; -1 for padding.
        positions: [rows, length] position within the document.
    """

    tokens: Tensor
    weights: Tensor
    documents: Tensor
    positions: Tensor

    def to(self, device: torch.device) -> "Rows":
        """All of them on a device, where they are so few that no step need wait for a copy."""
        fields = (self.tokens, self.weights, self.documents, self.positions)
        return Rows(*(field.to(device) for field in fields))

    def part(self, first: int, last: int) -> "Rows":
        """The rows from `first` up to `last`."""
        fields = (self.tokens, self.weights, self.documents, self.positions)
        return Rows(*(field[first:last] for field in fields))


Document = list[tuple[int, float]]


def documents(
    facts: Sequence[Fact],
    passages: Sequence[str],
    mix: Mix,
    encoder: Encoder,
    seed: int,
    bos: int,
    longest: int,
) -> Iterator[Document]:
    """Interleave facts and ordinary lines so that token shares follow the mix throughout."""
    rng = random.Random(f"documents {seed}")
    shares = {
        "text": mix.text,
        "handbook": mix.handbook,
        "grammar": mix.grammar,
        "copying": mix.copying,
        "drill": mix.drill,
    }
    supply: dict[str, Iterator[list[Piece]]] = {
        kind: map(line_pieces, skill_lines(kind, seed))
        for kind in ("handbook", "grammar", "copying")
    }
    supply["text"] = map(line_pieces, _cycle(passages))
    supply["drill"] = drill_pieces(vocabulary(passages), seed)
    spent = dict.fromkeys(shares, 0)
    total = 0
    start = (bos, 0.0)
    document: Document = [start]
    for pieces in fact_passes(facts, mix.exposures, rng):
        sentence = encoder(pieces)
        total += len(sentence)
        if len(document) > 1 and (
            rng.random() >= mix.joined or len(document) + len(sentence) > longest
        ):
            yield document
            document = [start]
        document += sentence
        for kind, share in shares.items():
            while spent[kind] < share * total:
                line = encoder(next(supply[kind]))[: longest - 1]
                spent[kind] += len(line)
                total += len(line)
                short = len(line) <= longest // 3 and len(document) + len(line) <= longest
                if short and rng.random() < mix.joined:
                    document += line
                else:
                    yield [start, *line]
    yield document


def pack(stream: Iterable[Document], length: int, padding: int) -> Rows:
    """Best-fit the documents into rows of `length` tokens."""
    done: list[list[Document]] = []
    open_rows: list[tuple[int, list[Document]]] = []
    for document in stream:
        fits = [item for item in enumerate(open_rows) if item[1][0] + len(document) <= length]
        if fits:
            index, (used, row) = max(fits, key=lambda item: item[1][0])
            row.append(document)
            open_rows[index] = (used + len(document), row)
            continue
        if len(open_rows) == _OPEN_ROWS:
            fullest = max(range(_OPEN_ROWS), key=lambda index: open_rows[index][0])
            done.append(open_rows.pop(fullest)[1])
        open_rows.append((len(document), [document]))
    done += [row for _, row in open_rows]
    return _rows(done, length, padding)


def _rows(packed: Sequence[Sequence[Document]], length: int, padding: int) -> Rows:
    shape = (len(packed), length)
    tokens = torch.full(shape, padding, dtype=torch.int32)
    weights = torch.zeros(shape)
    numbers = torch.full(shape, -1, dtype=torch.int8)
    positions = torch.zeros(shape, dtype=torch.int16)
    for row, content in enumerate(packed):
        at = 0
        for number, document in enumerate(content):
            end = at + len(document)
            tokens[row, at:end] = torch.tensor([token for token, _ in document])
            weights[row, at:end] = torch.tensor([weight for _, weight in document])
            numbers[row, at:end] = number
            positions[row, at:end] = torch.arange(end - at)
            at = end
    return Rows(tokens, weights, numbers, positions)


def _cycle(passages: Sequence[str]) -> Iterator[str]:
    if not passages:
        raise ValueError("no source passages to train on; the texts under --data are empty")
    while True:
        yield from passages
