"""Floors rest on counted work: the formulas agree with what torch counts of what runs."""

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from benchmarks import needs
from benchmarks.machine import Machine
from benchmarks.plain import plain_moments
from benchmarks.row import Row
from benchmarks.shapes import SHAPES
from benchmarks.work import Work, cholesky, counted, eigh, lu, qr, svd, triangular
from revive.editors.key_sweep import KeySweep
from revive.editors.target_solver.targets import TargetSettings, solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit
from revive.editors.target_solver.tokenized_edit import TokenizedPrompt as Text
from revive.linalg.least_squares.normal_equations import NormalEquations
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.moments.input_moments import collect_moments

LENGTH, LOOKUP = 14, 9
SETTINGS = TargetSettings(
    layer=0, steps=5, lr=0.05, weight_decay=0.3, kl_factor=0.0625, clamp=1.5, stop_loss=0.0
)


@pytest.fixture(scope="module")
def gpt2():
    model = tiny_model("gpt2", dtype=torch.float32)
    model.config._attn_implementation = "eager"
    return BlockRunner(model, family_of(model))


def rows(count=3, length=LENGTH, alike=0):
    """Edits whose rows are all as long: nothing is padded. They begin alike, or at once differ."""
    token = iter(range(3, 250))

    def text(size):
        return (*range(alike), *(next(token) for _ in range(size - alike)))

    def row():
        return Text(text(length), LOOKUP, (length - 2, length - 1), (5, 6))

    def essence():
        return Text(text(LOOKUP + 1), LOOKUP)

    return [TokenizedEdit((row(), row()), essence()) for _ in range(count)]


def cost(runner):
    return needs.Cost.of(runner.model, runner.family, "float32")


def test_the_target_solver_does_what_it_needs_where_nothing_is_padded(gpt2):
    found = counted(lambda: solve_targets(gpt2, rows(), SETTINGS))
    assert found == pytest.approx(needs.targets(cost(gpt2), rows(), 0, 5).total, rel=0.02)


def test_padding_is_seen(gpt2):
    """Negative control: rows of two lengths in one chunk do more than they need."""
    mixed = [*rows(2), *rows(2, length=LENGTH + 8)]
    needed = needs.targets(cost(gpt2), mixed, 0, 5).total
    assert counted(lambda: solve_targets(gpt2, mixed, SETTINGS)) > 1.1 * needed


def test_what_rows_begin_with_is_done_once(gpt2):
    apart = counted(lambda: solve_targets(gpt2, rows(), SETTINGS))
    alike = counted(lambda: solve_targets(gpt2, rows(alike=LOOKUP), SETTINGS))
    # In groups that are run together: the rows, and the essence rows.
    saved = needs.Cost.forward(cost(gpt2), (2 * 3 - 1 + 3 - 1) * LOOKUP, LOOKUP, 3).total
    assert apart - alike == pytest.approx(saved, rel=0.1)
    needed = [needs.targets(cost(gpt2), r, 0, 5).total for r in (rows(), rows(alike=LOOKUP))]
    assert needed[0] - needed[1] == pytest.approx(saved, rel=0.25)


def test_moments_do_what_they_need(gpt2):
    sites = gpt2.family.sites(gpt2.model, layers=[0, 1])
    texts = ["a passage of text ab"] * 4
    found = counted(lambda: collect_moments(gpt2, byte_tokenizer(), sites, texts))
    needed = needs.moments(cost(gpt2), sites, [len(texts[0])] * 4).total
    # Sums this small are computed whole.
    last_projection, halves = 2 * 48 * 32 * 4 * len(texts[0]), 2 * 48**2 * 4 * len(texts[0])
    assert found == needed + last_projection + halves


def test_the_plain_way_to_moments_does_what_is_said_of_it(gpt2):
    sites = gpt2.family.sites(gpt2.model, layers=[0, 2])
    texts = [list(range(3, 20))] * 4
    found = counted(lambda: plain_moments(gpt2.model, sites, texts, 1024))
    last_projections = 2 * len(sites) * 48 * 32 * 4 * 17
    assert found == needs.plain_moments(cost(gpt2), sites, [17] * 4).total + last_projections


def test_a_sweep_does_little_more_than_it_needs(gpt2):
    sites = gpt2.family.sites(gpt2.model, layers=[0, 1])

    def sweep():
        keys = KeySweep(gpt2, rows(), 0)
        for site in sites:
            keys.keys(site)
            keys.outputs(1)

    needed = needs.keys(cost(gpt2), rows(), sites).total
    assert needed <= counted(sweep) <= 1.6 * needed


def test_a_solve_does_what_it_needs(gpt2):
    sites = gpt2.family.sites(gpt2.model, layers=[0])
    c = torch.eye(48).double()
    equations = NormalEquations(c, 1.0)
    keys, residual = torch.randn(48, 7).double(), torch.randn(32, 7).double()
    found = counted(lambda: equations.solve_update(keys, residual))
    assert found == pytest.approx(needs.solve(sites, 7).total, rel=1e-6)


def test_decompositions_are_counted():
    a = torch.randn(20, 20).double()
    spd, wide, b = (
        a @ a.T + torch.eye(20),
        torch.randn(20, 50).double(),
        torch.randn(20, 3).double(),
    )
    factor = torch.linalg.cholesky(spd)
    expected = {
        lambda: torch.linalg.cholesky_ex(spd): cholesky(20),
        lambda: torch.cholesky_solve(b, factor): 2 * triangular(20, 3),
        lambda: torch.linalg.solve_triangular(factor, b, upper=False): triangular(20, 3),
        lambda: torch.linalg.solve(spd, b): lu(20) + 2 * triangular(20, 3),
        lambda: torch.linalg.eigh(spd): eigh(20),
        lambda: torch.linalg.qr(wide.T): qr(50, 20),
        lambda: torch.linalg.svd(wide, full_matrices=False): svd(20, 50),
        lambda: torch.zeros(20, 20).addmm_(a.float(), a.float()): 2 * 20**3,
        lambda: a.mv(b[:, 0]): 2 * 20**2,
    }
    for work, flops in expected.items():
        assert counted(work) == pytest.approx(flops)


def test_a_floor_is_the_larger_of_computing_and_moving():
    machine = Machine({"float32": 100.0, "float64": 50.0}, bandwidth=10.0, launch=1e-6)
    mixed = Work({"float32": 100.0}) + Work({"float64": 50.0}, 5.0)
    assert mixed.floor(machine).seconds == 2.0
    assert mixed.floor(machine).bound == "flops"
    assert (mixed + Work(bytes=25.0)).floor(machine).bound == "bytes"
    assert Work().floor(machine).bound == "launch"


def test_times_of_unequal_results_are_refused():
    Row("part", 1.0, Work({"float32": 1.0}), difference=1e-6, tolerance=1e-5)
    with pytest.raises(AssertionError, match="differs from the plain reference"):
        Row("part", 1.0, Work({"float32": 1.0}), difference=1e-4, tolerance=1e-5)


@pytest.mark.parametrize(
    ("name", "width"), [("tiny", 128), ("gpt2", 3072), ("gpt2-xl", 6400), ("llama-3-8b", 14_336)]
)
def test_moments_of_a_shape_are_of_full_rank(name, width):
    """Its own test of equal results would stop the benchmark, half an hour into GPT-2 XL's."""
    assert SHAPES[name].passages * 128 >= width
