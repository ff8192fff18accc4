"""Every page's links lead somewhere, and no page waits for a number to be put in."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchor(heading):
    """As GitHub names it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    missing = []
    for target, place in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        found = (page.parent / target).resolve() if target else page
        if not found.exists():
            missing.append(target)
        elif place and found.suffix == ".md":
            headings = {anchor(h) for h in HEADING.findall(found.read_text("utf-8"))}
            missing += [] if place[1:] in headings else [target + place]
    assert not missing
    assert not re.findall(r"@[A-Z]{3,}@|\bTODO\b|\bTBD\b", text)
