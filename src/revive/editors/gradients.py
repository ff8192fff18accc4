"""Second moments of the loss's gradient at the outputs of all edited sites, in one pass over text.

E[g g^T] with g the gradient of the summed next-token loss with respect to the output of an edited
projection: the directions in which a change of that output changes what the model says. Cached and
resumable like key moments.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from revive.editors.accumulate import accumulate, cache_key
from revive.linalg.moments import SecondMoment
from revive.models.frozen import frozen
from revive.models.placement import entry_device
from revive.models.runner import BlockRunner, by_row
from revive.models.site import Site


def collect_gradients(
    runner: BlockRunner,
    tokenizer: Any,
    sites: Sequence[Site],
    texts: Sequence[str],
    *,
    cache: Path | None = None,
    model_fingerprint: str = "",
    window: int = 128,
    tokens_per_batch: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, SecondMoment]:
    """Accumulate E[g g^T] at every site's output; arguments as in `collect_moments`.

    Positions whose next token is unknown (the last of a window) count with what later positions
    make of them, which is nothing: their gradient is zero.
    """
    key = cache_key("gradients", model_fingerprint, texts, sites, window)
    with frozen(runner.model):
        return accumulate(
            {s.key: s.shape[0] for s in sites},
            lambda ids, mask: _gradients(runner, sites, ids, mask),
            tokenizer,
            texts,
            path=None if cache is None else cache / f"gradients-{key}.safetensors",
            device=entry_device(runner.model),
            window=window,
            tokens_per_batch=tokens_per_batch,
            progress=progress,
        )


def _gradients(
    runner: BlockRunner, sites: Sequence[Site], ids: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    outputs: dict[str, Tensor] = {}

    def recorder(key: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            outputs[key] = output if output.requires_grad else output.requires_grad_()
            # A copy goes on: some models (Falcon) add to it in place.
            return outputs[key].clone()

        return hook

    handles = [
        runner.model.get_submodule(s.module).register_forward_hook(recorder(s.key)) for s in sites
    ]
    try:
        with torch.enable_grad():
            model: Any = runner.model
            logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            log_p = torch.log_softmax(logits[:, :-1].float(), dim=-1)
            nll = -log_p.gather(2, ids[:, 1:, None]).squeeze(2)
            loss = (nll * mask[:, 1:]).sum()
            keys = list(outputs)
            found = torch.autograd.grad(loss, [outputs[key] for key in keys])
    finally:
        for handle in handles:
            handle.remove()
    return {key: by_row(g, len(ids)) for key, g in zip(keys, found, strict=True)}
