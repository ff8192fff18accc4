"""The command `revive`, for as long as the process that started it lives.

    python -m revive.cli.die_with_parent PARENT COMMAND...

A sweep or a worker of a cluster that is killed takes nobody with it; a run that went on without it
would hold its folder against the one that is to continue it.
"""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 1.0


def main() -> None:
    """Bind this process to its parent, then be the command."""
    _end_with(int(sys.argv.pop(1)))
    from revive.cli.main import main as command

    command()


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    # It may have died before the kernel was asked.
    if os.getppid() != parent:
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
