"""Weights and updates for the laws: drawn shapes, spectra, cuts."""

from dataclasses import dataclass

import torch
from hypothesis import settings
from hypothesis import strategies as st

from revive.linalg.lowrank import LowRank

ENERGIES = (0.0, 0.05, 0.1, 0.3, 0.5, 0.9, 1.0)
LAW = settings(deadline=None, max_examples=40)


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def orthogonal(dim, seed):
    return torch.linalg.qr(randn(dim, dim, seed=seed))[0]


def matrix(out, inner, s, seed=0):
    """A matrix with the singular values `s`."""
    u, v = orthogonal(out, 2 * seed)[:, : len(s)], orthogonal(inner, 2 * seed + 1)[:, : len(s)]
    return (u * torch.as_tensor(s, dtype=torch.float64)) @ v.T


@dataclass(frozen=True)
class Case:
    weight: torch.Tensor
    energy: float
    seed: int

    def update(self, rank=3, number=0, dtype=torch.float64):
        out, inner = self.weight.shape
        seed = 1000 + 17 * self.seed + 2 * number
        return LowRank(
            randn(out, rank, seed=seed).to(dtype), randn(rank, inner, seed=seed + 1).to(dtype)
        )


@st.composite
def cases(draw, energies=ENERGIES):
    """Tall, wide and square weights; generic, repeated, deficient and zero spectra."""
    out, inner = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    seed = draw(st.integers(0, 10_000))
    m = min(out, inner)
    kind = draw(st.sampled_from(["generic", "repeated", "deficient", "steep", "zero"]))
    if kind == "generic":
        s = sorted(draw(st.lists(st.floats(0.1, 3.0), min_size=m, max_size=m)), reverse=True)
    elif kind == "repeated":
        s = sorted(
            draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=m, max_size=m)), reverse=True
        )
    elif kind == "deficient":
        s = [float(m - i) if i < (m + 1) // 2 else 0.0 for i in range(m)]
    elif kind == "steep":
        s = [10.0 ** (-2 * i) for i in range(m)]
    else:
        s = [0.0] * m
    return Case(matrix(out, inner, s, seed), draw(st.sampled_from(energies)), seed)


def healthy(energy=0.3, out=10, inner=14):
    """One ordinary case, for negative controls: wide, full rank, no ties."""
    s = [3.0 - 0.25 * i for i in range(min(out, inner))]
    return Case(matrix(out, inner, s, seed=5), energy, seed=5)
