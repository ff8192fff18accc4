"""A Ray cluster, as a place where runs are made. ray is imported when one is used; no torch."""

import importlib.util
import logging
import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from revive.errors import PrerequisiteError
from revive.io.atomic import write_text
from revive.io.yaml_text import format_yaml
from revive.sweeps.executor import threads_of
from revive.sweeps.ray.connection import existing, local, variables
from revive.sweeps.ray.ray_worker import MARK, Order, RayWorker
from revive.sweeps.ray.remote_attempt import RayAttempt
from revive.sweeps.ray.resource_request import ResourceRequest, resource_request

_LOG = logging.getLogger(__name__)


class RayExecutor:
    """Runs are actors: Ray gives each its CPUs and GPUs, and queues those that must wait."""

    def __init__(
        self,
        ray: Any,
        token: str,
        *,
        gpus: int | None = None,
        scratch: Path | None = None,
        trust_code: bool = False,
    ) -> None:
        """Use `cluster`, which connects and disconnects."""
        self._ray = ray
        self._token = token
        self._gpus = gpus
        self._scratch = scratch
        self._trust_code = trust_code
        self._nodes: list[Mapping[str, float]] = [
            node["Resources"] for node in ray.nodes() if node["Alive"]
        ]

    @property
    def slots(self) -> int:
        """All at once: an autoscaler looks at what is waiting."""
        return 1_000_000

    def attempt(self, name: str, spec: Mapping[str, Any], out: Path) -> RayAttempt:
        """Ask for a place, and begin there."""
        write_text(out / MARK, self._token)
        wanted = self.claim(spec)
        order = Order(
            name=name,
            spec=format_yaml(spec),
            out=str(out.resolve()),
            token=self._token,
            folder=str(Path.cwd()),
            threads=wanted.cpus,
            gpus=wanted.gpus > 0,
            scratch=None if self._scratch is None else str(self._scratch),
            trust_code=self._trust_code,
        )
        remote = self._ray.remote(RayWorker).options(
            num_cpus=wanted.cpus, num_gpus=wanted.gpus, max_restarts=0, max_task_retries=0
        )
        return RayAttempt(self._ray, remote.remote(order), order)

    def claim(self, spec: Mapping[str, Any]) -> ResourceRequest:
        """What a run needs of a node."""
        some = any(node.get("GPU", 0) for node in self._nodes)
        return resource_request(spec, some_gpu=some, gpus=self._gpus)

    def check(self, specs: Sequence[Mapping[str, Any]], *, final: bool) -> None:
        """Whether every run fits some node.

        Args:
            specs: Of the runs.
            final: Whether the cluster stays as it is; one that grows may get such a node yet.

        Raises:
            PrerequisiteError: One does not, and never will.
        """
        for wanted in dict.fromkeys(self.claim(spec) for spec in specs):
            fits = (
                node.get("CPU", 0) >= wanted.cpus and node.get("GPU", 0) >= wanted.gpus
                for node in self._nodes
            )
            if any(fits):
                continue
            what = f"no node has {wanted.cpus} CPUs and {wanted.gpus} GPUs, which a run asks for"
            if final:
                raise PrerequisiteError(f"{what}: set threads, model.device or --gpus.")
            _LOG.warning("%s; runs wait until there is one", what)


@contextmanager
def cluster(
    address: str | None,
    specs: Sequence[Mapping[str, Any]],
    *,
    gpus: int | None = None,
    scratch: Path | None = None,
    trust_code: bool = False,
) -> Generator[RayExecutor, None, None]:
    """Connect to a cluster, or start one on this machine for as long as it is needed.

    Args:
        address: `HOST:PORT` or `ray://HOST:PORT` of one that is there, or `auto` for the one on
            this machine; None starts one.
        specs: Of the runs, to see whether they fit.
        gpus: GPUs of a run, whatever its spec says.
        scratch: Folder on the nodes to work in, even where they see the sweep's own.
        trust_code: Whether runs may run code that comes with their models.

    Raises:
        PrerequisiteError: ray is not installed, no cluster answers, or a run fits no node.
    """
    if importlib.util.find_spec("ray") is None:
        raise PrerequisiteError(
            "--on ray needs the package ray; pip install 'revive-edit[sweep]', or use --on local."
        )
    # A thread of Ray prints what befalls its workers to stdout, where only results belong.
    with (
        variables(address is None),
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
    ):
        import ray

        most = max((threads_of(spec) for spec in specs), default=1)
        with local(ray, most) if address is None else existing(ray, address):
            token = secrets.token_hex(8)
            there = RayExecutor(ray, token, gpus=gpus, scratch=scratch, trust_code=trust_code)
            there.check(specs, final=address is None)
            yield there
