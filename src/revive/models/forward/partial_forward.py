"""Texts on their way up through a model's blocks; what several begin with is run once.

The rows of an editor's batch begin alike: every edit stands behind the same few contexts. A row's
beginning does not depend on its end, so it is computed for one of them, and the rest of every row
looks back at its keys and values. Nothing but rounding changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from revive.models.forward.padding import padded
from revive.models.forward.prefix import Captured, PrefixCache
from revive.models.forward.runner import BlockRunner, positions_of
from revive.models.forward.shared_prefixes import shared_prefixes
from revive.models.placement import entry_device, is_offloaded


@dataclass(frozen=True)
class PartialForward:
    """Hidden states of rows where they enter a block.

    Attributes:
        runner: Runs slices of the model.
        layer: The block.
        hidden: `[rows, length, d]`, of what a row has beyond its beginning.
        mask: `[rows, length]`, 1 for real positions.
        positions: `[rows, length]`, in the row's text.
        first: `[rows]`, position of the first column.
        beginning: Where the beginnings are, a row each; None if there are none.
        of: `[rows]`, each row's beginning; -1 for none.
    """

    runner: BlockRunner
    layer: int
    hidden: Tensor
    mask: Tensor
    positions: Tensor
    first: Tensor
    beginning: "PartialForward | None"
    of: Tensor

    @classmethod
    def start(
        cls, runner: BlockRunner, rows: Sequence[tuple[int, ...]], limits: Sequence[int]
    ) -> "PartialForward":
        """Stand before block 0.

        Args:
            runner: Runs slices of the model.
            rows: Token ids.
            limits: Of each row, the first position whose hidden states will be asked for.
        """
        blocks = runner.family.blocks_of(runner.model)
        # A window would count the gap that a short beginning leaves. Weights that come and go
        # would come twice, which takes longer than anything that is computed with them.
        if runner.windowed or any(is_offloaded(block) for block in blocks):
            limits = [0] * len(rows)
        shared = shared_prefixes(rows, limits)
        lengths = [len(shared.texts[i]) if i >= 0 else 0 for i in shared.of]
        rest = [row[length:] for row, length in zip(rows, lengths, strict=True)]
        beginning = None
        if shared.texts:
            none = [-1] * len(shared.texts)
            beginning = cls._padded(runner, shared.texts, [0] * len(none), None, none)
        return cls._padded(runner, rest, lengths, beginning, shared.of)

    @classmethod
    @torch.no_grad()
    def _padded(
        cls,
        runner: BlockRunner,
        rows: Sequence[tuple[int, ...]],
        first: Sequence[int],
        beginning: "PartialForward | None",
        of: Sequence[int],
    ) -> "PartialForward":
        device = entry_device(runner.model)
        ids, mask = padded(rows)
        begin = torch.tensor(first, device=device)
        mask = mask.to(device)
        positions = positions_of(mask) + begin[:, None]
        hidden = runner.embed(ids.to(device), positions)
        return cls(
            runner, 0, hidden, mask, positions, begin, beginning, torch.tensor(of, device=device)
        )

    def to(self, layer: int) -> "PartialForward":
        """The same rows where they enter a higher block, through weights as they stand."""
        here = self
        while here.layer < layer:
            # One block at a time: every row has a copy of its beginning's keys and values.
            stop = layer if here.beginning is None else here.layer + 1
            prefix, beginning = here._prefix(stop)
            hidden = here.run(stop, prefix)
            here = replace(here, layer=stop, hidden=hidden, beginning=beginning)
        return here

    def head(self, rows: int) -> "PartialForward":
        """The first so many rows."""
        return replace(
            self,
            hidden=self.hidden[:rows],
            mask=self.mask[:rows],
            positions=self.positions[:rows],
            first=self.first[:rows],
            of=self.of[:rows],
        )

    def before(self, limits: Tensor) -> "PartialForward":
        """Without what no row needs: columns from `limits` on, a position of each row, `[rows]`."""
        width = max(1, int(self.column(limits).max()))
        return replace(
            self,
            hidden=self.hidden[:, :width],
            mask=self.mask[:, :width],
            positions=self.positions[:, :width],
        )

    def prefix(self, stop: int) -> PrefixCache | None:
        """What rows look back at in the blocks from here to `stop - 1`, as the weights stand."""
        return self._prefix(stop)[0]

    @torch.no_grad()
    def run(self, stop: int, prefix: PrefixCache | None) -> Tensor:
        """Output of block `stop - 1`, not normed, `[rows, length, d]`; nobody moves.

        Args:
            stop: One past the last block.
            prefix: `prefix(stop)`, which is apart for those who watch the blocks at work.
        """
        return self.runner.run(
            self.hidden, self.layer, stop, self.mask, self.positions, prefix, normed=False
        )

    @torch.no_grad()
    def capture(self, stop: int) -> Captured:
        """The same, with the keys and values of those blocks, beginnings included."""
        prefix = self.prefix(stop)
        return self.runner.capture(self.hidden, self.layer, stop, self.mask, self.positions, prefix)

    def column(self, positions: Tensor) -> Tensor:
        """Columns of one position of every row, `[rows]`."""
        return positions.to(self.first.device) - self.first

    def _prefix(self, stop: int) -> "tuple[PrefixCache | None, PartialForward | None]":
        """Also the beginnings where they enter block `stop`."""
        if self.beginning is None:
            return None, None
        seen = self.beginning.capture(stop)
        found = PrefixCache(seen.keys, seen.values, (seen.places >= 0).long())
        found = found.select(self.of.clamp(min=0))
        found = replace(found, mask=found.mask * (self.of >= 0)[:, None])
        return found, replace(self.beginning, layer=stop, hidden=seen.hidden)
