"""What a run claims of a node: CPU threads and GPUs, read from its spec. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from revive.errors import SpecError
from revive.sweeps.executor import threads_of


@dataclass(frozen=True, slots=True)
class ResourceRequest:
    """What is set aside for one run.

    Attributes:
        cpus: CPU threads.
        gpus: GPUs, numbered from 0 in the run's own view.
    """

    cpus: int
    gpus: int


def resource_request(
    spec: Mapping[str, Any], *, some_gpu: bool, gpus: int | None = None
) -> ResourceRequest:
    """What a run needs.

    `device: cuda` claims a GPU, `auto` one where the cluster has any, a device map those that it
    names, or one.

    Args:
        spec: Of the run, as plain data.
        some_gpu: Whether the cluster has a GPU.
        gpus: How many, whatever the spec says.

    Raises:
        SpecError: A numbered GPU that the claim does not cover.
    """
    threads = threads_of(spec)
    model: object = spec.get("model", {})
    settings = cast("Mapping[str, Any]", model) if isinstance(model, Mapping) else {}
    device, mapped = str(settings.get("device") or "auto"), settings.get("device_map")
    if mapped is not None:
        places = (
            cast("Mapping[str, object]", mapped).values() if isinstance(mapped, Mapping) else ()
        )
        named = {_number(place) for place in places} - {None}
        wanted = max((n for n in named if n is not None), default=-1) + 1
        if not named:
            wanted = int(some_gpu and not isinstance(mapped, Mapping))
    else:
        wanted = int(device.startswith("cuda") or (device == "auto" and some_gpu))
        number = _number(device)
        if number is not None and number >= (gpus or wanted):
            raise SpecError(
                f"model.device: {device}: a cluster chooses the GPU, and a run sees it as cuda:0; "
                "write cuda."
            )
    return ResourceRequest(threads, wanted if gpus is None else gpus)


def _number(place: object) -> int | None:
    """Number of a GPU; None of anything else."""
    if isinstance(place, int) and not isinstance(place, bool):
        return place
    text = str(place)
    if not text.startswith("cuda"):
        return None
    number = text.partition(":")[2]
    return int(number) if number.isascii() and number.isdigit() else 0
