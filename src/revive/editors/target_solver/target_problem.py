"""One chunk of edits whose targets are optimised together; `targets` explains the objective."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from revive.editors.target_solver.target_delta import TargetDelta
from revive.editors.target_solver.target_settings import Targets, TargetSettings
from revive.editors.target_solver.target_steps import Adam, Polyak, Step
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, TokenizedPrompt
from revive.linalg.basis import SpectralBasis
from revive.models.forward.activation_hooks import outputs_of
from revive.models.forward.partial_forward import PartialForward
from revive.models.forward.prefix import PrefixCache
from revive.models.forward.runner import BlockRunner

# At most three steps are computed for an edit that has stopped, of twenty or more.
_LOOK_EVERY = 4


@dataclass(frozen=True)
class RowGroup:
    """Rows cut at their lookup: a constant prefix in the cache, and the suffix that is run.

    hidden is the output of block l*, `[rows, s, d]`; site is what its projection puts out at the
    lookup, `[rows, d]`, where it is no mixture of experts. The head reads position `read_at[i]` of
    row `read_row[i]`, where `labels[i]` is wanted with `weight[i]` (both empty for essence rows).
    All but the prefix lie on the device of block l*.
    """

    owner: Tensor
    hidden: Tensor
    site: Tensor | None
    mask: Tensor
    positions: Tensor
    prefix: PrefixCache | None
    read_row: Tensor
    read_at: Tensor
    labels: Tensor
    weight: Tensor

    def select(self, edits: Tensor, renumber: Tensor) -> "RowGroup":
        """The rows of some edits; `renumber[e]` is an edit's new index."""
        kept = torch.isin(self.owner, edits)
        rows = kept.nonzero().squeeze(1)
        new_row = torch.full_like(self.owner, -1)
        new_row[rows] = torch.arange(len(rows), device=rows.device)
        read = kept[self.read_row]
        return RowGroup(
            owner=renumber[self.owner[rows]],
            hidden=self.hidden[rows],
            site=None if self.site is None else self.site[rows],
            mask=self.mask[rows],
            positions=self.positions[rows],
            prefix=None if self.prefix is None else self.prefix.select(rows),
            read_row=new_row[self.read_row[read]],
            read_at=self.read_at[read],
            labels=self.labels[read] if len(self.labels) else self.labels,
            weight=self.weight[read] if len(self.weight) else self.weight,
        )


class TargetProblem:
    """One chunk of edits, optimised together."""

    def __init__(
        self,
        runner: BlockRunner,
        rows: Sequence[TokenizedEdit],
        settings: TargetSettings,
        avoid: SpectralBasis | None,
        lengths: Tensor | None,
    ) -> None:
        self._runner = runner
        self._settings = settings
        self._count = len(rows)
        self._entry = entry = runner.family.entry_of(runner.model, settings.layer)
        rewrite = [(e, row) for e, edit in enumerate(rows) for row in edit.rewrite]
        essence = [(e, edit.essence) for e, edit in enumerate(rows)]
        self._rewrite = self._group(rewrite)
        self._essence = self._group(essence) if settings.kl_factor > 0 else None
        first_row = torch.tensor(
            [next(i for i, (e, _) in enumerate(rewrite) if e == edit) for edit in range(len(rows))],
            device=self._rewrite.hidden.device,
        )
        z0, y0 = self._rewrite.hidden[first_row, 0], self._rewrite.site
        # fp32 at least: an all-bf16 optimisation has been seen to give NaN.
        self._state_dtype = z0.dtype if z0.dtype == torch.float64 else torch.float32
        self._z0 = z0.to(self._state_dtype)
        own = self._z0.norm(dim=1)
        known = y0 is not None
        self._y0 = y0[first_row].to(self._z0) if known else torch.full_like(self._z0, torch.nan)
        self._shift = TargetDelta.of(entry, self._y0)
        self._length = own if lengths is None else lengths.to(own)
        self._avoid = None if avoid is None or avoid.rank == 0 else avoid.u.to(self._z0)

    def solve(self) -> Targets:
        """Optimise until every edit has stopped.

        A stopped edit is frozen by a mask at once, and leaves the computation at the next look:
        to look is to wait for the device, so on an accelerator it is not done at every step.
        """
        s, z0 = self._settings, self._z0
        n, device = self._count, z0.device
        bound = s.clamp * self._length
        delta = torch.zeros_like(z0)
        rule = self._step_rule()
        loss = torch.full((n,), float("nan"), dtype=self._state_dtype, device=device)
        first = loss.clone()
        evaluations = torch.zeros(n, dtype=torch.long, device=device)
        failed = torch.zeros(n, dtype=torch.bool, device=device)
        stopped = torch.zeros_like(failed)
        active = torch.arange(n, device=device)
        live = torch.ones_like(failed)  # of the active
        rewrite, essence, base = self._rewrite, self._essence, None
        look = s.look_every or (1 if device.type == "cpu" else _LOOK_EVERY)
        for step in range(s.steps):
            current = delta[active].clone().requires_grad_(True)
            value, base, done = self._loss(current, active, rewrite, essence, base)
            seen = value.detach()
            evaluations[active] += live
            loss[active] = torch.where(live, seen, loss[active])
            if step == 0:
                first = seen.clone()
            finite = seen.isfinite()
            failed[active] |= live & ~finite
            stops = finite & ((seen < s.stop_loss) | done)
            stopped[active] |= live & stops
            live = live & finite & ~stops
            if step == s.steps - 1:
                break
            looking = (step + 1) % look == 0
            count = int(live.sum()) if looking else len(live)
            if count == 0:
                break
            asked = torch.where(live, value, torch.zeros_like(value))
            (gradient,) = torch.autograd.grad(asked.sum(), current)
            if count < len(live):
                kept = live.nonzero().squeeze(1)
                renumber = torch.full((len(live),), -1, dtype=torch.long, device=device)
                renumber[kept] = torch.arange(len(kept), device=device)
                rewrite = rewrite.select(kept, renumber)
                essence = None if essence is None else essence.select(kept, renumber)
                base = None if base is None else base[kept.to(base.device)]
                active, gradient, live = active[kept], gradient[kept], live[kept]
            usable = gradient.isfinite().all(dim=1)
            failed[active] |= live & ~usable
            gradient = torch.where((live & usable)[:, None], gradient, torch.zeros_like(gradient))
            moved = delta[active] + rule(gradient, loss[active], active)
            moved = self._admissible(moved, bound[active])
            delta[active] = torch.where(live[:, None], moved, delta[active])
        delta = torch.where(failed[:, None], torch.zeros_like(delta), delta)
        loss = loss.masked_fill(failed, float("nan"))
        with torch.no_grad():
            shift = self._shift.at_site(delta, torch.arange(n, device=device))
            z = z0 + self._shift.at_block(self._y0, shift)
            v0 = self._y0 if self._entry is None else self._entry.written(self._y0)
        return Targets(z, z0, v0, loss, first, evaluations, failed, stopped & ~failed)

    def _step_rule(self) -> Step:
        s = self._settings
        if s.optimizer == "polyak":
            return Polyak(s.stop_loss, s.max_step * self._length, self._allowed)
        return Adam(self._z0, s.lr)

    def _allowed(self, vectors: Tensor) -> Tensor:
        """Vectors without what lies in the directions to avoid."""
        if self._avoid is None:
            return vectors
        return vectors - (vectors @ self._avoid) @ self._avoid.T

    def _admissible(self, delta: Tensor, bound: Tensor) -> Tensor:
        delta = self._allowed(delta)
        norm = delta.norm(dim=1)
        scale = torch.where(norm > bound, bound / norm.clamp(min=1e-30), torch.ones_like(norm))
        return delta * scale[:, None]

    def _loss(
        self,
        delta: Tensor,
        active: Tensor,
        rewrite: RowGroup,
        essence: RowGroup | None,
        base: Tensor | None,
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Loss of each active edit, `[a]`.

        Also the essence rows' log-probabilities at delta = 0, and which edits need no more steps.
        """
        s = self._settings
        shift = self._shift.at_site(delta, active)
        # Logits stay on the head's device; what is left of them, a number a row, comes to delta's.
        log_p = self._log_probabilities(rewrite, shift)
        labels = rewrite.labels.to(log_p.device)
        nll = -log_p.gather(1, labels[:, None]).squeeze(1).to(delta.device) * rewrite.weight
        owner = rewrite.owner[rewrite.read_row]
        total = torch.zeros(len(active), dtype=log_p.dtype, device=delta.device)
        total = total.index_add(0, owner, nll)
        done = torch.zeros(len(active), dtype=torch.bool, device=delta.device)
        if s.stop_margin is not None:
            short = (lead(log_p.detach(), labels) < s.stop_margin).to(delta.device)
            done = torch.zeros_like(total).index_add(0, owner, short.to(total.dtype)) == 0
        if essence is not None:
            log_q = self._log_probabilities(essence, shift)
            base = log_q.detach() if base is None else base
            kl = (log_q.exp() * (log_q - base)).sum(dim=1)
            total = total + s.kl_factor * kl.to(delta.device)
        length = self._length[active]
        total = total + s.weight_decay * delta.norm(dim=1) / length.square()
        return total, base, done

    def _log_probabilities(self, group: RowGroup, shift: Tensor) -> Tensor:
        """Log-probabilities `[reads, vocabulary]`, with the site shifted at the first position."""
        moved = self._shift.at_block(group.site, shift[group.owner])
        first = group.hidden[:, :1].to(shift.dtype) + moved[:, None]
        hidden = torch.cat([first.to(group.hidden.dtype), group.hidden[:, 1:]], dim=1)
        runner = self._runner
        out = runner.run(
            hidden,
            self._settings.layer + 1,
            runner.depth,
            group.mask,
            group.positions,
            group.prefix,
        )
        read = (group.read_row.to(out.device), group.read_at.to(out.device))
        logits = runner.family.logits(runner.model, out[read])
        return torch.log_softmax(logits.to(shift.dtype), dim=-1)

    def _group(self, owned: Sequence[tuple[int, TokenizedPrompt]]) -> RowGroup:
        """Run the rows once; keep states from the lookup on, keys and values before it."""
        runner, layer = self._runner, self._settings.layer
        rows = [row for _, row in owned]
        walk = PartialForward.start(
            runner, [r.input_ids for r in rows], [r.lookup for r in rows]
        ).to(layer)
        sites = runner.family.sites(runner.model, layers=[layer])
        # What is seen last is of the rows; their beginnings go first.
        with outputs_of(runner, sites if self._entry or sites[0].expert is None else ()) as outputs:
            walk = walk.to(layer + 1)
        lookup = torch.tensor([r.lookup for r in rows], device=walk.first.device)
        # Above block l* nothing from the lookup on is constant.
        below = walk.before(lookup).capture(runner.depth)
        prefix = PrefixCache.before(below, lookup, windowed=runner.windowed)
        device = walk.hidden.device
        lookup, begin = lookup.to(device), walk.first.to(device)
        every = torch.arange(len(rows), device=device)
        suffix = max(len(r.input_ids) - r.lookup for r in rows)
        at = lookup[:, None] + torch.arange(suffix, device=device)[None]
        inside = at < torch.tensor([len(r.input_ids) for r in rows], device=device)[:, None]
        column = (at - begin[:, None]).clamp(max=walk.hidden.shape[1] - 1)
        hidden = walk.hidden.gather(1, column[..., None].expand(-1, -1, walk.hidden.shape[-1]))
        essence = not rows[0].labels
        reads = [(i, p - r.lookup) for i, r in enumerate(rows) for p in r.positions]
        if essence:
            reads = [(i, 0) for i in range(len(rows))]
        rows_per_edit = _rows_by_owner(owned)
        weight = [1 / (len(r.labels) * rows_per_edit[e]) for e, r in owned for _ in r.labels]
        return RowGroup(
            owner=torch.tensor([e for e, _ in owned], device=device),
            hidden=hidden,
            site=next((y[every, lookup - begin] for y in outputs.values()), None),
            mask=inside.long(),
            positions=at,
            prefix=prefix,
            read_row=torch.tensor([i for i, _ in reads], device=device),
            read_at=torch.tensor([p for _, p in reads], device=device),
            labels=torch.tensor(
                [y for r in rows for y in r.labels], device=device, dtype=torch.long
            ),
            weight=torch.tensor(weight, device=device, dtype=torch.float64).to(
                hidden.dtype if hidden.dtype == torch.float64 else torch.float32
            ),
        )


def lead(log_p: Tensor, labels: Tensor) -> Tensor:
    """How far the log-probability of every label lies above the best other one, `[reads]`.

    Args:
        log_p: `[reads, vocabulary]`.
        labels: `[reads]`.
    """
    best = log_p.topk(2, dim=1)
    own = log_p.gather(1, labels[:, None]).squeeze(1)
    rival = torch.where(best.indices[:, 0] == labels, best.values[:, 1], best.values[:, 0])
    return own - rival


def _rows_by_owner(owned: Sequence[tuple[int, TokenizedPrompt]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for edit, _ in owned:
        counts[edit] = counts.get(edit, 0) + 1
    return counts
