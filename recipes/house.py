"""Draw how the packages stand on each other: `python recipes/house.py` writes docs/house.svg.

Rows are the `layers` contract of pyproject.toml, which `make lint` holds the code to; what a box
uses is read from its imports. Nothing is drawn by hand, and a test holds the file to the code.
"""

import ast
import textwrap
import tomllib
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "revive"
OUT = ROOT / "docs" / "house.svg"

WIDTH, MARGIN, GAP = 1180, 20, 12
_LINE, _CHARACTER = 14, 5.9  # of 11 px text, in px


def rows() -> list[list[str]]:
    """The layers, top to bottom."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["name"] == "layers")
    return [[part.strip() for part in layer.split("|")] for layer in layers]


def files_of(room: str) -> list[Path]:
    """The Python files of a package or of a loose module."""
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def about(room: str) -> str:
    """What a room says of itself: the first sentence of its docstring, without its name."""
    first = PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else files_of(room)[0]
    text = ast.get_docstring(ast.parse(first.read_text("utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").removesuffix(" No torch.").split(". ")[0]


def uses(room: str, order: list[str]) -> list[str]:
    """The rooms that it imports, from the top down; types that are only named count too."""
    found: set[str] = set()
    for file in files_of(room):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {n.split(".")[1] for n in names if n.startswith("revive.")}
    return [other for other in order if other in found and other != room]


def draw() -> str:
    """The picture as SVG."""
    house = rows()
    order = [room for row in house for room in row]
    parts: list[str] = []
    top = MARGIN
    for row in house:
        width = (WIDTH - 2 * MARGIN - GAP * (len(row) - 1)) / len(row)
        fit = int((width - 16) / _CHARACTER)
        boxes: list[tuple[str, list[str], list[str]]] = []
        for room in row:
            below = uses(room, order)
            said = textwrap.wrap(about(room), fit)
            used = textwrap.wrap(f"uses {', '.join(below)}", fit) if below else []
            boxes.append((room, said, used))
        height = 28 + _LINE * max(len(said) + len(used) for _, said, used in boxes)
        for number, (room, said, used) in enumerate(boxes):
            left = MARGIN + number * (width + GAP)
            count = len(files_of(room))
            title = f"{room}/  {count}" if (PACKAGE / room).is_dir() else f"{room}.py"
            parts.append(
                f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}" rx="4"/>'
            )
            parts.append(f'<text class="room" x="{left + 8:.1f}" y="{top + 17}">{title}</text>')
            for line, (kind, text) in enumerate(
                [("said", text) for text in said] + [("used", text) for text in used]
            ):
                y = top + 33 + line * _LINE
                parts.append(
                    f'<text class="{kind}" x="{left + 8:.1f}" y="{y}">{escape(text)}</text>'
                )
        top += height + GAP
    style = (
        "rect{fill:#f6f7f9;stroke:#8a94a3}text{font:11px sans-serif;fill:#1d2733}"
        ".room{font:bold 13px monospace}.used{fill:#5c6775}"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - GAP + MARGIN}" '
        f'width="{WIDTH}" role="img"><title>The packages of revive, top to bottom: each uses only '
        f"what stands below it</title><style>{style}</style>"
        f'<rect width="100%" height="100%" style="fill:#ffffff;stroke:none"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the picture."""
    OUT.write_text(draw(), "utf-8")


if __name__ == "__main__":
    main()
