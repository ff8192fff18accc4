"""Key second moments of all edited sites, in one pass over text, cached and resumable."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from revive.linalg.moments import SecondMoment
from revive.models.experts import Routed
from revive.models.forward.activation_hooks import inputs_of, routed_inputs_of
from revive.models.forward.runner import BlockRunner
from revive.models.placement import entry_device
from revive.models.site import Site
from revive.moments.distributed import ALONE, WorkerGroup
from revive.moments.packing import windows
from revive.moments.second_moment_pass import accumulate, cache_key


def collect_moments(
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
    team: WorkerGroup = ALONE,
) -> dict[str, SecondMoment]:
    """Accumulate E[k k^T] at every site's input.

    Texts are cut into windows; every real token counts once. Forward passes are `strict`, whatever
    the runner is: what is kept serves runs of either precision. Accumulation is fp64. An expert's
    key is weighted by the router, and zero for tokens that are sent elsewhere: they count too.

    Args:
        runner: The unedited model.
        tokenizer: Its tokenizer.
        sites: Sites whose inputs are wanted.
        texts: Ordinary text.
        cache: Folder for finished and partial results; None keeps nothing.
        model_fingerprint: Part of the cache's key.
        window: Tokens per window.
        tokens_per_batch: Padded tokens per forward; None for 1024 on a CPU and 4096 elsewhere.
        progress: Called with (batches done, batches in all).
        team: Processes that share the pass; each has the model and the text.

    Returns:
        Second moments by key; nothing in other processes of a team than the first.

    Raises:
        WorkerGroupError: Another process failed, or was lost.
        SpecError: The processes read different texts or models.
    """
    strict = runner.at_precision("strict")
    last = max(s.layer for s in sites)
    whole = [s for s in sites if s.expert is None]
    experts = [s for s in sites if s.expert is not None]

    def keys(ids: Tensor, mask: Tensor) -> dict[str, Tensor | Routed]:
        with (
            torch.no_grad(),
            inputs_of(strict, whole) as seen,
            routed_inputs_of(strict, experts) as routed,
        ):
            strict.embed_through(ids, mask, last)
        return {**seen, **routed}

    rows = windows(tokenizer, texts, window)
    key = cache_key("inputs", model_fingerprint, rows, sites)
    team.same(key, "model, text, layers and window")
    return accumulate(
        {s.key: s.shape[1] for s in sites},
        keys,
        rows,
        path=None if cache is None else cache / f"moments-{key}.safetensors",
        device=entry_device(runner.model),
        tokens_per_batch=tokens_per_batch,
        progress=progress,
        team=team,
    )
