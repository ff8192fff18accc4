"""The target solver: what the edited block should output at the subject's last token.

For every edit, a vector delta is added to the output of block l* at the last subject token of all
of its rows, and optimised by Adam (MEMIT, arXiv 2210.07229, eq. 16; ROME, arXiv 2202.05262, eq. 4):

    mean over rewriting rows of the mean target NLL
    + kl_factor * KL(p_delta || p_0) at the subject's last token of "{subject} is a"
    + weight_decay * ||delta|| / ||z_0||^2

Where a model scales or normalises what the edited projection puts out (`models/residual_write.py`),
not every block output can be had. There delta is added to the projection's own output y, on the
model's way into the residual stream, in units of ||y_0|| / ||what the stream receives of y_0||: to
first order delta is then as long in the stream as it is here, so that step size, clamp and decay
keep their meaning. Behind a scale this is the shift of the block's output; behind a norm, delta
turns y. This is ours.

All edits of a batch are solved together. Two facts make that cheap and change nothing: what lies
below block l* or before the subject's last token does not depend on delta, so its states, keys and
values are computed once, and of what several rows begin with one time for all of them
(`models.forward.partial_forward`); and the head is needed at target positions only. Adam is
elementwise, so edits do not see each other; an edit whose loss falls below `stop_loss` is frozen
and leaves.
"""

from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from revive.editors.target_solver.target_problem import TargetProblem
from revive.editors.target_solver.target_settings import Targets, TargetSettings
from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.estimate.target_chunks import Size, split_batch, step_on
from revive.linalg.basis import SpectralBasis
from revive.models.forward.frozen import gradients_through
from revive.models.forward.runner import BlockRunner
from revive.models.placement import entry_device

__all__ = ["TargetSettings", "Targets", "solve_targets"]


def solve_targets(
    runner: BlockRunner,
    rows: Sequence[TokenizedEdit],
    settings: TargetSettings,
    avoid: SpectralBasis | None = None,
    measured_by: Tensor | None = None,
) -> Targets:
    """Solve the targets of a batch.

    Args:
        runner: Runs slices of the model.
        rows: One entry per edit.
        settings: The optimisation's settings.
        avoid: Output directions U_k that delta must stay clear of (`solve: constrained`).
        measured_by: `[n]`, what the length of delta is measured by instead of ||z_0|| (ROME: the
            length of the projection's output, which delta is added to).

    Returns:
        Targets in the order of `rows`.
    """
    solved: list[tuple[list[int], Targets]] = []
    step = step_on(entry_device(runner.model).type)
    with gradients_through(runner):
        for chunk in split_batch([_size(row) for row in rows], settings.tokens_per_chunk, step):
            lengths = None if measured_by is None else measured_by[torch.tensor(chunk)]
            problem = TargetProblem(runner, [rows[i] for i in chunk], settings, avoid, lengths)
            solved.append((chunk, problem.solve()))
    position = torch.tensor([i for chunk, _ in solved for i in chunk]).argsort()
    parts = [t for _, t in solved]

    def gather(name: str) -> Tensor:
        joined = torch.cat([getattr(t, name) for t in parts])
        return joined[position.to(joined.device)]

    return Targets(*(gather(field.name) for field in fields(Targets)))


def _size(rows: TokenizedEdit) -> Size:
    longest = max(len(r.input_ids) - r.lookup for r in rows.rewrite)
    return Size(longest, len(rows.rewrite), sum(len(r.input_ids) for r in rows.rewrite))
