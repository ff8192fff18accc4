"""EMMET: the equality-constrained form of MEMIT, batched.

Paper: Gupta et al., A Unified Framework for Model Editing, arXiv 2403.14236:
    dW = R (K^T C^{-1} K + eps I)^{-1} K^T C^{-1}
For eps -> 0 it is the update that writes the batch exactly and moves ordinary keys least; eps makes
it invertible where keys depend on each other. By the push-through identity it equals
R K^T (eps C + K K^T)^{-1}: MEMIT with lambda = eps. That is how it is computed, and its eps is
called `ridge` here, one name for one thing; a test holds it to the form above.

Defaults: none published as more than an inversion aid, so eps is calibrated on the model like
lambda, unless `ridge` is given.

Differs from the paper:
- It writes where MEMIT does, over several layers as in the paper's batched experiments; its text
  also edits single layers (`layers: [5]`).
"""

from typing import ClassVar, final

from revive.editors.least_squares import CovarianceEditor
from revive.options.editors import MemitOptions


@final
class Emmet(CovarianceEditor[MemitOptions]):
    """MEMIT's least squares from the side of the constraint."""

    name: ClassVar[str] = "emmet"
    paper: ClassVar[str] = "arXiv:2403.14236"
    summary: ClassVar[str] = "the smallest update on ordinary keys that writes the batch, softened"
    options_model = MemitOptions
