"""`revive spectrum`: the studies on one model, from loading it to the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from revive.engine.text_statistics import moment_texts
from revive.io.atomic import write_text
from revive.io.cache import cache_folder
from revive.models.forward.runner import BlockRunner, context_length
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel, load_model
from revive.moments.input_moments import collect_moments
from revive.report.study_page import Chapter
from revive.spec.layers import blocks_of
from revive.spec.resolve import stand_in_text
from revive.spec.schema import MomentsSpec
from revive.studies.ability import (
    LIKELIHOODS,
    QUICK,
    THOROUGH,
    Ability,
    AbilityItems,
    model_ability,
)
from revive.studies.figures import write_figures
from revive.studies.perturb import PerturbSettings, perturb
from revive.studies.perturb_figures import perturbation_figures
from revive.studies.perturb_tables import perturbation_tables
from revive.studies.points import PointLog
from revive.studies.reconstruct import ReconstructSettings, reconstruct
from revive.studies.reconstruct_figures import reconstruction_figures
from revive.studies.reconstruct_tables import reconstruction_tables
from revive.studies.spectra import Progress, study_head
from revive.studies.task_ability import TaskAbility


@dataclass(frozen=True)
class Subject:
    """What is studied.

    Attributes:
        loaded: The model.
        ledger: Holds the chosen projections.
        texts: Files whose likelihood is measured besides the lab's.
        thorough: Measure the whole battery at every point.
        bands: Bands per scheme of the perturbation.
        draws: Seeds of random selections and of noise.
        items: How much is measured at every point; None leaves it to the study.
        tasks: Public test sets that are measured too.
    """

    loaded: LoadedModel
    ledger: Ledger
    texts: Sequence[Path] = ()
    thorough: bool = False
    bands: int = 10
    draws: int = 3
    items: AbilityItems | None = None
    tasks: TaskAbility | None = None

    @classmethod
    def load(
        cls,
        model: Mapping[str, Any],
        layers: str | None,
        texts: Sequence[Path] = (),
        **options: Any,
    ) -> "Subject":
        """Load a model and take its MLP output projections.

        Args:
            model: As in a spec.
            layers: Blocks, as `blocks_of` reads them.
            texts: As the attribute.
            options: As the other attributes.

        Raises:
            SpecError: No such model or block.
        """
        chosen = blocks_of(layers, dict(model))
        loaded = load_model(**model, edited=chosen)
        sites = loaded.family.sites(loaded.model, layers=chosen)
        return cls(loaded, Ledger(loaded.model, sites), texts, **options)

    def ability(self, quick: AbilityItems) -> tuple[Ability, str]:
        """What is measured at every point, and its description."""
        items = THOROUGH if self.thorough else self.items or quick
        ability = model_ability(self.loaded, self.texts, items, self.tasks)
        tasks = f"; {self.tasks.describe()}" if self.tasks is not None else ""
        return ability, items.describe(self.texts) + tasks

    def resolution(self) -> Mapping[str, float]:
        """How far a measure moves by chance, where that is known."""
        return {} if self.tasks is None else self.tasks.resolution()

    def moments(self, progress: Progress) -> dict[str, Tensor]:
        """Second moments of the projections' inputs, on the texts or the lab's."""
        spec = MomentsSpec.model_validate(
            {"text": [str(t) for t in self.texts] or stand_in_text(self.loaded.name)}
        )
        runner = BlockRunner(self.loaded.model, self.loaded.family, "fast")
        found = collect_moments(
            runner,
            self.loaded.tokenizer,
            tuple(self.ledger.sites.values()),
            moment_texts(spec, seed=0),
            cache=cache_folder(),
            model_fingerprint=self.loaded.forward_fingerprint,
            window=min(spec.window, context_length(self.loaded.model) or spec.window),
            progress=lambda done, total: progress("moments", done, total),
        )
        return {key: moment.value() for key, moment in found.items()}


def reconstruct_chapter(
    subject: Subject, out: Path, progress: Progress, *, paper: bool = False
) -> Chapter:
    """Run or continue the reconstruction study; write its points and figures below `out`."""
    settings = ReconstructSettings(seeds=tuple(range(subject.draws)))
    ability, measured = subject.ability(QUICK)
    head = study_head(subject.ledger, subject.loaded.forward_fingerprint, measured, settings)
    log = PointLog(out / "reconstruct.jsonl", head)
    found = reconstruct(
        subject.ledger,
        ability,
        log,
        settings=settings,
        resolution=subject.resolution(),
        progress=progress,
    )
    note = (
        f"{len(found.sites)} projections rebuilt together from part of their singular components; "
        f"{len(settings.seeds)} seeds of each random selection."
    )
    figures = write_figures(reconstruction_figures(found), out / "figures", paper=paper)
    return Chapter("Reconstruct", note, figures, reconstruction_tables(found))


def perturb_chapter(
    subject: Subject, out: Path, progress: Progress, *, paper: bool = False
) -> Chapter:
    """Run or continue the perturbation study; write its points, bands and figures below `out`."""
    settings = PerturbSettings(bands=subject.bands, seeds=tuple(range(subject.draws)))
    ability, measured = subject.ability(LIKELIHOODS)
    head = study_head(subject.ledger, subject.loaded.forward_fingerprint, measured, settings)
    log = PointLog(out / "perturb.jsonl", head)
    moments = subject.moments(progress)
    found = perturb(subject.ledger, ability, moments, log, settings=settings, progress=progress)
    note = (
        f"Noise in {len(found.sites)} projections together; sizes "
        f"{', '.join(f'{x:g}' for x in settings.levels)}, {len(settings.seeds)} draws each. "
        "Every band's loss is in the csv files beside this page."
    )
    tables = perturbation_tables(found)
    orders, bands = tables[: len(found.intact)], tables[len(found.intact) :]
    for measure, table in zip(found.intact, bands, strict=True):
        write_text(out / f"perturb-{measure}.csv", table.csv())
    figures = write_figures(perturbation_figures(found), out / "figures", paper=paper)
    return Chapter("Perturb", note, figures, orders)
