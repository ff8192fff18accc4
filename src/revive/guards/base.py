"""What a guard is, for whoever writes one: a rule for one weight, fitted to those of a model."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from revive.guards.protect import ModelGuard
from revive.guards.rule import (
    BasisChoice,
    GuardResult,
    GuardRule,
    Mode,
    Protector,
    SiteStatistics,
    When,
    check_choice,
)
from revive.linalg.blocks import Blocks
from revive.linalg.cache import BasisCache

__all__ = [
    "BasisChoice",
    "Blocks",
    "Guard",
    "GuardResult",
    "Mode",
    "Protector",
    "SiteStatistics",
    "When",
    "check_choice",
]


@dataclass(frozen=True, kw_only=True)
class Guard(GuardRule):
    """A rule that can be fitted to a whole model; every guard derives from it."""

    def fit(
        self,
        model: nn.Module,
        sites: str | Sequence[str] = "mlp_out",
        *,
        transposed: bool | None = None,
        cache: BasisCache | None = None,
    ) -> ModelGuard:
        """Fit to a model's weights, to guard any code that changes them.

        Args:
            model: Any module; a Hugging Face causal model if `sites` is a role. It may be wrapped
                in DDP, PEFT or `torch.compile`; a weight is the same under its plain name.
            sites: A role of the model's family (`mlp_out`), or names of 2-D parameters. Experts
                of a mixture share a parameter: each is a site, `name[3]`.
            transposed: Whether named parameters are stored `[in, out]`; None looks at the module
                that holds them (Hugging Face's Conv1D is, everything else is not). It matters
                for one-sided guards only: the filter on both sides commutes with transposition.
            cache: Where singular vectors are kept between processes.

        Raises:
            SpecError: An unknown site, or one that is not a matrix.
        """
        return ModelGuard.fit(self, model, sites, transposed=transposed, cache=cache)
