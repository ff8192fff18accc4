"""Processes that share one pass over text: one alone, or those that torchrun has started."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from revive.errors import PrerequisiteError, ReviveError, SpecError
from revive.linalg.moments import SecondMoment

_LOST = (
    "another process of this pass was lost; call the same command again, it goes on from the sums "
    "that were saved"
)


class WorkerGroupError(ReviveError):
    """Another process failed; its message and exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """One process that does all of it.

    Attributes:
        rank: Which process this is.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process holds the results, keeps and tells them."""
        return self.rank == 0

    @contextmanager
    def together(self) -> Generator[None, None, None]:
        """A piece of work that counts once every process has done its own.

        Raises:
            WorkerGroupError: Another process failed. One that fails itself raises what it met.
        """
        yield

    def broadcast(self, value: int) -> int:
        """The first process's value, in all of them."""
        return value

    def same(self, value: str, what: str) -> None:
        """Check that all processes mean the same.

        Raises:
            SpecError: They do not.
        """

    def merge(
        self, totals: Mapping[str, SecondMoment], parts: Mapping[str, SecondMoment], working: int
    ) -> None:
        """Add the parts of the first so many processes, in their order, to the first one's totals.

        Args:
            totals: Of the first process, by name.
            parts: Of each process, by name.
            working: How many have one.
        """
        del working
        for name, part in parts.items():
            totals[name].absorb(part.bands(), part.count)


ALONE = WorkerGroup()


@dataclass(frozen=True, slots=True)
class TorchrunGroup(WorkerGroup):
    """The processes of torch's default group, which must have been set up."""

    @contextmanager
    def together(self) -> Generator[None, None, None]:
        """Whoever fails tells the others: nobody waits for a sum that will never come."""
        try:
            yield
        except Exception as error:
            code = error.exit_code if isinstance(error, ReviveError) else 1
            name = "" if isinstance(error, ReviveError) else f"{type(error).__name__}: "
            self._exchange((f"{name}{error}", code))
            raise
        for rank, met in enumerate(self._exchange(None)):
            if met is not None:
                message, code = met
                raise WorkerGroupError(f"process {rank} of {self.size}: {message}", code)

    def broadcast(self, value: int) -> int:
        """The first process's value."""
        held = torch.tensor(value)
        with _losses():
            dist.broadcast(held, 0)
        return int(held)

    def same(self, value: str, what: str) -> None:
        """Compare with every other process."""
        if len(set(self._exchange(value))) > 1:
            raise SpecError(
                f"{what} are not the same in all processes; every machine needs the same files, "
                "and the same call."
            )

    def merge(
        self, totals: Mapping[str, SecondMoment], parts: Mapping[str, SecondMoment], working: int
    ) -> None:
        """One site after another, a band of its sum at a time: no process holds a third sum."""
        for name, part in parts.items():
            count = torch.tensor(part.count)
            with _losses():
                if self.first:
                    totals[name].absorb(part.bands(), part.count)
                    for peer in range(1, working):
                        dist.recv(count, peer)
                        totals[name].absorb(_received(part, peer), int(count))
                elif self.rank < working:
                    dist.send(count, 0)
                    for band in part.bands():
                        dist.send(band.contiguous(), 0)

    def _exchange(self, mine: Any) -> list[Any]:
        found: list[Any] = [None] * self.size
        with _losses():
            dist.all_gather_object(found, mine)
        return found


def _received(like: SecondMoment, peer: int) -> Iterator[Tensor]:
    for band in like.bands():
        buffer = torch.empty(band.shape, dtype=band.dtype, device=band.device)
        dist.recv(buffer, peer)
        yield buffer


@contextmanager
def _losses() -> Generator[None, None, None]:
    """A connection that breaks means that a process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise PrerequisiteError(f"{_LOST} ({str(error).strip().splitlines()[0]}).") from error
