import itertools
import random
from collections import Counter

import pytest
import torch
from safetensors.torch import load_file

from recipes.lab import mix, packing, train
from recipes.lab.objective import weighted_loss
from recipes.lab.schedule import Schedule
from recipes.lab.train import _document_mask
from revive.lab import load_facts, relations
from shared import shared


def test_each_fact_is_stated_equally_often_and_spread_over_its_templates():
    facts = load_facts()[:20]
    stated = Counter()
    for pieces in mix.fact_passes(facts, 14, random.Random(0)):
        stated["".join(text for text, _ in pieces).strip()] += 1
    assert sum(stated.values()) == 20 * 14
    fact = facts[0]
    for template in relations()[fact.relation].templates:
        assert stated[f"{template.replace('{}', fact.subject)} {fact.object}."] == 2


def test_held_out_templates_are_never_stated():
    facts = load_facts()[::50]
    lines = {pieces[0][0].strip() for pieces in mix.fact_passes(facts, 7, random.Random(0))}
    for fact in facts:
        for template in relations()[fact.relation].held_out:
            assert template.replace("{}", fact.subject) not in lines


def test_objects_weigh_more_than_prompts():
    prompt, target, stop = mix.fact_pieces(load_facts()[0], "The thing {} is")
    assert target[1] > prompt[1] == stop[1] > 0


def test_missing_sources_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"factbook\.txt"):
        mix.source_passages(tmp_path, 0)


def test_passages_are_whole_sentences_of_bounded_length(tmp_path):
    (tmp_path / "text").mkdir()
    sentence = "This plain sentence has just about fifty characters."
    for name in mix.SOURCES:
        (tmp_path / "text" / name).write_text(" ".join([sentence] * 20) + "\nShort line\n")
    passages = mix.source_passages(tmp_path, 0, longest=120)
    assert passages
    assert all(len(passage) <= 120 for passage in passages)
    assert all(passage.endswith("characters.") for passage in passages)


def document(length, number):
    return [(0, 0.0), *((number, 1.0) for _ in range(length - 1))]


def test_packing_keeps_every_document_whole_and_once():
    rng = random.Random(0)
    documents = [document(rng.randrange(2, 25), number) for number in range(2, 400)]
    rows = packing.pack(iter(documents), 32, padding=1)
    found = []
    for tokens, numbers in zip(rows.tokens.tolist(), rows.documents.tolist(), strict=True):
        for number, group in itertools.groupby(
            zip(numbers, tokens, strict=True), key=lambda x: x[0]
        ):
            if number >= 0:
                found.append([token for _, token in group])
    wanted = [[token for token, _ in item] for item in documents]
    assert sorted(found) == sorted(wanted)
    assert (rows.documents < 0).float().mean() < 0.1


def test_positions_restart_with_each_document():
    rows = packing.pack([document(3, 5), document(4, 6)], 8, padding=1)
    assert rows.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 0]]
    assert rows.weights[0, 0] == rows.weights[0, 3] == rows.weights[0, 7] == 0


def test_mask_is_causal_within_documents_only():
    mask = _document_mask(torch.tensor([[0, 0, 1, -1]]), torch.float32)[0, 0] == 0
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert mask.int().tolist() == expected


@pytest.mark.parametrize("positions", [7, 1300])
def test_chunked_loss_and_gradients_equal_the_plain_ones(positions):
    torch.manual_seed(0)
    hidden = torch.randn(positions, 8, dtype=torch.float64, requires_grad=True)
    head = torch.randn(11, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.randint(0, 11, (positions,))
    weights = torch.rand(positions)
    plain = torch.nn.functional.cross_entropy(hidden @ head.T, targets, reduction="none")
    wanted = torch.autograd.grad((plain * weights).sum(), (hidden, head))
    loss, each = weighted_loss(hidden, head, targets, weights)
    (2 * loss).backward()
    torch.testing.assert_close(each.double(), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(hidden.grad, 2 * wanted[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(head.grad, 2 * wanted[1], rtol=1e-4, atol=1e-3)


def test_schedule_rises_stays_and_falls():
    schedule = Schedule(peak=1.0, steps=1000)
    rates = [schedule.rate(step) for step in range(1000)]
    assert rates[0] < 0.05
    assert max(rates) == 1.0
    assert rates[100] == rates[299] == 1.0
    assert rates[299:] == sorted(rates[299:], reverse=True)
    assert rates[-1] == pytest.approx(0.01)


def test_a_training_that_was_stopped_goes_on_to_the_same_model(tmp_path):
    data = shared("data", "text", "factbook.txt").parents[1]

    def options(name):
        return train.Options(
            data=data,
            out=tmp_path / name,
            size="tiny",
            device="cpu",
            seed=0,
            exposures=12,
            rate=3e-3,
            batch=16,
            length=96,
            threads=1,
            facts=40,
            resume=True,
            start=None,
        )

    seen = []

    def stop(done, steps):
        seen.append(steps)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(options("stopped"), stop)
    assert seen[0] > 2
    assert (tmp_path / "stopped" / "checkpoint.pt").is_file()
    done = []
    folder = train.run(options("stopped"), lambda number, _: done.append(number))
    assert done[0] == 3
    assert not (tmp_path / "stopped" / "checkpoint.pt").exists()
    calm = train.run(options("calm"))
    found, wanted = (load_file(f / "model.safetensors") for f in (folder, calm))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_losses_are_means_over_the_tokens_they_are_of():
    values, chosen = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([True, False, True])
    assert train._mean(values, chosen) == values[chosen].mean()
