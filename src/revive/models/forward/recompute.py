"""Blocks whose weights come and go: computed again for the backward pass instead of kept for it.

Autograd holds on to every weight that a gradient passes through. For blocks that lie on the disk
that would collect the whole upper model in memory, which is what it is on the disk for. Computed
again, block after block, no more than one block's weights are there at a time, for one more read.
"""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers.cache_utils import Cache

from revive.models.forward.block_proxy import BlockProxy


class Recomputed(BlockProxy):
    """Stands in for a block: same output, its inner states are not kept."""

    def __init__(self, block: nn.Module, layer: int) -> None:
        super().__init__(block)
        self._layer = layer

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the block gives."""
        rewind = _rewinding([*args, *kwargs.values()], self._layer)

        def run(*given: Any, **named: Any) -> Any:
            rewind()
            return self._block[0](*given, **named)

        # Stopped early, a module would not come to give its weights back.
        with set_checkpoint_early_stop(False):
            return checkpoint(run, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def _rewinding(given: list[Any], layer: int) -> Callable[[], None]:
    """Puts a block's part of the cache back: running the block appends to it."""
    cache = next((value for value in given if isinstance(value, Cache)), None)
    if cache is None:
        return lambda: None
    part: Any = cache.layers[layer]
    keys, values = part.keys, part.values

    def rewind() -> None:
        part.keys, part.values = keys, values

    return rewind
