"""Whether Ctrl-C was pressed, whatever became of its exception on the way."""

import signal
import threading
from types import FrameType


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
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.came = True
        raise CtrlC
