"""ROME: one rank-one update of one block per edit.

Papers: Meng et al., Locating and Editing Factual Associations in GPT, arXiv 2202.05262, eq. 2, and
Gupta et al., Rebuilding ROME, arXiv 2403.07175 (R-ROME):
    dW = (v* - W k) (C^{-1} k)^T / (k^T C^{-1} k)
v* is what the projection should output at the subject's last token: its output there, W k, plus the
solved shift. A shift of a block's output is one of its projection's output, so the target solver is
the one of all editors; only the length of the shift is measured by the projection's output.
Where a model scales or normalises that output, its length is that of what the block receives, and
the shift is pulled back to the projection (`models/residual_write.py`; ours).

Defaults: layer 17 and 20 steps of 0.5 for GPT2-XL, layer 5 for GPT-J and Llama-3-8B (their
presets), clamp 4, as published and in the AlphaEdit harness.

Differs from the paper:
- The authors' code averages the key over contexts in C^{-1} k, but takes the plain prompt's in
  v* - W k and in the denominator; R-ROME shows that this is what makes long streams collapse at
  single edits. `key: averaged` is R-ROME, `key: upstream` the authors' code.
- With the averaged key, v* is averaged over the same contexts: the shift was solved on top of each
  context's own output. An edit that already holds then changes nothing; with the plain prompt's
  output in its place the update would also carry the difference between the two keys.
- Targets of a batch are solved together, on the model as it stands before the batch; each update
  makes up for what earlier ones of the batch changed at its key. At a batch size of 1, the
  published protocol, nothing differs.
"""

from collections.abc import Sequence
from time import perf_counter
from typing import Any, ClassVar, final

from torch import Tensor

from revive.editors.base import BatchOutcome, EditContext, Updates, WeightUpdate
from revive.editors.key_sweep import KeySweep
from revive.editors.target_editor import SolvedBatch, TargetEditor
from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.linalg.least_squares.base_inverse import Definite
from revive.linalg.lowrank import LowRank
from revive.models.site import Site
from revive.options.editors import RomeOptions


@final
class Rome(TargetEditor[RomeOptions]):
    """ROME with one key in both places."""

    name: ClassVar[str] = "rome"
    paper: ClassVar[str] = "arXiv:2202.05262, arXiv:2403.07175"
    summary: ClassVar[str] = (
        "one rank-one update of one block per edit, with the averaged key of R-ROME"
    )
    options_model = RomeOptions

    def __init__(self, options: RomeOptions) -> None:
        super().__init__(options)
        self._inverse: Definite | None = None

    def prepare(self, context: EditContext) -> None:
        """Factorise C of the edited site."""
        site = context.sites[-1]
        if self.options.mom2_adjustment:
            moment = context.moments[site.key].value()
            self._inverse = Definite.of(moment.double(), "the key second moment")

    def measure(self, rows: Sequence[TokenizedEdit], context: EditContext) -> Tensor:
        """Length of the projection's output on the plain prompts, as the block receives it."""
        site, runner = context.sites[-1], context.runner
        sweep = KeySweep(runner, rows, site.layer, average_contexts=False)
        out = _outputs(context, site, sweep.keys(site))
        entry = runner.family.entry_of(runner.model, site.layer)
        return out.norm(dim=0) if entry is None else entry.written(out.T).norm(dim=1)

    def spread(self, solved: SolvedBatch, context: EditContext) -> Updates:
        """Propose one update per edit."""
        seconds = {"targets": solved.seconds, "keys": 0.0, "solve": 0.0}
        if not solved.rows:
            return BatchOutcome(failed=solved.failed, seconds=seconds)
        started = perf_counter()
        site = context.sites[-1]
        sweep = KeySweep(context.runner, solved.rows, site.layer)
        plain, contexts, count = sweep.parts(site)
        mean = (plain.double() + count * contexts) / (count + 1)
        missing = sweep.pulled_back(site, solved.z.T - sweep.outputs(site.layer)).double()
        seconds["keys"] = perf_counter() - started
        across = mean if self._inverse is None else self._inverse.solve(mean)
        dtype, plain = plain.dtype, plain.double()
        key = mean if self.options.key == "averaged" else plain
        for column, owner in enumerate(solved.indices):
            right = across[:, column] / (key[:, column] @ across[:, column])
            factors = LowRank(missing[:, column, None].to(dtype), right[None].to(dtype))
            applied = yield WeightUpdate(site, factors, (owner,))
            written = applied.factors
            missing = missing - written.left.double() @ (written.right.double() @ key)
        return BatchOutcome({}, solved.failed, solved.notes, seconds, solved.unsolved)


def _outputs(context: EditContext, site: Site, keys: Tensor) -> Tensor:
    """The projection's output, bias included, for keys `[d_in, n]`."""
    module: Any = context.runner.model.get_submodule(site.module)
    out = context.weights.weight(site.key).to(keys) @ keys
    bias: Tensor | None = getattr(module, "bias", None)
    return out if bias is None else out + bias.detach().to(out)[:, None]
