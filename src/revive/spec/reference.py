"""Every key of a spec, read from the schema: the reference in `docs/spec.md`. No torch."""

import inspect
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from revive.options.editors import OPTIONS
from revive.options.guards import GUARD_OPTIONS
from revive.options.probes import PROBE_OPTIONS
from revive.options.sinks import SINK_OPTIONS
from revive.spec.schema import RunSpec

PREFACE = """# Every key of a spec

Written by `revive list keys --markdown`; a test holds it to the code. `--set KEY=VALUE` of `revive
edit`, `run`, `check` and `sweep` takes every key by its dotted name, and a spec file nests them.
*preset*: where nothing is given, the model's preset or the rule decides; `revive check` shows what
that is. Keys of an editor, guard, probe or sink stand beside its name: `guard: {name: revive,
energy: 0.1}`.
"""
_WORDS: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true`, `false`",
}
_NO_LIMIT = 1e6  # beyond that a bound is the machine's, not the method's
_BOUNDS = {Gt: ">", Ge: "at least", Lt: "<", Le: "at most"}


@dataclass(frozen=True)
class SpecKey:
    """One key.

    Attributes:
        section: What it belongs to: `run`, or a kind and the names of the parts that have it.
        name: Dotted, as `--set` takes it.
        values: What it takes.
        default: What holds where it is not given.
        meaning: What it does; empty where its section says so.
    """

    section: str
    name: str
    values: str
    default: str
    meaning: str


def spec_keys() -> tuple[SpecKey, ...]:
    """All of them, the run's own first."""
    found = [*_own(RunSpec, "", "run")]
    for kind, options in (
        ("editor", OPTIONS),
        ("guard", GUARD_OPTIONS),
        ("probes", PROBE_OPTIONS),
        ("sinks", SINK_OPTIONS),
    ):
        found.extend(_parts(kind, options))
    return tuple(found)


def page() -> str:
    """The reference in Markdown."""
    lines = [PREFACE]
    section = ""
    for key in spec_keys():
        if key.section != section:
            section = key.section
            lines += [f"\n## {section}\n", "| key | takes | default | what it does |"]
            lines.append("|---|---|---|---|")
        cells = (f"`{key.name}`", key.values, key.default, key.meaning)
        lines.append("| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _own(model: type[BaseModel], prefix: str, section: str) -> Iterator[SpecKey]:
    told = _told(model)
    for name, field in model.model_fields.items():
        inner = _section_model(field.annotation)
        if inner is not None and not _is_list(field.annotation):
            yield from _own(inner, f"{prefix}{name}.", f"run: {name}")
        elif inner is None or inner is not model:
            yield _key(section, f"{prefix}{name}", field, told.get(name, ""))


def _parts(kind: str, options: Mapping[str, type[BaseModel]]) -> Iterator[SpecKey]:
    """Keys of the parts of a kind, once for all parts that share them."""
    sharing: dict[type[BaseModel], list[str]] = {}
    for name, model in options.items():
        for one in reversed(_ours(model)):
            sharing.setdefault(one, []).append(name)
    for model, parts in sharing.items():
        section = f"{kind}: {'all' if len(parts) == len(options) else ', '.join(parts)}"
        told = _told(model)
        for name, field in model.model_fields.items():
            if name in model.__annotations__:
                yield _key(section, f"{kind}.{name}", field, told.get(name, _summary(model)))


def _ours(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The class and its bases, without pydantic's."""
    return [one for one in model.__mro__ if issubclass(one, BaseModel) and one is not BaseModel]


def _key(section: str, name: str, field: FieldInfo, meaning: str) -> SpecKey:
    values = _values(field.annotation, field.metadata)
    default = _default(field, "preset" if section.startswith("editor") else "none")
    return SpecKey(section, name, values, default, meaning)


def _default(field: FieldInfo, absent: str) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return absent
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, list):
        return "none" if not value else ", ".join(str(getattr(v, "name", v)) for v in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(annotation: Any, metadata: Iterable[Any]) -> str:
    """What a type takes, in words."""
    limits = " and ".join(
        f"{word} {getattr(m, name):g}"
        for m in metadata
        for kind, word in _BOUNDS.items()
        if isinstance(m, kind)
        for name in (kind.__name__.lower(),)
        if abs(getattr(m, name)) < _NO_LIMIT
    )
    return f"{_kind(annotation)} {limits}".strip()


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = [m for a in arguments[1:] for m in getattr(a, "metadata", [a])]
        return _values(arguments[0], limits)
    if origin is Literal:
        return ", ".join(f"`{str(a).lower() if isinstance(a, bool) else a}`" for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a) for a in arguments if a is not type(None))
    if origin is list:
        return f"list: {_kind(arguments[0])}"
    if origin is dict:
        return f"by name: {_kind(arguments[1])}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "a name, or a name and its settings"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _section_model(annotation: Any) -> type[BaseModel] | None:
    """The model behind an annotation, whether it is optional or in a list."""
    for one in (annotation, *get_args(annotation)):
        if inspect.isclass(one) and issubclass(one, BaseModel):
            return one
    return None


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list


def _told(model: type[BaseModel]) -> dict[str, str]:
    """By field, what the docstrings of a model and its bases say of it."""
    found: dict[str, str] = {}
    for one in reversed(_ours(model)):
        if "Attributes:" not in (one.__doc__ or ""):
            continue
        text = inspect.cleandoc(one.__doc__ or "").partition("Attributes:\n")[2]
        for name, meaning in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE):
            found[name] = " ".join(meaning.split())
    return found


def _summary(model: type[BaseModel]) -> str:
    first = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]
    return " ".join(first.partition(": ")[2].split())
