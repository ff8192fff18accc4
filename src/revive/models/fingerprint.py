"""Which model this is: a digest of its configuration and of every value of every weight."""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from revive.errors import PrerequisiteError
from revive.models.placement import named_values
from revive.runs.atomic import write_text
from revive.runs.cache import cache_folder

_FORM = "v2"
_WHOLE = re.compile(rf"{_FORM}-[0-9a-f]{{64}}")
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
    return f"{_FORM}-{_over(model, found)}"


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


class KeptFingerprint:
    """The fingerprint of a folder's model, kept until one of its files changes.

    A file counts as changed when its size, its inode or one of its times does; the time of its last
    change of any kind cannot be set back.
    """

    def __init__(self, folder: Path | None, how: Sequence[object]) -> None:
        """Look at the files, before they are read.

        Args:
            folder: Of the model; without one nothing is kept.
            how: All else that values in memory depend on, e.g. the dtype.
        """
        self._folder = folder
        self._how = (*how, transformers.__version__, _FORM)
        self._state = self._look()

    def of(self, model: Any) -> str:
        """The fingerprint of the model that was read from the folder just now."""
        if self._folder is None or self._look() != self._state:
            return model_fingerprint(model)
        path = cache_folder() / "fingerprints" / self._state
        with suppress(OSError, UnicodeDecodeError):
            kept = path.read_text("utf-8")
            if _WHOLE.fullmatch(kept):
                return kept
        found = model_fingerprint(model)
        # A cache that cannot be written to costs time, no more.
        with suppress(OSError, PrerequisiteError):
            write_text(path, found)
        return found

    def _look(self) -> str:
        digest = hashlib.sha256(repr((str(self._folder), *self._how)).encode())
        for line in () if self._folder is None else _stats(self._folder):
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def _stats(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s = path.stat()
            what = (s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev)
            yield f"{path.relative_to(folder)} {what}\n"


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
