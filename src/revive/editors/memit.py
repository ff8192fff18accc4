"""MEMIT, and MEMIT with a history of the keys it has written.

Paper: Meng et al., Mass-Editing Memory in a Transformer, arXiv 2210.07229, eq. 14:
    dW = R K^T (lambda C + K K^T)^{-1}
With history (Gupta et al., arXiv 2401.07453 and the memit-seq baseline of arXiv 2410.02355):
    dW = R K^T (lambda C + K_p K_p^T + K K^T)^{-1},  then K_p <- [K_p, K]

Defaults: each model's preset holds the published values; see `revive/presets`.

Differs from the paper:
- The residual at layer i is what is still missing, divided by the layers left, as in the authors'
  code; the paper's text spreads one residual computed at the start.
- Contexts are seeded (`contexts.py`).
- Layers that are a mixture of experts are solved for all their routed experts at once, which the
  paper does not treat; see `least_squares.py`.
- With `solve: constrained` the least squares are solved under the guard's constraint, and the
  target is optimised inside the complement of the last site's U_k. This is ours.
"""

from typing import ClassVar, final

from revive.editors.least_squares import CovarianceEditor
from revive.options.editors import MemitOptions


@final
class Memit(CovarianceEditor[MemitOptions]):
    """MEMIT as published: every batch forgets the ones before."""

    name: ClassVar[str] = "memit"
    paper: ClassVar[str] = "arXiv:2210.07229"
    summary: ClassVar[str] = "least squares over the batch, regularised by the key second moment"
    options_model = MemitOptions


@final
class MemitSeq(CovarianceEditor[MemitOptions]):
    """MEMIT that also preserves the keys of all edits so far."""

    name: ClassVar[str] = "memit-seq"
    paper: ClassVar[str] = "arXiv:2210.07229, arXiv:2410.02355"
    summary: ClassVar[str] = "MEMIT with the keys of earlier edits in the least squares"
    options_model = MemitOptions
    history: ClassVar[bool] = True
