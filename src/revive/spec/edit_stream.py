"""The edits that a spec names, as read and in the order in which they are made. No torch."""

from revive.data.readers import LoadedEdits, load_edits
from revive.data.stream import Stream
from revive.spec.schema import RunSpec


def read_edits(spec: RunSpec) -> LoadedEdits:
    """The stream a spec names, before ordering."""
    edits = spec.edits
    return load_edits(
        edits.path,
        format=edits.format,
        limit=edits.limit,
        on_conflict=edits.on_conflict,
        seed=edits.seed,
        skip_bad=edits.skip_bad,
        chat=edits.chat,
        joiner=edits.joiner,
    )


def ordered(spec: RunSpec, edits: LoadedEdits) -> Stream:
    """The stream in the order in which it is made, batch by batch."""
    chosen = spec.edits
    return Stream(edits.edits, chosen.order, chosen.seed, chosen.batch_size)
