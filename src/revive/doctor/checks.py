"""Can this model be edited safely? Every check measures something on the loaded model.

Nothing of the model is changed: what a check writes goes through the ledger and is taken back.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from revive.assembly.fit_settings import fitted
from revive.data.edits import Edit
from revive.doctor.orientation import TEXT, ids_of, orientation_error
from revive.editors.target_solver.target_settings import TargetSettings
from revive.editors.target_solver.targets import solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, encode_edit
from revive.engine.text_statistics import Notify, silent
from revive.errors import ReviveError, SpecError
from revive.linalg.basis import SpectralBasis
from revive.linalg.lowrank import LowRank
from revive.models.family import read_weight
from revive.models.forward.activation_hooks import outputs_of
from revive.models.forward.runner import BlockRunner, positions_of
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.models.placement import bring_in, entry_device, named_values
from revive.models.site import Site, by_layer
from revive.spec.schema import RunSpec

Verdict = Literal["ok", "warning", "failed"]

EDIT = Edit(id="doctor", prompt="The letter is for Zoe", subject="Zoe", target_new="Rome")

# What slices of a forward may differ from the whole: a few roundings of the dtype.
_TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
# Relative error of one product, in the coarsest dtype.
_ROUNDING = 0.05
# Share of an update's energy that rounding may carry into the protected directions.
_LEAK = 0.01
_RESIDUAL = 1e-6
_TRIAL = "trial edits"
_SCALE = 0.05  # of the trial update, as a share of the weight's norm


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
        check: Its name.
        verdict: `failed` means that edits would be wrong, `warning` that they cost more.
        text: Numbers, and what to do.
    """

    check: str
    verdict: Verdict
    text: str


def examine(loaded: LoadedModel, layers: list[int]) -> Iterator[CheckResult]:
    """Run every check; one that cannot run has failed.

    Args:
        loaded: The model.
        layers: Blocks that would be edited.
    """
    family, model = loaded.family, loaded.model
    sites = family.sites(model, layers=layers)
    bring_in(model, [site.parameter for site in sites])
    blocks = by_layer(sites)
    named = ", ".join(_named(block) for block in blocks)
    yield CheckResult(
        "sites",
        "ok",
        f"family {family.name}, {len(family.blocks_of(model))} blocks; {named}",
    )
    checks: list[tuple[str, Callable[[], CheckResult]]] = [
        ("weights", lambda: _finite(model)),
        ("orientation", lambda: _orientation(loaded, sites)),
        ("tokenizer", lambda: _tokenizer(loaded.tokenizer)),
        ("vocabulary", lambda: _vocabulary(loaded)),
        ("slices", lambda: _slices(loaded)),
        ("residual", lambda: _residual(loaded, sites)),
        ("target loss", lambda: _target_loss(loaded, sites[-1])),
        *((f"spectrum, block {b[0].layer}", _spectrum_of(model, b)) for b in blocks),
        ("dtype leak", lambda: _leak(model, sites)),
    ]
    for name, check in checks:
        try:
            yield check()
        except (ReviveError, RuntimeError, ValueError) as error:
            yield CheckResult(name, "failed", " ".join(str(error).split()))


def trial_finding(
    loaded: LoadedModel, spec: RunSpec, cache: Path, notify: Notify = silent
) -> CheckResult:
    """Whether edits take: the package's are made with the spec's settings, scored and undone.

    Args:
        loaded: The model.
        spec: A resolved spec of it.
        cache: Folder of constant results; what was found before is found there.
        notify: Told about progress.
    """
    try:
        one = fitted(spec, loaded, cache, notify).chosen
    except (ReviveError, RuntimeError, ValueError) as error:
        return CheckResult(_TRIAL, "failed", " ".join(str(error).split()))
    text = (
        f"{round(one.answered * one.edits)} of {one.edits} trial edits answer, targets "
        f"{one.evaluations:.0f} evaluations, update {one.update:.0%} of the weight"
    )
    if one.caution:
        return CheckResult(_TRIAL, "warning", f"{text}. {one.caution}")
    return CheckResult(_TRIAL, "ok", text)


def _finite(model: Any) -> CheckResult:
    bad = [n for n, value in named_values(model) if not bool(torch.isfinite(value).all())]
    if bad:
        return CheckResult("weights", "failed", f"{bad[0]} holds NaN or infinity; reload the model")
    return CheckResult("weights", "ok", f"all finite, {next(model.parameters()).dtype}")


def _named(block: tuple[Site, ...]) -> str:
    site, size = block[0], f"{block[0].shape[0]} x {block[0].shape[1]}"
    return f"{site.parameter} of {'' if site.expert is None else f'{len(block)} x '}{size}"


def _orientation(loaded: LoadedModel, sites: tuple[Site, ...]) -> CheckResult:
    error = orientation_error(loaded, sites)
    verdict: Verdict = "ok" if error < _ROUNDING else "failed"
    what = "W x + b reproduces every module"
    if any(site.expert is not None for site in sites):
        what = "W k, summed over the experts a token is sent to, reproduces every module"
    return CheckResult("orientation", verdict, f"{what} to {error:.1e}")


def _tokenizer(tokenizer: Any) -> CheckResult:
    rows = encode_edit(tokenizer, EDIT, ())
    ids: list[int] = tokenizer(TEXT)["input_ids"]
    bos: int | None = tokenizer.bos_token_id
    count = next((i for i, token in enumerate(ids) if token != bos), len(ids))
    found = tokenizer.decode([rows.rewrite[0].input_ids[rows.rewrite[0].lookup]])
    told = f"{count} BOS; the subject Zoe ends in the token {found!r}"
    if count > 1:
        return CheckResult(
            "tokenizer", "failed", f"{told}: BOS comes {count} times; mend its template"
        )
    if not found.strip() or not "Zoe".endswith(found.strip()):
        return CheckResult("tokenizer", "warning", f"{told}, which is not the end of it")
    return CheckResult("tokenizer", "ok", told)


def _vocabulary(loaded: LoadedModel) -> CheckResult:
    """Every token that text may turn into is one that the model has a row for."""
    rows = int(loaded.model.get_input_embeddings().num_embeddings)
    tokens: dict[str, int] = loaded.tokenizer.get_vocab()
    without = sorted((i, token) for token, i in tokens.items() if i >= rows)
    if not without:
        return CheckResult("vocabulary", "ok", f"{len(tokens):,} tokens, {rows:,} embedding rows")
    named = ", ".join(f"{token!r} ({i})" for i, token in without[:5])
    more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
    told = (
        f"{named}{more} have no row: the model has {rows:,}. Text with such a token cannot be "
        "read; take the tokenizer that belongs to this model, or keep the token out of edits and "
        "text"
    )
    return CheckResult("vocabulary", "warning", told)


def _slices(loaded: LoadedModel) -> CheckResult:
    """Blocks run one after another against the whole model: what target solving relies on."""
    model, family = loaded.model, loaded.family
    runner = BlockRunner(model, family)
    ids = ids_of(loaded, TEXT)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        whole: Tensor = model(input_ids=ids, attention_mask=mask).logits
        hidden = runner.embed_through(ids, mask, 0)
        hidden = runner.run(hidden, 1, runner.depth, mask, positions_of(mask))
        parts = family.logits(model, hidden)
    error = float((whole.double() - parts.double()).abs().max())
    verdict: Verdict = "ok" if error <= _TOLERANCE.get(whole.dtype, 1e-3) else "failed"
    return CheckResult(
        "slices", verdict, f"blocks in slices give the model's logits to {error:.1e}"
    )


def _residual(loaded: LoadedModel, sites: tuple[Site, ...]) -> CheckResult:
    """What a block puts out more when its projection's output is turned, against the family."""
    model, family = loaded.model, loaded.family
    runner = BlockRunner(model, family)
    ids = ids_of(loaded, TEXT)
    mask = torch.ones_like(ids)

    def outputs(site: Site, turn: int) -> tuple[Tensor, Tensor]:
        def turned(_module: Any, _args: Any, output: Tensor) -> Tensor:
            return output.roll(turn, -1)

        handle = model.get_submodule(site.module).register_forward_hook(turned)
        try:
            with torch.no_grad(), outputs_of(runner, [site]) as seen:
                block = runner.embed_through(ids, mask, site.layer)
        finally:
            handle.remove()
        entry, y = family.entry_of(model, site.layer), seen[site.key]
        with torch.no_grad():
            return block.double(), (y if entry is None else entry.written(y)).double()

    worst = 0.0
    for site in {s.module: s for s in sites}.values():
        (block, written), (block_turned, written_turned) = outputs(site, 0), outputs(site, 1)
        change = block_turned - block
        error = change - (written_turned - written)
        worst = max(worst, float(error.norm() / change.norm()))
    verdict: Verdict = "ok" if worst < _ROUNDING else "failed"
    told = f"blocks receive what the family says of their projections' outputs, to {worst:.1e}"
    return CheckResult("residual", verdict, told)


def _target_loss(loaded: LoadedModel, site: Site) -> CheckResult:
    """The target solver's first loss against the model's own on the same text."""
    rows: TokenizedEdit = encode_edit(loaded.tokenizer, EDIT, ())
    settings = TargetSettings(
        layer=site.layer, steps=1, lr=0.1, weight_decay=0.0, kl_factor=0.0, clamp=1.0
    )
    runner = BlockRunner(loaded.model, loaded.family)
    solved = float(solve_targets(runner, [rows], settings).loss[0])
    row = rows.rewrite[0]
    device = entry_device(loaded.model)
    with torch.no_grad():
        logits = loaded.model(input_ids=torch.tensor([row.input_ids], device=device)).logits[0]
    log_p = logits.double().log_softmax(-1)
    own = -float(log_p[torch.tensor(row.positions), torch.tensor(row.labels)].mean())
    error = abs(solved - own)
    verdict: Verdict = "ok" if error <= _TOLERANCE.get(logits.dtype, 1e-3) else "failed"
    return CheckResult("target loss", verdict, f"{solved:.4f} against the model's own {own:.4f}")


def _spectrum_of(model: Any, block: tuple[Site, ...]) -> Callable[[], CheckResult]:
    """Of a block's projection; of its experts, the first: they are alike, and may be hundreds."""
    site = block[0]

    def check() -> CheckResult:
        started = time.perf_counter()
        basis = SpectralBasis.fit(read_weight(model, site), energy=0.1)
        seconds = time.perf_counter() - started
        text = (
            f"tau 0.1 protects {basis.rank} of {len(basis.s)} directions; residual "
            f"{basis.residual:.1e}, {seconds:.2f} s"
        )
        if site.expert is not None:
            text = f"expert 0 of {len(block)}: {text}"
        verdict: Verdict = "ok" if basis.residual < _RESIDUAL else "failed"
        return CheckResult(f"spectrum, block {site.layer}", verdict, text)

    return check


def _leak(model: Any, sites: tuple[Site, ...]) -> CheckResult:
    """A guarded trial update, written in the model's dtype and taken back."""
    ledger = Ledger(model, sites)
    site = sites[0]
    basis = SpectralBasis.fit(ledger.original(site.key), energy=0.1)
    before = model.get_parameter(site.parameter).detach().clone()
    rng = torch.Generator().manual_seed(0)
    left = torch.randn(site.shape[0], 8, generator=rng).to(before.device)
    right = torch.randn(8, site.shape[1], generator=rng).to(before.device)
    trial = basis.project_out(LowRank(left, right))
    size = _SCALE * float(torch.linalg.matrix_norm(ledger.original(site.key)))
    with ledger.transaction():
        written = ledger.commit(site.key, trial.scaled(size / trial.fro()), basis)
        ledger.rewind()
    if not torch.equal(model.get_parameter(site.parameter), before):
        raise SpecError("a write could not be taken back bit for bit; this weight is not plain.")
    text = (
        f"of an update of {_SCALE:.0%} of the weight, {written.leak:.1e} of the energy falls into "
        f"protected directions by rounding ({before.dtype})"
    )
    if written.leak > _LEAK:
        return CheckResult("dtype leak", "warning", f"{text}; load the model in float32 to edit it")
    return CheckResult("dtype leak", "ok", text)
