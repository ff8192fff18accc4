"""Second moments of whatever a model makes of text: one pass, kept, resumed, shared by processes.

The batches of a pass are cut into chunks, by their number alone. The sum over a chunk begins at
zero, and sums of chunks are added in the order of the text. So the result is the same to the bit
however many processes take part, and wherever the pass was interrupted.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from revive.io.sealed import DamagedError
from revive.io.tensors import load_tensors, save_tensors
from revive.linalg.moments import SecondMoment
from revive.models.experts import Routed
from revive.models.forward.padding import padded
from revive.models.site import Site
from revive.moments.distributed import ALONE, WorkerGroup
from revive.moments.packing import packed, plan_of, tokens_for

_TOKENS_PER_SAVE = 800_000
# As many processes find work; larger chunks would idle them, smaller ones send more sums around.
_CHUNKS, _LARGEST = 32, 200

Vectors = Callable[[Tensor, Tensor], Mapping[str, Tensor | Routed]]
"""From token ids and mask `[rows, length]` to one vector per position and name, `[rows, length,
dim]`, or those that are not zero; padding is left out by who asks."""


def accumulate(
    dims: Mapping[str, int],
    vectors: Vectors,
    rows: Sequence[list[int]],
    *,
    path: Path | None,
    device: torch.device,
    tokens_per_batch: int | None,
    progress: Callable[[int, int], None] | None,
    team: WorkerGroup = ALONE,
) -> dict[str, SecondMoment]:
    """Second moments of whatever `vectors` gives, resumable.

    Args:
        dims: Length of the vectors, by name.
        vectors: What is accumulated.
        rows: Ordinary text, in tokens.
        path: File of finished and partial results; None keeps nothing. Only the first process of a
            team reads and writes it.
        device: Where the model takes its ids.
        window: Tokens per window.
        tokens_per_batch: Padded tokens per forward; None for what the device does best.
        progress: Called with (batches done, batches in all).
        team: Processes that share the pass.

    Returns:
        Moments by name, in the first process; nothing in the others.

    Raises:
        WorkerGroupError: Another process failed, or was lost.
    """
    batches = packed(rows, tokens_per_batch or tokens_for(device))
    plan = plan_of(batches)
    totals = {name: SecondMoment(dim) for name, dim in dims.items()} if team.first else {}
    size = max(1, min(_LARGEST, math.ceil(len(batches) / _CHUNKS)))
    done = team.broadcast(_restore(path, totals, plan, size, len(batches)) if team.first else 0)
    # As large as the sum itself: it lies where the model is, the sum in the host's memory.
    part = {name: SecondMoment(dim) for name, dim in dims.items()} if done < len(batches) else {}
    unsaved = 0
    while done < len(batches):
        starts = range(done, len(batches), size)[: team.size]
        with team.together():
            for moment in part.values():
                moment.clear()
            for start in starts[team.rank : team.rank + 1]:
                for index in range(start, min(start + size, len(batches))):
                    _add(part, vectors, *(t.to(device) for t in padded(batches[index])))
                    if progress is not None:
                        # Of the other processes one knows that they have as much to do.
                        reached = done + (index + 1 - start) * len(starts)
                        progress(min(reached, len(batches)), len(batches))
        team.merge(totals, part, len(starts))
        before, done = done, min(starts[-1] + size, len(batches))
        unsaved += sum(len(batch) * len(batch[-1]) for batch in batches[before:done])
        with team.together():
            finished = done == len(batches)
            due = finished or unsaved >= _TOKENS_PER_SAVE
            if team.first and path is not None and due:
                _save(path, totals, done, plan, finished)
        unsaved = 0 if due else unsaved
    return totals


def _add(moments: Mapping[str, SecondMoment], vectors: Vectors, ids: Tensor, mask: Tensor) -> None:
    real = mask.bool()
    for name, found in vectors(ids, mask).items():
        if isinstance(found, Routed):
            kept = found.keys[real[found.rows, found.positions]]
            moments[name].update(kept, zeros=int(real.sum()) - len(kept))
        else:
            moments[name].update(found[real])


def cache_key(
    kind: str, model_fingerprint: str, rows: Sequence[list[int]], sites: Sequence[Site]
) -> str:
    """What a moment depends on, as a short name for its file."""
    names = [site.key for site in sites]
    digest = hashlib.sha256(repr((kind, model_fingerprint, names)).encode())
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()[:24]


def _save(
    path: Path, moments: Mapping[str, SecondMoment], done: int, plan: Tensor, finished: bool
) -> None:
    tensors = {"done": torch.tensor(done), "plan": plan, "finished": torch.tensor(finished)}
    for key, moment in moments.items():
        tensors.update({f"{key}|{name}": t for name, t in moment.state_dict().items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, tensors)


def _restore(
    path: Path | None, moments: dict[str, SecondMoment], plan: Tensor, size: int, count: int
) -> int:
    """Fill `moments` from the cache; a damaged file, or part of another plan, counts as none."""
    if path is None or not path.exists():
        return 0
    try:
        tensors = load_tensors(path)
    except DamagedError:
        return 0
    done, finished = int(tensors["done"]), bool(tensors.get("finished", False))
    same = "plan" in tensors and torch.equal(tensors["plan"], plan) and done % size == 0
    if not (finished or same):
        return 0
    for key in moments:
        prefix = f"{key}|"
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        moments[key] = SecondMoment.from_state(state)
    return count if finished else done
