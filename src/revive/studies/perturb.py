"""Perturbation: noise of equal size in bands of the spectrum, and what it costs.

REVIVE, spectral analysis 2 (arXiv 2601.11042): noise of equal Frobenius norm is injected into
groups of singular directions of equal energy (0-10 %, 10-20 %, ...); high-energy groups hurt,
low-energy groups hardly do.

Differs from the paper:
- An energy decile at the top holds far fewer directions than one at the bottom, so bands of equal
  count are measured too.
- Large singular values go with inputs that are large or frequent, if the model was trained to use
  them. So besides noise N of equal ||N||_F, noise of equal effect on the real inputs is measured:
  equal tr(N C N^T), C the inputs' second moment, as a share of tr(W C W^T).
- Noise stands in a band's output directions (left), input directions (right), or both.
- The null control is isotropic noise.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import SpecError
from revive.linalg.lowrank import LowRank
from revive.models.ledger import Ledger
from revive.studies.ability import Ability
from revive.studies.points import PointLog
from revive.studies.spectra import Progress, Scheme, Spectrum, generator, spectra_of

# Share of the inputs' energy in a band: below it, what is found there is rounding.
_UNREACHED = 1e-12

Side = Literal["both", "left", "right"]
Scaling = Literal["norm", "effect"]


@dataclass(frozen=True)
class PerturbSettings:
    """What is injected.

    Attributes:
        bands: Bands per scheme.
        levels: Sizes of the noise, as shares of the weight's: ||N||_F / ||W||_F, or the root of
            tr(N C N^T) / tr(W C W^T).
        seeds: Of the noise.
        one_sided: Levels at which left and right are measured on their own.
    """

    bands: int = 10
    levels: tuple[float, ...] = (0.2, 0.5, 1.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    one_sided: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Setting:
    """How noise was made, but for the band, the level and the seed."""

    scheme: Scheme
    side: Side
    scaling: Scaling


@dataclass(frozen=True)
class BandNoise:
    """Noise of one size in one band.

    Attributes:
        setting: How it was made; None for the isotropic control.
        scaling: What was held equal.
        band: 0 holds the largest singular values; -1 for the control.
        singular: Mean singular value of the band over s_1, mean over weights; None for the control.
        level: Size.
        losses: By measure, one loss of ability a seed.
    """

    setting: Setting | None
    scaling: Scaling
    band: int
    singular: float | None
    level: float
    losses: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Perturbation:
    """What the study found.

    Attributes:
        sites: Parameter names of the weights, all perturbed together.
        intact: Ability of the model as it is.
        rows: Bands and controls.
        settings: As asked.
    """

    sites: tuple[str, ...]
    intact: Mapping[str, float]
    rows: tuple[BandNoise, ...]
    settings: PerturbSettings


def perturb(
    ledger: Ledger,
    ability: Ability,
    moments: Mapping[str, Float[Tensor, "in in"]] | None = None,
    log: PointLog | None = None,
    *,
    settings: PerturbSettings | None = None,
    progress: Progress | None = None,
) -> Perturbation:
    """Inject noise into bands of the spectra of a ledger's weights, and measure each time.

    Args:
        ledger: Its sites are perturbed together, each in its own bands and by a share of its own
            size; its weights are as before when this returns.
        ability: Measured at every point.
        moments: Second moment C of the inputs by parameter name; without it, only noise of equal
            norm is measured.
        log: Points measured before are not measured again.
        settings: What is injected.
        progress: Told after every point.

    Raises:
        SpecError: A weight is zero, or no input reaches one of its bands.
    """
    settings = settings or PerturbSettings()
    log = log or PointLog(None, {})
    study = _Study(ledger, spectra_of(ledger), moments or {}, settings.bands)
    wanted = [*_wanted(settings, study, bool(moments))]
    names = ["intact", *(_name(*w) for w in wanted)]
    for done, name in enumerate(names):
        if name not in log:
            log.add(name, study.measure(None if name == "intact" else wanted[done - 1], ability))
        if progress is not None:
            progress("perturb", done + 1, len(names))
    intact = log["intact"]
    rows: list[BandNoise] = []
    for (setting, scaling, band, level), group in itertools.groupby(wanted, lambda w: w[:4]):
        found = [log[_name(*w)] for w in group]
        losses = {m: tuple(intact[m] - f[m] for f in found) for m in intact}
        singular = study.singular(setting, band)
        rows.append(BandNoise(setting, scaling, band, singular, level, losses))
    return Perturbation(tuple(study.spectra), intact, tuple(rows), settings)


def band_noise(
    spectrum: Spectrum, start: int, stop: int, side: Side, rng: torch.Generator
) -> LowRank:
    """Gaussian noise in the span of some components' directions, of Frobenius norm 1.

    `both`: U_b E V_b^T; `left`: U_b E with E `[band, in]`; `right`: E V_b^T with E `[out, band]`.
    """
    u, v = spectrum.u[:, start:stop], spectrum.v[:, start:stop]
    width = stop - start
    shapes = {"both": (width, width), "left": (width, len(v)), "right": (len(u), width)}
    drawn = torch.randn(*shapes[side], generator=rng, dtype=torch.float64).to(u)
    drawn = drawn / drawn.norm()
    if side == "left":
        return LowRank(u, drawn)
    return LowRank(drawn if side == "right" else u @ drawn, v.T)


def isotropic_noise(shape: tuple[int, int], rng: torch.Generator) -> LowRank:
    """Gaussian noise in all directions, of Frobenius norm 1; one factor is the identity."""
    drawn = torch.randn(*shape, generator=rng, dtype=torch.float64)
    drawn = drawn / drawn.norm()
    out, inputs = shape
    if out <= inputs:
        return LowRank(torch.eye(out, dtype=drawn.dtype), drawn)
    return LowRank(drawn, torch.eye(inputs, dtype=drawn.dtype))


_Point = tuple[Setting | None, Scaling, int, float, int]


def _wanted(settings: PerturbSettings, study: "_Study", effect: bool) -> Iterable[_Point]:
    scalings: tuple[Scaling, ...] = ("norm", "effect") if effect else ("norm",)
    # One side alone is measured in bands of equal count: what an energy band adds to that is how
    # many directions it holds, which both sides tell.
    ways: tuple[tuple[Scheme, Side], ...] = (
        ("index", "both"),
        ("energy", "both"),
        ("index", "left"),
        ("index", "right"),
    )
    for scaling in scalings:
        for level in settings.levels:
            for seed in settings.seeds:
                yield None, scaling, -1, level, seed
        for scheme, side in ways:
            setting = Setting(scheme, side, scaling)
            levels = settings.levels if side == "both" else settings.one_sided
            for band in range(study.bands(scheme)):
                for level in levels:
                    for seed in settings.seeds:
                        yield setting, scaling, band, level, seed


def _name(setting: Setting | None, scaling: Scaling, band: int, level: float, seed: int) -> str:
    where = "isotropic" if setting is None else f"{setting.scheme} {setting.side} {band}"
    return f"{where} | equal {scaling} | {level:g} | seed {seed}"


class _Study:
    """The weights that are perturbed."""

    def __init__(
        self,
        ledger: Ledger,
        spectra: Mapping[str, Spectrum],
        moments: Mapping[str, Tensor],
        bands: int,
    ) -> None:
        self.ledger = ledger
        self.spectra = spectra
        self._moments = {k: m.double() for k, m in moments.items()}
        schemes: tuple[Scheme, ...] = ("index", "energy")
        self._cut = {(k, c): s.bands(c, bands) for k, s in spectra.items() for c in schemes}
        for (key, _), cut in self._cut.items():
            if key in self._moments:
                self._check_reached(key, cut)

    def bands(self, scheme: Scheme) -> int:
        """How many bands every weight has; where one has fewer, the others' last go unmeasured."""
        return min(len(self._cut[k, scheme]) for k in self.spectra)

    def singular(self, setting: Setting | None, band: int) -> float | None:
        """Mean singular value of a band over s_1, mean over weights."""
        if setting is None:
            return None
        found: list[float] = []
        for key, spectrum in self.spectra.items():
            start, stop = self._cut[key, setting.scheme][band]
            found.append(float(spectrum.s[start:stop].mean() / spectrum.s[0]))
        return fmean(found)

    def _check_reached(self, key: str, cut: Sequence[tuple[int, int]]) -> None:
        moment, v = self._moments[key].to(self.spectra[key].v), self.spectra[key].v
        for start, stop in cut:
            reached = float((v[:, start:stop].T @ moment @ v[:, start:stop]).trace())
            if not reached > _UNREACHED * float(moment.trace()):
                raise SpecError(
                    f"weight {key}: no input of the text reaches components {start} to {stop} of "
                    "its spectrum, so noise of equal effect does not exist there; take the moments "
                    "from more text."
                )

    def measure(self, point: _Point | None, ability: Ability) -> dict[str, float]:
        """Ability with the noise of one point in place."""
        if point is None:
            return dict(ability())
        setting, scaling, band, level, seed = point
        with self.ledger.transaction():
            for key, spectrum in self.spectra.items():
                # The draw is the same for both scalings: they differ in size alone.
                where = "isotropic" if setting is None else f"{setting.scheme} {setting.side}"
                rng = generator(f"{key} | {where} | {band} | {level:g} | {seed}")
                if setting is None:
                    noise = isotropic_noise((len(spectrum.u), len(spectrum.v)), rng)
                else:
                    start, stop = self._cut[key, setting.scheme][band]
                    noise = band_noise(spectrum, start, stop, setting.side, rng)
                self.ledger.commit(key, noise.scaled(level * self._unit(key, noise, scaling)))
            try:
                return dict(ability())
            finally:
                self.ledger.rewind()

    def _unit(self, key: str, noise: LowRank, scaling: Scaling) -> float:
        """The factor that makes noise of norm 1 as large as the weight."""
        spectrum = self.spectra[key]
        if scaling == "norm":
            return float(spectrum.s.norm())
        moment = self._moments[key].to(spectrum.v)
        of_weight = (spectrum.v.T @ moment @ spectrum.v).diagonal() @ spectrum.s.square()
        left, right = noise.left.to(moment), noise.right.to(moment)
        of_noise = ((left.T @ left) * (right @ moment @ right.T)).sum()
        return float((of_weight / of_noise).sqrt())
