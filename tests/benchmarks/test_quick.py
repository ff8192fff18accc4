"""`python -m benchmarks --quick`: equal results, and a floor beside every time."""

import json

import pytest
import torch

from benchmarks.__main__ import _unjudged, main

PARTS = (
    "moments",
    "moments, all layers",
    "target solver",
    "key sweep",
    "solve",
    "guard, original basis",
    "guard, current basis",
    "write",
    "whole batch of 6",
    "probe: edits",
    "drift probe",
    "drift probe, detail",
)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    return quick(out), (out / "result.md").read_text("utf-8")


def quick(out, *more):
    threads = torch.get_num_threads()
    assert main(["--quick", "--threads", "1", "--device", "cpu", "--out", str(out), *more]) == 0
    torch.set_num_threads(threads)
    return json.loads((out / "result.json").read_text("utf-8"))


def test_every_part_has_a_time_a_floor_and_a_line_on_the_page(result):
    data, page = result
    (shape,) = data["shapes"]
    assert tuple(row["part"] for row in shape["rows"]) == PARTS
    for row in shape["rows"]:
        assert row["seconds"] > 0
        assert row["floor"] > 0
        assert row["bound"] in ("flops", "bytes", "launch")
        assert row["over_floor"] == pytest.approx(row["seconds"] / row["floor"])
        assert row["plain"] > 0
        # Nothing can be done with fewer operations than it needs.
        assert row["excess"] is None or row["excess"] > 0.99
        assert f"| {row['part']} |" in page


def test_every_result_equals_that_of_the_plain_way(result):
    rows = {row["part"]: row for row in result[0]["shapes"][0]["rows"]}
    for part in set(PARTS) - {"write"}:
        assert rows[part]["difference"] <= rows[part]["tolerance"]
    assert rows["target solver"]["tolerance"] <= 1e-4
    assert rows["whole batch of 6"]["tolerance"] <= 1e-5


def test_the_result_names_what_it_ran_on(result):
    data, _ = result
    assert data["environment"]["versions"]["torch"] == torch.__version__
    assert data["environment"]["threads"] == 1
    assert data["revision"]
    assert data["date"].startswith("20")
    assert data["shapes"][0]["machine"]["matmul"]["float64"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--shapes", "gpt3"], "unknown"), (["--shapes", "llama-3-8b", "--device", "cpu"], "a GPU")],
)
def test_what_cannot_be_timed_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_numbers_of_a_busy_machine_or_another_batch_are_not_judged():
    sound = [{"part": "solve", "over_floor": 1.3}]
    assert _unjudged(sound, 0.02, 100) == ""
    assert "rates changed" in _unjudged(sound, 0.4, 100)
    assert "solve took less than its floor" in _unjudged(
        [{"part": "solve", "over_floor": 0.8}], 0.02, 100
    )
    assert "batch of 100" in _unjudged(sound, 0.4, 8)


def test_moments_alone_are_timed_without_a_batch(tmp_path):
    found = quick(tmp_path, "--parts", "moments", "--layers", "0,1,2", "--passages", "2")
    (shape,) = found["shapes"]
    assert {row["part"] for row in shape["rows"]} == {"moments", "moments, all layers"}
    assert all("256 tokens, 3 layers" in row["note"] for row in shape["rows"])
