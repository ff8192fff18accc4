"""What torchrun tells a process: which of how many it is, and which GPU is its own."""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from revive.errors import PrerequisiteError, SpecError
from revive.moments.distributed import ALONE, TorchrunGroup, WorkerGroup

_MEETING = ("MASTER_ADDR", "MASTER_PORT")
# Processes wait for the slowest one's chunk, which may take hours on a CPU. One that died is told
# by its connection, and by torchrun, at once.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Launch:
    """Where a process stands among those that were started together.

    Attributes:
        rank: Among all.
        size: Of all.
        local_rank: Among those of its machine.
        local_size: Of those of its machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def launch(environment: Mapping[str, str] = os.environ) -> Launch | None:
    """What the environment says; None for a process that is alone.

    Raises:
        SpecError: It says half of it.
    """
    size = int(environment.get("WORLD_SIZE") or 1)
    if "RANK" not in environment or size == 1:
        return None
    missing = [name for name in _MEETING if not environment.get(name)]
    if missing:
        raise SpecError(
            f"RANK and WORLD_SIZE say that this is one of {size} processes, but "
            f"{' and '.join(missing)} are not set; start them with torchrun, or unset RANK."
        )
    rank = int(environment["RANK"])
    local = int(environment.get("LOCAL_RANK", rank))
    return Launch(rank, size, local, int(environment.get("LOCAL_WORLD_SIZE", size)))


def own_device(place: Launch, device: str, mapped: bool) -> str:
    """The device of one process.

    Args:
        place: Which process it is.
        device: What the user named: `auto`, `cpu`, `cuda`.
        mapped: Whether one model was to be spread over devices.

    Raises:
        SpecError: One device, or one model over all devices, for several processes.
        PrerequisiteError: The machine has fewer GPUs than processes.
    """
    if mapped:
        raise SpecError(
            "--device-map spreads one model over all devices, and torchrun gives each process one "
            "of its own; leave out one of them."
        )
    if device not in ("auto", "cpu", "cuda"):
        raise SpecError(
            f"--device {device} is one device for {place.size} processes; write --device "
            f"{'cuda' if device.startswith('cuda') else 'cpu'}."
        )
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and not there):
        return "cpu"
    if place.local_size > there:
        raise PrerequisiteError(
            f"{place.local_size} processes for {there} GPUs; start torchrun with "
            f"--nproc-per-node {max(1, there)}, or write --device cpu."
        )
    return f"cuda:{place.local_rank}"


@contextmanager
def team(device: str, mapped: bool) -> Generator[tuple[WorkerGroup, str], None, None]:
    """The team of this process and its device, for as long as they work together.

    Args:
        device: What the user named.
        mapped: Whether one model was to be spread over devices.

    Raises:
        SpecError: The environment or the device does not fit several processes.
        PrerequisiteError: The processes cannot meet, or lack GPUs.
    """
    place = launch()
    if place is None:
        yield ALONE, device
        return
    own = own_device(place, device, mapped)
    if own != "cpu":
        torch.cuda.set_device(own)
    try:
        dist.init_process_group(
            "gloo" if own == "cpu" else "cpu:gloo,cuda:nccl",
            rank=place.rank,
            world_size=place.size,
            timeout=_PATIENCE,
        )
    except (RuntimeError, ValueError) as error:
        where = ":".join(os.environ[name] for name in _MEETING)
        raise PrerequisiteError(
            f"the {place.size} processes cannot meet at {where} ({error}); check that all were "
            "started, and that the address can be reached."
        ) from error
    try:
        yield TorchrunGroup(place.rank, place.size), own
    finally:
        dist.destroy_process_group()
