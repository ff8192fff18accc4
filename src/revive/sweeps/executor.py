"""One attempt at a run: a process that makes it, or goes on with it. No torch."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from revive.errors import NumericalError, SpecError
from revive.io.yaml_text import format_yaml

# A wrong spec and numbers that overflow are the same the next time; a device, a disk or a process
# that was killed need not be.
_FINAL = frozenset({SpecError.exit_code, NumericalError.exit_code})


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended.

    Attributes:
        code: Exit code; negative where a signal ended it.
        reason: Why, where it failed.
        final: Whether another attempt would end the same way.
    """

    code: int
    reason: str = ""
    final: bool = False


class Attempt(Protocol):
    """A process somewhere."""

    @property
    def begun(self) -> bool:
        """Whether there is a place for it yet."""
        ...

    def poll(self) -> Ended | None:
        """How it ended; None while it goes on."""
        ...

    def stop(self) -> None:
        """Ask it to end; what it has committed stays."""
        ...

    def wait(self) -> None:
        """Until it has ended."""
        ...


class Executor(Protocol):
    """Where attempts are made."""

    @property
    def slots(self) -> int:
        """How many at a time."""
        ...

    def attempt(self, name: str, spec: Mapping[str, Any], out: Path) -> Attempt:
        """Begin the run of that name below `out`, or go on with it."""
        ...


class LocalExecutor:
    """Processes on this machine, one per core.

    Args:
        trust_code: Whether runs may run code that comes with their models.
    """

    def __init__(self, *, trust_code: bool = False) -> None:
        self._trust_code = trust_code

    @property
    def slots(self) -> int:
        """One per core."""
        return os.cpu_count() or 1

    def attempt(self, name: str, spec: Mapping[str, Any], out: Path) -> "Process":
        """A process with a session of its own, so that Ctrl-C is answered by this one alone."""
        return Process(
            name,
            format_yaml(spec),
            out,
            threads=threads_of(spec),
            start_session=True,
            trust_code=self._trust_code,
        )


class Process:
    """`revive run`, or `revive resume` where there is something to continue.

    It ends with the thread that started it, however that one ends.
    """

    begun = True

    def __init__(
        self,
        name: str,
        spec: str,
        base: Path,
        *,
        threads: int,
        start_session: bool = False,
        folder: str | None = None,
        more: Mapping[str, str] | None = None,
        trust_code: bool = False,
    ) -> None:
        """Start it.

        Args:
            name: Of the run: its folder, its spec and its log lie below `base` under this name.
            spec: As YAML.
            base: Folder of the runs.
            threads: CPU threads.
            start_session: Whether signals of this terminal pass it by.
            folder: Its working folder; default this process's.
            more: Further environment.
            trust_code: Whether code that comes with the model may run.
        """
        self._log = base / f"{name}.log"
        place = base / name
        # The spec is there before the journal's first line: moments come in between.
        if (place / "spec.yaml").exists():
            command = ["resume", str(place)]
        else:
            path = base / f"{name}.yaml"
            path.write_text(spec, encoding="utf-8")
            command = ["run", str(path), "--out", str(place)]
        if trust_code:
            command.append("--trust-remote-code")
        # The math libraries size their pools at import: too many of them fight for the cores.
        count = str(threads)
        environment = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "revive.cli.die_with_parent", str(os.getpid())),
                    *(*command, "--quiet"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={**environment, **(more or {})},
                cwd=folder,
                start_new_session=start_session,
            )

    def poll(self) -> Ended | None:
        """How it ended; None while it goes on."""
        code = self._process.poll()
        if code is None:
            return None
        return Ended(0) if code == 0 else Ended(code, self._reason(code), code in _FINAL)

    def stop(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def wait(self, seconds: float | None = None) -> None:
        """Until it has ended.

        Raises:
            TimeoutExpired: It took longer than that.
        """
        self._process.wait(seconds)

    def kill(self) -> None:
        """End it at once; it has ended when this returns."""
        self._process.kill()
        self._process.wait()

    def _reason(self, code: int) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("revive: ") if lines else ""
        if code < 0:
            said = f"killed by {signal.Signals(-code).name}" + (f": {said}" if said else "")
        return f"{said or f'exit code {code}'} (log: {self._log})"


def threads_of(spec: Mapping[str, Any]) -> int:
    """CPU threads of a run: what its spec names, or one."""
    return int(spec.get("threads") or 1)
