"""`revive rollback`: undo."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revive.cli.model_options import TrustRemoteCode
from revive.cli.output import print_json, print_table, say, show
from revive.errors import SpecError
from revive.paths import refuse_taken
from revive.wording import counted

if TYPE_CHECKING:
    from revive.runs.side_effects import EditRemoval

_LISTED = 5
"""Ids that a row names; the journal has them all."""


def rollback(
    folder: Annotated[Path, typer.Argument(metavar="run", help="Run folder.")],
    to: Annotated[
        int | None, typer.Option("--to", help="Keep this many batches; 0 is the unedited model.")
    ] = None,
    edit: Annotated[
        str | None, typer.Option("--edit", help="Take one edit out, by its id.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also save the model as it is then.")
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="With --edit: measure what else moves; off, no model is loaded.",
        ),
    ] = True,
    sample: Annotated[
        int, typer.Option(min=0, help="Measure at most so many edits of other batches.")
    ] = 200,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Undo a run's last batches, or one edit; the journal keeps the record.

    Taking one edit out moves others too. The model is measured with the edit and without: the edit
    itself, the others of its batch, a sample of those of other batches, and general ability where
    the run has a probe of it. An edit holds if its new target is preferred to the true one; where
    that is not known, if it is what the model says.

    Examples:
        revive rollback runs/lab --to 3 --out edited-3
        revive rollback runs/lab --edit ceo-1
    """
    if (to is None) == (edit is None):
        raise SpecError("rollback: give either --to STEP or --edit ID.")
    if out is not None:
        from revive.run_folder.store import RunFolder
        from revive.spec.parsing import load_stored_spec, refuse_code

        refuse_taken(out, "--out")
        # Before anything is undone.
        refuse_code(load_stored_spec(RunFolder.open(folder).spec).model, trust_remote_code)
    from revive.runs.rollback import rollback_edit, rollback_to

    with _hushed(quiet or json, loading=out is not None or (to is None and measure)):
        if to is not None:
            undone = rollback_to(folder, to)
        else:
            undone = rollback_edit(
                folder,
                str(edit),
                measure=measure,
                sample=sample,
                told=lambda text: say(f"{text} ...", quiet=quiet or json),
                trust_code=trust_remote_code,
            )
        if out is not None:
            from revive.export.run import export_run

            export_run(folder, out, "hf", trust_code=trust_remote_code)
    if json:
        print_json(
            {
                "step": undone.step,
                "removed": list(undone.removed),
                "norm": undone.norm,
                "note": undone.note,
                "moved": None if undone.moved is None else undone.moved.as_dict(),
                "saved": None if out is None else str(out),
            }
        )
        return
    if undone.moved is not None:
        _show(str(edit), undone.moved)
    say(
        f"{folder}: now at batch {undone.step}; {counted(len(undone.removed), 'edit')} taken out, "
        f"norm {undone.norm:.4g}. {undone.note}"
    )


def _show(edit: str, moved: "EditRemoval") -> None:
    groups = {
        edit: moved.removed,
        "its batch": moved.batch,
        "other batches": moved.others,
    }
    rows: list[list[str]] = []
    for name, found in groups.items():
        lost = ", ".join(found.lost[:_LISTED])
        more = f" and {len(found.lost) - _LISTED} more" if len(found.lost) > _LISTED else ""
        rows.append(
            [
                name,
                str(found.edits),
                f"{found.before} -> {found.after}",
                f"{len(found.lost)}{f': {lost}{more}' if lost else ''}",
                str(len(found.regained)),
                f"{found.nll_shift:+.3g}" if found.edits else "-",
            ]
        )
    head = ["edits", "measured", "hold", "lost", "regained", "NLL shift"]
    print_table("what moved", head, rows)
    if moved.general:
        shown = [[k, f"{b:.4g}", f"{a:.4g}"] for k, (b, a) in moved.general.items()]
        print_table("general ability", ["metric", "before", "after"], shown)
    answers = moved.answers
    show(f"{edit}: said {answers.before!r}, now {answers.after!r}; unedited {answers.unedited!r}")


def _hushed(quiet: bool, *, loading: bool):
    if not (quiet and loading):
        return nullcontext()
    from revive.cli.watch import hushed

    return hushed()
