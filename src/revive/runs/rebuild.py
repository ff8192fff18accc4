"""A run's model, rebuilt from the run folder alone."""

from dataclasses import dataclass
from pathlib import Path

from revive.assembly.build import load_from_spec
from revive.errors import SpecError
from revive.models.ledger import Ledger
from revive.models.loading import LoadedModel
from revive.run_folder.journal import Journal
from revive.run_folder.known_files import Known
from revive.run_folder.store import RunFolder
from revive.runs.identity import check_model, check_spec
from revive.runs.replay import restore_ledger
from revive.spec.parsing import load_stored_spec
from revive.spec.schema import RunSpec


@dataclass(frozen=True)
class RebuiltModel:
    """A run's model at some batch.

    Attributes:
        spec: As resolved.
        loaded: The model, with the edits in it; its fingerprint is the base's.
        ledger: What was written.
        step: The batch.
    """

    spec: RunSpec
    loaded: LoadedModel
    ledger: Ledger
    step: int


def rebuild(
    folder: Path, to: int | None = None, *, lazily: bool = False, trust_code: bool = False
) -> RebuiltModel:
    """Rebuild model and ledger.

    A base that the run held quantised is the unquantised one here: the edited projections never
    were anything else, and the rest was not changed.

    Args:
        folder: The run folder.
        to: After this batch; the last committed one if None.
        lazily: Leave everything but the edited projections in the checkpoint's files.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.

    Raises:
        SpecError: Not a run folder, no such batch, or the model is not the one the run began with.
    """
    run = RunFolder.open(folder)
    spec = load_stored_spec(run.spec)
    events = Journal.read(run.journal)
    if not events:
        raise SpecError(
            f"{folder}: nothing was committed yet; 'revive resume {folder}' begins the run."
        )
    check_spec(run, events, spec)
    committed = max(Known.of(events).updates, default=0)
    if to is not None and not 0 <= to <= committed:
        raise SpecError(f"{folder}: batch {to} does not stand; the run has {committed} of them.")
    layers: list[int] = (spec.editor.model_extra or {})["layers"]
    where = {"device": "auto", "device_map": {"": "disk"}} if lazily else {}
    model = spec.model.model_copy(update={"quantize": None, **where})
    loaded = load_from_spec(model, layers, trust_code=trust_code)
    check_model(run, events, loaded)
    ledger = Ledger(loaded.model, loaded.family.sites(loaded.model, layers=layers))
    return RebuiltModel(spec, loaded, ledger, restore_ledger(run, events, ledger, to))


def finish_model(folder: Path, to: int | None = None) -> LoadedModel:
    """The model of a run with its committed edits in it; see `rebuild`."""
    return rebuild(folder, to).loaded
