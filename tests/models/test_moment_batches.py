"""Second moments do not depend on how the text was batched, and little of a batch is padding."""

import pytest
import torch
from tiny import byte_tokenizer, tiny_model

from revive.models.family import family_of
from revive.models.forward.padding import padded
from revive.models.forward.runner import BlockRunner
from revive.moments import second_moment_pass
from revive.moments.input_moments import collect_moments
from revive.moments.packing import packed, plan_of, tokens_for, windows

TEXTS = [("The ship left the harbour. " * (1 + i % 7))[: 5 + 11 * (i % 9)] for i in range(60)]


@pytest.fixture(scope="module")
def runner():
    model = tiny_model("gpt2", dtype=torch.float64)
    return BlockRunner(model, family_of(model))


def test_batches_hold_every_row_once_and_little_else():
    rows = windows(byte_tokenizer(), TEXTS, 50)
    for tokens in (50, 300, 1024, 4096):
        batches = packed(rows, tokens)
        assert sorted(map(tuple, rows)) == sorted(tuple(r) for b in batches for r in b)
        sizes = [padded(batch)[0].numel() for batch in batches]
        assert max(sizes) <= tokens
        for batch, size in zip(batches, sizes, strict=True):
            real = sum(map(len, batch))
            small = sum(map(len, batch[:-1])) < 256
            assert small or size - real <= size / 8
    assert packed([], 100) == []


def test_padding_is_what_it_would_be_without_the_rule():
    """Negative control: by size alone, long rows would be waited for by short ones."""
    rows = [[1] * 6] * 200 + [[1] * 90] * 20
    together = padded(rows)[0].numel()
    apart = sum(padded(batch)[0].numel() for batch in packed(rows, 1 << 20))
    assert apart == 6 * 200 + 90 * 20 < together / 4


def test_the_moment_is_the_same_in_any_batches(runner):
    sites = runner.family.sites(runner.model, layers=[0, 1])
    tokenizer = byte_tokenizer()
    usual = collect_moments(runner, tokenizer, sites, TEXTS)
    for tokens in (1, 64, 4096):
        other = collect_moments(runner, tokenizer, sites, TEXTS, tokens_per_batch=tokens)
        for key, moment in usual.items():
            assert other[key].count == moment.count
            torch.testing.assert_close(other[key].value(), moment.value(), rtol=1e-10, atol=1e-12)


def test_a_part_is_gone_on_with_in_its_own_batches_only(runner, tmp_path, monkeypatch):
    monkeypatch.setattr(second_moment_pass, "_TOKENS_PER_SAVE", 1)
    sites = runner.family.sites(runner.model, layers=[0])
    tokenizer = byte_tokenizer()

    class Stop(Exception):
        pass

    def collect(tokens, stop_at=None):
        steps = []

        def progress(done, total):
            steps.append(done)
            if done == stop_at:
                raise Stop

        found = collect_moments(
            runner,
            tokenizer,
            sites,
            TEXTS,
            cache=tmp_path,
            tokens_per_batch=tokens,
            progress=progress,
        )
        return found[sites[0].key], steps

    whole = collect_moments(runner, tokenizer, sites, TEXTS)[sites[0].key].value()
    with pytest.raises(Stop):
        collect(256, stop_at=3)
    moment, steps = collect(512)
    assert steps[0] == 1  # other batches: three of those would be others
    torch.testing.assert_close(moment.value(), whole, rtol=1e-10, atol=1e-12)
    moment, steps = collect(256)
    assert steps == []  # finished is finished
    for file in tmp_path.iterdir():
        file.unlink()
    with pytest.raises(Stop):
        collect(256, stop_at=3)
    moment, steps = collect(256)
    assert steps[0] == 3  # told of before it was kept
    torch.testing.assert_close(moment.value(), whole, rtol=1e-10, atol=1e-12)
    assert moment.count == sum(len(tokenizer(t)["input_ids"]) for t in TEXTS)


def test_a_plan_is_known_by_its_batches():
    rows = windows(byte_tokenizer(), TEXTS, 50)
    assert torch.equal(plan_of(packed(rows, 300)), plan_of(packed(rows, 300)))
    assert not torch.equal(plan_of(packed(rows, 300)), plan_of(packed(rows, 301)))
    assert tokens_for(torch.device("cpu")) < tokens_for(torch.device("cuda"))


def test_what_is_kept_is_of_these_tokens(runner, tmp_path):
    """The same text cut another way is another text."""
    sites, usual = runner.family.sites(runner.model, layers=[0]), byte_tokenizer()

    def reversed_(text):
        return {"input_ids": usual(text)["input_ids"][::-1]}

    first = collect_moments(runner, usual, sites, TEXTS, cache=tmp_path)
    again = collect_moments(runner, usual, sites, TEXTS, cache=tmp_path)
    other = collect_moments(runner, reversed_, sites, TEXTS, cache=tmp_path)
    key = sites[0].key
    assert torch.equal(first[key].value(), again[key].value())
    assert not torch.allclose(first[key].value(), other[key].value(), rtol=1e-3)
    assert len(list(tmp_path.iterdir())) == 2
