"""Learning-rate schedule: short warm-up, flat, linear decay."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Step-based schedule.

    Attributes:
        peak: Highest learning rate.
        steps: Optimizer steps in all.
        warmup: Share of steps that rise linearly to the peak.
        flat: Share of steps after which decay starts; recall jumps during the decay.
        floor: Final learning rate as a share of the peak.
    """

    peak: float
    steps: int
    warmup: float = 0.03
    flat: float = 0.3
    floor: float = 0.01

    def rate(self, step: int) -> float:
        """Learning rate of the 0-based step."""
        done = (step + 1) / self.steps
        if done <= self.warmup:
            return self.peak * done / self.warmup
        if done <= self.flat:
            return self.peak
        left = (1 - done) / (1 - self.flat)
        return self.peak * max(self.floor, left)
