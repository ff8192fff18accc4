"""What an edited model is asked after it was written somewhere: its edits, and other text."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from revive.data.edits import Edit
from revive.data.encoding import encode_prompts, encode_targets
from revive.data.prompts import Prompt, Prompts
from revive.export.llama_cpp import Asked
from revive.models.forward.precision import products
from revive.models.loading import LoadedModel
from revive.run_folder.edit_table import read_table
from revive.run_folder.journal import Journal
from revive.run_folder.store import RunFolder
from revive.run_folder.summary import removed, standing
from revive.runs.final_answers import ANSWERED
from revive.runs.identity import check_edits
from revive.runs.rebuild import RebuiltModel
from revive.scoring.score import score_targets
from revive.spec.edit_stream import ordered, read_edits
from revive.texts.package import package_passages

_OPENINGS = 50
_WORDS = 8


@dataclass(frozen=True)
class Questions:
    """Edits that stand in a model, and the beginnings of ordinary text.

    Attributes:
        edits: At most `ANSWERED` of them.
        stand: How many there are.
        prompts: What llama.cpp reads for each.
        targets: The tokens that each shall answer with.
        openings: Beginnings of text that no edit is about, each to be continued by a token.
    """

    edits: tuple[Edit, ...]
    stand: int
    prompts: tuple[Asked, ...]
    targets: tuple[tuple[int, ...], ...]
    openings: tuple[Asked, ...]

    def reached(self, answers: Sequence[tuple[int, ...]]) -> int:
        """How many edits are answered with their new target."""
        return sum(
            answer[: len(target)] == target
            for answer, target in zip(answers, self.targets, strict=True)
        )


def questions(folder: Path, rebuilt: RebuiltModel) -> Questions:
    """What to ask the model of a run.

    Args:
        folder: The run folder.
        rebuilt: The run's model at some batch.

    Raises:
        SpecError: The run's edits are not there any more, or are others.
    """
    run = RunFolder.open(folder)
    events = Journal.read(run.journal)
    read = read_edits(rebuilt.spec)
    check_edits(run, events, read)
    stream = ordered(rebuilt.spec, read)
    stand = stream.standing(stream.count(rebuilt.step), removed(standing(events)))
    known = table_of(folder, rebuilt)
    chosen = [edit for edit in stand if edit.id in known] or list(stand)
    if len(chosen) > ANSWERED:
        drawn = random.Random(f"{rebuilt.spec.seed}:export").sample(range(len(chosen)), ANSWERED)
        chosen = [chosen[i] for i in sorted(drawn)]
    tokenizer = rebuilt.loaded.tokenizer
    asked = [*map(Prompts(tokenizer).of, chosen)]
    encoded = encode_targets(tokenizer, asked, [edit.target_new for edit in chosen])
    return Questions(
        tuple(chosen),
        len(stand),
        tuple(
            Asked(e.ids[: e.first] if p.chat else p.text, e.first, len(e.ids) - e.first)
            for p, e in zip(asked, encoded, strict=True)
        ),
        tuple(e.ids[e.first :] for e in encoded),
        _openings(tokenizer),
    )


def _openings(tokenizer: Any) -> tuple[Asked, ...]:
    texts = [" ".join(passage.split()[:_WORDS]) for passage in package_passages()[:_OPENINGS]]
    read = encode_prompts(tokenizer, [Prompt(text) for text in texts])
    return tuple(Asked(text, len(ids), 1) for text, ids in zip(texts, read, strict=True))


def table_of(folder: Path, rebuilt: RebuiltModel) -> Mapping[str, bool]:
    """By id, whether an edit answered when the run ended; empty for another batch than its last."""
    committed = [e["step"] for e in standing(Journal.read(RunFolder.open(folder).journal))]
    if rebuilt.step != max(committed, default=0):
        return {}
    return {row.id: row.reached for row in read_table(folder).rows if row.reached is not None}


def reached_before(folder: Path, rebuilt: RebuiltModel, asked: Questions) -> int:
    """How many of the edits the model answers as the run made it.

    The run's own table says it; where it has none, the model in memory is asked.
    """
    known = table_of(folder, rebuilt)
    if all(edit.id in known for edit in asked.edits):
        return sum(known[edit.id] for edit in asked.edits)
    return reached_by(rebuilt.loaded, asked, rebuilt.spec.model.precision)


def reached_by(loaded: LoadedModel, asked: Questions, precision: Any) -> int:
    """How many of the edits a model in memory answers."""
    prompts = [*map(Prompts(loaded.tokenizer).of, asked.edits)]
    targets = [edit.target_new for edit in asked.edits]
    with products(precision):
        return int(score_targets(loaded.model, loaded.tokenizer, prompts, targets).exact.sum())
