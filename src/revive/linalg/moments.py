"""Streaming, mergeable second moments C = E[k k^T] of a projection's inputs."""

from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from revive.errors import NumericalError
from revive.linalg.half_product import add_upper_half, bands, mirror


class SecondMoment:
    """Sum of k k^T over all keys seen, and their number. Uncentred, as in MEMIT."""

    def __init__(self, dim: int, dtype: torch.dtype = torch.float64) -> None:
        """Start from no keys.

        Args:
            dim: Length of a key.
            dtype: Of the sum. fp32 halves the memory; over 1e8 keys it loses about 4 digits.
        """
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"SecondMoment adds up in float32 or float64, not in {dtype}.")
        self._sum = torch.zeros(dim, dim, dtype=dtype)
        self._count = 0

    @property
    def dim(self) -> int:
        """Length of a key."""
        return self._sum.shape[0]

    @property
    def count(self) -> int:
        """Number of keys seen."""
        return self._count

    @property
    def trace(self) -> float:
        """Tr C: the mean square length of a key; 0 if there were none."""
        return float(self._sum.diagonal().sum()) / max(self._count, 1)

    def update(self, keys: Float[Tensor, "n dim"], zeros: int = 0) -> None:
        """Add keys. The sum moves to their device.

        Products too are computed in the dtype of the sum: rounded to fp32, those along the few
        directions that most keys share would drown the least eigenvalues of C.

        Args:
            keys: The keys.
            zeros: Number of further keys that are zero, and count: tokens that are not sent to an
                expert.

        Raises:
            NumericalError: A key holds NaN or infinity; nothing was added.
            ValueError: Keys of another length.
        """
        if keys.ndim != 2 or keys.shape[1] != self.dim:
            raise ValueError(f"keys have shape {tuple(keys.shape)}; expected [n, {self.dim}].")
        if not bool(torch.isfinite(keys).all()):
            raise NumericalError(
                "a key for the second moment holds NaN or infinity; load the model in a wider "
                "dtype."
            )
        if keys.device != self._sum.device:
            self._sum = self._sum.to(keys.device)
        add_upper_half(self._sum, keys.detach().to(self._sum.dtype))
        self._count += keys.shape[0] + zeros

    def merge(self, other: "SecondMoment") -> "SecondMoment":
        """The moment of both sets of keys; neither operand changes."""
        if self.dim != other.dim:
            raise ValueError(f"Cannot merge moments of {self.dim} and {other.dim} dimensions.")
        merged = SecondMoment(self.dim, torch.promote_types(self._sum.dtype, other._sum.dtype))
        merged._sum = self._mirrored().to(merged._sum.dtype) + other._mirrored().to(
            self._sum.device
        )
        merged._count = self._count + other._count
        return merged

    def absorb(self, others: Iterable[Tensor], count: int) -> None:
        """Add another sum in place, band by band, and the number of its keys.

        Sums that are absorbed one after another come out the same to the bit, whoever made them.

        Args:
            others: As `bands` gives them, on any device.
            count: Keys behind them.
        """
        for mine, band in zip(self.bands(), others, strict=True):
            mine.add_(band.to(mine.device))
        self._count += count

    def bands(self) -> Iterator[Tensor]:
        """Of the symmetric sum the blocks from the diagonal on, as views of this one."""
        for rows in bands(self.dim):
            yield self._sum[rows, rows.start :]

    def clear(self) -> None:
        """Forget all keys; the memory stays, where it is."""
        self._sum.zero_()
        self._count = 0

    def value(self) -> Float[Tensor, "dim dim"]:
        """C = sum of k k^T / count.

        Raises:
            ValueError: No keys were seen.
        """
        if self._count == 0:
            raise ValueError("The second moment of no keys is undefined; call update() first.")
        return self._mirrored() / self._count

    def state_dict(self) -> dict[str, Tensor]:
        """The sum and the count, as tensors."""
        return {"sum": self._mirrored(), "count": torch.tensor(self._count)}

    @staticmethod
    def from_state(state: Mapping[str, Tensor]) -> "SecondMoment":
        """The accumulator that `state_dict` described."""
        total = state["sum"]
        moment = SecondMoment(total.shape[0], total.dtype)
        moment._sum = total.clone()
        moment._count = int(state["count"])
        return moment

    def _mirrored(self) -> Tensor:
        """The whole sum."""
        mirror(self._sum)
        return self._sum
