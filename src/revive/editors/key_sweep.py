"""The key sweep: keys and current outputs of all edited layers, in one walk through the model.

MEMIT-type editors compute layer i+1 on the model with layer i already written. A full forward per
layer would repeat everything below; the sweep keeps the hidden states that enter the layer at hand
and moves them up after each write. Rows end at the subject's last token: nothing after it is seen.
What several begin with is run once (`models.forward.partial_forward`).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.models.forward.activation_hooks import inputs_of, outputs_of, routed_inputs_of
from revive.models.forward.partial_forward import PartialForward
from revive.models.forward.prefix import PrefixCache
from revive.models.forward.runner import BlockRunner
from revive.models.site import Site


class KeySweep:
    """Walks up the edited layers of one batch."""

    def __init__(
        self,
        runner: BlockRunner,
        rows: Sequence[TokenizedEdit],
        first_layer: int,
        *,
        average_contexts: bool = True,
    ) -> None:
        """Bring all rows to the input of the first edited block.

        Args:
            runner: Runs slices of the model.
            rows: One entry per edit.
            first_layer: The first edited block.
            average_contexts: Average the key over contexts; else the plain prompt's key alone.
        """
        self._runner = runner
        self._count = len(rows)
        chosen = [
            (e, edit.rewrite if average_contexts else edit.rewrite[:1])
            for e, edit in enumerate(rows)
        ]
        # Plain prompts first: current outputs need only those.
        plain = [(e, edit_rows[0]) for e, edit_rows in chosen]
        others = [(e, row) for e, edit_rows in chosen for row in edit_rows[1:]]
        owned = [*plain, *others]
        self._walk = PartialForward.start(
            runner,
            [row.input_ids[: row.lookup + 1] for _, row in owned],
            [row.lookup for _, row in owned],
        ).to(first_layer)
        device = self._walk.first.device
        self._owner = torch.tensor([e for e, _ in others], dtype=torch.long, device=device)
        lookup = torch.tensor([row.lookup for _, row in owned], device=device)
        self._lookup = self._walk.column(lookup)

    def keys(self, site: Site) -> Tensor:
        """Keys at the site's input, `[d_in, n]`: half the plain one, half the contexts' mean."""
        return _averaged(*self.parts(site))

    @torch.no_grad()
    def keys_of(self, sites: Sequence[Site]) -> dict[str, Tensor]:
        """Keys of all sites of one layer, by their key: of one projection, or of experts.

        Experts that no row is sent to are left out. The key of an edit whose rows go to different
        experts has a part in each: the average is of the whole, block-sparse key.
        """
        if sites[0].expert is None:
            return {site.key: self.keys(site) for site in sites}
        walk, prefix = self._move_to(sites[0].layer)
        with routed_inputs_of(self._runner, sites, self._lookup) as seen:
            walk.run(walk.layer + 1, prefix)
        found: dict[str, Tensor] = {}
        for key, routed in seen.items():
            if len(routed.rows):
                at = routed.keys.new_zeros(len(self._lookup), routed.keys.shape[1])
                found[key] = _averaged(*self._parts(at.index_copy(0, routed.rows, routed.keys)))
        return found

    @torch.no_grad()
    def parts(self, site: Site) -> tuple[Tensor, Tensor, int]:
        """Keys of the plain prompts and the contexts' mean, each `[d_in, n]`; number of contexts.

        The mean is in fp64, and zero without contexts.
        """
        walk, prefix = self._move_to(site.layer)
        with inputs_of(self._runner, [site]) as seen:
            walk.run(walk.layer + 1, prefix)
        return self._parts(self._at_lookup(seen[site.key]))

    def _parts(self, at: Tensor) -> tuple[Tensor, Tensor, int]:
        """The same, of what each row's lookup receives, `[rows, d_in]`."""
        wide = at.to(torch.float64)
        plain, others = wide[: self._count], wide[self._count :]
        count = len(others) // self._count
        owner = self._owner.to(others.device)
        mean = torch.zeros_like(plain).index_add(0, owner, others) / max(count, 1)
        return plain.T.to(self._dtype(at)), mean.T, count

    @torch.no_grad()
    def outputs(self, layer: int) -> Tensor:
        """Output of block `layer` on the plain prompts as the weights stand, `[d, n]`."""
        out = self._walk.head(self._count).to(layer + 1).hidden
        at = self._at_lookup(out)
        return at.T.to(self._dtype(at))

    @torch.no_grad()
    def replayed(self, z: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
        """Outputs of blocks on the plain prompts if the first of them put out z, `[d, n]` by block.

        Args:
            z: `[n, d]`, one row per edit.
            layers: Edited blocks, in order; the sweep stands before the first.
        """
        walk = self._walk.head(self._count).to(layers[0] + 1)
        hidden = walk.hidden.clone()
        rows = torch.arange(self._count, device=hidden.device)
        hidden[rows, self._lookup[: self._count].to(hidden.device)] = z.to(hidden)
        walk, found = replace(walk, hidden=hidden), {layers[0]: z.T}
        for layer in layers[1:]:
            walk = walk.to(layer + 1)
            found[layer] = self._at_lookup(walk.hidden).T.to(z)
        return found

    @torch.no_grad()
    def pulled_back(self, site: Site, wanted: Tensor) -> Tensor:
        """What the site must put out more for its block to put out `wanted` more, `[d, n]`.

        On the plain prompts, as the weights stand; nearly, where the block cannot
        (`ResidualWrite`).
        """
        entry = self._runner.family.entry_of(self._runner.model, site.layer)
        if entry is None:
            return wanted
        return entry.pulled_back(self._output_of(site).to(wanted), wanted.T).T

    @torch.no_grad()
    def received(self, site: Site) -> Tensor | None:
        """What the stream receives of the site on the plain prompts, `[d, n]`.

        None where it simply receives what the site puts out, and may receive anything.
        """
        entry = self._runner.family.entry_of(self._runner.model, site.layer)
        if entry is None:
            return None
        y = self._output_of(site)
        return entry.written(y.to(self._dtype(y))).T

    def _output_of(self, site: Site) -> Tensor:
        plain = self._move_to(site.layer)[0].head(self._count)
        prefix = plain.prefix(site.layer + 1)
        with outputs_of(self._runner, [site]) as seen:
            plain.run(site.layer + 1, prefix)
        return self._at_lookup(seen[site.key])

    def _move_to(self, layer: int) -> tuple[PartialForward, PrefixCache | None]:
        """Advance to the input of `layer`, through weights that are final by now."""
        self._walk = self._walk.to(layer)
        return self._walk, self._walk.prefix(layer + 1)

    def _at_lookup(self, states: Tensor) -> Tensor:
        rows = torch.arange(len(states), device=states.device)
        return states[rows, self._lookup[: len(states)].to(states.device)]

    @staticmethod
    def _dtype(like: Tensor) -> torch.dtype:
        return like.dtype if like.dtype == torch.float64 else torch.float32


def _averaged(plain: Tensor, contexts: Tensor, count: int) -> Tensor:
    return plain if count == 0 else (0.5 * plain.double() + 0.5 * contexts).to(plain.dtype)
