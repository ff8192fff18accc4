"""Calibrate lambda or tau for a spec, from scratch."""

from collections.abc import Sequence

from revive.data.edits import Edit
from revive.data.stream import Stream
from revive.errors import SpecError
from revive.runs.build import CALIBRATION_BATCH, Built, load_for
from revive.runs.cache import cache_folder
from revive.runs.calibrate_energy import calibrate_energy
from revive.runs.fit import build_fitted
from revive.runs.identity import read_edits
from revive.runs.schema import RunSpec
from revive.runs.spec import editor_options
from revive.runs.text_statistics import Notify, silent
from revive.runs.trials import Calibration


def scan_strength(spec: RunSpec, notify: Notify = silent) -> Calibration:
    """Run the calibration rule on the spec's first batch, whatever strength the spec holds.

    Raises:
        SpecError: The editor has no strength to calibrate.
    """
    options = editor_options(spec.editor)
    if not options.grid:
        raise SpecError(f"editor: {spec.editor.name} has no setting to calibrate.")
    left_open = spec.editor.model_copy(update={options.strength: None})
    built = _built(spec.model_copy(update={"editor": left_open}), _fresh_batch(spec), notify)
    assert built.calibration is not None, "the strength was left open"
    return built.calibration


def scan_energy(spec: RunSpec, notify: Notify = silent) -> Calibration:
    """Run the rule for tau on the spec's first batch, with the spec's lambda and guard.

    Raises:
        SpecError: The guard has no energy share.
    """
    batch = _fresh_batch(spec)[:CALIBRATION_BATCH]
    engine = _built(spec, batch, notify).engine
    return calibrate_energy(
        engine.editor,
        engine.guard.guard,
        engine.context,
        engine.ledger,
        engine.context.tokenizer,
        batch,
        progress=lambda done, total: notify("calibration", done, total),
    )


def _fresh_batch(spec: RunSpec) -> Sequence[Edit]:
    chosen = spec.edits
    edits = read_edits(spec).edits
    return Stream(edits, chosen.order, chosen.seed, chosen.batch_size).batches[0]


def _built(spec: RunSpec, batch: Sequence[Edit], notify: Notify) -> Built:
    return build_fitted(spec, load_for(spec), batch, cache=cache_folder(), notify=notify)[0]
