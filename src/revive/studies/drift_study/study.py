"""The drift study: over many runs, what leads the collapse, and how well it is foreseen. No torch.

    result = drift_study([folder, ...])
    for table in result.tables(): print(table.markdown())

The runs should differ in when they lose general ability (editors, strengths, seeds), and measure
`spectrum` with `detail` and `general`. A run's group is its name without `_s<seed>`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from revive.studies.drift_study.drift_tables import alarms, forecasts, leads, losses
from revive.studies.drift_study.foresight import Foresight, foresight
from revive.studies.drift_study.lead_lag import LeadLag, Settings, lead_lag
from revive.studies.drift_study.traces import EDITS, KEPT, Trace, read_traces
from revive.studies.table import StudyTable

MEASURES = (
    "overlap_left",
    "overlap_right",
    "angle_left",
    "angle_right",
    "tail_ratio",
    "weight_norm_ratio",
    "update_norm",
    "update_uk_vk",
    "update_uk_rest",
    "update_rest_vk",
    "update_rest_rest",
    "update_stable_rank",
    "update_entropy",
)
TARGETS = (KEPT, "efficacy_exact")
CONTROLS = (EDITS, KEPT)
"""What an alarm on a spectral measure must beat: counting edits, and measuring ability itself."""


@dataclass(frozen=True)
class DriftStudy:
    """What many runs say.

    Attributes:
        traces: The runs.
        settings: How leads were computed.
        horizon: Edits before the loss from which on an alarm is not false.
        leads: Every measure against every target.
        alarms: Every measure and control as an alarm.
    """

    traces: tuple[Trace, ...]
    settings: Settings
    horizon: int
    leads: tuple[LeadLag, ...]
    alarms: tuple[Foresight, ...]

    def tables(self) -> list[StudyTable]:
        """Losses by group, leads, alarms, forecasts."""
        return [
            losses(self.traces),
            *(leads(self.leads, target, self.settings.ahead) for target in TARGETS),
            alarms(self.alarms, self.horizon),
            forecasts([a for a in self.alarms if a.measure != KEPT]),
        ]


def drift_study(
    folders: Sequence[Path], *, horizon: int = 64, ahead: int = 64, draws: int = 1000, seed: int = 0
) -> DriftStudy:
    """Read many runs and compare them.

    Args:
        folders: Run folders, or folders of which `summary.json` was kept.
        horizon: Edits before the loss from which on an alarm is not false.
        ahead: Edits ahead for the correlation over runs.
        draws: Bootstrap draws, and pairings of the null.
        seed: Of both.

    Raises:
        SpecError: No folder, or one that cannot be read.
    """
    traces = read_traces(folders)
    width, step = _intervals(traces)
    reach = 3 * width // step
    lags = tuple(i * step for i in range(-reach, reach + 1))
    settings = Settings(width, lags, ahead, draws, seed)
    compared = [lead_lag(traces, m, t, settings) for t in TARGETS for m in MEASURES]
    judged = [foresight(traces, m, horizon) for m in (*MEASURES, *CONTROLS)]
    return DriftStudy(
        tuple(traces),
        settings,
        horizon,
        tuple(x for x in compared if x is not None),
        tuple(a for a in judged if a is not None),
    )


def _intervals(traces: Sequence[Trace]) -> tuple[int, int]:
    """Edits between two measurements of ability, and of the spectrum: the closest there are."""
    ability = [t.series(KEPT)[0] for t in traces if KEPT in t.values]
    spectrum = [t.series(m)[0] for t in traces for m in MEASURES if m in t.values]

    def closest(series: Sequence[Sequence[int]]) -> int:
        gaps = [b - a for s in series for a, b in itertools.pairwise(s)]
        return min(gaps, default=1)

    step = closest(spectrum)
    return max(step, closest(ability)), step
