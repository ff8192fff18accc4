"""A delta: what edits changed of a model, as factors, to be put on and taken off its base."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from revive.errors import SpecError
from revive.io.sealed import DamagedError, read_header
from revive.io.tensors import load_tensors, save_tensors
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of, read_weight, write_weight
from revive.models.fingerprint import is_model
from revive.models.site import Site
from revive.paths import at_home

FILE = "delta.safetensors"
_FORM = "revive-delta-1"
_LEFT, _RIGHT = "left|", "right|"


@dataclass(frozen=True)
class Delta:
    """Factors by parameter name, and the base that they belong to.

    Attributes:
        updates: `left [d_out, r]`, `right [r, d_in]`, canonical orientation, fp32.
        model: The base's name, for people.
        base: The base's fingerprint.
        dtype: The dtype that the base was edited in, e.g. `torch.float32`.
        edited: Fingerprint of the base with the delta on.
    """

    updates: Mapping[str, LowRank]
    model: str
    base: str
    dtype: str
    edited: str

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file; it appears whole or not at all.

        Raises:
            SpecError: The file is there already.
            PrerequisiteError: The disk is full.
        """
        path = at_home(path)
        if path.exists():
            raise SpecError(f"{path} exists; choose another name.")
        tensors = {_LEFT + k: u.left for k, u in self.updates.items()}
        tensors |= {_RIGHT + k: u.right for k, u in self.updates.items()}
        about = {"form": _FORM, "model": self.model, "base": self.base}
        save_tensors(path, tensors, {**about, "dtype": self.dtype, "edited": self.edited})
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Delta":
        """Read a file that `save` wrote, or a folder with one.

        Raises:
            SpecError: It is none.
        """
        path = at_home(path)
        path = path / FILE if path.is_dir() else path
        try:
            about = read_header(path).about
            tensors = load_tensors(path)
        except DamagedError as error:
            raise SpecError(f"delta: cannot read {path}: {error.what}.") from error
        if about.get("form") != _FORM:
            raise SpecError(f"delta: {path} is no file of 'revive export --format delta'.")
        if any(not bool(t.is_floating_point() and t.isfinite().all()) for t in tensors.values()):
            raise SpecError(f"delta: {path} holds something else than finite numbers; not used.")
        keys = [name.removeprefix(_LEFT) for name in tensors if name.startswith(_LEFT)]
        try:
            updates = {k: LowRank(tensors[_LEFT + k], tensors[_RIGHT + k]) for k in keys}
            return cls(updates, about["model"], about["base"], about["dtype"], about["edited"])
        except (KeyError, ValueError) as error:
            raise SpecError(
                f"delta: {path} is not whole ({error}); export it again, or get another copy."
            ) from error

    def apply(self, model: Any) -> None:
        """Put the delta on its base, in place.

        Raises:
            SpecError: The model is another one, or loaded in another dtype, or lacks a weight of
                this size.
        """
        self._check(model, self.base, "the base that the delta was made from")
        for site, update in self._sites(model):
            weight = read_weight(model, site)
            write_weight(model, site, _plus(weight, update, 1.0))

    def remove(self, model: Any) -> None:
        """Take the delta off again: the base to the last rounding, which is not stored.

        Raises:
            SpecError: The model is not the base with this delta on.
        """
        self._check(model, self.edited, "the base with this delta on it")
        for site, update in self._sites(model):
            weight = read_weight(model, site)
            write_weight(model, site, _plus(weight, update, -1.0))

    def _check(self, model: Any, wanted: str, what: str) -> None:
        dtype = str(next(model.parameters()).dtype)
        if dtype != self.dtype:
            raise SpecError(
                f"delta: it was made in {self.dtype} and the model is in {dtype}; load the model "
                f"with dtype={self.dtype.removeprefix('torch.')!r}."
            )
        if not is_model(model, wanted):
            raise SpecError(f"delta: the model is not {what} ({self.model}); nothing was changed.")

    def _sites(self, model: Any) -> list[tuple[Site, LowRank]]:
        sites = {s.key: s for s in family_of(model).sites(model)}
        for key, update in self.updates.items():
            # Before anything is written: half a delta is no model that anybody wants.
            if key not in sites or sites[key].shape != update.shape:
                raise SpecError(
                    f"delta: {key} with an update of {list(update.shape)} is no weight of the "
                    "model that can be edited; nothing was changed."
                )
        return [(sites[key], update) for key, update in self.updates.items()]


def _plus(weight: torch.Tensor, update: LowRank, sign: float) -> torch.Tensor:
    left, right = update.left.to(weight), update.right.to(weight)
    return torch.addmm(weight, left, right, alpha=sign)
