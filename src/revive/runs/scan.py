"""Calibrate lambda for a spec, from scratch."""

from revive.data.order import batches, order_edits
from revive.runs.build import Notify, build, load_from_spec, silent
from revive.runs.cache import cache_folder
from revive.runs.calibrate import Calibration
from revive.runs.loop import read_edits
from revive.runs.schema import RunSpec


def scan_ridge(spec: RunSpec, notify: Notify = silent) -> Calibration:
    """Run the calibration rule on the spec's first batch, whatever lambda the spec holds.

    Raises:
        SpecError: The editor has no lambda.
    """
    open_spec = spec.model_copy(update={"editor": spec.editor.model_copy(update={"ridge": None})})
    edits = read_edits(spec).edits
    stream = order_edits(edits, spec.edits.order, spec.edits.seed)
    first = batches(stream, spec.edits.batch_size)[0]
    built = build(open_spec, load_from_spec(spec.model), first, cache=cache_folder(), notify=notify)
    assert built.calibration is not None, "lambda was left open"
    return built.calibration
