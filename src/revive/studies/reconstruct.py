"""Reconstruction: how much ability is left of a weight rebuilt from some of its components.

REVIVE, spectral analysis 1 (arXiv 2601.11042): W = sum_i s_i u_i v_i^T is rebuilt from its top
p % of components, and general ability measured; the top 5 % of Llama-3-8B's FFN weights are
reported to recover about 62.6 % of the GLUE score.

Differs from the paper: there are three controls. Bottom components, as many; random components, as
many; and random components of the same summed singular values, which are more of them. And
ability is also counted from what is left with the weight at zero, since the rest of the model may
do without it: recovered = (a(p) - a(0)) / (a(1) - a(0)).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Literal, get_args

import torch
from torch import Tensor

from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger
from revive.studies.ability import Ability
from revive.studies.points import PointLog, Values
from revive.studies.spectra import Progress, Spectrum, generator, spectra_of

Selection = Literal["top", "bottom", "random, equal count", "random, equal energy"]
SELECTIONS: tuple[Selection, ...] = get_args(Selection)
RANDOM = SELECTIONS[2:]


@dataclass(frozen=True)
class ReconstructSettings:
    """What is rebuilt.

    Attributes:
        shares: p, shares of the components; 0 and 1 are always measured.
        seeds: Of the random selections.
    """

    shares: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7)
    seeds: tuple[int, ...] = (0, 1, 2)


@dataclass(frozen=True)
class ReconstructedWeight:
    """One selection at one p.

    Attributes:
        selection: Which components.
        share: p.
        energy: Share of the summed singular values that they hold, mean over weights and seeds.
        count: Share of the components, likewise (p itself but for equal energy).
        values: By measure, one value a seed; a single one where nothing is random.
    """

    selection: Selection
    share: float
    energy: float
    count: float
    values: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Reconstruction:
    """What the study found.

    Attributes:
        sites: Parameter names of the weights, all rebuilt together.
        zero: Ability with the weights at zero.
        intact: Ability of the model as it is.
        rows: By selection, ascending in p, without p = 0 and 1.
        holding: Share of the components that holds 25, 50, 75 and 90 % of the energy, mean.
        settings: As asked.
        resolution: How far a measure moves by chance, where that is known.
    """

    sites: tuple[str, ...]
    zero: Mapping[str, float]
    intact: Mapping[str, float]
    rows: tuple[ReconstructedWeight, ...]
    holding: Mapping[float, float]
    settings: ReconstructSettings
    resolution: Mapping[str, float] = field(default_factory=dict[str, float])


def reconstruct(
    ledger: Ledger,
    ability: Ability,
    log: PointLog | None = None,
    *,
    settings: ReconstructSettings | None = None,
    resolution: Mapping[str, float] | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Rebuild all weights of a ledger from parts of their spectra, and measure each time.

    Args:
        ledger: Its sites are studied together; its weights are as before when this returns.
        ability: Measured at every point.
        log: Points measured before are not measured again.
        settings: What is rebuilt.
        resolution: By measure, what it may move by chance: nothing is told of one that zeroing
            the weights moves less.
        progress: Told after every point.

    Raises:
        SpecError: A weight is zero.
    """
    settings = settings or ReconstructSettings()
    log = log or PointLog(None, {})
    spectra = spectra_of(ledger)
    cuts = _cuts(settings)
    points: list[tuple[str, _Cut | None]] = [
        ("zero", None),
        ("intact", None),
        *((_name(c), c) for c in cuts),
    ]
    for done, (name, cut) in enumerate(points):
        if name not in log:
            parts = {k: _chosen(s, name, cut, k) for k, s in spectra.items()}
            log.add(name, {**_measured(ledger, spectra, parts, ability), **_sizes(spectra, parts)})
        if progress is not None:
            progress("reconstruct", done + 1, len(points))
    rows = tuple(
        _row(selection, share, [log[_name(c)] for c in cuts if c[:2] == (selection, share)])
        for selection, share in itertools.product(SELECTIONS, sorted(settings.shares))
    )
    holding = {
        e: fmean(s.components_for(e) / s.size for s in spectra.values())
        for e in (0.25, 0.5, 0.75, 0.9)
    }
    zero, intact = (_abilities(log[name]) for name in ("zero", "intact"))
    return Reconstruction(
        tuple(spectra), zero, intact, rows, holding, settings, dict(resolution or {})
    )


_Cut = tuple[Selection, float, int]


def _cuts(settings: ReconstructSettings) -> list[_Cut]:
    return [
        (selection, share, seed)
        for selection in SELECTIONS
        for share in sorted(settings.shares)
        for seed in (settings.seeds if selection in RANDOM else (0,))
    ]


def _name(cut: _Cut) -> str:
    selection, share, seed = cut
    return f"{selection} | {share:g}" + (f" | seed {seed}" if selection in RANDOM else "")


def _chosen(spectrum: Spectrum, name: str, cut: _Cut | None, key: str) -> Tensor:
    """Which components are kept."""
    m = spectrum.size
    if cut is None:
        return torch.arange(m if name == "intact" else 0)
    selection, share, seed = cut
    count = max(1, round(share * m))
    if selection == "top":
        return torch.arange(count)
    if selection == "bottom":
        return torch.arange(m - count, m)
    order = torch.randperm(m, generator=generator(f"{key} | {share:g} | {seed}"))
    if selection == "random, equal count":
        return order[:count]
    s = spectrum.s.cpu()
    reached = s[order].cumsum(0) >= s[:count].sum() * (1 - 1e-12)
    return order[: int(reached.int().argmax()) + 1]


def _measured(
    ledger: Ledger, spectra: Mapping[str, Spectrum], parts: Mapping[str, Tensor], ability: Ability
) -> Values:
    with ledger.transaction():
        for key, spectrum in spectra.items():
            gone = torch.ones(spectrum.size, dtype=torch.bool)
            gone[parts[key]] = False
            gone = gone.to(spectrum.s.device)
            if bool(gone.any()):
                left = -spectrum.u[:, gone] * spectrum.s[gone]
                ledger.commit(key, LowRank(left, spectrum.v[:, gone].T))
        try:
            return dict(ability())
        finally:
            ledger.rewind()


def _sizes(spectra: Mapping[str, Spectrum], parts: Mapping[str, Tensor]) -> Values:
    return {
        "kept_energy": fmean(s.energy(parts[k]) for k, s in spectra.items()),
        "kept_count": fmean(len(parts[k]) / s.size for k, s in spectra.items()),
    }


def _abilities(values: Values) -> Values:
    return {k: v for k, v in values.items() if k not in ("kept_energy", "kept_count")}


def _row(selection: Selection, share: float, points: Sequence[Values]) -> ReconstructedWeight:
    measures = _abilities(points[0])
    return ReconstructedWeight(
        selection,
        share,
        fmean(p["kept_energy"] for p in points),
        fmean(p["kept_count"] for p in points),
        {m: tuple(p[m] for p in points) for m in measures},
    )
