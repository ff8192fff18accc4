"""Every family: declared orientation reproduces the module, reading and writing change nothing."""

import pytest
import torch
import transformers
from tiny import BUILDERS, MIXTURES, VOCABULARY, tiny_model

from revive import registry
from revive.architectures import BUILTIN
from revive.errors import SpecError
from revive.models.family import family_for, family_of, read_weight, write_weight
from revive.models.forward.prefix import PrefixCache
from revive.models.forward.runner import BlockRunner, positions_of

FAMILIES = sorted(BUILDERS)
ALL = sorted(BUILDERS | MIXTURES)
WINDOWED = ["mistral", "gemma2", "gemma3", "olmo3"]
# These compute attention, the router, or parts of them, in fp32 whatever the model's dtype.
TOLERANCE = dict.fromkeys(FAMILIES, 1e-9) | dict.fromkeys(
    ("gptj", "gemma2", "bloom", *MIXTURES), 1e-6
)


def tokens(rows=3, length=9):
    return torch.randint(0, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(1))


def test_the_list_that_needs_no_torch_is_what_the_families_say():
    families = {name: registry.load("models", name) for name in registry.names("models")}
    builtin = {n: f for n, f in families.items() if registry.is_builtin("models", n)}
    assert {n: set(known) for n, known in BUILTIN.items()} == {
        n: set(family.architectures) for n, family in builtin.items()
    }
    for known in BUILTIN.values():
        for architecture, model_type in known.items():
            model_class = getattr(transformers, architecture)
            assert model_class.config_class.model_type == model_type


@pytest.mark.parametrize("inner", [48, 32], ids=["wide", "square"])
@pytest.mark.parametrize("name", FAMILIES)
def test_orientation_reproduces_the_module(name, inner):
    model = tiny_model(name, inner=inner)
    site = family_of(model).site(model, 1)
    module = model.get_submodule(site.module)
    weight = read_weight(model, site)
    assert tuple(weight.shape) == site.shape == (32, inner)
    x = torch.randn(5, inner, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    bias = module.bias if getattr(module, "bias", None) is not None else 0.0
    torch.testing.assert_close(module(x), x @ weight.T + bias, rtol=1e-12, atol=1e-12)
    if inner == 32:
        # Negative control: on a square weight the transposed reading runs, and is wrong.
        assert not torch.allclose(module(x), x @ weight + bias)


@pytest.mark.parametrize("name", ALL)
def test_read_and_write_back_changes_nothing(name):
    model = tiny_model(name, dtype=torch.float32)
    before = model(tokens()).logits.clone()
    for site in family_of(model).sites(model):
        write_weight(model, site, read_weight(model, site))
    assert torch.equal(model(tokens()).logits, before)


@pytest.mark.parametrize("name", ALL)
def test_slices_of_blocks_compose_to_the_model(name):
    model = tiny_model(name)
    runner = BlockRunner(model, family_of(model))
    ids = tokens()
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    reference = model(input_ids=ids, attention_mask=mask).logits
    hidden = runner.embed_through(ids, mask, 0)
    hidden = runner.run(hidden, 1, 2, mask, positions_of(mask))
    hidden = runner.run(hidden, 2, 3, mask, positions_of(mask))
    logits = runner.family.logits(model, hidden)
    real = mask.bool()
    torch.testing.assert_close(logits[real], reference[real], rtol=0, atol=TOLERANCE[name])
    after = model(input_ids=ids, attention_mask=mask).logits
    assert torch.equal(after, reference), "the model must be as before"


@pytest.mark.parametrize("name", ALL)
def test_a_prefix_in_the_cache_equals_the_full_run(name):
    model = tiny_model(name)
    runner = BlockRunner(model, family_of(model))
    ids = tokens()
    mask = torch.ones_like(ids)
    hidden = runner.embed_through(ids, mask, 0)
    full = runner.capture(hidden, 1, 3, mask, positions_of(mask))
    cut = torch.tensor([2, 4, 5])
    prefix = PrefixCache.before(full, cut, windowed=runner.windowed)
    at = cut[:, None] + torch.arange(4)[None]
    suffix = hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))
    out = runner.run(suffix, 1, 3, torch.ones_like(at), at, prefix)
    reference = model(input_ids=ids).logits
    for row in range(3):
        expected = reference[row, at[row]]
        torch.testing.assert_close(
            runner.family.logits(model, out[row]), expected, rtol=0, atol=TOLERANCE[name]
        )


@pytest.mark.parametrize("name", WINDOWED)
def test_a_gap_before_the_suffix_is_seen_where_there_is_a_window(name):
    """Negative control: windows are short enough to bite, and count places in the cache."""
    model = tiny_model(name)
    runner = BlockRunner(model, family_of(model))
    ids, cut = tokens(), torch.tensor([2, 4, 5])
    mask = torch.ones_like(ids)
    hidden = runner.embed_through(ids, mask, 0)
    full = runner.capture(hidden, 1, 3, mask, positions_of(mask))
    at = cut[:, None] + torch.arange(4)[None]
    suffix = hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))
    right, gap = (
        runner.run(
            suffix,
            1,
            3,
            torch.ones_like(at),
            at,
            PrefixCache.before(full, cut, windowed=windowed),
        )
        for windowed in (True, False)
    )
    assert runner.windowed
    assert float((right[0] - gap[0]).detach().abs().max()) > 1e-4
    torch.testing.assert_close(right[2], gap[2], rtol=0, atol=TOLERANCE[name])  # has no gap


@pytest.mark.parametrize("name", WINDOWED)
def test_padding_beyond_a_window_leaves_the_rows_as_they_are(name):
    """A padded position that sees nothing but padding must not make the others NaN."""
    model = tiny_model(name)
    model.set_attn_implementation("eager")
    runner = BlockRunner(model, family_of(model))
    ids, short = tokens(rows=2, length=14), 3
    mask = torch.ones_like(ids)
    mask[1, short:] = 0
    alone = runner.embed_through(ids[1:, :short], mask[1:, :short], 2)
    padded = runner.embed_through(ids, mask, 2)[1:, :short]
    torch.testing.assert_close(padded, alone, rtol=0, atol=1e-5)


def test_unknown_architecture_is_named():
    with pytest.raises(SpecError, match=r"T5ForConditionalGeneration.*GPT2LMHeadModel"):
        family_for(["T5ForConditionalGeneration"])


def test_a_missing_layer_is_named():
    model = tiny_model("llama")
    with pytest.raises(SpecError, match="blocks 0 to 2"):
        family_of(model).site(model, 3)
