"""UltraEdit against a plain form: one edit at a time, dense, fp64, all of the stream at hand."""

import pytest
import torch
from goldens import MODELS, load_runner, token_rows

from revive.editors.base import EditContext
from revive.editors.token_gradients import token_gradients
from revive.editors.ultraedit import UltraEdit
from revive.models.forward.frozen import frozen
from revive.models.ledger import Ledger
from revive.options.editors import UltraEditOptions

LR = 1e-3


def plain_gradients(model, site, row):
    """Keys and gradients of one edit, by autograd on the projection's output alone."""
    seen = {}

    def hook(_module, args, output):
        seen["key"] = args[0][0].detach()
        seen["out"] = output.detach().requires_grad_()
        return seen["out"]

    handle = model.get_submodule(site.module).register_forward_hook(hook)
    try:
        logits = model(input_ids=torch.tensor([row.input_ids])).logits[0]
    finally:
        handle.remove()
    log_p = torch.log_softmax(logits, dim=-1)
    picked = [log_p[p, y] for p, y in zip(row.positions, row.labels, strict=True)]
    (-torch.stack(picked).mean()).backward()
    at = list(row.positions)
    return seen["key"][at], seen["out"].grad[0][at]


def plain_update(model, site, rows, before):
    pairs = [plain_gradients(model, site, row) for row in rows]
    keys = torch.cat([k for k, _ in pairs])
    slopes = torch.cat([g for _, g in pairs])
    stream = torch.cat([*before, torch.cat([keys, slopes], dim=1)])
    mean, variance = stream.mean(dim=0), stream.var(dim=0, unbiased=False)
    hats = (torch.cat([keys, slopes], dim=1) - mean) / (variance + 1e-8).sqrt()
    d = keys.shape[1]
    values = -LR * (hats[:, :d] ** 2).sum(dim=1, keepdim=True) * hats[:, d:]
    normal = keys.T @ keys + torch.eye(d, dtype=keys.dtype)
    return torch.linalg.solve(normal, keys.T @ values).T, stream


@pytest.mark.parametrize("model", MODELS)
def test_two_batches_equal_the_plain_form(model, monkeypatch):
    runner = load_runner(model, torch.float64)
    sites = runner.family.sites(runner.model, layers=[1])
    ledger = Ledger(runner.model, sites)
    editor = UltraEdit(UltraEditOptions(layers=[1], lr=LR))
    context = EditContext(runner, None, sites, (), {}, ledger)
    editor.prepare(context)
    before = []
    for number in ("0", "1"):
        rows = token_rows(model, number)
        monkeypatch.setattr(
            "revive.editors.ultraedit.encode_batch",
            lambda batch, context, rows=rows: (dict(enumerate(rows)), {}),
        )
        with frozen(runner.model):
            expected, stream = plain_update(
                runner.model, sites[0], [r.rewrite[0] for r in rows], before
            )
        before = [stream]
        steps = editor.edit([None] * len(rows), context)
        proposed = next(steps)
        got = proposed.factors.dense()
        # GPT-J computes its attention in fp32, whatever the weights.
        tolerance = 2e-6 if model == "gptj" else 1e-9
        assert float((got - expected).norm() / expected.norm()) <= tolerance
        assert proposed.factors.rank == sum(len(r.rewrite[0].labels) for r in rows)
        assert len(proposed.owners) == proposed.factors.rank
        with pytest.raises(StopIteration) as stop:
            next(steps)
        editor.advance(stop.value.value.increment)
        with ledger.transaction():
            ledger.commit(sites[0].parameter, proposed.factors)


def test_rows_do_not_see_each_other():
    runner = load_runner("llama-bos", torch.float64)
    sites = runner.family.sites(runner.model, layers=[0, 1])
    rows = [r.rewrite[0] for r in token_rows("llama-bos", "0")]
    with frozen(runner.model):
        together = token_gradients(runner, sites, rows)
        alone = token_gradients(runner, sites, rows, rows_per_pass=1)
    for key in together.keys:
        for a, b in (
            (together.keys[key], alone.keys[key]),
            (together.gradients[key], alone.gradients[key]),
        ):
            assert float((a - b).norm() / b.norm()) <= 1e-9
            assert float((a.flip(0) - b).norm() / b.norm()) > 1e-3


def test_the_statistics_matter():
    runner = load_runner("gpt2", torch.float64)
    sites = runner.family.sites(runner.model, layers=[1])
    first, second = ([r.rewrite[0] for r in token_rows("gpt2", n)] for n in ("0", "1"))
    with frozen(runner.model):
        alone, _ = plain_update(runner.model, sites[0], second, [])
        _, stream = plain_update(runner.model, sites[0], first, [])
        after, _ = plain_update(runner.model, sites[0], second, [stream])
    assert float((alone - after).norm() / after.norm()) > 1e-2
