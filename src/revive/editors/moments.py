"""Key second moments of all edited sites, in one pass over text, cached and resumable."""

import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from revive.editors.packing import packed, padded, plan_of, tokens_for, windows
from revive.linalg.moments import SecondMoment
from revive.models.experts import Routed
from revive.models.placement import entry_device
from revive.models.runner import BlockRunner
from revive.models.site import Site
from revive.runs.store import save_tensors

_TOKENS_PER_SAVE = 800_000


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
) -> dict[str, SecondMoment]:
    """Accumulate E[k k^T] at every site's input.

    Texts are cut into windows; every real token counts once. Accumulation is fp64. An expert's key
    is weighted by the router, and zero for tokens that are sent elsewhere: they count too.

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

    Returns:
        Second moments by key.
    """
    last = max(s.layer for s in sites)
    whole = [s for s in sites if s.expert is None]
    experts = [s for s in sites if s.expert is not None]

    def keys(ids: Tensor, mask: Tensor) -> dict[str, Tensor | Routed]:
        with (
            torch.no_grad(),
            runner.inputs_of(whole) as seen,
            runner.routed_inputs_of(experts) as routed,
        ):
            runner.embed_through(ids, mask, last)
        return {**seen, **routed}

    key = cache_key("keys", model_fingerprint, texts, sites, window)
    return accumulate(
        {s.key: s.shape[1] for s in sites},
        keys,
        tokenizer,
        texts,
        path=None if cache is None else cache / f"moments-{key}.safetensors",
        device=entry_device(runner.model),
        window=window,
        tokens_per_batch=tokens_per_batch,
        progress=progress,
    )


def accumulate(
    dims: Mapping[str, int],
    vectors: Callable[[Tensor, Tensor], Mapping[str, Tensor | Routed]],
    tokenizer: Any,
    texts: Sequence[str],
    *,
    path: Path | None,
    device: torch.device,
    window: int,
    tokens_per_batch: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, SecondMoment]:
    """Second moments of whatever `vectors` gives, resumable.

    Args:
        dims: Length of the vectors, by name.
        vectors: From token ids and mask `[rows, length]` to one vector per position and name,
            `[rows, length, dim]`, or those that are not zero; padding is left out here.
        tokenizer: Of the model.
        texts: Ordinary text.
        path: File of finished and partial results; None keeps nothing.
        device: Where the model takes its ids.
        window: Tokens per window.
        tokens_per_batch: Padded tokens per forward; None for what the device does best.
        progress: Called with (batches done, batches in all).
    """
    moments = {name: SecondMoment(dim) for name, dim in dims.items()}
    rows = windows(tokenizer, texts, window)
    batches = packed(rows, tokens_per_batch or tokens_for(device))
    plan = plan_of(batches)
    done = min(_restore(path, moments, plan), len(batches))
    unsaved = 0
    for index in range(done, len(batches)):
        ids, mask = (t.to(device) for t in padded(batches[index]))
        real = mask.bool()
        for name, found in vectors(ids, mask).items():
            if isinstance(found, Routed):
                kept = found.keys[real[found.rows, found.positions]]
                moments[name].update(kept, zeros=int(real.sum()) - len(kept))
            else:
                moments[name].update(found[real])
        finished = index + 1 == len(batches)
        unsaved += ids.numel()
        if path is not None and (finished or unsaved >= _TOKENS_PER_SAVE):
            _save(path, moments, index + 1, plan, finished)
            unsaved = 0
        if progress is not None:
            progress(index + 1, len(batches))
    return moments


def cache_key(
    kind: str, model_fingerprint: str, texts: Sequence[str], sites: Sequence[Site], window: int
) -> str:
    """What a moment depends on, as a short name for its file."""
    digest = hashlib.sha256(f"{kind}|{model_fingerprint}|{window}|{len(texts)}".encode())
    for site in sites:
        digest.update(site.key.encode())
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def _save(
    path: Path, moments: dict[str, SecondMoment], done: int, plan: Tensor, finished: bool
) -> None:
    tensors = {"done": torch.tensor(done), "plan": plan, "finished": torch.tensor(finished)}
    for key, moment in moments.items():
        tensors.update({f"{key}|{name}": t for name, t in moment.state_dict().items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, tensors)


def _restore(path: Path | None, moments: dict[str, SecondMoment], plan: Tensor) -> int:
    """Fill `moments` from the cache; a damaged file, or part of another plan, counts as none."""
    if path is None or not path.exists():
        return 0
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError):
        return 0
    if "plan" not in tensors or not (tensors["finished"] or torch.equal(tensors["plan"], plan)):
        return 0
    for key in moments:
        prefix = f"{key}|"
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        moments[key] = SecondMoment.from_state(state)
    return sys.maxsize if tensors["finished"] else int(tensors["done"])
