"""`revive calibrate`: choose lambda by the stated rule, and show every trial."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, print_table, say


def calibrate(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: edits.seed=1")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Calibrate the regulariser lambda (editor.ridge) on one fresh batch of the spec's edits.

    The rule: solve one batch's targets on the unedited model; for every lambda of a fixed grid
    write them, score the batch, undo. The best harmonic mean of efficacy, paraphrase and
    neighbourhood wins; among scores within 0.005 of it, the largest lambda.
    """
    from revive.runs.spec import load_spec, read_model_config, resolve

    read = load_spec(spec, set_ or ())
    resolved = resolve(read, read_model_config(read.model.name, read.model.revision))
    from revive.runs.scan import scan_ridge

    found = scan_ridge(resolved, lambda phase, done, total: say(f"{phase} {done}/{total}"))
    if json:
        print_json({"ridge": found.ridge, "trials": [vars_of(t) for t in found.trials]})
        return
    head = ["lambda", "efficacy", "exact", "paraphrase", "neighbourhood", "score"]
    rows = [
        [
            f"{t.ridge:g}" + (" <" if t.ridge == found.ridge else ""),
            *(
                f"{x:.3f}"
                for x in (t.efficacy, t.efficacy_exact, t.paraphrase, t.neighborhood, t.score)
            ),
        ]
        for t in found.trials
    ]
    print_table(f"lambda on one fresh batch; chosen: {found.ridge:g}", head, rows)


def vars_of(trial: object) -> dict[str, object]:
    """A frozen slotted dataclass as plain data."""
    from dataclasses import asdict

    return asdict(trial)  # type: ignore[call-overload]
