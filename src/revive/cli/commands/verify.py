"""`revive verify`: is every file of a run what it was?"""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, say, show
from revive.wording import counted

DAMAGED = 2


def verify(
    folder: Annotated[Path, typer.Argument(metavar="run", help="Run folder.")],
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check every file of a run, and say what can be rebuilt; nothing is written, no model loaded.

    Files carry checksums and say which run and batch they are of; the journal knows them all, and a
    checkpoint must be the sum of the updates. Every other command checks what it reads too. Exit
    code 2 if something is damaged, swapped or missing. Runs of versions that kept no checksums can
    be read, but not verified.

    Example: revive verify runs/lab
    """
    from revive.runs.verify import ranges, verify_run

    found = verify_run(folder)
    if json:
        print_json(found.as_dict())
        raise typer.Exit(0 if found.whole else DAMAGED)
    for one in found.findings:
        show(f"{one.file}: {one.what}{f'; {one.then}' if one.then else ''}.")
    state = "whole" if found.whole else "damaged"
    unsure = "" if found.verifiable else ", as far as a run without checksums can be verified"
    say(
        f"{folder}: {state}{unsure}; {counted(found.files, 'file')} checked. The model can be "
        f"rebuilt after batch {ranges(found.rebuildable)} of {found.step}."
    )
    raise typer.Exit(0 if found.whole else DAMAGED)
