"""A deliberately plain target solver: one edit at a time, one row at a time, full logits.

The batched solver must equal it. Nothing of the library's solver is used here.
"""

import torch


def hidden_of(output):
    return output[0] if isinstance(output, tuple) else output


def plain_target(
    model,
    block,
    edit_rows,
    *,
    steps,
    optimizer="adam",
    lr=0.0,
    max_step=0.0,
    weight_decay,
    kl_factor,
    clamp,
    stop_loss,
    stop_margin=None,
):
    """Solve one edit's target; returns (z, loss, evaluations)."""
    for p in model.parameters():
        p.requires_grad_(False)
    model.eval()
    state = {}

    def forward(row, delta):
        def hook(_module, _args, output):
            hidden = hidden_of(output).clone()
            if "z0" not in state:
                state["z0"] = hidden[0, row.lookup].detach().clone()
            hidden[0, row.lookup] = hidden[0, row.lookup] + delta
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = block.register_forward_hook(hook)
        try:
            logits = model(input_ids=torch.tensor([row.input_ids])).logits[0]
        finally:
            handle.remove()
        return torch.log_softmax(logits, dim=-1)

    width = model.config.hidden_size
    dtype = next(model.parameters()).dtype
    delta = torch.zeros(width, dtype=dtype, requires_grad=True)
    adam = torch.optim.Adam([delta], lr=lr)
    base = None
    evaluations, last, bound = 0, float("inf"), None
    for step in range(steps):
        adam.zero_grad()
        row_losses, leads = [], []
        for row in edit_rows.rewrite:
            log_p = forward(row, delta)
            picked = [log_p[p, y] for p, y in zip(row.positions, row.labels, strict=True)]
            row_losses.append(-torch.stack(picked).mean())
            for p, y in zip(row.positions, row.labels, strict=True):
                others = torch.cat([log_p[p, :y], log_p[p, y + 1 :]])
                leads.append(float((log_p[p, y] - others.max()).detach()))
        essence = forward(edit_rows.essence, delta)[edit_rows.essence.lookup]
        if base is None:
            base = essence.detach().clone()
        kl = (essence.exp() * (essence - base)).sum()
        decay = weight_decay * delta.norm() / state["z0"].norm() ** 2
        loss = torch.stack(row_losses).mean() + kl_factor * kl + decay
        evaluations += 1
        fell, last = loss.item() < last, loss.item()
        won = stop_margin is not None and min(leads) >= stop_margin
        if loss.item() < stop_loss or step == steps - 1 or won:
            break
        loss.backward()
        if optimizer == "adam":
            adam.step()
        with torch.no_grad():
            if optimizer == "polyak":
                size = float(delta.grad.norm())
                gap = max(loss.item() - stop_loss, 0.02)
                longest = max_step * float(state["z0"].norm())
                bound = longest if bound is None else min(bound * (1.5 if fell else 0.5), longest)
                length = min(gap / size, bound)
                delta.sub_(length * delta.grad / size)
            most = clamp * state["z0"].norm()
            if delta.norm() > most:
                delta.mul_(most / delta.norm())
    return state["z0"] + delta.detach(), loss.item(), evaluations
