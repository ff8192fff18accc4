"""Valid files made wrong: fields of plain data, then bytes. Hypothesis draws what and where."""

import copy
import json
import math
import struct
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

RAW = {
    "@digits": "9" * 5000,
    "@deep": "[" * 100_000 + "]" * 100_000,
    "@levels": "[" * 200 + "]" * 200,
    "@nested": "[" * 900 + "]" * 900,
    "@objects": '{"a":' * 700 + "1" + "}" * 700,
    "@flat": "[" + "0," * 200_000 + "0]",
    "@half": '"\\ud800"',
    "@big": "1e999",
}
"""What Python would not write, by the text that stands for it until it is written."""

NUMBERS = (0, 1, -1, 2, 7, 255, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 10**30)
FLOATS = (0.5, -0.0, 1e-320, 1e308, math.nan, math.inf, -math.inf)
TEXTS = (
    *("", " ", "x", "lab", "null", "NaN", "\0", "a\0b", "é", "\u202etxt", "\x1b[31mred", "[/x]"),
    *("{}", "{} {}", "../../etc/passwd", "=1+1", "~", "~nobody/x", "²", "1e3", "\ufeff", "\r\n"),
    *("%s", "${HOME}", "A" * 300, "文" * 70_000, "a|b|c", "\u2028", "-1", "🙂"),
)
PARTS: tuple[Any, ...] = ([], {}, [[]], [{}], [1], ["x"], {"a": 1}, {"": None}, {"name": "x"})

odd = st.one_of(
    st.sampled_from([None, True, False]),
    st.sampled_from(NUMBERS),
    st.sampled_from(FLOATS),
    st.sampled_from(TEXTS),
    st.sampled_from(list(RAW)),
    st.sampled_from(PARTS).map(copy.deepcopy),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
)
"""Values that no field expects."""


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of plain data with every key or index in it."""
    found: list[tuple[Any, Any]] = []
    open_ = [value]
    while open_:
        part = open_.pop()
        keys = part if isinstance(part, dict) else range(len(part))
        for key in keys:
            found.append((part, key))
            if isinstance(part[key], dict | list):
                open_.append(part[key])
    return found


def _replace(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    holder[key] = draw(odd)


def _delete(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    del holder[key]


def _double(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[f"{key}_"] = copy.deepcopy(holder[key])


def _rename(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    if isinstance(holder, dict):
        holder[draw(st.one_of(st.sampled_from(TEXTS), st.just(str(key).upper())))] = holder.pop(key)


def _swap(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    found = places(whole)
    other, there = found[draw(st.integers(0, len(found) - 1))]
    holder[key] = copy.deepcopy(other[there])


def _wrap(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    holder[key] = draw(st.sampled_from([[holder[key]], {"name": holder[key]}, {"0": holder[key]}]))


def _retype(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    value = holder[key]
    kinds: tuple[Callable[[Any], Any], ...] = (str, bool, lambda x: [x, x], lambda x: {"str": x})
    holder[key] = draw(st.sampled_from(kinds))(value)


def _shift(draw: Any, holder: Any, key: Any, whole: Any) -> None:
    value = holder[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        holder[key] = value[: len(value) // 2] if isinstance(value, str | list) else draw(odd)
    else:
        holder[key] = draw(st.sampled_from([value + 1, value - 1, -value, value * 1000, value / 2]))


OPERATIONS = (_replace, _replace, _delete, _double, _rename, _swap, _wrap, _retype, _shift)


@st.composite
def damaged(draw: Any, value: Any, most: int = 3) -> Any:
    """Plain data with some of its fields changed, dropped, doubled, renamed or of another type."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(0, most))):
        found = places(value)
        if not found:
            break
        holder, key = found[draw(st.integers(0, len(found) - 1))]
        draw(st.sampled_from(OPERATIONS))(draw, holder, key, value)
    return value


def as_json(value: Any, **options: Any) -> str:
    """Plain data as JSON, what Python would not write included."""
    text = json.dumps(value, **options)
    for name, raw in RAW.items():
        text = text.replace(f'"{name}"', raw)
    return text


def _cut(draw: Any, content: bytes, at: int) -> bytes:
    return content[:at]


def _flip(draw: Any, content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]


def _lose(draw: Any, content: bytes, at: int) -> bytes:
    return content[:at] + content[at + draw(st.integers(1, 64)) :]


def _repeat(draw: Any, content: bytes, at: int) -> bytes:
    return content[:at] + content[max(0, at - draw(st.integers(1, 200))) :]


def _put(draw: Any, content: bytes, at: int) -> bytes:
    some = (
        b"\0",
        b'"',
        b"\n",
        b",",
        b"{",
        b"[",
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\x80",
        b"\r",
        b"*",
    )
    return (
        content[:at] + draw(st.one_of(st.sampled_from(some), st.binary(max_size=9))) + content[at:]
    )


def _overwrite(draw: Any, content: bytes, at: int) -> bytes:
    form = draw(st.sampled_from(["<I", "<Q", "<H"]))
    number = draw(st.sampled_from(NUMBERS)) % (1 << (8 * struct.calcsize(form)))
    new = struct.pack(form, number)
    return content[:at] + new + content[at + len(new) :]


def _encode(draw: Any, content: bytes, at: int) -> bytes:
    name = draw(st.sampled_from(["utf-16", "latin-1", "utf-8-sig", "utf-32-le", "cp500"]))
    return content.decode("utf-8", "replace").encode(name, "replace")


def _lines(draw: Any, content: bytes, at: int) -> bytes:
    return content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"", b"\n\n", b"\x0b"])))


def _zeros(draw: Any, content: bytes, at: int) -> bytes:
    return content[:at] + bytes(len(content) - at)


BYTES = (_cut, _flip, _lose, _repeat, _put, _overwrite, _encode, _lines, _zeros)


@st.composite
def spoilt(draw: Any, content: bytes, most: int = 2, least: int = 0) -> bytes:
    """A file with some of its bytes changed; often none, so that its fields come to be read."""
    for _ in range(draw(st.integers(least, most))):
        if content:
            at = draw(st.integers(0, len(content) - 1))
            content = draw(st.sampled_from(BYTES))(draw, content, at)
    return content


@st.composite
def json_file(draw: Any, value: Any) -> bytes:
    """One JSON document, wrong in its fields, in its bytes, or in both."""
    indent = draw(st.sampled_from([None, 2]))
    text = as_json(draw(damaged(value)), indent=indent)
    return draw(spoilt(text.encode("utf-8", "surrogatepass"), most=1))


@st.composite
def json_lines(draw: Any, records: list[Any]) -> bytes:
    """JSON Lines, or the same as an array."""
    found = draw(damaged(records))
    if draw(st.booleans()) or not isinstance(found, list):
        text = as_json(found)
    else:
        text = "\n".join(as_json(record) for record in found)
    return draw(spoilt(text.encode("utf-8", "surrogatepass"), most=1))


@st.composite
def table(draw: Any, rows: list[list[str]]) -> bytes:
    """A table with a header; cells that would need quotes get them, or not."""
    quotes, delimiter = draw(st.booleans()), draw(st.sampled_from([",", ";", "\t", "|"]))
    found = draw(damaged(rows))
    rows_ = found if isinstance(found, list) else [found]
    lines = []
    for row in rows_:
        cells = [str(RAW.get(str(c), c)) for c in (row if isinstance(row, list) else [row])]
        if quotes:
            cells = ['"' + c.replace('"', '""') + '"' for c in cells]
        lines.append(delimiter.join(cells))
    return draw(spoilt("\n".join(lines).encode("utf-8", "surrogatepass"), most=1))


@st.composite
def tensors_file(draw: Any, content: bytes) -> bytes:
    """A safetensors file: its header's fields, its header's length, its bytes."""
    length = int.from_bytes(content[:8], "little")
    header, values = json.loads(content[8 : 8 + length]), content[8 + length :]
    if draw(st.booleans()):
        text = as_json(draw(damaged(header))).encode("utf-8", "surrogatepass")
        wrong = draw(st.sampled_from([0, 0, 0, 0, 1, -1, 2**40]))
        content = max(0, len(text) + wrong).to_bytes(8, "little") + text + values
        return draw(spoilt(content, most=1))
    return draw(spoilt(content, least=1))
