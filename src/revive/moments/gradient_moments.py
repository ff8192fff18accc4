"""Second moments of the loss's gradient at the outputs of all edited sites, in one pass over text.

E[g g^T] with g the gradient of the summed next-token loss with respect to the output of an edited
projection: the directions in which a change of that output changes what the model says. Cached and
resumable like key moments.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revive.linalg.moments import SecondMoment
from revive.models.forward.activation_hooks import gradients_at
from revive.models.forward.frozen import gradients_through
from revive.models.forward.runner import BlockRunner
from revive.models.placement import entry_device
from revive.models.site import Site
from revive.moments.packing import windows
from revive.moments.second_moment_pass import accumulate, cache_key


def collect_gradients(
    runner: BlockRunner,
    tokenizer: Any,
    sites: Sequence[Site],
    texts: Sequence[str],
    *,
    cache: Path | None = None,
    model_fingerprint: str = "",
    window: int = 128,
    tokens_per_batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SecondMoment]:
    """Accumulate E[g g^T] at every site's output; arguments as in `collect_moments`.

    Positions whose next token is unknown (the last of a window) count with what later positions
    make of them, which is nothing: their gradient is zero.
    """
    rows = windows(tokenizer, texts, window)
    key = cache_key("gradients", model_fingerprint, rows, sites)
    strict = runner.at_precision("strict")
    with gradients_through(strict):
        return accumulate(
            {s.key: s.shape[0] for s in sites},
            lambda ids, mask: _gradients(strict, sites, ids, mask),
            rows,
            path=None if cache is None else cache / f"gradients-{key}.safetensors",
            device=entry_device(runner.model),
            tokens_per_batch=tokens_per_batch,
            progress=progress,
        )


def _gradients(
    runner: BlockRunner, sites: Sequence[Site], ids: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    predicts = mask[:, 1:].bool()
    with gradients_at(runner, sites) as gradients:
        hidden = runner.states(ids, mask)
        logits = runner.family.logits(runner.model, hidden[:, :-1][predicts.to(hidden.device)])
        labels = ids[:, 1:][predicts].to(logits.device)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        log_p = torch.log_softmax(wide, dim=-1)
        return gradients(-log_p.gather(1, labels[:, None]).sum())
