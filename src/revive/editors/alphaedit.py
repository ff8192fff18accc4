"""AlphaEdit: updates that ordinary keys do not meet.

Paper: Fang et al., AlphaEdit: Null-Space Constrained Knowledge Editing for Language Models,
arXiv 2410.02355:
    dW = R K^T P (K_p K_p^T P + K K^T P + L2 I)^{-1}
P projects on the input directions whose second moment C = E[k k^T] is small; K_p are the keys of
all edits so far. With G = P K and M = (L2 I + P K_p K_p^T P)^{-1} on that subspace it is
    dW = R (I + G^T M G)^{-1} G^T M
(`linalg/least_squares/base_inverse.py`), solved on n columns; P itself is never formed.

Defaults: L2 10, threshold 0.02 on the eigenvalues of C, the authors' for their three models (their
presets); L2 1 for Qwen2.5-7B (EasyEdit's).

Differs from the paper:
- The threshold is absolute there, and so depends on the scale of a model's keys. Models without a
  preset get `null_space: relative`, see `linalg/least_squares/null_space.py`; `absolute` is the
  published rule.
- The least squares are solved in fp64, the authors' code in fp32.
- Under a guard with `solve: constrained` the constraint holds inside the null space; this is ours.
"""

from typing import ClassVar, Self, final

import torch

from revive.editors.base import EditContext
from revive.editors.least_squares import LeastSquaresEditor
from revive.editors.target_editor import known
from revive.errors import SpecError
from revive.linalg.least_squares.base_inverse import Projected
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.least_squares.null_space import NullSpace
from revive.linalg.moments import SecondMoment
from revive.models.site import Site
from revive.options.editors import AlphaEditOptions

_THRESHOLD = 0.02


@final
class AlphaEdit(LeastSquaresEditor[AlphaEditOptions]):
    """Least squares in the null space of ordinary keys, with the keys of all edits so far."""

    name: ClassVar[str] = "alphaedit"
    paper: ClassVar[str] = "arXiv:2410.02355"
    summary: ClassVar[str] = (
        "updates only along input directions that ordinary keys leave free, with a history"
    )
    options_model = AlphaEditOptions
    history: ClassVar[bool] = True

    def __init__(self, options: AlphaEditOptions) -> None:
        super().__init__(options)
        self._spaces: dict[str, tuple[SecondMoment, NullSpace]] = {}

    def with_options(self, options: AlphaEditOptions) -> Self:
        """A fresh editor; null spaces, an eigendecomposition each, do not depend on L2."""
        other = super().with_options(options)
        if _rule(options) == _rule(self.options):
            other._spaces = self._spaces
        return other

    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """L2 I on the null space.

        Raises:
            SpecError: The threshold leaves no direction.
        """
        moment = context.moments[site.key].value()
        if site.expert is not None and not bool(moment.any()):
            # No ordinary token is sent to this expert: all of it is free.
            free = moment.new_zeros(len(moment), 0, dtype=torch.float64)
            return NormalEquations.of_base(Projected(free, known(self.options.l2, "l2")))
        threshold, how = _rule(self.options)
        source = context.moments[site.key]
        known_of, space = self._spaces.get(site.key, (None, None))
        if space is None or known_of is not source:
            space = (NullSpace.below if how == "absolute" else NullSpace.holding)(moment, threshold)
            self._spaces[site.key] = (source, space)
        if space.kept == 0.0:
            raise SpecError(
                f"editor.threshold: {threshold:g} ({how}) leaves no input "
                f"direction of {site.key} to write to; raise it."
            )
        return NormalEquations.of_base(Projected(space.excluded, known(self.options.l2, "l2")))


def _rule(options: AlphaEditOptions) -> tuple[float, str]:
    """What decides which directions are free."""
    return options.threshold or _THRESHOLD, options.null_space
