"""What the model writes when nobody holds its hand: fluency, consistency, repetition, answers.

Fluency and consistency are ROME's (arXiv 2202.05262, section 3.4 and its code): top-5 samples of
100 tokens, prompt included, from the edit's generation prompts; texts are NFKD-normalised and their
blank lines closed before anything is counted. Other than there, the draws are seeded, and special
tokens are left out of the text. Answers are greedy; an edit whose answer only looks right token by
token, each after the right ones, does not count here.
"""

import hashlib
import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from revive.data.edits import Edit
from revive.data.prompts import Prompt, Prompts
from revive.errors import SpecError
from revive.paths import read_text
from revive.probes.base import Measurement, Probe, ProbeContext, edits_digest
from revive.probes.edit_scores import EditScores, shares
from revive.probes.generate import generate
from revive.probes.text_metrics import (
    DEGENERATE,
    TfIdf,
    begins_with,
    fluency,
    is_answer,
    repetition,
)

_POINTS = 100.0
_BEYOND = 8  # tokens after the longest answer: enough to see whether a word goes on


@dataclass(frozen=True)
class GenerationSettings:
    """How texts are generated.

    Attributes:
        length: Tokens of a text, its prompt included; in a chat, of the answer.
        top_k: Sample among so many.
        prompts: Generation prompts per edit at most.
        rows: Prompts in a batch.
    """

    length: int = 100
    top_k: int = 5
    prompts: int = 10
    rows: int = 32


@dataclass(frozen=True)
class _Answer:
    """A place where the model answers, and what would be right."""

    prompt: Prompt
    answers: tuple[str, ...]


def score_generation(
    model: Any,
    tokenizer: Any,
    edits: Sequence[Edit],
    settings: GenerationSettings,
    *,
    made: Sequence[Edit] | None = None,
    corpus: Sequence[str] = (),
    seed: int = 0,
) -> EditScores:
    """Generate from every edit and score the texts.

    Args:
        model: Causal language model.
        tokenizer: Its tokenizer.
        edits: What is scored.
        settings: How texts are generated.
        made: All edits that are in the model, if `edits` is a part of them.
        corpus: Documents that TF-IDF weights are taken from; the edits' references if empty.
        seed: Of the draws.
    """
    written = _texts(model, tokenizer, edits, settings, seed)
    weights = TfIdf.fit(list(corpus) or [text for e in edits for text in e.references])
    likeness = [
        [weights.similarity(" ".join(texts), " ".join(e.references))] if e.references else []
        for e, texts in zip(edits, written, strict=True)
    ]
    there = {(e.text, e.target_new) for e in (edits if made is None else made)}
    read = Prompts(tokenizer).of
    new = [(_without_marks(tokenizer, e.target_new),) for e in edits]
    own = [[_Answer(read(e), wanted)] for e, wanted in zip(edits, new, strict=True)]
    paraphrases = [
        [_Answer(read(e, p), wanted) for p in e.paraphrases]
        for e, wanted in zip(edits, new, strict=True)
    ]
    neighbors = [[_Answer(read(e, n.prompt), (n.target,)) for n in e.neighborhood] for e in edits]
    ported = [[_Answer(read(e, q.prompt), q.answers) for q in e.portability] for e in edits]
    chains = [
        [
            [_Answer(read(e, q), c.answers) for q in c.questions]
            for c in e.multi_hop
            if there >= {*c.needs}
        ]
        for e in edits
    ]
    asked = [a for group in (*own, *paraphrases, *neighbors, *ported) for a in group]
    asked += [a for group in chains for chain in group for a in chain]
    said = _said(model, tokenizer, asked, settings.rows)

    def begins(answer: _Answer) -> float:
        return float(begins_with(said[answer.prompt], answer.answers))

    def whole(answer: _Answer) -> float:
        return float(is_answer(said[answer.prompt], answer.answers))

    def answered(chain: Sequence[_Answer]) -> float:
        return max(begins(answer) for answer in chain)

    return EditScores(
        {
            "fluency": shares(written, lambda text: _POINTS * fluency(text)),
            "consistency": shares(likeness, lambda value: _POINTS * value),
            "repetition": shares(written, repetition),
            "degenerate": shares(written, lambda text: float(repetition(text) >= DEGENERATE)),
            "efficacy_generated": shares(own, begins),
            "efficacy_whole": shares(own, whole),
            "paraphrase_generated": shares(paraphrases, begins),
            "neighborhood_generated": shares(neighbors, begins),
            "portability_generated": shares(ported, begins),
            "multi_hop_generated": shares(chains, answered),
        }
    )


@final
class GenerationProbe(Probe):
    """Fluency, consistency, repetition and generated answers, on a sample of the edits so far."""

    name: ClassVar[str] = "generation"
    summary: ClassVar[str] = "fluency, consistency, repetition and freely generated answers"

    def __init__(
        self,
        sample: int | None = 100,
        length: int = 100,
        top_k: int = 5,
        prompts: int = 10,
        rows: int = 32,
        corpus: str | None = None,
    ) -> None:
        """Set up.

        Args:
            sample: Measure this many edits, drawn by seed; None measures all.
            length: Tokens of a text, its prompt included.
            top_k: Sample among so many.
            prompts: Generation prompts per edit at most.
            rows: Prompts in a batch.
            corpus: A text file whose paragraphs are the documents that TF-IDF weights are taken
                from; without one they come from the references of the measured edits.

        Raises:
            SpecError: The corpus cannot be read.
        """
        self.sample = sample
        self.settings = GenerationSettings(length, top_k, prompts, rows)
        self._corpus = () if corpus is None else _paragraphs(corpus)

    def measure(self, context: ProbeContext) -> Measurement:
        """Generate from all edits so far, or a sample of them."""
        edits = list(context.edits)
        if not edits:
            return Measurement({})
        if self.sample is not None and self.sample < len(edits):
            rng = random.Random(f"{context.seed}:{len(edits)}")
            edits = [edits[i] for i in sorted(rng.sample(range(len(edits)), self.sample))]
        scores = score_generation(
            context.model,
            context.tokenizer,
            edits,
            self.settings,
            made=context.edits,
            corpus=self._corpus,
            seed=context.seed,
        )
        return Measurement(
            scores.metrics(),
            intervals=scores.intervals(context.seed),
            outcomes=scores.outcomes([edit.id for edit in edits]),
        )

    def depends_on(self, context: ProbeContext) -> Mapping[str, Any]:
        """The edits, the seed, the settings and the corpus."""
        return {
            "edits": edits_digest(context.edits),
            "seed": context.seed,
            "sample": self.sample,
            "settings": repr(self.settings),
            "corpus": hashlib.sha256("\0".join(self._corpus).encode()).hexdigest(),
        }


def _texts(
    model: Any, tokenizer: Any, edits: Sequence[Edit], settings: GenerationSettings, seed: int
) -> list[list[str]]:
    """Generated texts by edit; an edit without generation prompts is continued from its own.

    In a chat they are the model's messages: what the template puts around a message, and the end of
    it, are no part of a text.
    """
    read = Prompts(tokenizer).of
    prompts = [
        [read(e, p) for p in (e.generation_prompts or (e.text,))[: settings.prompts]] for e in edits
    ]
    flat = [prompt for group in prompts for prompt in group]
    texts: dict[int, str] = {}
    for chat, size in ((False, "length"), (True, "new_tokens")):
        places = [i for i, prompt in enumerate(flat) if prompt.chat == chat]
        made = generate(
            model,
            tokenizer,
            [flat[i] for i in places],
            **{size: settings.length},
            top_k=settings.top_k,
            seed=seed,
            rows=settings.rows,
        )
        written = (text.continuation if chat else text.text for text in made)
        texts.update(zip(places, written, strict=True))
    found = iter(_cleaned(texts[i]) for i in range(len(flat)))
    return [[next(found) for _ in group] for group in prompts]


def _cleaned(text: str) -> str:
    return unicodedata.normalize("NFKD", text).replace("\n\n", " ")


def _without_marks(tokenizer: Any, target: str) -> str:
    """A target without the end of a turn that it may ask for: what is generated is read so, too."""
    for mark in tokenizer.all_special_tokens:
        target = target.replace(mark, "")
    return target


def _said(model: Any, tokenizer: Any, asked: Sequence[_Answer], rows: int) -> dict[Prompt, str]:
    """What the model says to each prompt."""
    prompts = list(dict.fromkeys(a.prompt for a in asked))
    answers = {a.prompt.continuation(answer) for a in asked for answer in a.answers}
    longest = max(len(tokenizer(a, add_special_tokens=False)["input_ids"]) for a in answers)
    made = generate(model, tokenizer, prompts, new_tokens=longest + _BEYOND, rows=rows)
    return {prompt: text.continuation for prompt, text in zip(prompts, made, strict=True)}


def _paragraphs(path: str) -> tuple[str, ...]:
    text = read_text(path, "probes.generation.corpus")
    found = tuple(p.strip() for p in text.split("\n\n") if p.strip())
    if not found:
        raise SpecError(f"probes.generation.corpus: {path} is empty; name a text.")
    return found
