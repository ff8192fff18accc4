"""Which model this is: a digest of its configuration and of a sample of every weight."""

import hashlib
import json
from typing import Any

import torch

from revive.models.placement import named_values


def model_fingerprint(model: Any, through: torch.dtype | None = None) -> str:
    """Digest of configuration, names, shapes and up to 4,096 evenly spaced values per weight.

    Computed in fp32, so that the same checkpoint has one fingerprint per dtype it is loaded in,
    wherever its weights are kept. Weights that are on the disk are read one at a time.

    Args:
        model: Of transformers.
        through: A dtype that the values are rounded to first: the digest of the model as saved in
            it.
    """
    digest = hashlib.sha256()
    config = {k: v for k, v in model.config.to_dict().items() if not k.startswith("_")}
    config.pop("transformers_version", None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for key, value in sorted(_sampled(model, through)):
        digest.update(key.encode())
        digest.update(value)
    return digest.hexdigest()


def _sampled(model: Any, through: torch.dtype | None) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []
    for key, value in named_values(model):
        flat = value.reshape(-1)
        sample = flat[:: max(1, flat.numel() // 4096)]
        sample = (sample if through is None else sample.to(through)).float()
        found.append((f"{key}{tuple(value.shape)}", sample.cpu().numpy().tobytes()))
    return found
