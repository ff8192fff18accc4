"""Build the lab model's byte-level BPE tokenizer."""

import random
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from revive.lab.facts import Fact

BOS, END = "<s>", "</s>"
VOCABULARY = 6144  # tokens; small, since the embedding is a large part of a small model
_OBJECT_REPEATS = 60  # makes nearly every answer one or two tokens


def build(facts: Iterable[Fact], text: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the training mix with the answers up-weighted.

    A prefix space makes a name the same tokens at the start of a prompt as inside one, and a
    post-processor prepends `<s>`, as Llama's does.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(_lines(facts, text), trainer)
    core.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)]
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=END,
        pad_token=END,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def _lines(facts: Iterable[Fact], text: Iterable[str]) -> list[str]:
    lines = list(text)
    facts = list(facts)
    objects = sorted({fact.object for fact in facts})
    lines += [target for target in objects for _ in range(_OBJECT_REPEATS)]
    lines += [fact.subject for fact in facts for _ in range(8)]
    random.Random("tokenizer").shuffle(lines)
    return lines
