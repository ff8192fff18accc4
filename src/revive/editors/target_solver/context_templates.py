"""Contexts: short texts that stand before a prompt, generated once and seeded.

MEMIT optimises and reads a subject's representation in several contexts (arXiv 2210.07229,
section 4.2 and its code: 10-token continuations of five openers, top-k 5). Published code draws
them from global randomness; here they depend on the seed alone.
"""

from typing import Any

import torch

from revive.errors import NumericalError
from revive.models.placement import entry_device

OPENERS = ("The", "Therefore", "Because", "I", "You")


def generate_context_templates(
    model: Any, tokenizer: Any, *, count: int = 5, length: int = 10, top_k: int = 5, seed: int = 0
) -> tuple[str, ...]:
    """Continue the openers by sampling.

    Args:
        model: A causal language model, unedited.
        tokenizer: Its tokenizer.
        count: How many contexts, in the order of `OPENERS` and around again.
        length: New tokens per context.
        top_k: Sample among this many most likely tokens.
        seed: Seed of the sampling.

    Returns:
        `count` texts, with `{` and `}` removed (they are place holders elsewhere).

    Raises:
        NumericalError: The model answers with NaN.
    """
    generator = torch.Generator().manual_seed(seed)
    device = entry_device(model)
    texts: list[str] = []
    for index in range(count):
        ids = list(tokenizer(OPENERS[index % len(OPENERS)])["input_ids"])
        if ids and ids[-1] == tokenizer.eos_token_id and len(ids) > 1:
            ids.pop()
        for _ in range(length):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([ids], device=device)).logits[0, -1]
            logits = logits.float().cpu()
            for special in tokenizer.all_special_ids:
                logits[special] = float("-inf")
            values, tokens = logits.topk(top_k)
            if bool(values.isnan().any()):
                raise NumericalError(
                    "model: it answers with NaN before any edit; load an intact checkpoint, or "
                    "another model.dtype."
                )
            choice = torch.multinomial(values.softmax(dim=0), 1, generator=generator)
            ids.append(int(tokens[choice]))
        text = tokenizer.decode(ids, skip_special_tokens=True)
        texts.append(" ".join(text.replace("{", "").replace("}", "").split()))
    return tuple(texts)
