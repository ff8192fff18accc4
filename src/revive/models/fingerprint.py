"""Which model this is: a digest of its configuration and of every value of every weight."""

import hashlib
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor

from revive.models.placement import named_values

FORM = "v2"
_WHOLE = re.compile(rf"{FORM}-[0-9a-f]{{64}}")
_CHUNK = 1 << 22  # values that are hashed at a time; part of the digest
_SAMPLE = 4096


def model_fingerprint(model: Any, through: torch.dtype | None = None) -> str:
    """Digest of configuration, names, shapes and all values: any value that changes, changes it.

    Computed in fp32 (float64 as it is), so that the same checkpoint has one fingerprint per dtype
    it is loaded in, wherever its weights are kept. Weights on the disk are read one at a time.

    Args:
        model: Of transformers.
        through: A dtype that the values are rounded to first: the digest of the model as saved in
            it.

    Returns:
        `v2-` and 64 hexadecimal digits of SHA-256.
    """
    found: list[tuple[str, bytes]] = []
    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        for key, value in named_values(model):
            parts = value.reshape(-1).split(_CHUNK)
            digests = pool.map(partial(_digest, through=through), parts)
            found.append((f"{key}{tuple(value.shape)}", b"".join(digests)))
    return f"{FORM}-{_over(model, found)}"


def is_sample(known: str) -> bool:
    """Whether a fingerprint is one that older versions wrote, of a sample of every weight."""
    return not _WHOLE.fullmatch(known)


def is_model(model: Any, known: str) -> bool:
    """Whether a model is the one with a fingerprint, also one that an older version wrote."""
    known_of = sampled_fingerprint if is_sample(known) else model_fingerprint
    return known_of(model) == known


def sampled_fingerprint(model: Any) -> str:
    """What older versions called a fingerprint: up to 4,096 evenly spaced values per weight."""
    found: list[tuple[str, bytes]] = []
    for key, value in named_values(model):
        flat = value.reshape(-1)
        sample = flat[:: max(1, flat.numel() // _SAMPLE)].float()
        found.append((f"{key}{tuple(value.shape)}", sample.cpu().numpy().tobytes()))
    return _over(model, found)


def _digest(part: Tensor, *, through: torch.dtype | None) -> bytes:
    part = part if through is None else part.to(through)
    part = part.cpu() if part.dtype == torch.float64 else part.float().cpu()
    return hashlib.sha256(part.contiguous().numpy().data).digest()


def _over(model: Any, found: Sequence[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    config = {k: v for k, v in model.config.to_dict().items() if not k.startswith("_")}
    config.pop("transformers_version", None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for key, value in sorted(found):
        digest.update(key.encode())
        digest.update(value)
    return digest.hexdigest()
