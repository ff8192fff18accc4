"""The GPU study at its smallest size: the same stages, on a CPU."""

import json
import re
import sys
from pathlib import Path

import pytest

from shared import SHARED

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
DATA = SHARED / "data"

pytestmark = pytest.mark.skipif(
    not (DATA / "text" / "factbook.txt").is_file(), reason="source texts of the training not there"
)


@pytest.fixture(scope="module")
def gpu_study():
    """The recipe's module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        import gpu_study

        yield gpu_study
        for name in [n for n in sys.modules if n.startswith(("gpu_", "frontier"))]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def call(gpu_study, tmp_path_factory):
    """Call it in one place, with more words."""
    place = tmp_path_factory.mktemp("study")

    def run(*words):
        where = ["--work", str(place / "work"), "--out", str(place / "results")]
        fixed = ["--size", "tiny", "--device", "cpu", "--jobs", "1", "--quiet", "--data", str(DATA)]
        gpu_study.main([*fixed, *where, *words])
        (data,) = (place / "results").glob("*.json")
        return place, data

    return run


def files_of(folder):
    """Every file with its time; what is done again has another."""
    return {p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_a_study_is_written_when_time_is_up_goes_on_and_is_not_repeated(call):
    place, path = call("--minutes", "0")
    begun = json.loads(path.read_text("utf-8"))
    assert not begun["finished"]
    assert {s["state"] for s in begun["stages"]} == {"left"}
    assert begun["training"] == begun["frontier"]["points"] == []

    place, path = call()
    found = json.loads(path.read_text("utf-8"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d-cpu\.json", path.name)
    assert found["finished"]
    assert [s["state"] for s in found["stages"]] == ["done"] * 7
    assert [s["name"] for s in found["stages"]][:4] == [
        *("train, learn", "train, finish"),
        *("evaluate", "fit"),
    ]
    assert found["settings"]["size"] == "tiny"
    assert found["hardware"]["device"] == "cpu"
    assert found["hardware"]["versions"]["torch"]
    assert set(found["revision"]) == {"commit", "changed"}
    assert str(place) not in path.read_text("utf-8")
    # Trained, in two stages: prose is likelier than under a uniform guess of 6,144 tokens.
    learn, finish = found["training"]
    assert learn["tokens"] > finish["tokens"] > 0
    assert "STAGE-BEFORE" in finish["command"]
    assert 1 < found["evaluation"]["perplexity"] < 6144
    assert found["fit"]["ridge"] > 0
    points = found["frontier"]["points"]
    assert [(p["editor"], p["guard"], p["edits"]) for p in points] == [
        ("memit-seq", guard, edits) for edits in (4, 8) for guard in ("none", "constrained .1")
    ]
    assert all(p["ridge"] == 10 * found["fit"]["ridge"] for p in points)
    assert all(p["growth"] > 0 and 0 <= p["exact"] <= 1 for p in points)
    assert points[0]["growth"] != points[1]["growth"]
    assert set(found["studies"]) == {"reconstruct", "perturb", "drift"}
    assert all(study["tables"] for study in found["studies"].values())
    page = path.with_suffix(".md").read_text("utf-8")
    for heading in ("## Training", "### 4 edits", "### 8 edits", "## Reconstruct", "## Drift"):
        assert heading in page
    spec = next((place / "work" / "arms").glob("*/spec.yaml")).read_text("utf-8")
    assert "on_conflict: sequence" in spec
    assert not list((place / "work" / "arms").glob("*/updates"))

    before = files_of(place / "work")
    again = json.loads(call()[1].read_text("utf-8"))
    assert files_of(place / "work") == before
    assert again == found


def test_other_settings_are_not_mixed_in(call, gpu_study):
    call("--minutes", "0")
    with pytest.raises(gpu_study.SpecError, match="other settings"):
        call("--seeds", "1")


def test_the_large_size_is_refused_on_a_cpu(call, gpu_study):
    with pytest.raises(gpu_study.SpecError, match="weeks on a CPU"):
        call("--size", "large")


def test_the_order_of_runs_is_from_the_core_outwards(gpu_study):
    import gpu_plan

    plan = gpu_plan.PLANS["large"]
    ordered = gpu_plan.passes(plan)
    assert list(ordered) == ["core", "core over lambda", "controls", "controls over lambda"]
    cells = [cell for listed in ordered.values() for cell in listed]
    assert len(set(cells)) == len(cells) == 2 * 9 * 4
    assert {guard for _, guard, _ in ordered["core"]} == set(gpu_plan.CORE)
    fitted = gpu_plan.Fitted((0, 7), 1.0, 300.0)
    listed = gpu_plan.grid(plan, fitted)
    assert listed["memit"]["none"] == [900, 3000, 9000, 30000]
    names = [a.name for a in gpu_plan.arms(plan, fitted, cells, [0], Path("m"), "cuda")]
    assert len(set(names)) == len(names) == 72


def test_the_large_model_is_what_it_is_said_to_be():
    import torch
    from lab.architecture import config
    from transformers import LlamaForCausalLM

    shape = config("large", 6144, 0, 1)
    assert shape.num_hidden_layers >= 12
    assert shape.hidden_size >= 1024
    with torch.device("meta"):
        count = sum(p.numel() for p in LlamaForCausalLM(shape).parameters())
    assert 100e6 < count < 130e6
