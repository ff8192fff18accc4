import math
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from constructed_runs import COLLAPSED, HEALTHY

from revive.errors import PrerequisiteError, SpecError
from revive.report.page import write_report

RETENTION = [
    {"age_from": 100 * i, "age_to": 100 * i + 100, "efficacy": 0.9 - 0.05 * i} for i in range(5)
]


@pytest.fixture
def arms(make_run):
    return [
        make_run(
            "base",
            COLLAPSED,
            failed=[{"id": "e<1>", "reason": "subject is not in the prompt"}],
            summary={
                "label": "MEMIT <unguarded> & a rather long name to wrap",
                "retention": RETENTION,
            },
        ),
        make_run("guarded", HEALTHY, guard="revive"),
        make_run("control", HEALTHY, summary={"role": "control", "label": "λ re-tuned, $5"}),
    ]


def write(arms, out):
    return write_report(arms, out, title="Three <arms>").read_text(encoding="utf-8")


class Checker(HTMLParser):
    """Collects ids, references and what could load something; checks that tags nest."""

    VOID = ("meta", "br", "img", "link", "input")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references, self.loads = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("href", "xlink:href"):
                self.references.append(value)
            if name in ("src", "srcset", "data", "action", "poster") or name.startswith("on"):
                self.loads.append((tag, name))
        if tag in ("script", "link", "iframe", "object", "embed", "base"):
            self.loads.append((tag, ""))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check(text):
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return checker


def test_the_page_loads_nothing_from_outside(arms, tmp_path):
    text = write(arms, tmp_path / "out")
    checker = check(text)
    assert checker.loads == []
    assert "://" not in text
    assert "@import" not in text
    assert all(reference.startswith("#") for reference in checker.references)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))


def test_ids_are_unique_and_every_reference_is_met(arms, tmp_path):
    text = write(arms, tmp_path / "out")
    checker = check(text)
    assert len(checker.ids) == len(set(checker.ids))
    wanted = {r[1:] for r in checker.references} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert wanted <= set(checker.ids)


def test_the_same_runs_give_the_same_bytes(arms, tmp_path):
    assert write(arms, tmp_path / "one") == write(arms, tmp_path / "two")


def test_every_section_is_there(arms, tmp_path):
    text = write(arms, tmp_path / "out")
    heads = re.findall(r"<h2>(.*?)</h2>", text)
    assert heads == [
        "What happened",
        "Final metrics",
        "Edit by edit",
        "Beyond noise?",
        "The frontier",
        "Over the stream of edits",
        "Spectral drift",
        "Retention",
        "Guard accounting",
        "Seconds",
        "Edits that could not be made",
        "Every metric",
        "What the numbers mean",
    ]
    assert "Three &lt;arms&gt;" in text
    assert "e&lt;1&gt;" in text
    assert "subject is not in the prompt" in text
    assert "<unguarded>" not in text
    assert "mathdefault" not in text


def test_the_page_names_no_path_of_the_machine(arms, tmp_path):
    assert str(tmp_path) not in write(arms, tmp_path / "out")


def test_tables_lie_beside_the_page(arms, tmp_path):
    page = write_report(arms, tmp_path / "deep" / "out", title="t")
    assert page == tmp_path / "deep" / "out" / "index.html"
    names = {p.name for p in page.parent.iterdir()}
    tables = {f"table.{ending}" for ending in ("md", "csv", "tex")}
    edits = {f"edits.{ending}" for ending in ("md", "csv", "json")}
    assert names == {"index.html", "curves.csv", *tables, *edits}


def test_twelve_arms(make_run, tmp_path):
    arms = [make_run(f"run{i}", HEALTHY, guard=("none", "revive")[i % 2]) for i in range(12)]
    check(write(arms, tmp_path / "out"))


@pytest.mark.parametrize(
    "final",
    [
        {},
        {"efficacy": 0.5},
        {**COLLAPSED, "perplexity": math.inf, "general": math.nan, "weight_norm_ratio": math.inf},
        {**HEALTHY, "general": 0.0, "score": 0.0, "efficacy": 0.0, "tail_ratio": 0.0},
    ],
    ids=["nothing", "one metric", "not finite", "zeros"],
)
def test_runs_with_gaps(make_run, tmp_path, final):
    check(write([make_run("a", final), make_run("b", guard="revive")], tmp_path / "out"))


def test_an_unedited_model_without_edit_scores_still_marks_the_frontier(make_run, tmp_path):
    text = write([make_run("a", unedited={"general": 0.8})], tmp_path / "out")
    assert 'id="frontier-' in text
    check(text)


def test_a_run_of_nothing_but_a_spec_and_a_journal(make_run, tmp_path):
    folder = make_run("a", finished=False)
    (folder / "journal.jsonl").write_text("", encoding="utf-8")
    check(write([folder], tmp_path / "out"))


def test_nothing_is_written_when_a_folder_is_not_a_run(make_run, tmp_path):
    with pytest.raises(SpecError):
        write_report([make_run("a"), tmp_path / "nowhere"], tmp_path / "out", title="t")
    assert not (tmp_path / "out").exists()


def test_a_report_loads_no_model_code():
    code = (
        "import sys, revive.report.page;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

# The page in a frame as wide as a phone; the frame's own measurements become the document's text.
HARNESS = """<!doctype html><body><iframe id="f" style="border:0;width:{width}px;height:800px"
srcdoc="{page}"></iframe><script>
document.getElementById("f").onload = function () {{
  const page = this.contentDocument, root = page.documentElement;
  page.querySelectorAll("details").forEach(d => d.open = true);
  const small = [...page.querySelectorAll("svg text")]
    .map(t => t.getBoundingClientRect()).filter(b => b.width && b.height)
    .map(b => Math.min(b.width, b.height));
  document.body.textContent = "scroll=" + root.scrollWidth + " text=" + Math.min(...small);
}};</script></body>"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.skipif(BROWSER is None, reason="no chromium to render the page with")
def test_the_page_fits_the_screen(arms, tmp_path, width):
    page = write(arms, tmp_path / "out")
    harness = tmp_path / "harness.html"
    harness.write_text(HARNESS.format(page=escape(page), width=width), encoding="utf-8")
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1400,900",
        "--virtual-time-budget=5000",
        "--dump-dom",
        harness.as_uri(),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("chromium did not answer within five minutes")
    found = re.search(r"scroll=(\d+) text=([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"chromium did not render: {done.stderr[-200:]}")
    assert int(found[1]) <= width
    assert float(found[2]) >= 6


def test_a_page_that_cannot_be_written_leaves_the_one_that_was_there(arms, tmp_path, monkeypatch):
    page = write_report(arms[:1], tmp_path / "out", title="first")
    before = {p.name: p.read_bytes() for p in page.parent.iterdir()}

    def torn(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", torn)
    with pytest.raises(PrerequisiteError, match="no space left"):
        write_report(arms, tmp_path / "out", title="second")
    assert {p.name: p.read_bytes() for p in page.parent.iterdir()} == before
