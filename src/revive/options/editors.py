"""Settings of the built-in editors. No torch: a spec is checked with them."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


RIDGES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0)


class EditorOptions(BaseModel):
    """What every editor has; None means that the model's preset decides.

    Attributes:
        layers: Edited blocks, 0-based.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    needs_moments: ClassVar[bool] = True
    """Whether the editor reads key second moments, and a spec must name text for them."""
    strength: ClassVar[str] = "ridge"
    """The setting that trades edit success for what is kept; calibrated where nothing sets it."""
    grid: ClassVar[tuple[float, ...]] = ()
    """Its values to try, from the strongest edits to the weakest."""

    layers: list[Annotated[int, Field(ge=0)]] | None = None

    @model_validator(mode="after")
    def _layers_ascend(self) -> Self:
        if self.layers is not None and (not self.layers or self.layers != sorted(set(self.layers))):
            raise ValueError(
                f"layers must be ascending and different, got {self.layers}; write for example "
                "[2, 3, 4]"
            )
        return self


class TargetOptions(EditorOptions):
    """Settings of editors that solve for a target at the subject's last token.

    Published names in brackets (arXiv:2210.07229, its code). The target is solved at the last of
    `layers`.

    Attributes:
        steps: Most loss evaluations per target [v_num_grad_steps].
        optimizer: `adam`, as published, or `polyak`, whose steps need no size chosen for the model
            (`editors.target_solver.target_steps`); None is `adam`.
        lr: Adam's step size for targets [v_lr].
        max_step: Polyak's longest step, relative to the hidden state.
        weight_decay: Penalty on the relative length of the shift [v_weight_decay].
        kl_factor: Weight of keeping what the subject is [kl_factor].
        clamp: Longest shift, relative to the hidden state [clamp_norm_factor].
        stop_loss: A target is solved below this loss; 0.05 in the authors' code.
        stop_margin: It also is once every target token leads every other one by this much
            log-probability (nats) in every context; None is never.
        contexts: Generated texts that stand before the prompt.
        context_length: Tokens of each.
        key_average: Whether keys average plain prompt and contexts; ours when False.
    """

    steps: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    optimizer: Literal["adam", "polyak"] | None = None
    lr: Positive | None = None
    max_step: Positive | None = None
    weight_decay: NotNegative | None = None
    kl_factor: NotNegative | None = None
    clamp: Positive | None = None
    stop_loss: NotNegative = 0.05
    stop_margin: NotNegative | None = None
    contexts: Annotated[int, Field(ge=0, le=1000)] = 5
    context_length: Annotated[int, Field(ge=1, le=1000)] = 10
    key_average: bool = True


class LeastSquaresOptions(TargetOptions):
    """Settings of editors that write a target by least squares in several blocks.

    Attributes:
        spread: `backward` solves the target at the last of `layers` and gives every block a share
            of what is missing there, as published; `forward` solves it at the first, and what the
            later ones put out behind it is their target (FE, arXiv:2605.00358).
        norm_anchor: Whether what the projection is to put out is given the length that it has on
            the unedited model (NAS, arXiv:2602.02543).
    """

    spread: Literal["backward", "forward"] = "backward"
    norm_anchor: bool = False


def solved_at(options: EditorOptions, layers: Sequence[int]) -> int:
    """The block, of the edited ones in order, at which targets are solved."""
    forward = isinstance(options, LeastSquaresOptions) and options.spread == "forward"
    return layers[0 if forward else -1]


class MemitOptions(LeastSquaresOptions):
    """Settings of the MEMIT family.

    Attributes:
        ridge: Weight of the key second moment [mom2_update_weight, lambda]. Higher keeps other
            keys' outputs better and writes edits weaker. Where no preset sets it, it is calibrated
            on the model before the first edit.
    """

    grid: ClassVar[tuple[float, ...]] = RIDGES

    ridge: Positive | None = None


class AlphaEditOptions(LeastSquaresOptions):
    """Settings of AlphaEdit.

    Attributes:
        l2: Weight of the identity [L2]. Higher writes edits weaker. Where no preset sets it, it is
            calibrated on the model before the first edit.
        null_space: Which input directions ordinary keys leave free: those of least second moment
            that together hold at most a share of ordinary keys' energy (`relative`, ours), or
            those whose second moment is under a number (`absolute`, as published).
        threshold: The share, or the number [nullspace_threshold]; None is 0.02 either way.
    """

    strength: ClassVar[str] = "l2"
    grid: ClassVar[tuple[float, ...]] = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)

    l2: Positive | None = None
    null_space: Literal["relative", "absolute"] = "relative"
    threshold: Positive | None = None


class EncoreOptions(MemitOptions):
    """Settings of ENCORE.

    Attributes:
        extra_ridge: Weight of the identity beside lambda C [lambda_F]. None is a tenth of the mean
            of lambda C's diagonal: a rule of ours for models without a published value.
        stop: `first-rank` stops a target once all its tokens rank first in every row, as
            published; `loss` only at `stop_loss`.
    """

    extra_ridge: NotNegative | None = None
    stop: Literal["first-rank", "loss"] = "first-rank"


class RomeOptions(TargetOptions):
    """Settings of ROME, which edits one block: the last of `layers`.

    Attributes:
        key: `averaged` takes one key in both places of the update, the mean over plain prompt and
            contexts (R-ROME); `upstream` is the authors' code, which divides by the plain prompt's.
        mom2_adjustment: Whether C^{-1} keeps ordinary keys' outputs, as published; without it the
            update is the shortest one.
    """

    key: Literal["averaged", "upstream"] = "averaged"
    mom2_adjustment: bool = True


class FtOptions(EditorOptions):
    """Settings of fine-tuning.

    Attributes:
        objective: `target`: the target's tokens, each predicted from those before it (FT-M);
            `last-token`: all of them predicted from the prompt's last token, the known defect of
            FT-L, which cannot tell their order.
        steps: Most optimiser steps per batch, each over all of it; with `minibatch`, epochs.
        minibatch: Edits to a step, in an order drawn anew for every epoch (LocFT-BF,
            arXiv:2509.22072, with all edits in one batch of the run); None is the whole batch.
        end_token: Whether the end of the text is learnt behind every target, as there.
        lr: Adam's step size.
        box: Largest change of an entry in a batch [norm_constraint]; None is no limit.
        stop_loss: A batch ends below this mean loss.
    """

    needs_moments: ClassVar[bool] = False
    strength: ClassVar[str] = "lr"
    grid: ClassVar[tuple[float, ...]] = (3e-2, 1e-2, 3e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5)

    objective: Literal["target", "last-token"] = "target"
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 25
    minibatch: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    end_token: bool = False
    lr: Positive | None = None
    box: Positive | None = None
    stop_loss: NotNegative = 0.01


class NseOptions(MemitOptions):
    """Settings of NSE.

    Attributes:
        passes: Most rounds of solving over a batch; the authors' `max_iterations` less one.
        alpha: An edit takes part in a round while what it misses is longer than this, and
        upper: shorter than this. None is 0.2 and 2 times the target's length: a rule of ours for
            models without published values, which are absolute.
        neuron_threshold: Share of the keys' summed activation in the neurons that are written.
    """

    passes: Annotated[int, Field(ge=1, le=1_000_000)] = 2
    alpha: NotNegative | None = None
    upper: Positive | None = None
    neuron_threshold: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _spreads_backward(self) -> Self:
        if self.spread != "backward":
            raise ValueError("spread: nse's rounds are over the last block; only 'backward' goes")
        return self


class UltraEditOptions(EditorOptions):
    """Settings of UltraEdit.

    Attributes:
        lr: Length of an update, per unit of a normalised key's squared length.
    """

    needs_moments: ClassVar[bool] = False
    strength: ClassVar[str] = "lr"
    grid: ClassVar[tuple[float, ...]] = (
        1.0,
        0.3,
        0.1,
        0.03,
        1e-2,
        3e-3,
        1e-3,
        3e-4,
        1e-4,
        1e-5,
        1e-6,
    )

    lr: Positive | None = None


class RectOptions(MemitOptions):
    """Settings of RECT.

    Attributes:
        keep: Share of an update's entries that is written; the paper's 40 %, for every model.
        plan: Whether later layers are planned on what is really `written`, or, as in the authors'
            code, on the `dense` update.
    """

    keep: Annotated[float, Field(gt=0, le=1)] = 0.4
    plan: Literal["written", "dense"] = "written"


class PruneOptions(MemitOptions):
    """Settings of PRUNE.

    Attributes:
        function: What becomes of singular values above the weight's largest.
        base: b, base of the logarithm; the paper's e, 1.2, 1.5 or 2, chosen by hand for every
            editor, model and data set.
        restrain: `once`: edits are computed on the unrestrained model, as published, where the
            restraint comes after the last; `every-batch`: on the restrained one.
        application: `corrected` is W0 + f(D); `upstream` the W0 + D + f(D) of a widely copied code.
    """

    function: Literal["log", "linear"] = "log"
    base: Annotated[float, Field(gt=1, allow_inf_nan=False)] = math.e
    restrain: Literal["once", "every-batch"] = "once"
    application: Literal["corrected", "upstream"] = "corrected"


OPTIONS: Mapping[str, type[EditorOptions]] = MappingProxyType(
    {
        "memit": MemitOptions,
        "memit-seq": MemitOptions,
        "alphaedit": AlphaEditOptions,
        "encore": EncoreOptions,
        "emmet": MemitOptions,
        "nse": NseOptions,
        "rome": RomeOptions,
        "ft": FtOptions,
        "ultraedit": UltraEditOptions,
        "rect": RectOptions,
        "prune": PruneOptions,
    }
)
