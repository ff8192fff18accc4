"""How far a weight has drifted from the original, seen in the original's singular directions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from revive.linalg.basis import SpectralBasis
from revive.linalg.blocks import Blocks
from revive.linalg.density import Density, singular_density
from revive.linalg.norm import spectral_norm
from revive.linalg.subspace import principal_angles, projector_overlap
from revive.linalg.tracking import Tracked

EDGES = (1 / 16, 1 / 4, 1.0, 4.0, 16.0, 64.0)
"""Edges of the histogram's bins, in units of the original weight's largest singular value."""


@dataclass(frozen=True)
class Drift:
    """One weight against the original.

    Attributes:
        rank: k, number of dominant directions compared.
        overlap_left: ||U_k(W)^T U_k(W0)||_F^2 / k, outputs.
        overlap_right: The same of the inputs.
        angles_left: Smallest, quartiles and largest of the k principal angles, rad, outputs.
        angles_right: The same of the inputs.
        tail_ratio: ||(I - U_k U_k^T) W (I - V_k V_k^T)||_2 / s_k with the original's directions.
        norm_ratio: ||W||_F / ||W0||_F.
        update_ratio: ||W - W0||_F / ||W0||_F.
        blocks: Shares of the energy of W - W0 in the four blocks of the original's directions.
        stable_rank: ||W - W0||_F^2 / ||W - W0||_2^2; 0 for no update.
        entropy: Spectral entropy of W - W0, in [0, 1].
        histogram: Shares of W's singular values between `EDGES` times s_1(W0).
        error: Bound on the sine of the angle between the compared and the true subspaces.
        exact: Whether W was decomposed rather than tracked.
    """

    rank: int
    overlap_left: float
    overlap_right: float
    angles_left: Sequence[float]
    angles_right: Sequence[float]
    tail_ratio: float
    norm_ratio: float
    update_ratio: float
    blocks: Blocks
    stable_rank: float
    entropy: float
    histogram: Sequence[float]
    error: float
    exact: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def drift(
    basis: SpectralBasis,
    original: Float[Tensor, "out in"],
    delta: Float[Tensor, "out in"],
    now: Tracked,
) -> Drift:
    """Compare a weight with the original.

    Args:
        basis: Dominant directions of the original, at least one.
        original: W0.
        delta: W - W0, the cumulative update.
        now: The same number of dominant directions of W.
    """
    weight = original + delta
    u, v = basis.u.to(weight.device), basis.v.to(weight.device)
    before = float(torch.linalg.matrix_norm(original.double()))
    update = float(torch.linalg.matrix_norm(delta.double()))
    spread = singular_density(delta)
    # Of a density that is not exact the largest value is only near the norm.
    longest = float(spread.values[0]) if spread.exact else spectral_norm(delta)
    density = singular_density(weight) if now.values is None else Density.of(now.values)
    scale = float(basis.s[0])
    return Drift(
        rank=basis.rank,
        overlap_left=projector_overlap(u, now.u),
        overlap_right=projector_overlap(v, now.v),
        angles_left=_quartiles(principal_angles(u, now.u)),
        angles_right=_quartiles(principal_angles(v, now.v)),
        tail_ratio=basis.tail_ratio(weight),
        norm_ratio=float(torch.linalg.matrix_norm(weight.double())) / before,
        update_ratio=update / before,
        blocks=dense_shares(delta, u, v),
        stable_rank=(update / longest) ** 2 if longest > 0 else 0.0,
        entropy=spread.entropy(),
        histogram=density.histogram([edge * scale for edge in EDGES]),
        error=now.error,
        exact=now.exact,
    )


def dense_shares(
    delta: Float[Tensor, "out in"], u: Float[Tensor, "out k"], v: Float[Tensor, "in k"]
) -> Blocks:
    """Shares of a matrix's energy in the four blocks of U^T dW V; zeros for no matrix."""
    wide = delta.double()
    total = float(wide.square().sum())
    if total == 0.0:
        return Blocks.none()
    left, right = u.double().T @ wide, wide @ v.double()
    both = float((left @ v.double()).square().sum()) / total
    outputs = max(0.0, float(left.square().sum()) / total - both)
    inputs = max(0.0, float(right.square().sum()) / total - both)
    return Blocks(both, outputs, inputs, max(0.0, 1.0 - both - outputs - inputs))


def _quartiles(angles: Tensor) -> list[float]:
    """Smallest, quartiles, largest: the whole list is as long as the protected rank."""
    at = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=angles.dtype, device=angles.device)
    return [float(x) for x in torch.quantile(angles, at)]
