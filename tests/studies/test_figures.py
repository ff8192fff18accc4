"""Figures: the same bytes for the same data, in both forms; a page that needs nothing else."""

import re

from constructed_spectra import dominant

from revive.report.study_page import Chapter, study_page
from revive.studies.figures import write_figures
from revive.studies.perturb import PerturbSettings, perturb
from revive.studies.perturb_figures import perturbation_figures
from revive.studies.perturb_tables import perturbation_tables
from revive.studies.reconstruct import ReconstructSettings, reconstruct
from revive.studies.reconstruct_figures import reconstruction_figures


def drawn(folder, *, paper=False):
    made = dominant()
    rebuilt = reconstruct(
        made.ledger, made.ability, settings=ReconstructSettings(shares=(0.25, 0.5))
    )
    moments = {made.key: made.moment()}
    settings = PerturbSettings(bands=4, levels=(0.1,), one_sided=())
    noisy = perturb(made.ledger, made.ability, moments, settings=settings)
    figures = [*reconstruction_figures(rebuilt), *perturbation_figures(noisy)]
    elements = write_figures(figures, folder, paper=paper)
    return elements, {p.name: p.read_bytes() for p in folder.iterdir()}, noisy


def test_the_same_data_give_the_same_bytes(tmp_path):
    elements, files, _ = drawn(tmp_path / "a")
    again, same, _ = drawn(tmp_path / "b")
    assert (elements, files) == (again, same)
    names = ("reconstruct-kept", "perturb-kept-index", "perturb-kept-energy")
    assert set(files) == {f"{n}.{e}" for n in names for e in ("svg", "png")}
    assert all(content.startswith(b"\x89PNG") for n, content in files.items() if "png" in n)


def test_axes_are_labelled_with_units(tmp_path):
    _, files, _ = drawn(tmp_path)
    rebuilt, noisy = files["reconstruct-kept.svg"].decode(), files["perturb-kept-index.svg"]
    assert "components kept [%]" in rebuilt
    assert "recovered [share]" in rebuilt
    assert "random, equal energy" in rebuilt
    assert "loss at size 0.1 [share]" in noisy.decode()


def test_the_paper_style_is_one_column_without_title(tmp_path):
    screen_elements, screen, _ = drawn(tmp_path / "screen")
    paper_elements, paper, _ = drawn(tmp_path / "paper", paper=True)
    assert paper_elements == screen_elements
    inches = re.search(r'width="([\d.]+)pt"', paper["reconstruct-kept.svg"].decode())
    assert float(inches[1]) / 72 == 3.3
    assert b"Rebuilt from part" in screen["reconstruct-kept.svg"]
    assert b"<!-- Rebuilt from part" not in paper["reconstruct-kept.svg"]


def test_a_page_holds_everything(tmp_path):
    elements, _, noisy = drawn(tmp_path)
    chapter = Chapter("Perturb", "A <note>.", elements, perturbation_tables(noisy))
    page = study_page("A & B", {"Model": "<x>"}, [chapter])
    assert page.count("<svg") == 3
    assert "A &amp; B" in page
    assert "&lt;x&gt;" in page
    assert "http" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
