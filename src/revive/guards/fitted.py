"""A guard fitted to several weights at once."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import overload

from torch import Tensor

from revive.errors import SpecError
from revive.guards.rule import GuardResult, GuardRule, Protector, SiteStatistics
from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Blocks
from revive.linalg.cache import BasisCache
from revive.linalg.least_squares.output_metric import OutputMetric
from revive.linalg.lowrank import LowRank

Weights = Callable[[str], Tensor]


@dataclass(frozen=True)
class Later:
    """A weight whose protector is made when it is first needed: one of many experts.

    Attributes:
        shape: `(d_out, d_in)`.
        read: Gives the weight, canonical; the same whenever it is called.
    """

    shape: tuple[int, int]
    read: Callable[[], Tensor]


class FittedGuard:
    """One protector per site, by its key."""

    def __init__(
        self,
        guard: GuardRule,
        weights: Mapping[str, Tensor | Later],
        *,
        transposed: frozenset[str] = frozenset(),
        statistics: Mapping[str, SiteStatistics] | None = None,
        cache: BasisCache | None = None,
    ) -> None:
        """Fit `guard` to every weight.

        Args:
            guard: The settings.
            weights: Canonical `[d_out, d_in]` weights by key; not kept.
            transposed: Names whose parameter is stored `[in, out]`; `filter` takes such updates
                as they are stored.
            statistics: What ordinary text says of each site, for guards that weigh by it.
            cache: Where singular vectors are kept between processes.
        """
        self.guard = guard
        self._statistics = statistics or {}
        self._cache = cache
        self._transposed = transposed
        self._shapes = {key: (w.shape[0], w.shape[1]) for key, w in weights.items()}
        self._later = {key: w for key, w in weights.items() if isinstance(w, Later)}
        now = {key: w for key, w in weights.items() if not isinstance(w, Later)}
        self._protectors: dict[str, Protector] = {
            key: guard.protector(weight, key, cache=cache) for key, weight in now.items()
        }
        self._metrics = {key: self._metric(key, weight) for key, weight in now.items()}

    @property
    def keys(self) -> tuple[str, ...]:
        """Guarded parameter names, in the order they were given."""
        return tuple(self._shapes)

    def protector(self, key: str) -> Protector:
        """The protector of one site, as last fitted."""
        if self._known(key) not in self._protectors:
            weight = self._later[key].read()
            self._protectors[key] = self.guard.protector(weight, key, cache=self._cache)
        return self._protectors[key]

    def basis(self, key: str) -> SpectralBasis | None:
        """The directions that one site's protector last used."""
        return self.protector(key).basis

    def bases(self) -> dict[str, SpectralBasis]:
        """All that are fitted, by key."""
        return {key: p.basis for key, p in self._protectors.items() if p.basis is not None}

    def metrics(self) -> dict[str, OutputMetric]:
        """The worth of output directions, by key, where the guard weighs them."""
        return {key: m for key, m in self._metrics.items() if m is not None}

    def refit(self, key: str, weight: Tensor) -> None:
        """Fit one site's protector to the weight `[d_out, d_in]` as it stands."""
        self._check(key, tuple(weight.shape))
        before = self.protector(key)
        self._protectors[key] = self.guard.refitted(before, weight, key)
        if self._protectors[key] is not before:
            self._metrics[key] = self._metric(key, weight)

    def filter_factors(
        self,
        update: LowRank,
        key: str,
        *,
        weight: Weights | None = None,
        active: bool = True,
    ) -> GuardResult:
        """Filter one site's update, canonical orientation, and account for it.

        Args:
            update: `[d_out, d_in]` as factors.
            key: The site's parameter name.
            weight: Gives the current weight of a site; needed by guards that follow it.
            active: False lets the update through unaltered (a trial pass).

        Raises:
            SpecError: An unknown site, another shape, or no weight where one is needed.
        """
        self._check(key, update.shape)
        if not active:
            basis = self.basis(key)
            return GuardResult(update, Blocks.none(), 0 if basis is None else basis.rank)
        self._follow(key, weight)
        return self.protector(key).filter(update)

    @overload
    def filter(self, delta: LowRank, site: str, *, weight: Weights | None = None) -> LowRank: ...
    @overload
    def filter(self, delta: Tensor, site: str, *, weight: Weights | None = None) -> Tensor: ...
    @overload
    def filter(
        self, delta: tuple[Tensor, Tensor], site: str, *, weight: Weights | None = None
    ) -> tuple[Tensor, Tensor]: ...
    def filter(
        self,
        delta: LowRank | Tensor | tuple[Tensor, Tensor],
        site: str,
        *,
        weight: Weights | None = None,
    ) -> LowRank | Tensor | tuple[Tensor, Tensor]:
        """The bare operation: what may be added to one parameter, in the form it came in.

        Args:
            delta: Change of the parameter **as it is stored**: dense, or factors whose product it
                is, as a pair or as `LowRank`.
            site: The parameter's name.
            weight: Gives the current canonical weight; needed by guards that follow it.

        Raises:
            SpecError: An unknown site, another shape, or no weight where one is needed.
        """
        if isinstance(delta, tuple):
            safe = self.filter(LowRank(*delta), site, weight=weight)
            return safe.left, safe.right
        flip = self._known(site) in self._transposed
        if isinstance(delta, LowRank):
            update = _transpose(delta) if flip else delta
            safe = self.filter_factors(update, site, weight=weight).update
            return _transpose(safe) if flip else safe
        update = delta.T if flip else delta
        self._check(site, tuple(update.shape))
        self._follow(site, weight)
        safe = self.protector(site).filter_dense(update)
        return safe.T if flip else safe

    def _follow(self, key: str, weight: Weights | None) -> None:
        if not self.guard.follows:
            return
        if weight is None:
            raise SpecError(
                f"guard: {self.guard.name} needs the weight of {key} as it stands; pass weight=, "
                "or set basis: original where it has one."
            )
        self.refit(key, weight(key))

    def _metric(self, key: str, weight: Tensor) -> OutputMetric | None:
        return self.guard.metric(weight, key, self._statistics.get(key, SiteStatistics()))

    def _check(self, key: str, shape: tuple[int, ...]) -> None:
        expected = self._shapes[self._known(key)]
        if shape != expected:
            raise SpecError(
                f"guard: update of {key} has shape {shape}, its weight {expected} (output by "
                "input features)."
            )

    def _known(self, key: str) -> str:
        if key in self._shapes:
            return key
        raise SpecError(unknown_site(key, self._shapes))


def unknown_site(key: str, known: Mapping[str, object]) -> str:
    """One line about a site that is not there, with the nearest one that is."""
    near = difflib.get_close_matches(key, list(known), n=1)
    if near:
        return f"guard: no site {key!r}; did you mean {near[0]!r}?"
    some = ", ".join(list(known)[:3])
    return f"guard: no site {key!r}; there are {len(known)}, such as {some}."


def _transpose(x: LowRank) -> LowRank:
    return LowRank(x.right.T, x.left.T)
