"""What a run ran on, as far as its numbers may depend on it. Imports none of what it names."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
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
    stored_as: str = "",
    device: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Versions, hardware and the model's fingerprint. No host, user or path names.

    Args:
        model_fingerprint: Digest of the unedited model.
        stored_as: What its file was rounded to, in words, where it was.
        device: Where the model ran, where known, e.g. `cuda:0 NVIDIA H200`.
        threads: Number of torch's CPU threads, where known.
    """
    import psutil

    return {
        "model_fingerprint": model_fingerprint,
        "model_stored_as": stored_as,
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


def memory_peaks() -> dict[str, int]:
    """Most memory that this process has held so far, bytes; on GPUs too, where it uses any."""
    peaks = {"peak_memory_bytes": peak_memory()}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        peaks["peak_gpu_memory_bytes"] = sum(torch.cuda.max_memory_allocated(d) for d in devices)
    return peaks


def peak_memory() -> int:
    """Peak resident memory of this process, bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's ru_maxrss begins with the peak of whoever started the process.
        line = next(x for x in status.read_text("ascii").splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource  # Unix only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
