"""How the singular values of a matrix are distributed; of a large one without a decomposition.

Of a small matrix, and of any on a CPU, all singular values are computed. Of others stochastic
Lanczos quadrature (Ubaru, Chen and Saad 2017) gives a few values and how many singular values each
stands for: from random unit vectors z, `steps` Lanczos steps on the smaller Gram matrix give a
tridiagonal T, whose eigenvalues carry as weights the squared first entries of its eigenvectors. So
many steps tell singular values apart down to about s_1 pi / (2 steps), 1/40 of the largest; what
lies below is counted, but too near to that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.eigen import singular_values

_EXACT_UP_TO = 1024


@dataclass(frozen=True)
class Density:
    """Singular values, and how many each stands for.

    Attributes:
        values: `[n]`, not negative, descending, fp64.
        counts: `[n]`; they sum to `min(out, in)`.
        exact: Whether these are the singular values themselves.
    """

    values: Float[Tensor, " n"]
    counts: Float[Tensor, " n"]
    exact: bool

    @classmethod
    def of(cls, values: Float[Tensor, " n"]) -> "Density":
        """All singular values, descending."""
        return cls(values, torch.ones_like(values), exact=True)

    def histogram(self, edges: Sequence[float]) -> list[float]:
        """Share of the singular values in each of `len(edges) + 1` bins; edges ascend.

        A value on an edge counts to the bin above.
        """
        bounds = torch.tensor(list(edges), dtype=self.values.dtype, device=self.values.device)
        bins = torch.bucketize(self.values, bounds, right=True)
        found = torch.zeros(len(edges) + 1, dtype=self.counts.dtype, device=self.counts.device)
        found.index_add_(0, bins, self.counts)
        return [float(x) for x in found / self.counts.sum()]

    def entropy(self) -> float:
        """Spectral entropy -sum p_i log p_i / log m of p_i = s_i^2 / sum s^2, in [0, 1].

        1 is a flat spectrum of m = min(out, in) values, 0 a matrix of rank 1 (or zero).
        """
        energy = self.values.square()
        total = float((self.counts * energy).sum())
        size = float(self.counts.sum())
        if total == 0.0 or size <= 1.0:
            return 0.0
        p = energy / total
        return max(0.0, float((self.counts * torch.special.entr(p)).sum()) / math.log(size))


def singular_density(
    matrix: Float[Tensor, "out in"],
    *,
    exact_up_to: int | None = None,
    probes: int = 16,
    steps: int = 64,
) -> Density:
    """Distribution of the singular values; the same every time for the same matrix.

    Args:
        matrix: `[out, in]`, finite; computed in fp64.
        exact_up_to: Up to this smaller side all singular values are computed; None for any on a
            CPU, where quadrature costs more, and 1024 elsewhere.
        probes: Random vectors; the error of a sum over singular values falls with their root.
        steps: Lanczos steps; sets how finely the distribution is resolved.
    """
    m = matrix.detach().double()
    m = m if m.shape[0] <= m.shape[1] else m.T
    size = m.shape[0]
    if exact_up_to is None:
        exact_up_to = size if m.device.type == "cpu" else _EXACT_UP_TO
    if size <= exact_up_to:
        return Density.of(singular_values(m))
    nodes, weights = _quadrature(m, probes, min(steps, size))
    order = nodes.argsort(descending=True)
    values = nodes[order].clamp(min=0.0).sqrt()
    return Density(values, weights[order] * (size / probes), exact=False)


def _quadrature(m: Tensor, probes: int, steps: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues of M M^T and their weights, all probes side by side, fully reorthogonalised."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(m.shape[0], probes, generator=generator, dtype=torch.float64).to(m)
    vectors = [start / start.norm(dim=0)]
    t = torch.zeros(probes, steps, steps, dtype=m.dtype, device=m.device)
    for i in range(steps):
        x = m @ (m.T @ vectors[i])
        t[:, i, i] = (x * vectors[i]).sum(0)
        for _ in range(2):
            for q in vectors:
                x = x - q * (q * x).sum(0)
        if i + 1 == steps:
            break
        beta = x.norm(dim=0)
        # An exhausted probe goes on as zero: what follows then has no weight in its first entry.
        going = beta > 1e-12 * t[:, 0, 0].abs()
        beta = torch.where(going, beta, torch.zeros_like(beta))
        t[:, i, i + 1] = t[:, i + 1, i] = beta
        vectors.append(torch.where(going, x / beta.clamp(min=1e-300), torch.zeros_like(x)))
    nodes, eigenvectors = torch.linalg.eigh(t)
    return nodes.reshape(-1), eigenvectors[:, 0, :].square().reshape(-1)
