"""ENCORE: MEMIT-seq whose updates stay short and whose targets stop early.

Paper: Gupta et al., Lifelong Sequential Knowledge Editing without Model Degradation,
arXiv 2502.01636:
    dW = R K^T (lambda C + lambda_F I + K_p K_p^T + K K^T)^{-1}
lambda_F is the weight of ||dW||_F^2 in the objective. The target's optimisation ends as soon as
its tokens rank first in all rewriting rows ("most-probable early stopping").

Defaults: lambda_F 10 for GPT2-XL and GPT-J, 20 for Llama-3-8B (their presets), as published.

Differs from the paper:
- A target also stops below `stop_loss`, as everywhere here.
- A model without a published value gets lambda_F by rule, see `EncoreOptions`.
"""

from dataclasses import replace
from typing import ClassVar, final

from revive.editors.base import EditContext
from revive.editors.least_squares import LeastSquaresEditor, moment_at
from revive.editors.target_editor import known, target_settings
from revive.editors.target_solver.target_settings import TargetSettings
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.models.site import Site
from revive.options.editors import EncoreOptions

_SHARE = 0.1


@final
class Encore(LeastSquaresEditor[EncoreOptions]):
    """MEMIT with history, norm penalty and early stop."""

    name: ClassVar[str] = "encore"
    paper: ClassVar[str] = "arXiv:2502.01636"
    summary: ClassVar[str] = (
        "MEMIT with a history, a penalty on the update's norm, and targets that stop early"
    )
    options_model = EncoreOptions
    history: ClassVar[bool] = True

    def equations(self, site: Site, context: EditContext) -> NormalEquations:
        """Lambda C + lambda_F I."""
        moment = moment_at(site, context)
        ridge = known(self.options.ridge, "ridge")
        extra = self.options.extra_ridge
        if extra is None:
            extra = _SHARE * ridge * float(moment.diagonal().double().mean())
        return NormalEquations(moment, ridge, extra_ridge=extra)

    def target_settings(self, layer: int) -> TargetSettings:
        """MEMIT's, with the early stop."""
        settings = target_settings(self.options, layer)
        if self.options.stop == "first-rank" and settings.stop_margin is None:
            settings = replace(settings, stop_margin=0.0)
        return settings
