"""What the target solver is asked, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from revive.editors.division import CHUNK


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """Settings of the optimisation, in the notation of the published code.

    Attributes:
        layer: l*, the block whose output is set.
        steps: v_num_grad_steps: at most this many loss evaluations, one fewer updates.
        lr: v_lr.
        weight_decay: v_weight_decay.
        kl_factor: Weight of the essence term.
        clamp: clamp_norm_factor: ||delta|| <= clamp * ||z_0||.
        stop_loss: An edit stops below this loss.
        stop: `loss`: at `stop_loss` alone; `first-rank`: also once every target token ranks first
            in every rewriting row (ENCORE, arXiv 2502.01636).
        tokens_per_chunk: Row tokens optimised at once; bounds memory.
        look_every: Steps between two looks at which edits have stopped, each of which waits for
            the device; None is 1 on a CPU and 4 elsewhere. The result does not depend on it.
    """

    layer: int
    steps: int
    lr: float
    weight_decay: float
    kl_factor: float
    clamp: float
    stop_loss: float = 0.05
    stop: Literal["loss", "first-rank"] = "loss"
    tokens_per_chunk: int = CHUNK
    look_every: int | None = None


@dataclass(frozen=True)
class Targets:
    """Solved targets of n edits, fp32 (fp64 for an fp64 model).

    Attributes:
        z: `[n, d]` wanted output of block l* at the subject's last token.
        z0: `[n, d]` output as it was, on the plain prompt.
        loss: `[n]` last evaluated loss; NaN where the edit failed.
        first_loss: `[n]` loss at delta = 0.
        evaluations: `[n]` number of loss evaluations.
        failed: `[n]` True where the loss was not finite; z equals z0 there.
    """

    z: Tensor
    z0: Tensor
    loss: Tensor
    first_loss: Tensor
    evaluations: Tensor
    failed: Tensor
