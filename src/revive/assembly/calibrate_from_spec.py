"""Calibrate lambda or tau for a spec, or the blocks for a model, from scratch."""

from collections.abc import Sequence
from pathlib import Path

from revive.assembly.build import CALIBRATION_BATCH, Built, load_for, load_from_spec
from revive.assembly.fit_settings import build_fitted, fitted
from revive.calibration.energy import calibrate_energy
from revive.calibration.trials import Calibration
from revive.data.edits import Edit
from revive.data.stream import Stream
from revive.engine.text_statistics import Notify, silent
from revive.errors import SpecError
from revive.io.cache import cache_folder
from revive.presets.facts import ModelFacts
from revive.spec.block_choice import BlockChoice, BlockTrial, choose_blocks, ranges
from revive.spec.edit_stream import read_edits
from revive.spec.parsing import editor_options
from revive.spec.schema import RunSpec

# Passages of text for the moments of every range, a hundred tokens each: about ten tokens for each
# direction of a key. A choice of blocks needs no more.
_LEAST_PASSAGES, _INNER_PER_PASSAGE = 100, 10


def scan_strength(
    spec: RunSpec, notify: Notify = silent, *, trust_code: bool = False
) -> Calibration:
    """Run the calibration rule on the spec's first batch, whatever strength the spec holds.

    Raises:
        SpecError: The editor has no strength to calibrate.
    """
    options = editor_options(spec.editor)
    if not options.grid:
        raise SpecError(f"editor: {spec.editor.name} has no setting to calibrate.")
    # A trial may change other settings of the rule, but not the one that is asked for.
    fit = [key for key in spec.editor.fit or () if key != options.strength]
    left_open = spec.editor.model_copy(update={options.strength: None, "fit": fit})
    open_spec = spec.model_copy(update={"editor": left_open})
    built = _built(open_spec, _fresh_batch(spec), notify, trust_code)
    assert built.calibration is not None, "the strength was left open"
    return built.calibration


def scan_energy(spec: RunSpec, notify: Notify = silent, *, trust_code: bool = False) -> Calibration:
    """Run the rule for tau on the spec's first batch, with the spec's lambda and guard.

    Raises:
        SpecError: The guard has no energy share.
    """
    batch = _fresh_batch(spec)[:CALIBRATION_BATCH]
    engine = _built(spec, batch, notify, trust_code).engine
    return calibrate_energy(
        engine.editor,
        engine.guard.guard,
        engine.context,
        engine.ledger,
        engine.context.tokenizer,
        batch,
        progress=lambda done, total: notify("calibration", done, total),
    )


def scan_blocks(
    spec: RunSpec,
    facts: ModelFacts,
    cache: Path,
    notify: Notify = silent,
    *,
    trust_code: bool = False,
) -> BlockChoice:
    """Try the package's edits in several ranges of blocks, with the settings that suit each.

    Args:
        spec: A resolved spec whose settings come from the rule.
        facts: The model's sizes.
        cache: Folder of constant results.
        notify: Told about progress.
        trust_code: Whether code that comes with the model may run, if the spec asks for it.
    """
    found = ranges(facts)
    blocks = sorted({layer for layers in found for layer in layers})
    loaded = load_from_spec(spec.model, blocks, trust_code=trust_code)
    passages = max(_LEAST_PASSAGES, facts.inner // _INNER_PER_PASSAGE)
    samples = min(spec.moments.samples, passages)
    moments = spec.moments.model_copy(update={"samples": samples})
    trials: list[BlockTrial] = []
    for index, layers in enumerate(found):
        notify("trying blocks", index, len(found))
        editor = spec.editor.model_copy(update={"layers": list(layers)})
        one = spec.model_copy(update={"editor": editor, "moments": moments})
        trials.append(BlockTrial(layers, fitted(one, loaded, cache, notify).chosen))
    notify("trying blocks", len(found), len(found))
    return BlockChoice(choose_blocks(trials), tuple(trials))


def _fresh_batch(spec: RunSpec) -> Sequence[Edit]:
    chosen = spec.edits
    edits = read_edits(spec).edits
    return Stream(edits, chosen.order, chosen.seed, chosen.batch_size).batches[0]


def _built(spec: RunSpec, batch: Sequence[Edit], notify: Notify, trust_code: bool) -> Built:
    loaded = load_for(spec, trust_code=trust_code)
    return build_fitted(spec, loaded, batch, cache=cache_folder(), notify=notify)[0]
