"""A module that takes a block's place for the time of a call."""

from typing import Any

from torch import nn


class BlockProxy(nn.Module):
    """Shows the attributes of the block whose place it takes; subclasses say what it computes."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self._block = (block,)  # in a tuple, so that it is not registered as a child

    def __getattr__(self, name: str) -> Any:
        """The block's own attribute: some forwards read e.g. `attention_type`."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._block[0], name)
