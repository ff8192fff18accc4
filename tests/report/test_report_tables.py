import csv
import io
import math

from constructed_runs import COLLAPSED, HEALTHY
from rich.console import Console

from revive.report.metrics import HEADLINE, METRICS, metric
from revive.report.reading.load import load_runs
from revive.report.tables import (
    brief,
    curves_csv,
    everything,
    headline,
    to_csv,
    to_latex,
    to_markdown,
    to_rich,
)


def records(make_run):
    return load_runs([make_run("a", COLLAPSED), make_run("b", HEALTHY, guard="revive")])


def test_headline_puts_the_unedited_model_first_and_marks_the_best(make_run):
    table = headline(records(make_run))
    assert [r.label for r in table.rows] == ["unedited", "memit", "memit + revive"]
    assert [m.name for m in table.columns] == list(HEADLINE)
    best = {
        m.name: [row.label for row in table.rows if row.cells[i].best]
        for i, m in enumerate(table.columns)
    }
    assert best["efficacy"] == ["memit + revive"]
    assert best["perplexity"] == ["memit + revive"]
    assert best["seconds"] == []


def test_one_arm_has_no_best_and_missing_columns_are_cut(make_run):
    table = headline(load_runs([make_run("a", {"efficacy": 0.5})]))
    assert [m.name for m in table.columns] == ["efficacy", "seconds"]
    assert not any(c.best for r in table.rows for c in r.cells)


def test_infinity_is_never_best(make_run):
    low = {**HEALTHY, "efficacy": -math.inf, "perplexity": math.nan}
    arms = load_runs([make_run("a", low), make_run("b", HEALTHY, guard="revive")])
    table = headline(arms)
    assert not any(
        c.best
        for m, c in zip(table.columns, table.rows[1].cells, strict=True)
        if m.name in ("efficacy", "perplexity")
    )
    assert "NaN" in to_markdown(table)
    assert "-∞" in to_markdown(table)


def test_markdown(make_run):
    lines = to_markdown(headline(records(make_run))).splitlines()
    assert lines[0].startswith("| arm | Efficacy | Paraphrase |")
    assert lines[2].startswith("| unedited | 0.080 |")
    assert "**0.970**" in lines[4]
    assert len({line.count("|") for line in lines}) == 1


def test_csv_keeps_full_precision(make_run):
    text = to_csv(headline(records(make_run)))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[2]["arm"] == "memit + revive"
    assert float(rows[2]["efficacy"]) == 0.97
    assert rows[0]["weight_norm_ratio"] == ""


def test_curves_csv_holds_every_measurement(make_run):
    rows = list(csv.DictReader(io.StringIO(curves_csv(records(make_run)))))
    assert len(rows) == 2 * 10 * len(HEALTHY)
    assert rows[0]["edits"] == "200"


def test_latex_escapes_names(make_run):
    arms = load_runs([make_run("a", summary={"label": "50 % & more_λ"})])
    text = to_latex(headline(arms))
    assert r"50 \% \& more\_$\lambda$" in text
    assert text.count(r"\\") == 3


def test_terminal_table_shows_every_number(make_run):
    console = Console(file=io.StringIO(), width=200)
    console.print(to_rich(headline(records(make_run))))
    text = console.file.getvalue()
    assert "memit + revive" in text
    assert "0.970" in text


def test_the_brief_table_breaks_no_word_on_a_narrow_terminal(make_run):
    label = "MEMIT-seq + REVIVE, constrained"
    arms = load_runs([make_run("a", HEALTHY, summary={"label": label})])
    console = Console(file=io.StringIO(), width=80)
    console.print(to_rich(brief(arms)))
    text = console.file.getvalue()
    assert all(word in text for word in label.split())
    assert "0.850" in text
    assert "…" not in text


def test_a_third_partys_metric_is_in_the_full_table(make_run):
    arms = load_runs([make_run("a", {**HEALTHY, "my_metric": 3.0})])
    assert everything(arms).columns[-1].title == "My metric"


def test_every_metric_has_a_definition():
    for name, entry in METRICS.items():
        assert entry.name == name
        assert entry.definition.endswith(".")
    assert set(HEADLINE) <= set(METRICS)
    assert metric("unheard_of").direction == "none"


def test_numbers_are_printed_for_reading():
    assert metric("efficacy").format(0.1234) == "0.123"
    assert metric("perplexity").format(4.26) == "4.26"
    assert metric("perplexity").format(123456.0) == "1.2e+05"
    assert metric("seconds").format(1234.5) == "1,234"
    assert metric("seconds").format(None) == "–"
