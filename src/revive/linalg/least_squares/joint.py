"""One least squares over several weights whose outputs add up: the experts of a mixture.

With Y = sum_e W_e K_e, the keys K_e of expert e zero where an edit is not sent to it, and one
regulariser A_e per expert,
    dW = argmin ||sum_e dW_e K_e - R||^2 + sum_e tr(dW_e A_e dW_e^T)
is the problem of `linalg/least_squares/normal_equations.py` for the stacked matrix [W_1 ... W_E],
key [K_1; ...; K_E] and block-diagonal A, so that with B_e = A_e^{-1} K_e
    dW_e = R (I + sum_e K_e^T B_e)^{-1} B_e^T.
No matrix of E d inputs is formed: the only system that the experts share has one row per edit.
Solving for every expert alone would be wrong: each would write the whole residual.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError
from revive.linalg.least_squares.cholesky import definite
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.linalg.lowrank import LowRank


def joint_update(
    equations: Mapping[str, NormalEquations],
    keys: Mapping[str, Float[Tensor, "d n"]],
    residual: Float[Tensor, "out n"],
) -> dict[str, LowRank]:
    """The updates of all experts that an edit is sent to; column j of `left` is edit j's residual.

    Args:
        equations: A_e by name; more of them than keys do no harm.
        keys: K_e by name, one column per edit.
        residual: R, wanted change of the sum of outputs on each key.

    Returns:
        Updates by the names of `keys`, in fp64 if an input is fp64, else in fp32.

    Raises:
        NumericalError: A key or residual holds NaN or infinity.
    """
    if not bool(torch.isfinite(residual).all()):
        raise NumericalError(
            "residual of a batch holds NaN or infinity; run the model in a wider dtype."
        )
    n = residual.shape[1]
    system = torch.eye(n, dtype=torch.float64, device=residual.device)
    solved: dict[str, Tensor] = {}
    for name, k in keys.items():
        # K^T B holds only the edits that are sent to the expert.
        met = k.any(dim=0).nonzero().squeeze(1)
        some = k[:, met].double()
        b = equations[name].solve(some)
        system[met[:, None], met[None, :]] += some.to(b).T @ b
        solved[name] = k.new_zeros(k.shape, dtype=torch.float64).index_copy(1, met, b)
    factor = definite(system, "the batch's system")
    wide = any(x.dtype == torch.float64 for x in (residual, *keys.values()))
    dtype = torch.float64 if wide else torch.float32
    return {
        name: LowRank(residual.double(), torch.cholesky_solve(b.T, factor)).to(dtype)
        for name, b in solved.items()
    }
