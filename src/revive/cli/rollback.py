"""`revive rollback`: undo."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, say
from revive.errors import SpecError


def rollback(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    to: Annotated[
        int | None, typer.Option("--to", help="Keep this many batches; 0 is the unedited model.")
    ] = None,
    edit: Annotated[
        str | None, typer.Option("--edit", help="Take one edit out, by its id.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also save the model as it is then.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Undo a run's last batches, or one edit; the journal keeps the record.

    Examples:
        revive rollback runs/lab --to 3 --out edited-3
        revive rollback runs/lab --edit ceo-1
    """
    if (to is None) == (edit is None):
        raise SpecError("rollback: give either --to STEP or --edit ID.")
    if out is not None:
        from revive.cli.edit import check_free

        check_free(out)
    from revive.runs.rollback import rollback_edit, rollback_to

    undone = rollback_to(folder, to) if to is not None else rollback_edit(folder, str(edit))
    if out is not None:
        from revive.export.run import export_run

        export_run(folder, out, "hf")
    if json:
        print_json(
            {
                "step": undone.step,
                "removed": list(undone.removed),
                "norm": undone.norm,
                "note": undone.note,
                "saved": None if out is None else str(out),
            }
        )
        return
    say(
        f"{folder}: now at batch {undone.step}; {len(undone.removed)} edits taken out, "
        f"norm {undone.norm:.4g}. {undone.note}"
    )
