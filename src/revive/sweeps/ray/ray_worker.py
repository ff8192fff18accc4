"""A run on a node of a cluster: what an actor there does for the sweep. Imports no ray, no torch.

A node that sees the sweep's own folder works in it. One that does not works on its own disk, and
hands over what is new whenever it is asked.
"""

import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from revive import __version__
from revive.sweeps.executor import Ended, Process
from revive.sweeps.ray.folder_sync import Sender, SyncChunk, receive

MARK = ".sweep"
"""Name of the file by which a node knows the sweep's folder."""

_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Order:
    """What is to be run.

    Attributes:
        name: Of the run.
        spec: As YAML.
        out: The sweep's folder, absolute.
        token: What its mark says.
        folder: Working folder of the sweep: relative paths in a spec begin there.
        threads: CPU threads.
        gpus: Whether it has any.
        scratch: Folder to work in, whatever the node sees.
        trust_code: Whether code that comes with the model may run.
        version: Of revive.
    """

    name: str
    spec: str
    out: str
    token: str
    folder: str
    threads: int
    gpus: bool
    scratch: str | None
    trust_code: bool = False
    version: str = __version__


@dataclass(frozen=True, slots=True)
class Ready:
    """A node that has taken an order.

    Attributes:
        node: Its name.
        shared: Whether it works in the sweep's own folder.
        problem: Why it cannot.
    """

    node: str
    shared: bool
    problem: str = ""


@dataclass(frozen=True)
class News:
    """What is new of a run.

    Attributes:
        parcel: Files, where the folder is not shared.
        ended: How it ended; only once everything was handed over.
        log: What it said, then.
    """

    parcel: SyncChunk
    ended: Ended | None = None
    log: bytes = b""


class RayWorker:
    """One attempt at a run, on the node where this is."""

    def __init__(self, order: Order) -> None:
        """Take an order; nothing is begun."""
        self._order = order
        self._shared = order.scratch is None and _reads(Path(order.out) / MARK) == order.token
        if self._shared:
            self._base = Path(order.out)
        else:
            scratch = Path(order.scratch or tempfile.gettempdir())
            self._base = scratch / f"revive-sweep-{order.token}" / order.name
        self._place = self._base / order.name
        self._sender = Sender(self._place)
        self._process: Process | None = None

    def prepare(self) -> Ready:
        """Whether this node can do it, and where it would."""
        node = socket.gethostname()
        if self._order.version != __version__:
            here, there = __version__, self._order.version
            problem = f"revive {here} on node {node}, {there} where the sweep was started"
            return Ready(node, self._shared, f"{problem}; install the same version on all nodes")
        if not self._shared:
            # What an attempt before this one left here is older than what was handed over.
            shutil.rmtree(self._base, ignore_errors=True)
            self._base.mkdir(parents=True)
        return Ready(node, self._shared)

    def take(self, parcel: SyncChunk) -> None:
        """Continue from what earlier attempts have handed over."""
        receive(self._place, parcel)
        self._sender.sent()

    def begin(self) -> None:
        """Start the process."""
        order = self._order
        # Where nothing was claimed, nothing is seen: `device: auto` must not find somebody's GPU.
        hidden = {} if order.gpus else {"CUDA_VISIBLE_DEVICES": ""}
        self._process = Process(
            order.name,
            order.spec,
            self._base,
            threads=order.threads,
            folder=order.folder if Path(order.folder).is_dir() else str(self._base),
            more=hidden,
            trust_code=order.trust_code,
        )

    def news(self) -> News:
        """What is new since the last call."""
        ended = None if self._process is None else self._process.poll()
        if self._shared:
            return News(SyncChunk(), ended)
        parcel = self._sender.parcel()
        if ended is None or parcel.names is None:
            return News(parcel)
        return News(parcel, self._told(ended), self._log())

    def stop(self) -> None:
        """End the process; what it has committed can still be asked for."""
        if self._process is None:
            return
        self._process.stop()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def clear(self) -> None:
        """Forget what lies on this node's own disk."""
        if not self._shared:
            shutil.rmtree(self._base, ignore_errors=True)
            # Others may still have theirs below it.
            with suppress(OSError):
                self._base.parent.rmdir()

    def _log(self) -> bytes:
        return (self._base / f"{self._order.name}.log").read_bytes()

    def _told(self, ended: Ended) -> Ended:
        """For somebody who does not see this node's disk."""
        reason, folder = ended.reason.replace(str(self._base), self._order.out), self._order.folder
        if reason and not Path(folder).is_dir():
            node = socket.gethostname()
            reason += f"; node {node} has no {folder}, where relative paths of the spec begin"
        return replace(ended, reason=reason)


def _reads(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
