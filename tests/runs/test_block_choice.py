"""Blocks that were chosen for a model: which are tried, which win, and who gets them."""

import pytest

from revive.io.cache import cache_folder
from revive.presets.facts import model_facts
from revive.presets.rule import layers_by_rule
from revive.spec.block_choice import (
    TIE,
    BlockChoice,
    BlockTrial,
    choose_blocks,
    forget_blocks,
    keep_blocks,
    kept_blocks,
    ranges,
)
from revive.spec.fit_cache import Fit, SettingsTrial, cached_fit, cached_fit_of, keep_fit
from revive.spec.parsing import parse_spec, resolve
from revive.spec.resolve import setting_sources


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def config(blocks=30, kind="llama"):
    return {
        "model_type": kind,
        "hidden_size": 640,
        "num_hidden_layers": blocks,
        "intermediate_size": 1536,
        "vocab_size": 49_152,
        "num_attention_heads": 10,
        "num_key_value_heads": 5,
    }


def attempt(answered=1.0, paraphrase=1.0, neighborhood=1.0, update=0.1):
    return SettingsTrial(
        {"clamp": 0.75}, 12, 1.0, answered, paraphrase, neighborhood, 7.0, 0.3, update
    )


def trial(first, **shares):
    return BlockTrial(tuple(range(first, first + 5)), attempt(**shares))


def spec(**editor):
    return parse_spec({"model": "someone/model", "edits": "lab", "editor": editor}, "test")


def keep(layers, blocks=30):
    choice = BlockChoice(layers, (BlockTrial(layers, attempt()),))
    keep_blocks(cache_folder(), resolve(spec(), config(blocks)).model, config(blocks), choice)
    return choice


@pytest.mark.parametrize("blocks", [1, 2, 3, 6, 12, 30, 48, 80])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_ranges_are_as_wide_as_the_rules_and_never_reach_the_last_block(blocks, kind):
    facts = model_facts(config(blocks, kind))
    own = tuple(layers_by_rule(facts))
    found = ranges(facts)
    assert own in found
    assert found == sorted(set(found))
    assert {len(layers) for layers in found} == {len(own)}
    assert all(r[0] >= 0 and (r[-1] < blocks - 1 or blocks == 1) for r in found)


def test_ranges_of_a_model_of_thirty_blocks():
    assert [r[0] for r in ranges(model_facts(config()))] == [2, 4, 6, 8, 10, 14]


def test_the_best_score_wins_and_among_equals_the_shortest_update():
    best = trial(4, paraphrase=0.9, update=0.3)
    near = trial(6, paraphrase=0.88, update=0.1)
    far = trial(8, paraphrase=0.7, update=0.01)
    assert best.score - TIE < near.score < best.score
    assert choose_blocks([best, near, far]) == near.layers
    assert choose_blocks([best, far]) == best.layers
    assert trial(2, neighborhood=0.0).score == 0.0


def test_what_was_chosen_is_what_the_rule_gives_from_then_on():
    by_rule = resolve(spec(), config()).editor.model_extra["layers"]
    assert by_rule == [4, 5, 6, 7, 8]
    choice = keep((6, 7, 8, 9, 10))
    assert kept_blocks(cache_folder(), resolve(spec(), config()).model, config()) == choice
    for name in ("memit", "memit-seq", "alphaedit"):
        found = resolve(spec(name=name), config())
        assert found.editor.model_extra["layers"] == [6, 7, 8, 9, 10]
        assert resolve(found, config()) == found
        told = setting_sources(spec(name=name), config())
        assert told["layers"] == "chosen for this model by 'revive calibrate'"
        assert told["clamp"].startswith("preset rule")
    # Editors that the choice says nothing of, layers that are given, a preset, another model.
    assert resolve(spec(name="rome"), config()).editor.model_extra["layers"] == [5]
    assert "calibrate" not in setting_sources(spec(name="rome"), config())["layers"]
    given = spec(layers=[1, 2])
    assert resolve(given, config()).editor.model_extra["layers"] == [1, 2]
    assert setting_sources(given, config())["layers"] == "spec"
    named = resolve(spec(preset="llama-3-8b"), config())
    assert named.editor.model_extra["layers"] == [4, 5, 6, 7, 8]
    assert resolve(spec(), config(40)).editor.model_extra["layers"][0] == 5
    assert forget_blocks(cache_folder(), found.model, config())
    assert not forget_blocks(cache_folder(), found.model, config())
    assert resolve(spec(), config()).editor.model_extra["layers"] == by_rule


def test_a_fit_is_found_by_fingerprint_and_by_name():
    one = Fit(attempt(), (attempt(answered=0.5), attempt()))
    resolved = resolve(spec(), config())
    assert cached_fit_of(cache_folder(), resolved) is None
    keep_fit(cache_folder(), "print", resolved, one)
    assert cached_fit(cache_folder(), "print", resolved.editor) == one
    assert cached_fit_of(cache_folder(), resolved) == one
    other = resolve(spec(layers=[1, 2]), config())
    assert cached_fit(cache_folder(), "print", other.editor) is None
    assert cached_fit_of(cache_folder(), other) is None


def test_what_a_fit_says():
    assert Fit(attempt(), ()).told().endswith("the longest update is 10% of its weight.")
    assert "written edits fade" in Fit(attempt(answered=0.5), ()).told()
    assert "will wear the model down" in Fit(attempt(update=2.0), ()).told()
