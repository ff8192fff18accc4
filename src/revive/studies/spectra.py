"""Whole singular value decompositions of chosen weights, and the bands that studies cut them into.

Energy is the sum of singular values, as REVIVE counts it (arXiv 2601.11042).
"""

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import SpecError
from revive.linalg.energy import numerical_rank
from revive.linalg.svd import top_k_svd
from revive.models.ledger import Ledger

Scheme = Literal["index", "energy"]
Progress = Callable[[str, int, int], None]
"""Told what is measured, points done, and points in all."""


@dataclass(frozen=True)
class Spectrum:
    """W = U diag(s) V^T of one weight, fp64.

    Attributes:
        u: `[out, m]`, m = min(out, in).
        s: `[m]`, descending.
        v: `[in, m]`.
        rank: How many singular values are not rounding of zero.
    """

    u: Float[Tensor, "out m"]
    s: Float[Tensor, " m"]
    v: Float[Tensor, "in m"]
    rank: int

    @classmethod
    def of(cls, weight: Float[Tensor, "out in"]) -> "Spectrum":
        """Decompose a weight; on its device."""
        whole = top_k_svd(weight, min(weight.shape))
        return cls(whole.u, whole.s, whole.v, numerical_rank(whole.s, tuple(weight.shape)))

    @property
    def size(self) -> int:
        """Number m of components."""
        return len(self.s)

    def energy(self, components: Tensor) -> float:
        """Share of the summed singular values that these components hold."""
        total = float(self.s.sum())
        return float(self.s[components].sum()) / total if total > 0 else 0.0

    def bands(self, scheme: Scheme, count: int) -> list[tuple[int, int]]:
        """Consecutive bands of components, largest singular values first, as (start, stop).

        `index` bands hold equally many components, `energy` bands equally much energy; a band
        that would be empty, because one component holds more than its share, is left out. Zero
        singular values belong to no band: their directions are an accident of rounding.
        """
        if scheme == "index":
            edges = [round(i * self.rank / count) for i in range(count + 1)]
        else:
            reached = self.s[: self.rank].cumsum(0) / self.s[: self.rank].sum()
            # A component belongs to the band in which its middle lies.
            middle = reached - self.s[: self.rank] / self.s[: self.rank].sum() / 2
            shares = torch.arange(1, count, dtype=middle.dtype, device=middle.device) / count
            inner = torch.searchsorted(middle.contiguous(), shares)
            edges = [0, *(int(i) for i in inner), self.rank]
        return [(a, b) for a, b in itertools.pairwise(edges) if b > a]

    def components_for(self, energy: float) -> int:
        """How many leading components hold this share of the energy."""
        reached = self.s.cumsum(0) >= energy * self.s.sum() * (1 - 1e-12)
        return int(reached.int().argmax()) + 1 if bool(reached.any()) else self.size


def spectra_of(ledger: Ledger) -> dict[str, Spectrum]:
    """Of every weight in the ledger, as it stands before any update.

    Raises:
        SpecError: A weight is zero: there is nothing to take apart.
    """
    found = {key: Spectrum.of(ledger.original(key)) for key in ledger.sites}
    for key, spectrum in found.items():
        if spectrum.rank == 0:
            raise SpecError(f"weight {key} is zero and has no spectrum; choose other --layers.")
    return found


def study_head(ledger: Ledger, fingerprint: str, measures: str, settings: Any) -> dict[str, Any]:
    """What a study is of: the first line of its points.

    Args:
        ledger: Holds the sites.
        fingerprint: Of the model.
        measures: What ability is measured by.
        settings: The study's settings, a dataclass.
    """
    return {
        "study": type(settings).__name__.removesuffix("Settings").lower(),
        "model": fingerprint,
        "sites": sorted(ledger.sites),
        "measures": measures,
        "settings": asdict(settings),
    }


def generator(name: str) -> torch.Generator:
    """Random numbers that depend on nothing but a name: the same in every process and order."""
    digest = hashlib.sha256(name.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
