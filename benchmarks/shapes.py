"""The models that are timed: their shapes, weights, and edits of realistic length.

What a step costs depends on shapes and lengths, not on what the weights know, so most weights are
random; how many steps a target takes does depend on it, and is timed on SmolLM2. A vocabulary of
made-up words stands in for a tokenizer, and the lengths follow CounterFact under GPT-2's: a prompt
of about ten tokens, a subject of one to five that ends two or three before the prompt does, and a
target of one or two.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from revive.assembly.fit_settings import trial_edits
from revive.data.edits import Edit, Neighbor
from revive.data.order import order_edits
from revive.data.readers import load_edits
from revive.lab.corpus import sentences
from revive.models.family import family_for
from revive.models.loading import LoadedModel, load_model, model_fingerprint
from revive.options.editors import MemitOptions
from revive.presets.facts import model_facts
from revive.presets.rule import options_by_rule
from revive.sources.model_config import read_model_config
from revive.texts.package import package_passages

_SEED = 0
_PASSAGE = 128
_REAL = "smollm2"
_COUNTERFACT = "data/counterfact/counterfact_exact_1000.json"


@dataclass(frozen=True)
class Shape:
    """One model and how much of everything is timed on it.

    Attributes:
        name: As given on the command line.
        about: One line.
        model: Makes the model; a random one takes its dtype and device.
        options: Of MEMIT-seq.
        edits: Size of the timed batch.
        reference: Edits that the plain way is timed on; its time is scaled to `edits`.
        passages: Passages of `passage` tokens that moments are collected from. Of fewer tokens than
            a key has entries the moment is singular, and no two solvers agree.
        own: Settings that the package itself takes for this model, timed besides; None where they
            would say nothing, of random weights.
        every_layer: Whether moments of all layers are timed too.
    """

    name: str
    about: str
    model: Callable[[str, torch.device], LoadedModel]
    options: MemitOptions
    edits: int
    reference: int
    passages: int
    own: Callable[[], MemitOptions] | None = None
    every_layer: bool = True


def _gpt2(layers: int, width: int, heads: int, vocabulary: int) -> Callable[..., LoadedModel]:
    def build(dtype: str, device: torch.device) -> LoadedModel:
        config = GPT2Config(
            vocab_size=vocabulary,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            bos_token_id=0,
            eos_token_id=0,
        )
        return _random("GPT2LMHeadModel", GPT2LMHeadModel, config, dtype, device)

    return build


def _llama(**sizes: Any) -> Callable[..., LoadedModel]:
    def build(dtype: str, device: torch.device) -> LoadedModel:
        config = LlamaConfig(
            **sizes,
            bos_token_id=0,
            eos_token_id=0,
        )
        return _random("LlamaForCausalLM", LlamaForCausalLM, config, dtype, device)

    return build


def _random(name: str, kind: Any, config: Any, dtype: str, device: torch.device) -> LoadedModel:
    torch.manual_seed(_SEED)
    if device.type == "cpu":
        config._attn_implementation = "eager"  # as `load_model` has it
    with torch.device(device):
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            model = kind(config).eval()
        finally:
            torch.set_default_dtype(before)
    words = word_tokenizer(config.vocab_size)
    return LoadedModel(name, model, words, family_for((name,)), model_fingerprint(model))


def _smollm2(dtype: str, device: torch.device) -> LoadedModel:
    return load_model(_REAL, dtype=dtype, device=str(device))


def _lab(dtype: str, device: torch.device) -> LoadedModel:
    return load_model("lab", dtype=dtype, device=str(device))


def _options(layers: list[int], **more: Any) -> MemitOptions:
    common: dict[str, Any] = {
        "weight_decay": 0.5,
        "kl_factor": 0.0625,
        "clamp": 0.75,
        "ridge": 15_000.0,
    }
    # No target stops early: the time of a batch does not hang on what random weights can learn.
    return MemitOptions(layers=layers, **{**common, "stop_loss": 0.0, **more})


def _rule() -> MemitOptions:
    """What the package takes for SmolLM2 where nobody says anything."""
    facts = model_facts(read_model_config(_REAL))
    return MemitOptions.model_validate(options_by_rule(facts))


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            "tiny",
            "a random GPT-2 of 3 blocks, for `--quick`",
            _gpt2(3, 32, 4, 300),
            _options([0, 1], steps=4, lr=0.05, contexts=2, context_length=4),
            edits=6,
            reference=3,
            passages=4,
        ),
        Shape(
            "lab",
            "the embedded lab model (a Llama of 22 M parameters), its own facts",
            _lab,
            _options(
                [0, 5], steps=14, lr=10.0, weight_decay=0.05, clamp=3.0, ridge=300.0, contexts=1
            ),
            edits=100,
            reference=8,
            passages=64,
        ),
        Shape(
            "gpt2",
            "GPT-2 124M: random weights, real shape and vocabulary size",
            _gpt2(12, 768, 12, 50_257),
            _options([3, 4, 5], steps=20, lr=0.5),
            edits=100,
            reference=2,
            passages=24,
        ),
        Shape(
            "gpt2-xl",
            "GPT-2 XL: random weights, real shape; few edits and steps",
            _gpt2(48, 1600, 25, 50_257),
            _options([13, 14, 15, 16, 17], steps=3, lr=0.5),
            edits=4,
            reference=1,
            passages=56,
        ),
        Shape(
            "llama-3-8b",
            "Llama-3-8B: random weights, real shape and vocabulary size; needs a GPU",
            _llama(
                vocab_size=128_256,
                hidden_size=4096,
                intermediate_size=14_336,
                num_hidden_layers=32,
                num_attention_heads=32,
                num_key_value_heads=8,
            ),
            _options([4, 5, 6, 7, 8], steps=25, lr=0.1),
            edits=100,
            reference=2,
            passages=256,
        ),
        Shape(
            "smollm2",
            "SmolLM2-135M-Instruct itself, CounterFact's records, ordinary text",
            _smollm2,
            # As published for Llama, with the step of 0.5 that this model's states ask for.
            _options([4, 5, 6, 7, 8], steps=25, lr=0.5, stop_loss=0.05, ridge=150.0),
            edits=100,
            reference=2,
            passages=475,
            own=_rule,
            every_layer=False,
        ),
    )
}


def word_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """One token per word; the words are `<s>`, `w1`, `w2`, ..."""
    words = {"<s>": 0, **{f"w{i}": i for i in range(1, vocabulary)}}
    tokenizer = Tokenizer(models.WordLevel(vocab=words, unk_token="<s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>", pad_token="<s>"
    )


def edits_of(shape: Shape, loaded: LoadedModel, count: int) -> tuple[Edit, ...]:
    """The batch: CounterFact's records, the lab's own facts, or made-up ones of like lengths.

    Where CounterFact is not beside the repository, the package's trial edits, again and again.
    """
    if shape.name == _REAL:
        path = Path(__file__).resolve().parents[2] / "shared" / _COUNTERFACT
        if path.exists():
            return load_edits(path, limit=count, on_conflict="last").edits
        few = itertools.islice(itertools.cycle(trial_edits()), count)
        return tuple(replace(edit, id=f"{edit.id}-{number}") for number, edit in enumerate(few))
    if shape.name == "lab":
        return order_edits(load_edits("lab", limit=count, seed=_SEED).edits, "random", _SEED)
    draw = random.Random(_SEED)
    return tuple(_edit(draw, number, len(loaded.tokenizer)) for number in range(count))


def texts_of(shape: Shape, loaded: LoadedModel) -> list[str]:
    """Ordinary text for moments; made-up passages are no longer than the window of 128 tokens."""
    if shape.name == _REAL:
        return list(itertools.islice(itertools.cycle(package_passages()), shape.passages))
    if shape.name == "lab":
        return sentences(_SEED, 8 * shape.passages)
    draw = random.Random(_SEED)
    return [_words(draw, _PASSAGE, len(loaded.tokenizer)) for _ in range(shape.passages)]


def _words(draw: random.Random, count: int, vocabulary: int) -> str:
    return " ".join(f"w{draw.randrange(1, vocabulary)}" for _ in range(count))


def _edit(draw: random.Random, number: int, vocabulary: int) -> Edit:
    def words(low: int, high: int) -> str:
        return _words(draw, draw.randint(low, high), vocabulary)

    subject = words(1, 5)
    before, after = (words(0, 5), words(1, 4))
    return Edit(
        prompt=f"{before} {{}} {after}".strip(),
        subject=subject,
        target_new=words(1, 2),
        target_true=words(1, 2),
        paraphrases=tuple(f"{words(8, 12)} {subject} {words(2, 3)}" for _ in range(2)),
        neighborhood=tuple(Neighbor(f"{words(6, 10)}", words(1, 1)) for _ in range(4)),
        id=f"edit-{number}",
    )
