"""One line of the result."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.machine import Machine
from benchmarks.work import Work


@dataclass(frozen=True)
class Row:
    """One part, timed.

    Attributes:
        part: Its name.
        seconds: Ours.
        needed: Work of the exact method.
        excess: Operations that were really done over those needed, for the same input; None where
            they were not counted.
        plain: Seconds of the plain reference for the same amount; None without one.
        plain_needed: Work of the reference, where its own floor is of interest.
        scaled: What the reference was timed on, if not on the same amount.
        difference: Relative difference of the two results.
        tolerance: Largest that is accepted.
        note: Anything else.
    """

    part: str
    seconds: float
    needed: Work
    excess: float | None = None
    plain: float | None = None
    scaled: str = ""
    difference: float | None = None
    tolerance: float | None = None
    note: str = ""
    plain_needed: Work | None = None

    def __post_init__(self) -> None:
        """Refuse a comparison of unequal results."""
        if self.difference is not None and self.tolerance is not None:
            assert self.difference <= self.tolerance, (
                f"{self.part}: differs from the plain reference by {self.difference:.2e}, more "
                f"than {self.tolerance:.0e}; times of unequal results say nothing."
            )

    def as_dict(self, machine: Machine, batch: float) -> dict[str, Any]:
        """Plain data, with everything that follows from the measured rates."""
        floor = self.needed.floor(machine)
        rate = machine.matmul["float32"] if not self.needed.flops else self._rate(machine)
        return {
            **{k: v for k, v in asdict(self).items() if k not in ("needed", "plain_needed")},
            "needed_flops": self.needed.flops,
            "needed_bytes": self.needed.bytes,
            "floor": floor.seconds,
            "bound": floor.bound,
            "over_floor": self.seconds / floor.seconds,
            "share_of_matmul_rate": self.needed.total / self.seconds / rate,
            "speedup": None if self.plain is None else self.plain / self.seconds,
            "speedup_of_floors": None
            if self.plain_needed is None
            else self.plain_needed.floor(machine).seconds / floor.seconds,
            "share_of_batch": self.seconds / batch if batch else None,
        }

    def _rate(self, machine: Machine) -> float:
        """The rate of this mix of dtypes."""
        total = self.needed.total
        seconds = sum(v / machine.matmul[k] for k, v in self.needed.flops.items())
        return total / seconds if seconds else machine.matmul["float32"]


def relative(actual: Any, expected: Any) -> float:
    """||a - b|| / ||b|| in fp64."""
    a, b = actual.double(), expected.double().to(actual.device)
    return float((a - b).norm() / b.norm())
