"""What one forward leaves behind for later ones: hidden states, and a prefix's keys and values."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache


@dataclass(frozen=True)
class Captured:
    """What a forward through a slice of the blocks left behind.

    Attributes:
        hidden: Output of the last block, `[rows, length, d]`.
        keys: Attention keys per block, `[rows, heads, columns, head_dim]`; None outside the slice.
        values: Attention values likewise.
        places: `[rows, columns]`, the position in its text that a column of keys and values is of;
            -1 for padding.
    """

    hidden: Tensor
    keys: tuple[Tensor | None, ...]
    values: tuple[Tensor | None, ...]
    places: Tensor


@dataclass(frozen=True)
class PrefixCache:
    """Keys and values of a prefix, by block.

    Attributes:
        keys: Per block `[rows, heads, length, head_dim]`, on the block's device; None for blocks
            that are not run with it.
        values: Likewise.
        mask: `[rows, length]`, 1 where the prefix is real.
    """

    keys: tuple[Tensor | None, ...]
    values: tuple[Tensor | None, ...]
    mask: Tensor

    @classmethod
    def before(cls, seen: Captured, cut: Tensor, *, windowed: bool) -> "PrefixCache | None":
        """What stands before a position of each row; None if nothing does.

        Args:
            seen: A forward with its keys and values. For a window, of right-padded rows, from
                their first token on.
            cut: `[rows]`, the first position that does not belong to the prefix.
            windowed: Whether attention has a window. It counts places in the cache, whatever the
                position ids, so that no gap may lie between a prefix and what follows.
        """
        longest = int(cut.max())
        if longest == 0:
            return None
        if not windowed:
            mask = (seen.places >= 0) & (seen.places < cut[:, None])
            return cls(seen.keys, seen.values, mask.long())._of(columns=mask.any(dim=0))
        at = torch.arange(longest, device=cut.device)[None] - (longest - cut[:, None])

        def ended(states: Tensor | None) -> Tensor | None:
            if states is None:
                return None
            place = at.clamp(min=0).to(states.device)[:, None, :, None]
            return states.gather(2, place.expand(-1, states.shape[1], -1, states.shape[3]))

        return cls(
            tuple(ended(k) for k in seen.keys),
            tuple(ended(v) for v in seen.values),
            (at >= 0).long(),
        )

    def select(self, rows: Tensor) -> "PrefixCache":
        """The same cache for some of the rows, any of them more than once."""
        return PrefixCache(
            tuple(None if k is None else k[rows.to(k.device)] for k in self.keys),
            tuple(None if v is None else v[rows.to(v.device)] for v in self.values),
            self.mask[rows.to(self.mask.device)],
        )

    def as_cache(self) -> DynamicCache:
        """A fresh Hugging Face cache. Its updates concatenate: these tensors stay as they are."""
        cache = DynamicCache()
        # Models ask the first block's entry how long the prefix is, also where that block is left
        # out: a stand-in has the length, and next to no content.
        nothing = self.mask.new_zeros(1, 1, self.mask.shape[1], 1)
        for layer, (key, value) in enumerate(zip(self.keys, self.values, strict=True)):
            cache.update(
                nothing if key is None else key, nothing if value is None else value, layer
            )
        return cache

    def _of(self, columns: Tensor) -> "PrefixCache":
        kept = columns.nonzero().squeeze(1)
        first, stop = int(kept[0]), int(kept[-1]) + 1
        if stop - first == len(kept):
            at: slice | Tensor = slice(first, stop)  # a view
        else:
            at = kept

        def cut(states: Tensor | None) -> Tensor | None:
            if states is None:
                return None
            return states[:, :, at if isinstance(at, slice) else at.to(states.device)]

        return PrefixCache(
            tuple(cut(k) for k in self.keys),
            tuple(cut(v) for v in self.values),
            self.mask[:, at],
        )
