"""What one forward leaves behind for later ones: hidden states, and a prefix's keys and values."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache


@dataclass(frozen=True)
class Captured:
    """What one full forward left behind.

    Attributes:
        hidden: Output of the block asked for, `[rows, length, d]`.
        keys: Attention keys per block.
        values: Attention values per block.
    """

    hidden: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of a prefix, by block.

    Attributes:
        keys: Per block `[rows, heads, length, head_dim]`, on the block's device.
        values: Likewise.
        mask: `[rows, length]`, 1 where the prefix is real.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor

    @classmethod
    def before(cls, seen: Captured, cut: Tensor, *, windowed: bool) -> "PrefixCache | None":
        """What stands before a position of each row; None if nothing does.

        Args:
            seen: A forward of right-padded rows, with its cache.
            cut: `[rows]`, the first position that does not belong to the prefix.
            windowed: Whether attention has a window. It counts places in the cache, whatever the
                position ids, so that no gap may lie between a prefix and what follows.
        """
        longest = int(cut.max())
        if longest == 0:
            return None
        at = torch.arange(longest, device=cut.device)[None]
        if not windowed:
            return cls(
                tuple(k[:, :, :longest] for k in seen.keys),
                tuple(v[:, :, :longest] for v in seen.values),
                (at < cut[:, None]).long(),
            )
        at = at - (longest - cut[:, None])

        def ended(states: Tensor) -> Tensor:
            place = at.clamp(min=0).to(states.device)[:, None, :, None]
            return states.gather(2, place.expand(-1, states.shape[1], -1, states.shape[3]))

        return cls(
            tuple(ended(k) for k in seen.keys),
            tuple(ended(v) for v in seen.values),
            (at >= 0).long(),
        )

    def select(self, rows: Tensor) -> "PrefixCache":
        """The same cache for some of the rows."""
        return PrefixCache(
            tuple(k[rows.to(k.device)] for k in self.keys),
            tuple(v[rows.to(v.device)] for v in self.values),
            self.mask[rows.to(self.mask.device)],
        )

    def as_cache(self) -> DynamicCache:
        """A fresh Hugging Face cache. Its updates concatenate: these tensors stay as they are."""
        cache = DynamicCache()
        for layer, (key, value) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(key, value, layer)
        return cache
