"""What the machine can do, measured in the same process and with the same threads as the rest."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import torch

_T = TypeVar("_T")

_SIZE = {"cpu": 1536, "cuda": 8192}
_BYTES = {"cpu": 1 << 27, "cuda": 1 << 30}
DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Machine:
    """Measured rates.

    Attributes:
        matmul: Floating point operations per second of a large square product, by dtype.
        bandwidth: Bytes read and written per second by a copy of a tensor beyond the caches.
        launch: Seconds of the smallest operation: what a step that does little cannot go below.
    """

    matmul: dict[str, float]
    bandwidth: float
    launch: float

    def change(self, later: "Machine") -> float:
        """Largest relative difference between two measurements: of a quiet machine, a few percent.

        Rates of a machine that does other work are no floor: what was timed while it did less may
        come out below.
        """
        before = [*self.matmul.values(), self.bandwidth]
        after = [*later.matmul.values(), later.bandwidth]
        return max(abs(a - b) / max(a, b) for a, b in zip(before, after, strict=True))

    def fastest(self, later: "Machine") -> "Machine":
        """The better of two measurements."""
        return Machine(
            {k: max(v, later.matmul[k]) for k, v in self.matmul.items()},
            max(self.bandwidth, later.bandwidth),
            min(self.launch, later.launch),
        )


def measure(device: torch.device, dtypes: tuple[str, ...], *, quick: bool = False) -> Machine:
    """Measure; the best of several repetitions, since a floor is what is possible."""
    size, volume = (256, 1 << 22) if quick else (_SIZE[device.type], _BYTES[device.type])
    repetitions = 3 if quick else 8
    rates: dict[str, float] = {}
    for name in dtypes:
        a = torch.randn(size, size, device=device).to(DTYPES[name])
        b = torch.randn(size, size, device=device).to(DTYPES[name])
        rates[name] = 2 * size**3 / best(lambda a=a, b=b: a @ b, device, repetitions)
    source = torch.zeros(volume // 4, device=device)
    target = torch.zeros_like(source)
    copied = 2 * volume / best(lambda: target.copy_(source), device, repetitions)
    one = torch.zeros(1, device=device)
    return Machine(rates, copied, best(lambda: one.add_(1.0), device, 50))


def best(work: Callable[[], object], device: torch.device, repetitions: int) -> float:
    """Shortest time of several, after one that does not count."""
    work()
    return min(timed(work, device)[1] for _ in range(repetitions))


def typical(work: Callable[[], _T], device: torch.device, repetitions: int = 5) -> tuple[_T, float]:
    """A result and the median of several times: of what takes less than a second."""
    runs = [timed(work, device) for _ in range(repetitions)]
    return runs[-1][0], median(seconds for _, seconds in runs)


def timed(work: Callable[[], _T], device: torch.device) -> tuple[_T, float]:
    """A result and the seconds until it was there."""
    _settle(device)
    started = time.perf_counter()
    result = work()
    _settle(device)
    return result, time.perf_counter() - started


def fastest(work: Callable[[], _T], device: torch.device) -> tuple[_T, float]:
    """A result and the fewer seconds of two; the other result is gone before it begins again."""
    seconds = timed(work, device)[1]
    result, again = timed(work, device)
    return result, min(seconds, again)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
