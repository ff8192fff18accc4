"""What a run ran on, as far as its numbers may depend on it. Imports none of what it names."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = (
    "revive-edit",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pydantic",
)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def environment(
    *,
    model_fingerprint: str,
    device: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Versions, hardware and the model's fingerprint. No host, user or path names.

    Args:
        model_fingerprint: Digest of the unedited model.
        device: Where the model ran, where known, e.g. `cuda:0 NVIDIA H200`.
        threads: Number of torch's CPU threads, where known.
    """
    import psutil

    return {
        "model_fingerprint": model_fingerprint,
        "versions": {name: _version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": device,
        "threads": threads,
        "thread_variables": {name: os.environ.get(name) for name in _THREADS},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
