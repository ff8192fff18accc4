"""Settings by rule serve models of any scale: the same network with states 30 times as long."""

import re
from dataclasses import replace

import pytest
import torch
from tiny import BUILDERS, byte_tokenizer, tiny_model

from revive.assembly.fit_settings import MOST_CLAMP, MOST_STEPS
from revive.data.edits import Edit
from revive.editors.target_solver.target_settings import TargetSettings
from revive.editors.target_solver.targets import solve_targets
from revive.editors.target_solver.tokenized_edit import TokenizedEdit, encode_edit
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.presets.facts import model_facts
from revive.presets.rule import options_by_rule

# Models whose blocks read the stream through a norm and add to it without one.
FAMILIES = sorted(
    set(BUILDERS) & {"gpt2", "gptj", "gpt_neox", "llama", "mistral", "olmo", "phi", "phi3", "qwen2"}
    | {"qwen3", "stablelm", "starcoder2", "smollm3"}
)
WRITES = re.compile(
    r"(embed_tokens|embed_in|wte|wpe|o_proj|down_proj|c_proj|out_proj|fc_out|attention\.dense"
    r"|self_attn\.dense|fc2|dense_4h_to_h)\.(weight|bias)$"
)
EDITS = (
    Edit(id="a", prompt="We met Ada", subject="Ada", target_new="#"),
    Edit(id="b", prompt="This is Boris", subject="Boris", target_new="@"),
    Edit(id="c", prompt="They say that it was Chen", subject="Chen", target_new="!"),
)


def confident(name):
    """A random model that can be sure of a token, as a trained one is."""
    model = tiny_model(name)
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(40 * head.weight.detach().clone())
    return model


def scaled(model, scale):
    """The same function, with hidden states `scale` times as long."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if WRITES.search(name):
                parameter.mul_(scale)
    return model


def one_token(rows, label):
    """What a random network can be made to say: one token, right after the subject."""
    (row,) = rows.rewrite
    at = row.lookup
    row = replace(row, input_ids=row.input_ids[: at + 1], positions=(at,), labels=(label,))
    return TokenizedEdit((row,), rows.essence)


def solved(model, **changes):
    rows = [one_token(encode_edit(byte_tokenizer(), e, ()), 70 + i) for i, e in enumerate(EDITS)]
    rule = options_by_rule(model_facts(model.config.to_dict()))
    known = TargetSettings.__dataclass_fields__
    # What the trial before the first batch opens where it must, and here it must: these are random.
    opened = {"clamp": MOST_CLAMP, "steps": MOST_STEPS}
    chosen = {k: v for k, v in rule.items() if k in known} | opened | changes
    settings = TargetSettings(layer=1, **chosen)
    return solve_targets(BlockRunner(model, family_of(model)), rows, settings)


@pytest.mark.parametrize("name", FAMILIES)
def test_targets_by_rule_are_the_same_at_any_scale(name):
    ids = torch.tensor([[5, 20, 77, 130]])
    # Long enough for the epsilon of every norm not to count.
    plain, long = scaled(confident(name), 30.0), scaled(confident(name), 900.0)
    with torch.no_grad():
        torch.testing.assert_close(
            long(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=1e-3, atol=2e-3
        )
    # A penalty on delta / ||z_0||^2 is the published one, and has a scale.
    ours, theirs = (solved(m, weight_decay=0.0) for m in (plain, long))
    assert bool(ours.stopped.all()), f"losses {ours.loss.tolist()}"
    assert ours.evaluations.tolist() == theirs.evaluations.tolist()
    torch.testing.assert_close(
        theirs.z, 30.0 * ours.z, rtol=0, atol=0.05 * float(theirs.z.abs().max())
    )
    # Negative control: a step of Adam that serves one scale fails at the other.
    adam = {"optimizer": "adam", "lr": 0.01 * float(ours.z0.norm(dim=1).mean()), "steps": 12}
    assert not bool(solved(long, weight_decay=0.0, **adam).stopped.all())
