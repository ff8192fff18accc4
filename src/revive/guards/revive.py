"""REVIVE: keep every update out of the dominant singular directions of the pretrained weight.

Paper: Spectral Characterization and Mitigation of Sequential Knowledge Editing Collapse,
arXiv 2601.11042, section on the method:
    dW_safe = (I - U_k U_k^T) dW (I - V_k V_k^T)

Defaults: energy 0.1 (the paper's tau), both sides, the original weight's basis, filtering inside
the layer loop.

Differs from the paper:
- The text takes the original weight's basis, the appendix the current one's; `basis` offers both.
- `solve: constrained` has editors solve their least squares under the constraint, `weighted` with
  a price on output directions that grows with their singular value. Both are ours, see
  `linalg/least_squares/normal_equations.py` and `linalg/least_squares/output_metric.py`.
- Ties at the cut are protected whole, see `linalg/basis.py`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor

from revive.errors import SpecError
from revive.guards.base import Mode, Protector, SiteStatistics, check_choice
from revive.guards.spectral import PassProtector, SpectralGuard, SubspaceProtector
from revive.linalg.blocks import Sides
from revive.linalg.cache import BasisCache
from revive.linalg.least_squares.output_metric import OutputMetric


@final
@dataclass(frozen=True, kw_only=True)
class Revive(SpectralGuard):
    """Removes from every update whatever touches the dominant singular directions.

    Attributes:
        sides: `both`, or only output directions (`left`) or input directions (`right`).
        solve: `posthoc` cuts the editor's solution; `constrained` asks the editor to solve under
            the constraint, and cuts only what rounding leaves; `weighted` protects no direction
            wholly, but has the editor's least squares pay more for output directions of more
            worth (`energy` then only says what is measured).
        power: Of `weighted`: the price is (worth / median worth)^power; 0 is no guard.
        weigh: Of `weighted`: the worth of an output direction is its singular value in the weight
            (`singular`), its size on ordinary inputs (`inputs`), or that of the loss's gradient
            (`gradients`).
    """

    name: ClassVar[str] = "revive"
    paper: ClassVar[str] = "arXiv:2601.11042"
    summary: ClassVar[str] = "no update touches the dominant singular directions of the weight"

    sides: Sides = "both"
    solve: Mode = "posthoc"
    power: float = 2.0
    weigh: Literal["singular", "inputs", "gradients"] = "singular"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        check_choice("sides", self.sides, ("both", "left", "right"))
        check_choice("solve", self.solve, ("posthoc", "constrained", "weighted"))
        check_choice("weigh", self.weigh, ("singular", "inputs", "gradients"))
        if not (0.0 <= self.power < float("inf")):
            raise SpecError(f"guard.power: {self.power} is no exponent; give 0 or more.")
        if self.solve != "posthoc" and self.sides != "both":
            raise SpecError(
                f"guard.solve: {self.solve} has its own sides, not {self.sides!r}; set sides: both "
                "or solve: posthoc."
            )
        if self.solve != "posthoc" and self.when == "batch":
            raise SpecError(
                f"guard.solve: {self.solve} happens inside the layer loop; set when: layer."
            )

    @property
    def mode(self) -> Mode:
        """How editors solve."""
        return self.solve

    @property
    def needs_gradients(self) -> bool:
        """Whether directions are weighed by gradients."""
        return self.solve == "weighted" and self.weigh == "gradients"

    def protector(self, weight: Tensor, key: str, *, cache: BasisCache | None = None) -> Protector:
        """Fit to one weight `[d_out, d_in]`."""
        basis = self.dominant(weight, key, cache)
        if self.solve == "weighted":
            return PassProtector(basis)
        return SubspaceProtector(basis, self.sides)

    def metric(self, weight: Tensor, key: str, statistics: SiteStatistics) -> OutputMetric | None:
        """The price of the weight's output directions, `solve: weighted` only."""
        if self.solve != "weighted":
            return None
        if self.weigh == "singular":
            return OutputMetric.of_weight(weight, self.power)
        if self.weigh == "inputs":
            inputs = _given(statistics.inputs, key, "a second moment of its inputs")
            return OutputMetric.of_inputs(weight, inputs, self.power)
        gradients = _given(statistics.gradients, key, "a second moment of its gradients")
        return OutputMetric.of_moment(gradients.to(weight.device), self.power)


def _given(moment: Tensor | None, key: str, what: str) -> Tensor:
    if moment is None:
        raise SpecError(f"guard: {key} needs {what} to be weighed; a run collects it from text.")
    return moment
