"""`revive calibrate`: choose lambda, tau or blocks by a stated rule, and show every trial."""

from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revive.cli.model_options import TrustRemoteCode
from revive.cli.output import print_json, print_table, say, say_text
from revive.errors import SpecError

if TYPE_CHECKING:
    from revive.spec.block_choice import BlockChoice

_HEAD = {
    "efficacy": "efficacy",
    "efficacy_exact": "exact",
    "paraphrase": "paraphrase",
    "neighborhood": "neighbourhood",
    "score": "score",
    "efficacy_tokens": "tokens",
    "probability": "probability",
}
_BLOCKS = [
    *("blocks", "reached", "answer", "paraphrase", "neighbour", "score", "evals", "update"),
]


_SYMBOLS = {"ridge": "lambda", "energy": "tau"}
_SPECS = (".yaml", ".yml")


class Parameter(StrEnum):
    """What can be calibrated."""

    STRENGTH = "strength"
    ENERGY = "energy"


def calibrate(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|MODEL", help="Spec file (.yaml); or a model: a name, a folder, a GGUF."
        ),
    ],
    of: Annotated[
        Parameter,
        typer.Option(help="The editor's strength (ridge, for most) or tau (guard.energy)."),
    ] = Parameter.STRENGTH,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: edits.seed=1")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Of a model: show the trials, keep nothing.")
    ] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Of a model: go back to the rule's blocks.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Calibrate a spec's strength or tau on one fresh batch, or choose the blocks of a model.

    A model is named where nobody published settings for it; a spec for everything else.

    Targets are solved on the unedited model; values of a fixed grid are written, scored on a
    sample (harmonic mean of efficacy, paraphrase and neighbourhood) and undone.

    - strength, which is lambda (editor.ridge) for MEMIT: every third value, then the neighbours of
      the best; the best score wins, among scores within 0.005 of it the value that edits the least.
      Where the model answers at none, the value at which it comes nearest, and that is said.
    - tau: the largest one whose score is within 0.02 of the unguarded batch's, else the smallest.
    - blocks: as many as the rule takes, from 7 to 45 % of the depth on; twelve edits of the package
      are made in each, with the settings that suit them. The highest harmonic mean of answers,
      paraphrases and neighbours wins; within 0.02 of it, the shortest update. 'revive edit' takes
      the winner from then on.

    Examples:
        revive calibrate recipes/lab.yaml --of energy
        revive calibrate ./my-model
    """
    if not spec.lower().endswith(_SPECS):
        _blocks(
            spec,
            set_ or [],
            trust_code=trust_remote_code,
            dry_run=dry_run,
            forget=forget,
            quiet=quiet,
            json=json,
        )
        return
    if dry_run or forget:
        raise SpecError(
            "--dry-run and --forget are for a model; a spec's calibration keeps nothing."
        )
    from revive.spec.parsing import editor_options, load_spec, read_model_config, resolve, with_code

    read = with_code(load_spec(Path(spec), set_ or ()), trust_remote_code)
    resolved = resolve(read, read_model_config(read.model.name, read.model.revision))
    say_text(read, resolved, quiet=quiet or json)
    from revive.assembly.calibrate_from_spec import scan_energy, scan_strength
    from revive.cli.watch import hushed
    from revive.progress import progress_on_stderr

    silent, allowed = quiet or json, trust_remote_code
    with hushed() if silent else nullcontext(), progress_on_stderr(quiet=silent) as told:
        if of is Parameter.ENERGY:
            found, name, said = scan_energy(resolved, told, trust_code=allowed), "energy", ""
        else:
            found = scan_strength(resolved, told, trust_code=allowed)
            name = editor_options(resolved.editor).strength
            said = found.told()
    _show(name, found.value, [asdict(t) for t in found.trials], json)
    if said:
        say(said, quiet=silent)


def _show(name: str, chosen: float, trials: list[dict[str, float]], json: bool) -> None:
    if json:
        print_json({name: chosen, "trials": trials})
        return
    rows: list[list[str]] = []
    for trial in trials:
        value = trial["value"]
        mark = " <" if value == chosen else ""
        rows.append([f"{value:g}{mark}", *(f"{trial[key]:.3f}" for key in _HEAD)])
    symbol = _SYMBOLS.get(name, name)
    print_table(f"{symbol}, chosen: {chosen:g}", [symbol, *_HEAD.values()], rows)


def _blocks(
    model: str,
    overrides: list[str],
    *,
    trust_code: bool,
    dry_run: bool,
    forget: bool,
    quiet: bool,
    json: bool,
) -> None:
    """Choose a model's blocks, or forget what was chosen."""
    from revive.io.cache import cache_folder
    from revive.presets.facts import model_facts
    from revive.presets.table import RULE
    from revive.sources.model_config import read_model_config
    from revive.spec.block_choice import forget_blocks, keep_blocks
    from revive.spec.layers import bare_spec
    from revive.spec.parsing import with_code

    spec = with_code(bare_spec({"name": model}, overrides), trust_code)
    config = read_model_config(spec.model.name, spec.model.revision)
    if forget:
        gone = forget_blocks(cache_folder(), spec.model, config)
        say(
            f"{model}: its blocks are the rule's again." if gone else f"{model}: nothing is kept.",
            quiet=quiet,
        )
        return
    if spec.editor.preset != RULE:
        raise SpecError(
            f"{model}: has settings of its own (preset {spec.editor.preset}), and they stay as "
            "they are; to calibrate a strength, name a spec file. --set editor.preset=rule tries "
            "blocks all the same."
        )
    from revive.assembly.calibrate_from_spec import scan_blocks
    from revive.cli.watch import hushed
    from revive.progress import progress_on_stderr

    silent = quiet or json
    with hushed() if silent else nullcontext(), progress_on_stderr(quiet=silent) as told:
        found = scan_blocks(spec, model_facts(config), cache_folder(), told, trust_code=trust_code)
    serves = found.chosen.score > 0
    ruled = " --set editor.preset=rule" if any("editor.preset" in o for o in overrides) else ""
    if serves and not dry_run:
        keep_blocks(cache_folder(), spec.model, config, found)
    _show_blocks(model, found, json)
    caution = found.chosen.attempt.caution
    if caution:
        say(f"blocks {_span(found.layers)}: {caution}", quiet=silent)
    if serves and not dry_run:
        say(
            f"kept: 'revive edit {model}{ruled}' edits blocks {_span(found.layers)} from now on; "
            "--forget goes back to the rule's.",
            quiet=silent,
        )


def _show_blocks(model: str, found: "BlockChoice", json: bool) -> None:
    if json:
        print_json(asdict(found))
        return
    rows: list[list[str]] = []
    for trial in found.trials:
        one, mark = trial.attempt, " <" if trial.layers == found.layers else ""
        shares = (one.reached, one.answered, one.paraphrase, one.neighborhood, trial.score)
        rows.append(
            [
                _span(trial.layers) + mark,
                *(f"{x:.2f}" for x in shares),
                f"{one.evaluations:.1f}",
                f"{one.update:.1%}",
            ]
        )
    print_table(f"{model}: blocks, chosen: {_span(found.layers)}", _BLOCKS, rows)


def _span(layers: tuple[int, ...]) -> str:
    return f"{layers[0]}-{layers[-1]}" if len(layers) > 1 else ", ".join(map(str, layers))
