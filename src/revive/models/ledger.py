"""The ledger: the only writer of edited weights.

It holds fp32 `W0` and the fp32 sum of updates per site. A write rounds `W0 + sum` once into the
model's dtype: updates added in place to bf16 weights would fall back into the protected subspace
and lose part of themselves in rounding.

Of a mixture's experts only those that were written to are held: until then the model itself holds
their `W0`, and most of a few hundred are never met.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from revive.errors import NumericalError, SpecError
from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank
from revive.models.family import read_weight, write_weight
from revive.models.placement import bring_in
from revive.models.site import Site


@dataclass(frozen=True, slots=True)
class Written:
    """What one commit really did to the model's parameter.

    Attributes:
        applied: Frobenius norm of the realised change.
        rounding: Norm of (realised - asked) over the norm asked.
        leak: Share of the realised change's energy inside the protected blocks.
    """

    applied: float
    rounding: float
    leak: float


class Ledger:
    """fp32 truth of the edited weights of one model."""

    def __init__(self, model: nn.Module, sites: Sequence[Site]) -> None:
        """Take the model's weights as `W0`; under a device map they are kept in memory from now on.

        Raises:
            NumericalError: A weight holds NaN or infinity.
            SpecError: A weight is stored quantised, or has no value.
        """
        bring_in(model, [site.parameter for site in sites])
        self.model = model
        self.sites = {site.key: site for site in sites}
        whole = {key: site for key, site in self.sites.items() if site.expert is None}
        self._w0 = {key: read_weight(model, site) for key, site in whole.items()}
        self._sum = {key: torch.zeros_like(weight) for key, weight in self._w0.items()}
        self._saved: dict[str, Tensor] | None = None
        for name in dict.fromkeys(site.parameter for site in sites):
            if not bool(torch.isfinite(model.get_parameter(name)).all()):
                raise NumericalError(
                    f"model: weight {name} holds NaN or infinity; load an intact checkpoint."
                )

    @property
    def used(self) -> tuple[str, ...]:
        """Sites that count: all but those experts that no update has changed."""
        return tuple(
            key
            for key, site in self.sites.items()
            if site.expert is None or (key in self._sum and bool(self._sum[key].any()))
        )

    def original(self, key: str) -> Tensor:
        """`W0`, canonical `[d_out, d_in]`, fp32 (fp64 for an fp64 model). Do not modify."""
        site = self.sites[self._known(key)]
        return self._w0[key] if key in self._w0 else read_weight(self.model, site)

    def delta(self, key: str) -> Tensor:
        """Sum of all committed updates. Do not modify."""
        known = self._sum.get(self._known(key))
        return torch.zeros_like(self.original(key)) if known is None else known

    def weight(self, key: str) -> Tensor:
        """`W0 + sum of updates`, unrounded."""
        return self.original(key) + self.delta(key)

    def commit(self, key: str, update: LowRank, basis: SpectralBasis | None = None) -> Written:
        """Add one update and write the weight.

        Args:
            key: The site's key.
            update: What to add, canonical orientation.
            basis: Protected directions to measure the realised leak against.

        Raises:
            NumericalError: The update holds NaN or infinity; nothing is changed.
        """
        site = self.sites[self._known(key)]
        if not update.finite():
            raise NumericalError(
                f"update of {key} holds NaN or infinity; nothing was written. A larger ridge or a "
                "smaller learning rate of the target solver usually helps."
            )
        before = read_weight(self.model, site)
        self._hold(key)
        total = self._sum[key]
        if self._saved is not None and key not in self._saved:
            self._saved[key] = total.clone()
        total.addmm_(
            update.left.to(total.device, total.dtype), update.right.to(total.device, total.dtype)
        )
        write_weight(self.model, site, self._w0[key] + total)
        realised = read_weight(self.model, site) - before
        return self._account(realised, update, basis)

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All commits inside hold together: an exception undoes every one of them, bit for bit."""
        if self._saved is not None:
            raise RuntimeError("A ledger transaction is already open; they do not nest.")
        self._saved = {}
        try:
            yield
        except BaseException:
            self.rewind()
            raise
        finally:
            self._saved = None

    def rewind(self) -> None:
        """Inside a transaction: put back the weights as they were at its start."""
        if self._saved is None:
            raise RuntimeError("rewind() works inside a transaction only.")
        for key, total in self._saved.items():
            self._sum[key].copy_(total)
            write_weight(self.model, self.sites[key], self._w0[key] + self._sum[key])
        self._saved.clear()

    @contextmanager
    def pristine(self) -> Generator[None, None, None]:
        """Put `W0` into the model for the time of the block; nothing may be committed inside."""
        for key, original in self._w0.items():
            write_weight(self.model, self.sites[key], original)
        try:
            yield
        finally:
            for key, original in self._w0.items():
                write_weight(self.model, self.sites[key], original + self._sum[key])

    def state_dict(self) -> dict[str, Tensor]:
        """The sums of updates by key, of the sites that count."""
        return {key: self._sum[key] for key in self.used}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Replace the sums and write the weights.

        Raises:
            SpecError: The state is of other sites or shapes.
        """
        needed = {key for key, site in self.sites.items() if site.expert is None}
        if not needed <= set(state) <= set(self.sites):
            raise SpecError(
                f"ledger state is of sites {sorted(state)}, this run edits {sorted(self.sites)}."
            )
        for key, total in state.items():
            if tuple(total.shape) != self.sites[key].shape:
                raise SpecError(f"ledger state of {key} has shape {tuple(total.shape)}.")
        for key, total in state.items():
            self._hold(key)
            self._sum[key].copy_(total)
        for key, original in self._w0.items():
            if key not in state:
                self._sum[key].zero_()
            write_weight(self.model, self.sites[key], original + self._sum[key])

    def reset(self) -> None:
        """Back to `W0`, bit for bit."""
        for key, original in self._w0.items():
            self._sum[key].zero_()
            write_weight(self.model, self.sites[key], original)

    def _account(self, realised: Tensor, update: LowRank, basis: SpectralBasis | None) -> Written:
        applied = float(torch.linalg.matrix_norm(realised))
        asked = update.fro()
        error = torch.addmm(
            realised, update.left.to(realised), update.right.to(realised), alpha=-1.0
        )
        rounding = float(torch.linalg.matrix_norm(error)) / asked if asked > 0 else 0.0
        if basis is None or basis.rank == 0 or applied == 0.0:
            return Written(applied, rounding, 0.0)
        u, v = basis.u.to(realised), basis.v.to(realised)
        inside = u.T @ realised
        right = realised @ v
        # |P dW|^2 + |dW Q|^2 - |P dW Q|^2: the energy in the union of the two protected blocks
        energy = inside.square().sum() + right.square().sum() - (inside @ v).square().sum()
        return Written(applied, rounding, float(energy) / applied**2)

    def _hold(self, key: str) -> None:
        """From here on the site has a sum of its own; its weight is `W0` as yet."""
        if key not in self._w0:
            self._w0[key] = read_weight(self.model, self.sites[key])
            self._sum[key] = torch.zeros_like(self._w0[key])

    def _known(self, key: str) -> str:
        if key not in self.sites:
            raise SpecError(f"site {key!r} is not in the ledger; it holds {sorted(self.sites)}.")
        return key
