"""Measurements of unedited models, kept between runs.

Every run begins by measuring the model before the first edit, and arms that share a model and a
stream would all measure the same. A measurement is kept under everything that it depends on: the
model, its tokenizer, how it was loaded, what the probe says it depends on, and the code itself.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, cast

from revive.errors import PrerequisiteError
from revive.io.atomic import write_text
from revive.io.json_text import numbers, read_json, to_json
from revive.models.loading import LoadedModel
from revive.probes.base import Measurement, Probe, ProbeContext


class MeasurementCache:
    """A folder of measurements, one file each. Safe to share between processes, and to delete."""

    def __init__(self, folder: Path, loaded: LoadedModel, precision: str) -> None:
        """Use `folder`; it is made when first needed.

        Args:
            folder: Where the files are.
            loaded: The unedited model.
            precision: How its float32 products are computed.
        """
        self._folder = folder
        weight = next(loaded.model.parameters())
        self._common = {
            "model": loaded.fingerprint,
            "tokenizer": _tokenizer_digest(loaded.tokenizer),
            "dtype": str(weight.dtype),
            "device": weight.device.type,
            "precision": precision,
            "torch": version("torch"),
            "transformers": version("transformers"),
            "code": _code_digest(),
        }

    def measure(self, probe: Probe, context: ProbeContext) -> Measurement:
        """Measure the unedited model, or read what it measured before.

        A file that is damaged is measured anew and replaced. A probe that does not say what it
        depends on is always run.
        """
        depends = probe.depends_on(context)
        if depends is None:
            return probe.measure(context)
        path = self._folder / f"{self._key(probe, depends)}.json"
        found = _read(path)
        if found is None:
            found = probe.measure(context)
            if not found.sites:
                # Nothing is lost but time where the folder cannot be written.
                with suppress(PrerequisiteError, OSError):
                    write_text(path, _text(found))
        return found

    def _key(self, probe: Probe, depends: Mapping[str, Any]) -> str:
        kind = type(probe)
        named = {"probe": f"{kind.__module__}.{kind.__qualname__}", "on": depends, **self._common}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _text(found: Measurement) -> str:
    return to_json(
        {
            "metrics": dict(found.metrics),
            "sample": found.sample,
            "retention": [dict(row) for row in found.retention],
            "intervals": {k: list(v) for k, v in found.intervals.items()},
        }
    )


def _read(path: Path) -> Measurement | None:
    try:
        stored = cast("dict[str, Any]", read_json(path.read_text(encoding="utf-8")))
        intervals = cast("dict[str, list[float]]", numbers(stored["intervals"]))
        return Measurement(
            metrics=cast("dict[str, float]", numbers(stored["metrics"])),
            sample=stored["sample"],
            retention=tuple(cast("list[dict[str, float]]", numbers(stored["retention"]))),
            intervals={name: (low, high) for name, (low, high) in intervals.items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _tokenizer_digest(tokenizer: Any) -> str:
    core = getattr(tokenizer, "backend_tokenizer", None)
    text = repr(tokenizer) if core is None else core.to_str()
    text += str(getattr(tokenizer, "chat_template", None))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _code_digest() -> str:
    """A measurement is worth what the code that made it is; a version number says too little."""
    digest = hashlib.sha256()

    def visit(folder: Traversable) -> None:
        for entry in sorted(folder.iterdir(), key=lambda item: item.name):
            if entry.is_dir():
                visit(entry)
            elif entry.name.endswith(".py"):
                digest.update(entry.read_bytes())

    visit(files("revive"))
    return digest.hexdigest()
