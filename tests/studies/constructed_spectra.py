"""A model with one projection of a known spectrum, and an ability whose answer is known."""

import torch
from tiny import tiny_model

from revive.models.family import family_for, read_weight, write_weight
from revive.models.ledger import Ledger

OUT, INNER = 32, 48


class Projection:
    """The second MLP projection of a tiny model's middle block, with chosen singular values.

    Its ability is how much of its answers to fixed inputs is kept: 1 intact, 0 with the weight at
    zero. `importance` says how much of the answers' energy each component carries.
    """

    def __init__(self, s, importance, *, seed=0):
        self.model = tiny_model("llama", inner=INNER)
        family = family_for(("LlamaForCausalLM",))
        self.site = family.site(self.model, 1)
        rng = torch.Generator().manual_seed(seed)
        self.u = torch.linalg.qr(torch.randn(OUT, OUT, generator=rng, dtype=torch.float64))[0]
        whole = torch.linalg.qr(torch.randn(INNER, INNER, generator=rng, dtype=torch.float64))[0]
        self.v = whole[:, :OUT]
        self.s = torch.as_tensor(s, dtype=torch.float64)
        write_weight(self.model, self.site, (self.u * self.s) @ self.v.T)
        carried = torch.as_tensor(importance, dtype=torch.float64)
        sizes = torch.where(self.s > 0, carried.sqrt() / self.s.clamp(min=1e-12), 0.0)
        self.inputs = self.v * sizes
        self.answers = self.weight() @ self.inputs
        self.ledger = Ledger(self.model, [self.site])
        self.calls = 0

    @property
    def key(self):
        return self.site.parameter

    def weight(self):
        return read_weight(self.model, self.site)

    def moment(self):
        """Second moment of the inputs."""
        return self.inputs @ self.inputs.T / OUT

    def ability(self):
        self.calls += 1
        error = self.weight() @ self.inputs - self.answers
        return {"kept": 1.0 - float(error.square().sum() / self.answers.square().sum())}


def falling(count=OUT):
    """Distinct singular values, far apart enough to be told."""
    return [2.0 ** (-i / 4) for i in range(count)]


def low_rank(rank=8):
    """Exactly low rank; every component matters by its size."""
    s = torch.tensor([*falling(rank), *([0.0] * (OUT - rank))], dtype=torch.float64)
    return Projection(s, s.square())


def dominant():
    """Every component matters by its size, as for white inputs."""
    s = torch.tensor(falling(), dtype=torch.float64)
    return Projection(s, s.square())


def planted():
    """All but a trace of what matters is the smallest quarter of the singular values."""
    return Projection(falling(), [1e-6] * (OUT - 8) + [1.0] * 8)


def level():
    """Every component matters the same, whatever its singular value."""
    return Projection(falling(), [1.0] * OUT)
