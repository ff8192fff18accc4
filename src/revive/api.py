"""`revive.Editor`: the same engine, driven from Python."""

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from revive.assembly.build import Built
from revive.assembly.fit_settings import build_fitted
from revive.data.check import check_edit
from revive.data.edits import Edit
from revive.data.latest_edits import latest_edits
from revive.data.prompts import check_forms
from revive.data.repeats import LocatedEdit, settle
from revive.engine.engine import BatchResult, Engine, stored_updates
from revive.engine.undo_cache import UndoCache
from revive.errors import SpecError
from revive.guards.base import Guard
from revive.io.cache import cache_folder
from revive.models.adopted import adopt
from revive.models.loading import DeviceMap, LoadedModel, load_model
from revive.models.saving import save_model
from revive.models.stored_dtype import saved_dtype
from revive.paths import at_home
from revive.probes.edits import score_edits
from revive.progress import Told, progress_on_stderr
from revive.spec.parsing import parse_spec, resolve
from revive.spec.resolve import text_note
from revive.wording import counted

_LOG = logging.getLogger(__name__)
# Seconds; what takes less needs no bar.
_PATIENCE = 3.0


class Editor:
    """Edits a model, batch by batch, in memory.

    What undoing a batch needs goes to the system's folder for temporary files and is removed with
    the editor (set TMPDIR to have it elsewhere): memory does not grow with the number of batches.

    The model is prepared at the first `edit`: contexts, key second moments, and lambda if no preset
    knows it. Every call of `edit` makes one batch per `batch_size` edits.
    """

    def __init__(
        self,
        model: LoadedModel | nn.Module,
        tokenizer: Any = None,
        *,
        method: str = "memit-seq",
        guard: Guard | str = "revive",
        text: str | Sequence[str] | None = None,
        batch_size: int = 100,
        seed: int = 0,
        progress: bool = True,
        **options: Any,
    ) -> None:
        """Set up; nothing is computed yet.

        Args:
            model: A model of transformers that you hold, also one in DDP, PEFT or `torch.compile`,
                which is edited in place, in the precision it has, and put into eval mode; or what
                `load_model` gives.
            tokenizer: Its fast tokenizer; what `load_model` gives has it.
            method: An editor's name, see `revive list editors`.
            guard: A guard, or its name.
            text: Files of ordinary text that key second moments are taken from; `package` for what
                comes along, which is the default (`lab` for the lab model).
            batch_size: Edits per update.
            seed: Of everything drawn.
            progress: Tell on stderr how far work is that takes more than a few seconds.
            options: Settings of the editor, e.g. `layers=[4, 5, 6]`, `ridge=15000.0`.

        Raises:
            SpecError: A setting is unknown or malformed, or the model or its tokenizer cannot be
                used.
        """
        loaded = adopt(model, tokenizer)
        if not isinstance(guard, Guard | str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SpecError(
                f"guard: {guard!r} is neither a guard nor a name; 'none' means no guard."
            )
        self._loaded = loaded
        self._progress = progress
        self._guard = guard if isinstance(guard, Guard) else None
        data: dict[str, object] = {
            "model": {"name": loaded.name},
            "edits": {"path": "lab", "batch_size": batch_size},
            "editor": {"name": method, **options},
            # A guard that is given is used as it is; it need not have a name that specs know.
            "guard": guard if isinstance(guard, str) else {},
            "moments": {} if text is None else {"text": _listed(text)},
            "seed": seed,
        }
        config = {**loaded.model.config.to_dict()}
        given = parse_spec(data, "Editor")
        self._spec = resolve(given, config)
        note = text_note(given, self._spec)
        if progress and note is not None:
            _LOG.warning(note)
        self._built: Built | None = None
        self._batches: list[tuple[Edit, ...]] = []
        self._kept = UndoCache()

    @classmethod
    def from_pretrained(
        cls,
        name: str,
        *,
        dtype: str = "float32",
        device: str = "auto",
        device_map: DeviceMap | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        **settings: Any,
    ) -> "Editor":
        """Load `lab`, a folder or a hub id, and set up; see `load_model` and `Editor`."""
        loaded = load_model(
            name,
            dtype=dtype,
            device=device,
            device_map=device_map,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        return cls(loaded, **settings)

    def __repr__(self) -> str:
        """What it edits and how, and what it has done."""
        guard = self._guard or self._spec.guard.title
        done = f"{counted(len(self.edits), 'edit')} in {counted(self.steps, 'batch')}"
        return f"<Editor of {self._loaded.name}: {self._spec.editor.name}, guard {guard}; {done}>"

    @property
    def model(self) -> Any:
        """The Hugging Face model, with all edits in it."""
        return self._loaded.model

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return self._loaded.tokenizer

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits so far, in order."""
        return tuple(e for batch in self._batches for e in batch)

    @property
    def steps(self) -> int:
        """Number of batches in the model."""
        return len(self._batches)

    def edit(self, edits: Iterable[Edit]) -> tuple[BatchResult, ...]:
        """Write edits into the model.

        Returns:
            One result per batch: norms asked and applied, shares removed, failures.

        Raises:
            SpecError: An edit is malformed, or is a chat and the model has no chat template.
            NumericalError: A non-finite update; the batches before it stay.
            PrerequisiteError: The disk is full; the batches before it stay.
        """
        settled = self._settled(edits)
        results: list[BatchResult] = []
        size = self._spec.edits.batch_size
        with progress_on_stderr(quiet=not self._progress, patience=_PATIENCE) as told:
            for first in range(0, len(settled), size):
                batch = tuple(settled[first : first + size])
                engine = self._engine(batch, told)
                told("edits", first, len(settled))
                result = engine.apply(batch)
                try:
                    self._kept.append(result.tensors())
                except BaseException:
                    # A batch that cannot be undone later is undone now.
                    self._replay()
                    raise
                self._batches.append(batch)
                results.append(result)
                told("edits", first + len(batch), len(settled))
        return tuple(results)

    def evaluate(self, edits: Sequence[Edit] | None = None) -> dict[str, float]:
        """Edit metrics with the current model.

        Args:
            edits: What to measure; all edits so far if None, of each fact the latest.

        Raises:
            SpecError: There are none.
        """
        chosen = latest_edits(self.edits) if edits is None else edits
        chosen = tuple(form for edit in chosen for form in edit.forms)
        if not chosen:
            raise SpecError("evaluate: no edits were made and none were given.")
        return score_edits(self.model, self.tokenizer, chosen).metrics()

    def rollback(self, steps: int = 1) -> None:
        """Take back the last batches; after all of them the weights are W0, bit for bit.

        Raises:
            SpecError: There are fewer batches than that.
        """
        if not 1 <= steps <= self.steps:
            raise SpecError(
                f"rollback: cannot take back {steps} of {counted(self.steps, 'batch')}."
            )
        del self._batches[-steps:]
        self._kept.drop(steps)
        self._replay()

    def updates(self) -> tuple[Mapping[str, Any], ...]:
        """The low-rank factors of every batch, by parameter name."""
        return tuple(stored_updates(t) for t in self._kept)

    def save_pretrained(self, folder: str | Path, *, dtype: str | None = None) -> Path:
        """Save a model folder that `from_pretrained` loads.

        Args:
            folder: Appears whole or not at all; must not exist, or be empty.
            dtype: Of the saved weights; None for that of the base's checkpoint, if it has fewer
                bits than the model here, else the model's.

        Raises:
            SpecError: The folder is not empty, or a value is too large for the dtype.
        """
        loaded = self._loaded
        chosen = saved_dtype(dtype, loaded.stored, loaded.model.dtype)
        return save_model(loaded, at_home(folder), dtype=chosen)

    def export_lora(self, folder: str | Path, *, rank: int | None = None) -> dict[str, float]:
        """Write all edits as a PEFT adapter for the unedited model.

        Args:
            folder: Appears whole or not at all; must not exist, or be empty.
            rank: At most so many columns; None for as many as it needs to be exact.

        Returns:
            Share of each weight's change that the rank leaves out, by parameter name.

        Raises:
            SpecError: No edit was made, or the folder is not empty.
        """
        from revive.export.lora import save_lora
        from revive.export.totals import totals

        if self._built is None:
            raise SpecError("export_lora: no edits were made yet.")
        ledger = self._built.engine.ledger
        written = totals(ledger, rank)
        mixture = self._loaded.family.experts is not None
        save_lora(written, ledger.sites, self._loaded.name, at_home(folder), mixture=mixture)
        return {key: total.error for key, total in written.items()}

    def _replay(self) -> None:
        """The model and the editor's state as the batches that are kept make them."""
        assert self._built is not None, "a batch was made"
        engine = self._built.engine
        engine.ledger.reset()
        engine.editor.prepare(engine.context)
        for tensors in self._kept:
            engine.replay(tensors)

    def _settled(self, edits: Iterable[Edit]) -> tuple[Edit, ...]:
        """Checked, with ids; of edits that contradict each other in one call the last one wins."""
        if isinstance(edits, Edit):
            raise SpecError("edit: takes a list of edits; write editor.edit([edit]).")
        edits = list(edits)
        things: list[object] = [*edits]
        for thing in things:
            if not isinstance(thing, Edit):
                raise SpecError(
                    f"edit: {thing!r} is no revive.Edit; build one, or read a file with "
                    "revive.load_edits(path).edits."
                )
        first = len(self.edits) + 1
        named = [replace(e, id=e.id or f"edit-{i}") for i, e in enumerate(edits, start=first)]
        placed = [LocatedEdit(f, f.id) for e in named for f in check_edit(e, e.id).forms]
        check_forms(self.tokenizer, (p.edit for p in placed))
        return settle(placed, limit=None, on_conflict="last").edits

    def _engine(self, batch: Sequence[Edit], told: Told) -> Engine:
        if self._built is None:
            self._built, fit = build_fitted(
                self._spec,
                self._loaded,
                batch,
                guard=self._guard,
                cache=cache_folder(),
                notify=told,
            )
            if fit is not None and not fit.chosen.enough:
                warnings.warn(fit.told(), stacklevel=3)
            found = self._built.calibration
            if found is not None and not found.enough:
                warnings.warn(found.told(), stacklevel=3)
        return self._built.engine


def _listed(text: str | Sequence[str]) -> list[str]:
    return [text] if isinstance(text, str) else list(text)
