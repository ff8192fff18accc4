"""Run a slice of a model's blocks, through the model's own forward.

The blocks outside the slice are replaced by pass-throughs for the time of the call, and the first
block of the slice receives the given hidden states. Masks, rotary tables and caches stay the
model's own business, so that no family needs a hand-written forward.
"""

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from revive.models.family import Family
from revive.models.forward.block_proxy import BlockProxy
from revive.models.forward.precision import Precision, products
from revive.models.forward.prefix import Captured, PrefixCache
from revive.models.forward.recompute import Recomputed
from revive.models.placement import entry_device, is_offloaded


def hidden_of(output: Any) -> Tensor:
    """The hidden states in a block's output, which is a tensor or a tuple that starts with it."""
    return cast(Tensor, output[0] if isinstance(output, tuple) else output)


class _PassThrough(BlockProxy):
    """Stands in for a skipped block: returns its input in the block's own form."""

    def __init__(self, block: nn.Module, in_tuple: bool) -> None:
        super().__init__(block)
        self._in_tuple = in_tuple

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the hidden states unchanged."""
        hidden = args[0] if args else kwargs["hidden_states"]
        return (hidden, None) if self._in_tuple else hidden


class BlockRunner:
    """Runs slices of one model's blocks."""

    def __init__(self, model: nn.Module, family: Family, precision: Precision = "strict") -> None:
        """Take a model.

        Args:
            model: The causal language model.
            family: Its family.
            precision: How its float32 products are computed; see `models.forward.precision`.
        """
        self.model = model
        self.family = family
        self.precision: Precision = precision
        self._base = family.base_of(model)
        self._blocks = family.blocks_of(model)
        self._in_tuple = self._observe_tuple()
        # Models with ALiBi have no positions to be told.
        self._takes_positions = "position_ids" in inspect.signature(self._base.forward).parameters

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self._blocks)

    @property
    def windowed(self) -> bool:
        """Whether some block's attention reaches back a limited number of tokens only."""
        return getattr(self._base.config, "sliding_window", None) is not None

    def embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        """What block 0 receives of token ids, `[rows, length, d]`."""
        with self._only(0, 0), self._hook_output(0, before=True) as seen:
            self._base(input_ids=input_ids, **self._positions(positions), use_cache=False)
        return seen[0]

    def at_precision(self, precision: Precision) -> "BlockRunner":
        """The same model, its products computed another way."""
        other = copy(self)
        other.precision = precision
        return other

    def states(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """Run token ids, right padded; what the head receives, `[rows, length, d]`."""
        with products(self.precision):
            return cast(
                Tensor,
                self._base(
                    input_ids=input_ids,
                    attention_mask=self._attended(mask),
                    **self._positions(positions_of(mask)),
                    use_cache=False,
                ).last_hidden_state,
            )

    def embed_through(self, input_ids: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Run token ids and return the output of block `layer`, `[rows, length, d]`.

        Args:
            input_ids: `[rows, length]`, right padded.
            mask: `[rows, length]`, 1 for real tokens.
            layer: Block whose output is wanted.
        """
        with self._hook_output(layer) as seen, self._only(0, layer + 1):
            self.states(input_ids, mask)
        return seen[0]

    def run(
        self,
        hidden: Tensor,
        start: int,
        stop: int,
        mask: Tensor,
        positions: Tensor,
        prefix: PrefixCache | None = None,
        *,
        normed: bool = True,
    ) -> Tensor:
        """Run blocks `start .. stop - 1` on hidden states.

        Args:
            hidden: Input of block `start`, `[rows, length, d]`.
            start: First block.
            stop: One past the last block. If it is the model's depth, the final norm is applied.
            mask: `[rows, length]`, 1 for real positions.
            positions: `[rows, length]` position ids.
            prefix: Keys and values that stand before these positions.
            normed: Apply the final norm after the last block; else return what that puts out.

        Returns:
            `[rows, length, d]`.
        """
        if start == stop and (stop < self.depth or not normed):
            return hidden
        cache = None if prefix is None else prefix.as_cache()
        return self._run(hidden, start, stop, mask, positions, prefix, cache, normed=normed)

    def capture(
        self,
        hidden: Tensor,
        start: int,
        stop: int,
        mask: Tensor,
        positions: Tensor,
        prefix: PrefixCache | None = None,
    ) -> Captured:
        """The same without the final norm, and with the keys and values of these blocks."""
        if start < stop:
            cache = DynamicCache() if prefix is None else prefix.as_cache()
            hidden = self._run(hidden, start, stop, mask, positions, prefix, cache, normed=False)
            layers = cast("Sequence[Any]", cache.layers)
        else:
            layers = ()
        inside = range(start, stop)
        places = torch.where(mask.bool(), positions, -1)
        if prefix is not None:
            before = prefix.mask.to(places)
            places = torch.cat([before.cumsum(dim=1) * before - 1, places], dim=1)
        return Captured(
            hidden,
            tuple(layers[i].keys if i in inside else None for i in range(self.depth)),
            tuple(layers[i].values if i in inside else None for i in range(self.depth)),
            places,
        )

    def _run(
        self,
        hidden: Tensor,
        start: int,
        stop: int,
        mask: Tensor,
        positions: Tensor,
        prefix: PrefixCache | None,
        cache: DynamicCache | None,
        *,
        normed: bool,
    ) -> Tensor:
        mask, positions = self._attended(mask.to(hidden.device)), positions.to(hidden.device)
        if prefix is not None:
            mask = torch.cat([prefix.mask.to(hidden.device), mask], dim=1)
        # When the slice is empty (after the last block), a pass-through takes the feed.
        with (
            products(self.precision),
            self._only(start, stop),
            self._feed(min(start, self.depth - 1), hidden),
        ):
            if stop < self.depth or not normed:
                with self._hook_output(stop - 1) as seen:
                    self._call_base(hidden, mask, positions, cache)
                return seen[0]
            return cast(Tensor, self._call_base(hidden, mask, positions, cache))

    def _call_base(
        self, hidden: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache | None
    ) -> Any:
        return self._base(
            inputs_embeds=hidden,
            attention_mask=mask,
            **self._positions(positions),
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state

    def _attended(self, mask: Tensor) -> Tensor:
        """Which positions of right-padded rows may be seen: no real one looks at padding anyway.

        A padded position whose window holds only padding would see nothing, which can come out as
        NaN (in fp64, whose least number a softmax in fp32 takes for minus infinity), and zero
        times NaN would reach the real ones.
        """
        return torch.ones_like(mask) if self.windowed else mask

    def _positions(self, positions: Tensor) -> dict[str, Tensor]:
        return {"position_ids": positions} if self._takes_positions else {}

    @contextmanager
    def _only(self, start: int, stop: int) -> Generator[None, None, None]:
        """Pass through the blocks outside the slice; do not keep weights that come and go."""
        originals = list(self._blocks)
        try:
            for i, block in enumerate(originals):
                if not start <= i < stop:
                    self._blocks[i] = _PassThrough(block, self._in_tuple)
                elif torch.is_grad_enabled() and is_offloaded(block):
                    self._blocks[i] = Recomputed(block, i)
            yield
        finally:
            for i, block in enumerate(originals):
                self._blocks[i] = block

    def _observe_tuple(self) -> bool:
        """How this model's blocks return their hidden states: in a tuple, or bare."""
        seen: list[bool] = []

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            seen.append(isinstance(output, tuple))

        handle = self._blocks[0].register_forward_hook(hook)
        device = entry_device(self.model)
        try:
            with torch.no_grad():
                self._base(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device))
        finally:
            handle.remove()
        return seen[0]

    @contextmanager
    def _feed(self, layer: int, hidden: Tensor) -> Generator[None, None, None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if args:
                return (hidden, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": hidden}

        handle = self._blocks[layer].register_forward_pre_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def _hook_output(
        self, layer: int, *, before: bool = False
    ) -> Generator[list[Tensor], None, None]:
        seen: list[Tensor] = []

        def after_hook(_module: nn.Module, _args: Any, output: Any) -> None:
            seen.append(hidden_of(output))

        def before_hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])

        block = self._blocks[layer]
        handle = (
            block.register_forward_pre_hook(before_hook, with_kwargs=True)
            if before
            else block.register_forward_hook(after_hook)
        )
        try:
            yield seen
        finally:
            handle.remove()


def context_length(model: nn.Module) -> int | None:
    """Most tokens that a model takes, where its configuration says so."""
    found = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def positions_of(mask: Tensor) -> Tensor:
    """Position ids of a padded batch: real tokens count from 0, on either padding side."""
    return (mask.long().cumsum(dim=1) - 1).clamp(min=0)
