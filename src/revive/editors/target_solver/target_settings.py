"""What the target solver is asked, and what it answers."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from revive.estimate.target_chunks import CHUNK


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """Settings of the optimisation, in the notation of the published code.

    Attributes:
        layer: l*, the block whose output is set.
        steps: v_num_grad_steps: at most this many loss evaluations, one fewer updates.
        optimizer: `adam`, as published, or `polyak` (`target_steps`).
        lr: v_lr, of Adam.
        max_step: Longest step of Polyak's, relative to ||z_0||.
        weight_decay: v_weight_decay.
        kl_factor: Weight of the essence term.
        clamp: clamp_norm_factor: ||delta|| <= clamp * ||z_0||.
        stop_loss: An edit stops below this loss.
        stop_margin: It also stops once the log-probability of every target token, in every
            rewriting row, is so far (nats) above that of any other token. 0 is the early stop of
            ENCORE (arXiv 2502.01636); None is no such stop.
        tokens_per_chunk: Row tokens optimised at once; bounds memory.
        look_every: Steps between two looks at which edits have stopped, each of which waits for
            the device; None is 1 on a CPU and 4 elsewhere. The result does not depend on it.
    """

    layer: int
    steps: int
    optimizer: Literal["adam", "polyak"] = "adam"
    lr: float = 0.0
    max_step: float = 0.0
    weight_decay: float
    kl_factor: float
    clamp: float
    stop_loss: float = 0.05
    stop_margin: float | None = None
    tokens_per_chunk: int = CHUNK
    look_every: int | None = None


@dataclass(frozen=True)
class Targets:
    """Solved targets of n edits, fp32 (fp64 for an fp64 model).

    Attributes:
        z: `[n, d]` wanted output of block l* at the subject's last token.
        z0: `[n, d]` output as it was, on the plain prompt.
        v0: `[n, d]` what the edited projection added to it; NaN for a mixture of experts.
        loss: `[n]` last evaluated loss; NaN where the edit failed.
        first_loss: `[n]` loss at delta = 0.
        evaluations: `[n]` number of loss evaluations.
        failed: `[n]` True where the loss was not finite; z equals z0 there.
        stopped: `[n]` True where `stop_loss` or `stop_margin` was reached within the steps.
    """

    z: Tensor
    z0: Tensor
    v0: Tensor
    loss: Tensor
    first_loss: Tensor
    evaluations: Tensor
    failed: Tensor
    stopped: Tensor
