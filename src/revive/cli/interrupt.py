"""Whether Ctrl-C was pressed, whatever became of its exception on the way."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import typer

_A_MOMENT = 0.02  # seconds; by then a destructor is over
_NOTHING = "interrupted; nothing was written yet. Call the same command again."


class CtrlC(KeyboardInterrupt):
    """Ctrl-C under a name of its own.

    Where a plain KeyboardInterrupt leaves `exec` of a text, as in libraries that generate code,
    Python makes a note to die of the signal, whatever exit code is asked for later.
    """


class Interrupt:
    """Remembers Ctrl-C.

    Libraries turn a KeyboardInterrupt inside their imports into an ImportError; without a memory
    of what came first, a user who changes their mind early is told of a broken installation.
    """

    def __init__(self) -> None:
        """Watch from now on. A process that was told to ignore Ctrl-C goes on ignoring it."""
        self.came = False
        self._folder: Path | None = None
        self._how = ""
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)
            sys.unraisablehook = self._again

    def keeps(self, folder: Path, how: str) -> None:
        """Remember where the work that begins now is kept, and how it would be continued."""
        self._folder, self._how = folder, how

    @property
    def message(self) -> str:
        """What to tell a user who pressed Ctrl-C."""
        if self._folder is None or not self._folder.is_dir() or not any(self._folder.iterdir()):
            return _NOTHING
        return f"interrupted; what was committed is kept in {self._folder}: {self._how} continues."

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.came = True
        raise CtrlC

    def _again(self, lost: Any) -> None:
        # Python drops what is raised in a destructor or a callback of the garbage collector.
        if not isinstance(lost.exc_value, CtrlC):
            sys.__unraisablehook__(lost)
            return
        later = threading.Timer(_A_MOMENT, os.kill, [os.getpid(), signal.SIGINT])
        later.daemon = True
        later.start()


def keeps(context: typer.Context, folder: Path, how: str = "the same command") -> None:
    """Tell the command's `Interrupt`, if it runs under one, what a Ctrl-C from now on leaves."""
    if isinstance(context.obj, Interrupt):
        context.obj.keeps(folder, how)
