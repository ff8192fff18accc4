"""Spectral bases kept on disk: an SVD of a large weight is worth doing once."""

import os
import tempfile
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from revive.linalg.basis import SpectralBasis
from revive.linalg.fingerprint import fingerprint


class BasisCache:
    """A folder of bases, one file per weight and cut. Safe to share between processes."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`; it is made when first needed."""
        self.folder = folder

    def fit(
        self,
        weight: Float[Tensor, "out in"],
        *,
        energy: float | None = None,
        rank: int | None = None,
    ) -> SpectralBasis:
        """`SpectralBasis.fit`, from disk if it was done before.

        A file that is damaged or of something else is computed anew and replaced.
        """
        name = fingerprint(weight)
        cut = f"rank{rank}" if energy is None else f"energy{energy!r}"
        path = self.folder / f"{name}-{cut}.safetensors"
        found = _load(path, name, weight.device)
        if found is not None:
            return found
        basis = SpectralBasis.fit(weight, energy=energy, rank=rank)
        _save(path, basis)
        return basis


def _load(path: Path, name: str, device: torch.device) -> SpectralBasis | None:
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            # Copies are aligned in memory, a mapped file is not: products may round differently.
            u, s, v = (file.get_tensor(key).clone() for key in ("u", "s", "v"))
        intact = about.get("weight") == name and about.get("content") == fingerprint(u, s, v)
        if not intact:
            return None
        residual = float(about["residual"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return SpectralBasis(u.to(device), s.to(device), v.to(device), u.shape[1], residual, name)


def _save(path: Path, basis: SpectralBasis) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: tensor.cpu().contiguous()
        for key, tensor in (("u", basis.u), ("s", basis.s), ("v", basis.v))
    }
    about = {
        "weight": basis.fingerprint,
        "content": fingerprint(*tensors.values()),
        "residual": repr(basis.residual),
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".basis-", suffix=".tmp")
    os.close(handle)
    try:
        save_file(tensors, temporary, metadata=about)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
