"""`revive calibrate`: choose lambda or tau by the stated rule, and show every trial."""

from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, print_table, say, say_text

_HEAD = {
    "efficacy": "efficacy",
    "efficacy_exact": "exact",
    "paraphrase": "paraphrase",
    "neighborhood": "neighbourhood",
    "score": "score",
    "efficacy_tokens": "tokens",
    "probability": "probability",
}

_SYMBOLS = {"ridge": "lambda", "energy": "tau"}


class Parameter(StrEnum):
    """What can be calibrated."""

    STRENGTH = "strength"
    ENERGY = "energy"


def calibrate(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    of: Annotated[
        Parameter,
        typer.Option(help="The editor's strength (ridge, for most) or tau (guard.energy)."),
    ] = Parameter.STRENGTH,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: edits.seed=1")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Calibrate the editor's strength, or the guard's tau, on one fresh batch of the spec's edits.

    Targets are solved on the unedited model; values of a fixed grid are written, scored on a
    sample (harmonic mean of efficacy, paraphrase and neighbourhood) and undone.

    - strength, which is lambda (editor.ridge) for MEMIT: every third value, then the neighbours of
      the best; the best score wins, among scores within 0.005 of it the value that edits the least.
      Where the model answers at none, the value at which it comes nearest, and that is said.
    - tau: the largest one whose score is within 0.02 of the unguarded batch's, else the smallest.

    Example: revive calibrate recipes/lab.yaml --of energy
    """
    from revive.runs.spec import editor_options, load_spec, read_model_config, resolve

    read = load_spec(spec, set_ or ())
    resolved = resolve(read, read_model_config(read.model.name, read.model.revision))
    say_text(read, resolved, quiet=quiet or json)
    from revive.cli.watch import hushed
    from revive.progress import progress_on_stderr
    from revive.runs.scan import scan_energy, scan_strength

    silent = quiet or json
    with hushed() if silent else nullcontext(), progress_on_stderr(quiet=silent) as told:
        if of is Parameter.ENERGY:
            name, found, said = "energy", scan_energy(resolved, told), ""
        else:
            name, found = editor_options(resolved.editor).strength, scan_strength(resolved, told)
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
