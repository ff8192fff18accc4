"""The command `revive`: one file per command, nothing heavy imported before it is needed."""

import logging
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from revive.cli.commands import (
    calibrate,
    check,
    demo,
    doctor,
    edit,
    evaluate,
    export,
    fetch,
    list_,
    moments,
    report,
    rollback,
    run,
    spectrum,
    status,
    sweep,
    verify,
)
from revive.cli.complaints import INTERRUPTED, account
from revive.cli.home import with_home
from revive.cli.interrupt import Interrupt
from revive.cli.output import plain
from revive.cli.prose import prose
from revive.errors import ReviveError
from revive.wording import brief

app = typer.Typer(
    name="revive",
    help="Edit facts in language models, thousands of times, without wrecking them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _name, _command in {
    "demo": demo.demo,
    "run": run.run,
    "resume": run.resume,
    "status": status.status,
    "verify": verify.verify,
    "edit": edit.edit,
    "evaluate": evaluate.evaluate,
    "report": report.report,
    "export": export.export,
    "rollback": rollback.rollback,
    "spectrum": spectrum.spectrum,
    "sweep": sweep.sweep,
    "check": check.check,
    "doctor": doctor.doctor,
    "fetch": fetch.fetch,
    "moments": moments.moments,
    "calibrate": calibrate.calibrate,
    "list": list_.list_entries,
}.items():
    app.command(_name, help=prose(_command.__doc__))(with_home(_command))


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Edit facts in language models, thousands of times, without wrecking them."""
    del debug  # read from argv in main(), which must know it even when parsing fails


def main() -> None:
    """Run the command line; turn errors into one line on stderr and an exit code.

    Exit codes: 0 done, 2 bad spec or input, 3 a prerequisite is missing, 4 numerical failure,
    130 interrupted; 1 is a mistake of this program.
    """
    argv = sys.argv[1:]
    debug = "--debug" in argv
    argv = [a for a in argv if a != "--debug"]
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("revive: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    # It prints what it warns of itself; once is enough.
    logging.getLogger("huggingface_hub").propagate = False
    interrupt = Interrupt()
    try:
        code = app(
            args=argv or ["--help"], prog_name="revive", standalone_mode=False, obj=interrupt
        )
    except BrokenPipeError:
        sys.exit(0)
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        code = INTERRUPTED
        if not interrupt.came:
            code, message = account(error)
            details = error.details if isinstance(error, ReviveError) else ()
            _complain(message, details)
            sys.exit(code)
    # Typer makes an exit code of Ctrl-C itself.
    if code == INTERRUPTED:
        _complain(interrupt.message)
    sys.exit(code if isinstance(code, int) else 0)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def _complain(message: str, details: Sequence[str] = ()) -> None:
    lines = [f"revive: {brief(message)}", *(f"  {brief(detail)}" for detail in details)]
    sys.stderr.write(plain("".join(line + "\n" for line in lines)))


if __name__ == "__main__":
    main()
