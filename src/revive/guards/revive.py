"""REVIVE: keep every update out of the dominant singular directions of the pretrained weight.

Paper: Spectral Characterization and Mitigation of Sequential Knowledge Editing Collapse,
arXiv 2601.11042, section on the method:
    dW_safe = (I - U_k U_k^T) dW (I - V_k V_k^T)

Defaults: energy 0.1 (the paper's tau), both sides, the original weight's basis, filtering inside
the layer loop.

Differs from the paper:
- The text takes the original weight's basis, the appendix the current one's; `basis` offers both.
- `solve: constrained` has editors solve their least squares under the constraint. This is ours.
- Ties at the cut are protected whole, see `linalg/basis.py`.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import Tensor

from revive.errors import SpecError
from revive.guards.base import check_choice
from revive.guards.spectral import SpectralGuard, SubspaceProtector
from revive.linalg.blocks import Sides
from revive.linalg.cache import BasisCache


@final
@dataclass(frozen=True, kw_only=True)
class Revive(SpectralGuard):
    """Removes from every update whatever touches the dominant singular directions.

    Attributes:
        sides: `both`, or only output directions (`left`) or input directions (`right`).
        solve: `posthoc` cuts the editor's solution; `constrained` asks the editor to solve under
            the constraint, and cuts only what rounding leaves.
    """

    name: ClassVar[str] = "revive"
    paper: ClassVar[str] = "arXiv:2601.11042"
    summary: ClassVar[str] = "no update touches the dominant singular directions of the weight"

    sides: Sides = "both"
    solve: Literal["posthoc", "constrained"] = "posthoc"

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        super().__post_init__()
        check_choice("sides", self.sides, ("both", "left", "right"))
        check_choice("solve", self.solve, ("posthoc", "constrained"))
        if self.constrained and self.sides != "both":
            raise SpecError(
                f"guard.solve: constrained works on both sides, not on {self.sides!r} alone; "
                "set sides: both or solve: posthoc."
            )

    @property
    def constrained(self) -> bool:
        """Whether editors should solve under the constraint."""
        return self.solve == "constrained"

    def protector(
        self, weight: Tensor, key: str, *, cache: BasisCache | None = None
    ) -> SubspaceProtector:
        """Fit to one weight `[d_out, d_in]`."""
        return SubspaceProtector(self.dominant(weight, cache), self.sides)
