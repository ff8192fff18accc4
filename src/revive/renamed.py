"""Old names of what other packages import of ours: for one release they work, and warn.

docs/renames.toml has every name that changed.
"""

import importlib
import sys
import warnings
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType
from typing import Any

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "revive.data.dataset": "revive.data.formats.dataset",
        "revive.data.fields": "revive.data.formats.fields",
        "revive.data.records": "revive.data.formats.records",
        "revive.editors.keys": "revive.editors.key_sweep",
        "revive.editors.moments": "revive.moments.input_moments",
        "revive.editors.options": "revive.options.editors",
        "revive.editors.rows": "revive.editors.target_solver.tokenized_edit",
        "revive.editors.target_settings": "revive.editors.target_solver.target_settings",
        "revive.editors.targets": "revive.editors.target_solver.targets",
        "revive.linalg.solve": "revive.linalg.least_squares.normal_equations",
        "revive.models.entry": "revive.models.residual_write",
        "revive.models.runner": "revive.models.forward.runner",
        "revive.probes.scoring": "revive.scoring.score",
        "revive.report.load": "revive.report.reading.load",
        "revive.runs.build": "revive.assembly.build",
        "revive.runs.engine": "revive.engine.engine",
        "revive.runs.journal": "revive.run_folder.journal",
        "revive.runs.schema": "revive.spec.schema",
        "revive.runs.spec": "revive.spec.parsing",
        "revive.runs.store": "revive.run_folder.store",
        "revive.runs.summary": "revive.run_folder.summary",
        "revive.tasks.records": "revive.tasks.sets.records",
    }
)
"""Modules that moved."""

NAMES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "revive.editors.base": {
            "Editor": "EditMethod",
            "Outcome": "BatchOutcome",
            "Applied": "WrittenUpdate",
        },
        "revive.editors.target_solver.tokenized_edit": {
            "EditRows": "TokenizedEdit",
            "Row": "TokenizedPrompt",
        },
        "revive.models.residual_write": {"Entry": "ResidualWrite"},
    }
)
"""Names that changed, by the module that holds them now."""


def renamed(module: str, name: str) -> Any:
    """What was called `name` in `module`; a module's `__getattr__` asks when it has no such name.

    Raises:
        AttributeError: Nothing was ever called so.
    """
    new = NAMES.get(module, {}).get(name)
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(
        f"{module}.{name} is now {module}.{new}; the old name goes with the next release.",
        DeprecationWarning,
        stacklevel=3,
    )
    return getattr(importlib.import_module(module), new)


def install() -> None:
    """Let old module names be imported."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())


class _OldModules(MetaPathFinder, Loader):
    """Asked last: finds what moved, as a module that hands on whatever it is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        new = MODULES[module.__name__]
        warnings.warn(
            f"{module.__name__} is now {new}; the old name goes with the next release.",
            DeprecationWarning,
            stacklevel=2,
        )
        found = importlib.import_module(new)

        def hand_on(name: str) -> Any:
            # The machinery asks every module for names of its own.
            if name.startswith("__"):
                raise AttributeError(name)
            return getattr(found, name) if hasattr(found, name) else renamed(new, name)

        module.__dict__["__getattr__"] = hand_on
