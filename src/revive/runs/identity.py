"""Whether edits and model are those that a run began with."""

from collections.abc import Sequence

from revive.data.readers import LoadedEdits, load_edits
from revive.data.stream import Stream
from revive.errors import SpecError
from revive.models.loading import LoadedModel
from revive.runs.journal import Event
from revive.runs.schema import RunSpec
from revive.runs.store import RunFolder


def read_edits(spec: RunSpec) -> LoadedEdits:
    """The stream a spec names, before ordering."""
    edits = spec.edits
    return load_edits(
        edits.path,
        format=edits.format,
        limit=edits.limit,
        on_conflict=edits.on_conflict,
        seed=edits.seed,
    )


def ordered(spec: RunSpec, edits: LoadedEdits) -> Stream:
    """The stream in the order in which it is made, batch by batch."""
    chosen = spec.edits
    return Stream(edits.edits, chosen.order, chosen.seed, chosen.batch_size)


def check_edits(run: RunFolder, events: Sequence[Event], edits: LoadedEdits) -> None:
    """Refuse other edits than the run began with.

    Raises:
        SpecError: They are others.
    """
    for event in events:
        if event["event"] == "start" and event["edits_fingerprint"] != edits.fingerprint:
            raise SpecError(
                f"{run.path}: the edit file has changed since the run began; restore it, or start "
                "a new run."
            )


def check_model(run: RunFolder, loaded: LoadedModel) -> None:
    """Refuse another model than the run began with.

    Raises:
        SpecError: It is another one.
    """
    known = run.read_env().get("model_fingerprint")
    if known is not None and known != loaded.fingerprint:
        raise SpecError(
            f"{run.path}: model {loaded.name} is not the one the run began with; restore it, or "
            "start a new run."
        )
