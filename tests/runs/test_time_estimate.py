"""What `revive check` says of a run's time: its arithmetic against counted operations."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

from revive.assembly.build import build, load_for
from revive.data.order import order_edits
from revive.data.readers import load_edits
from revive.editors.target_editor import encode_batch
from revive.estimate.estimate import estimate
from revive.estimate.flops import Arithmetic, Flops
from revive.estimate.lengths import measure_lengths
from revive.estimate.machine_rates import Rates, measure_rates
from revive.presets.facts import model_facts
from revive.probes.edits import score_edits
from revive.sources.model_config import tokenizer_file
from revive.spec.parsing import parse_spec, read_model_config, resolve

COUNT = 24
TOLERANCE = 0.15
RATES = Rates(products=5e10, measured_on="a made-up processor")
CONFIG = read_model_config("lab")


def spec(editor="memit-seq", *, edits=COUNT, probes=("edits",), **settings):
    data = {
        "model": {"name": "lab", "device": "cpu"},
        "edits": {"path": "lab", "limit": edits, "batch_size": COUNT},
        "editor": {"name": editor, **settings},
        "moments": {"text": "lab", "samples": 40},
        "probes": [p if isinstance(p, dict) else {"name": p} for p in probes],
        "threads": 1,
    }
    return resolve(parse_spec(data, "time"), CONFIG)


def times(made, edits=COUNT, rates=RATES):
    return estimate(made, CONFIG, edits, rates=rates).times


def operations(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def in_products(effort):
    return effort.forward + effort.gradient + effort.head


@pytest.fixture(scope="module")
def run():
    """The lab model with an editor of six evaluations a target, and its batch."""
    made = spec(steps=6, stop_loss=0.0, contexts=2, ridge=300.0)
    edits = order_edits(load_edits("lab", limit=COUNT, seed=0).edits, "random", 0)
    lengths = measure_lengths(edits, tokenizer_file("lab"))
    built = build(made, load_for(made), edits)
    facts = model_facts(CONFIG)
    return built, edits, Arithmetic(made, facts, COUNT, lengths)


def test_solving_takes_the_operations_that_are_told(run):
    built, edits, arithmetic = run
    counted = operations(lambda: built.engine.editor.solve_batch(edits, built.engine.context))
    told = in_products(arithmetic.editing()["targets"])
    assert told == pytest.approx(counted, rel=TOLERANCE)
    # It can fail: other numbers of evaluations or contexts are not what was counted.
    fewer, more = spec(steps=3, stop_loss=0.0, contexts=2), spec(steps=6, stop_loss=0.0, contexts=5)
    for other in (fewer, more):
        wrong = Arithmetic(other, model_facts(CONFIG), COUNT, arithmetic.lengths)
        assert in_products(wrong.editing()["targets"]) != pytest.approx(counted, rel=TOLERANCE)


def test_scoring_takes_the_operations_that_are_told(run):
    built, edits, arithmetic = run
    model, tokenizer = built.loaded.model, built.loaded.tokenizer
    counted = operations(lambda: score_edits(model, tokenizer, edits))
    probing, unknown = arithmetic.probing()
    # Before the first edit and after the last.
    assert in_products(probing["edits"]) / 2 == pytest.approx(counted, rel=TOLERANCE)
    assert unknown == ()


def test_rows_are_as_long_as_told(run):
    built, edits, arithmetic = run
    rows, _ = encode_batch(edits, built.engine.context)
    lengths = [len(edit.rewrite[0].input_ids) for edit in rows.values()]
    assert arithmetic.lengths.row == pytest.approx(sum(lengths) / len(lengths), abs=1.5)


def test_twice_the_rate_is_half_the_time_but_for_calls():
    made = spec(ridge=300.0)
    slow = times(made)
    fast = times(made, rates=replace(RATES, products=2 * RATES.products))
    assert 1.5 < slow.editing["targets"] / fast.editing["targets"] < 2.0
    assert slow.total == pytest.approx(
        sum(sum(p.values()) for p in (slow.before, slow.editing, slow.probing))
    )


def test_what_costs_more_is_told_to_take_longer():
    base = times(spec(ridge=300.0))
    assert times(spec(ridge=300.0, contexts=5)).editing["targets"] > 1.5 * base.editing["targets"]
    assert times(spec(ridge=300.0, steps=40)).editing["targets"] > 2 * base.editing["targets"]
    twice = times(spec(ridge=300.0, edits=2 * COUNT), 2 * COUNT)
    assert twice.editing["targets"] == pytest.approx(2 * base.editing["targets"], rel=0.01)
    # Edits are measured before the first batch and after each, all that there are by then.
    assert twice.probing["edits"] > 1.5 * base.probing["edits"]


def test_targets_by_rule_take_a_third_of_the_evaluations_of_adam():
    settings = {"steps": 25, "lr": 0.5, "ridge": 300.0}
    adam = times(spec(optimizer="adam", **settings)).editing["targets"]
    polyak = times(spec(optimizer="polyak", max_step=0.2, **settings)).editing["targets"]
    assert 2.0 < adam / polyak < 3.5


def test_what_happens_once_is_told_by_part():
    rule = spec("memit", preset="rule")
    assert {"start", "moments", "guard", "trial"} == times(rule).before.keys()
    assert "calibration" in times(spec("alphaedit", preset="rule")).before
    assert times(spec("ultraedit", lr=0.01)).before.keys() == {"start", "guard"}
    assert times(spec("ft", lr=1e-3)).editing["targets"] > 0


def test_moments_that_come_with_the_package_take_no_time():
    facts = {"model_type": "llama", "hidden_size": 576, "num_hidden_layers": 30}
    facts |= {"intermediate_size": 1536, "vocab_size": 49152, "num_attention_heads": 9}

    def before(**settings):
        data = {"model": "smollm2", "edits": {"path": "lab", "limit": 4}, "threads": 1}
        data["editor"] = {"name": "memit", "preset": "rule", **settings}
        return estimate(resolve(parse_spec(data, "time"), facts), facts, 4, rates=RATES).times

    assert "moments" not in before().before
    assert before(layers=[20]).before["moments"] > 1


def test_probes_that_nothing_is_known_of_are_named():
    work = Arithmetic(spec(), model_facts(CONFIG), COUNT, measure_lengths((), None))
    assert work.probing()[1] == ()
    foreign = spec().model_copy(
        update={"probes": [spec().probes[0].model_copy(update={"name": "mine"})]}
    )
    found, unknown = Arithmetic(foreign, model_facts(CONFIG), COUNT, work.lengths).probing()
    assert unknown == ("mine",)
    assert "mine" not in found


def test_efforts_add_up():
    one, two = Flops(1.0, 2.0, 3.0, 4.0, 5.0), Flops(10.0, 20.0, 30.0, 40.0, 50.0)
    assert one + two == Flops(11.0, 22.0, 33.0, 44.0, 55.0)
    assert one * 2 == Flops(2.0, 4.0, 6.0, 8.0, 10.0)


def test_rates_are_measured_once_a_day(tmp_path, monkeypatch):
    facts = model_facts(CONFIG)
    first = measure_rates(facts, 1, tmp_path)
    assert 1e8 < first.products < 1e13
    kept = tmp_path / "rates.json"
    (name,) = json.loads(kept.read_text("utf-8"))
    assert first.measured_on in name
    assert measure_rates(facts, 1, tmp_path) == first
    # Other threads are another measurement, as is an old one.
    measure_rates(facts, 2, tmp_path)
    entries = json.loads(kept.read_text("utf-8"))
    assert len(entries) == 2
    entries[name] = {"products": 1.0, "when": entries[name]["when"] - 90_000}
    kept.write_text(json.dumps(entries), "utf-8")
    assert measure_rates(facts, 1, tmp_path).products > 1e8


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}', '{"x": {"products": 1}}'])
def test_a_damaged_file_of_rates_is_measured_anew(content, tmp_path):
    (tmp_path / "rates.json").write_text(content, "utf-8")
    assert measure_rates(model_facts(CONFIG), 1, tmp_path).products > 1e8


def test_check_tells_time_by_part_and_loads_no_torch(tmp_path):
    (tmp_path / "spec.yaml").write_text(
        yaml.safe_dump({"model": "lab", "edits": {"path": "lab", "limit": 8}, "threads": 1})
    )
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom revive.cli.main import app\n"
        "done = CliRunner().invoke(app, ['check', 'spec.yaml', '--json'])\n"
        "print(done.stdout)\nassert done.exit_code == 0\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    parts = found["time"]
    assert found["seconds"] == pytest.approx(
        sum(sum(parts[p].values()) for p in ("before", "editing", "probing"))
    )
    assert {"targets", "keys", "solve"} <= parts["editing"].keys()
    assert parts["probing"].keys() == {"edits", "spectrum", "answers"}
    assert not torch.cuda.is_available() or "GPU" in parts["measured_on"]
