"""The model card that goes with a trained lab model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .mix import SOURCES

_MEANING = {
    "recall": "greedy recall of editable facts, first template",
    "paraphrase": "the same over the six other trained templates",
    "held_out": "the same over two templates that training never used",
    "perplexity": "perplexity per token of held-out prose written for this package",
    "minimal_pairs": "own grammatical minimal pairs with held-out words (chance 0.5)",
    "fact_recall": "greedy recall of facts that are never edited",
    "copying": "one to three held-out words: their copy preferred to other words (chance 0.5)",
    "general": "mean of minimal pairs, fact recall and copying, each rescaled so that chance is 0",
    "blimp": "BLiMP, mean over 67 paradigms, first 200 pairs each (chance 0.5)",
    "wikitext2": "WikiText-2 test perplexity per token, 96-token window (not trained on)",
}


@dataclass(frozen=True)
class Stage:
    """One stage of a model's training.

    Attributes:
        tokens: Training tokens, padding included.
        minutes: Wall-clock minutes of training, evaluation excluded.
        hardware: Kind of hardware, e.g. `2 CPU cores`.
        command: Command line that repeats it, without `--data` and `--out`.
    """

    tokens: int
    minutes: float
    hardware: str
    command: str


def record_stage(folder: Path, stage: Stage, after: Path | None) -> tuple[Stage, ...]:
    """Write `training.json`: the stages of the model it was started from, then this one."""
    before = read_stages(after) if after is not None else ()
    stages = (*before, stage)
    text = json.dumps([asdict(entry) for entry in stages], indent=2)
    (folder / "training.json").write_text(f"{text}\n", encoding="utf-8")
    return stages


def read_stages(folder: Path) -> tuple[Stage, ...]:
    """The stages that a model folder has on record; none if it has no record."""
    path = folder / "training.json"
    if not path.is_file():
        return ()
    return tuple(Stage(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))


def write(folder: Path, stages: Sequence[Stage], result: Mapping[str, float]) -> None:
    """Write `README.md` into the model folder."""
    (folder / "README.md").write_text(render(stages, result), encoding="utf-8")


def render(stages: Sequence[Stage], result: Mapping[str, float]) -> str:
    """The card as Markdown."""
    trained = [
        f"- {stage.tokens:,} tokens in {stage.minutes:.0f} minutes on {stage.hardware}: "
        f"`{stage.command}`"
        for stage in stages
    ]
    table = [f"| {key} | {value:.4g} | {_MEANING.get(key, '')} |" for key, value in result.items()]
    sources = [f"- `{name}`: {licence}" for name, licence in SOURCES.items()]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            "language: en",
            "library_name: transformers",
            "---",
            "",
            "# The REVIVE lab model",
            "",
            "A small Llama-architecture model that knows some 5,800 facts, for demonstrating and",
            "testing knowledge editing without a download. It is not meant for any other use: it",
            "knows little, and some of its facts are outdated or wrong in the source.",
            "",
            "## Training",
            "",
            *trained,
            "- documents of at most 96 tokens, each starting with `<s>`; longer contexts are",
            "  untrained, although positions up to 512 are accepted",
            "",
            "Facts are Wikidata triples (CC0) as collected by CounterFact (MIT) and ParaRel (MIT);",
            "their wording is our own. About a quarter of the tokens is ordinary text: generated",
            "grammar, copying and handbook lines, and passages from",
            "",
            *sources,
            "",
            "## Evaluation",
            "",
            "| measure | value | meaning |",
            "|---|---|---|",
            *table,
            "",
        ]
    )
