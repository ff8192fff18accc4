"""A metric broken on purpose is caught; how the work is cut up is not seen in any metric."""

import random
from dataclasses import replace

import pytest
import torch
from lab_edits import shuffled, taken

from revive.data.edits import Edit, MultiHop, Neighbor, Question
from revive.models.loading import load_model
from revive.probes.edit_scores import EditScores, bootstrap_means
from revive.probes.edits import score_edits
from revive.scoring import score


@pytest.fixture(scope="module")
def lab():
    return load_model("lab", device="cpu")


@pytest.fixture(scope="module")
def edits():
    return taken()


@pytest.fixture(scope="module")
def right(lab, edits):
    return score_edits(lab.model, lab.tokenizer, edits).metrics()


def measured(lab, edits):
    return score_edits(lab.model, lab.tokenizer, edits).metrics()


def test_facts_that_the_model_knows_score_high(right):
    assert right["efficacy"] > 0.95
    assert right["efficacy_exact"] > 0.8
    assert right["efficacy_tokens"] >= right["efficacy_exact"]
    assert right["paraphrase"] > 0.9
    assert right["attribute"] > 0.8
    # Neighbours share the answer that here is the new one: nothing tells the two apart.
    assert right["neighborhood"] == 0


def test_shuffled_labels_are_caught(lab, edits, right):
    new = shuffled([e.target_new for e in edits])
    broken = measured(lab, [replace(e, target_new=t) for e, t in zip(edits, new, strict=True)])
    assert broken["efficacy"] < right["efficacy"] - 0.2
    for name in ("efficacy_exact", "paraphrase_exact", "efficacy_tokens"):
        assert broken[name] < right[name] - 0.4


def test_targets_exchanged_are_caught(lab, edits, right):
    swapped = [replace(e, target_new=e.target_true, target_true=e.target_new) for e in edits]
    broken = measured(lab, swapped)
    assert broken["efficacy"] == pytest.approx(1 - right["efficacy"])
    assert broken["paraphrase"] == pytest.approx(1 - right["paraphrase"])
    assert broken["attribute"] == pytest.approx(1 - right["attribute"])
    assert broken["neighborhood"] > 0.8


def test_neighbours_with_the_wrong_answer_are_caught(lab, edits):
    streams = [replace(e, target_new=e.target_true, target_true=e.target_new) for e in edits]
    good = measured(lab, streams)
    wrong = [
        replace(e, neighborhood=tuple(replace(n, target=e.target_new) for n in e.neighborhood))
        for e in streams
    ]
    bad = measured(lab, wrong)
    assert bad["neighborhood"] == 0  # nothing is likelier than itself
    assert bad["neighborhood_exact"] < good["neighborhood_exact"] - 0.4


def test_order_of_the_edits_does_not_matter(lab, edits, right):
    again = measured(lab, random.Random(1).sample(edits, len(edits)))
    assert again.keys() == right.keys()
    assert all(again[k] == pytest.approx(right[k], abs=1e-12) for k in right)


@pytest.mark.parametrize("budget", [64, 100_000])
def test_batch_size_does_not_matter(lab, edits, right, budget, monkeypatch):
    real = score.score_tokens
    monkeypatch.setattr(score, "score_tokens", lambda m, s, f, _: real(m, s, f, budget))
    assert measured(lab, edits) == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_side_does_not_matter(lab, edits, right, side, monkeypatch):
    monkeypatch.setattr(lab.tokenizer, "padding_side", side)
    assert measured(lab, edits) == right


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 0.005), ("bfloat16", 0.1)])
def test_dtype_matters_within_its_rounding(lab, edits, dtype, tolerance):
    some = edits[:6]
    other, right = measured(load_model("lab", dtype=dtype, device="cpu"), some), measured(lab, some)
    assert other.keys() == right.keys()
    for name in right.keys() - {"score"}:  # which is 0 as soon as one of its parts is
        assert other[name] == pytest.approx(right[name], abs=tolerance)


def test_portability_and_chains_take_any_accepted_answer(lab, edits):
    hits = score_edits(lab.model, lab.tokenizer, edits[:8]).exact.tolist()
    known = [e for e, hit in zip(edits, hits, strict=False) if hit][:4]
    assert len(known) == 4

    def asked(edit, answers, needs=()):
        return replace(
            edit,
            portability=(Question(edit.text, answers),),
            multi_hop=(MultiHop(("Nobody knows", edit.text), answers, needs),),
        )

    a, b, c, d = known
    there, missing = ((a.text, a.target_new),), ((a.text, "something else"),)
    scored = score_edits(
        lab.model,
        lab.tokenizer,
        [
            asked(a, ("zzz", a.target_new), there),
            asked(b, ("zzz",)),
            asked(c, (c.target_new,), missing),
            d,
        ],
    )
    ported = scored.columns["portability_exact"].tolist()
    assert ported[:3] == [1, 0, 1]
    assert ported[3] != ported[3]
    hops = scored.columns["multi_hop_exact"].tolist()
    assert hops[:2] == [1, 0]
    # A chain that rests on an edit which is not there is not asked.
    assert hops[2] != hops[2]
    assert scored.metrics()["portability_exact"] == pytest.approx(2 / 3)
    alone = score_edits(lab.model, lab.tokenizer, [asked(c, (c.target_new,), there)], made=known)
    assert alone.metrics()["multi_hop_exact"] == 1


def test_metrics_without_prompts_are_left_out(lab):
    found = measured(lab, [Edit(prompt="{} is", subject="It", target_new="so")])
    assert set(found) == {"efficacy_exact", "efficacy_tokens"}


def column(values):
    return torch.tensor(values, dtype=torch.float64)


def test_intervals_are_those_of_the_mean_and_come_from_the_seed():
    draw = torch.Generator().manual_seed(0)
    hits = (torch.rand(400, generator=draw) < 0.7).double()
    scores = EditScores({"efficacy": hits})
    low, high = scores.intervals()["efficacy"]
    mean = float(hits.mean())
    half = 1.96 * (mean * (1 - mean) / 400) ** 0.5
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.01)
    assert scores.intervals() == scores.intervals()
    assert scores.intervals(seed=1) != scores.intervals()


def test_edits_are_resampled_and_not_their_prompts():
    """Prompts of an edit that stand or fall together say no more than one; apart they would."""
    edits = column([1.0, 0.0] * 20)
    low, high = EditScores({"paraphrase": edits}).intervals()["paraphrase"]
    apart = EditScores({"paraphrase": edits.repeat(10)}).intervals()["paraphrase"]
    assert high - low > 2.5 * (apart[1] - apart[0])


def test_resampled_means_leave_out_what_an_edit_lacks():
    values = torch.stack([column([1.0, 0.0, float("nan"), 1.0] * 25), torch.ones(100).double()], 1)
    drawn = bootstrap_means(values, 0, 300)
    assert float(drawn[:, 0].mean()) == pytest.approx(2 / 3, abs=0.02)
    assert drawn[:, 1].tolist() == pytest.approx([1.0] * 300)


def test_the_score_is_resampled_as_a_whole():
    names = ("efficacy", "paraphrase", "neighborhood")
    together = EditScores({name: column([1.0, 0.5] * 30) for name in names})
    low, high = together.intervals()["score"]
    assert low < together.metrics()["score"] < high
    # The same column three times: the harmonic mean is that column's mean, in every resample.
    assert (low, high) == pytest.approx(together.intervals()["efficacy"])


def test_neighbours_of_one_prompt_and_two_answers_are_told_apart(lab):
    edit = Edit(
        prompt="The capital of {} is",
        subject="France",
        target_new="x",
        neighborhood=(Neighbor("Here is", "a"), Neighbor("Here is", "b")),
    )
    scores = score_edits(lab.model, lab.tokenizer, [edit])
    assert 0 <= scores.metrics()["neighborhood"] <= 1
