"""A guard in `transformers.Trainer`: `Trainer(..., callbacks=[guard.callback()])`."""

from collections.abc import Callable
from typing import Any, Protocol, final

from torch.optim import Optimizer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from revive.errors import SpecError


class _Attachment(Protocol):
    def remove(self) -> None: ...


@final
class GuardCallback(TrainerCallback):
    """Filters every optimizer step between the beginning and the end of a training."""

    def __init__(self, attach: Callable[[Optimizer], _Attachment]) -> None:
        """Nothing happens before training begins, when `attach` is given the optimizer."""
        self._attach = attach
        self._attachment: _Attachment | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Attach to the trainer's optimizer.

        Raises:
            SpecError: The trainer hands out no optimizer, or it holds none of the guarded weights.
        """
        del args, state, control
        optimizer = kwargs.get("optimizer")
        if optimizer is None:
            raise SpecError(
                "guard: the trainer gave its callback no optimizer (DeepSpeed keeps its own); "
                "attach the guard to the optimizer that makes the steps, or use guard.protect."
            )
        self._attachment = self._attach(optimizer)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Let go of the optimizer."""
        del args, state, control, kwargs
        if self._attachment is not None:
            self._attachment.remove()
            self._attachment = None
