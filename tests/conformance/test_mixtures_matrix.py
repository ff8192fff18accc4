"""What all editors and guards promise, on mixtures of experts; and what is refused there."""

import itertools

import pytest
import torch
from matrix import BATCHES, DTYPES, engine, options
from test_matrix import conforms, outside
from tiny import MIXTURES, byte_tokenizer, tiny_model

from revive import registry
from revive.assembly.build import build
from revive.data.edits import Edit
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.errors import SpecError
from revive.guards import Revive
from revive.models.family import family_of
from revive.models.loading import LoadedModel
from revive.spec.expert_limits import EDITORS
from revive.spec.schema import RunSpec

WHERE = list(itertools.product(sorted(MIXTURES), DTYPES))
GUARDS = registry.names("guards")
CASES = {
    (editor, guard, *WHERE[(i + 3 * j) % len(WHERE)])
    for (i, editor), (j, guard) in itertools.product(
        enumerate(sorted(EDITORS)), enumerate(("none", "revive"))
    )
    if (i + j) % 2
} | {("memit-seq", guard, *WHERE[j % len(WHERE)]) for j, guard in enumerate(GUARDS)}


@pytest.mark.parametrize(("editor", "guard", "family", "dtype"), sorted(CASES))
def test_what_all_promise(editor, guard, family, dtype):
    conforms(editor, guard, family, dtype)


@pytest.mark.parametrize("name", sorted(MIXTURES))
def test_a_guarded_edit_succeeds_and_leaves_protected_directions_alone(name):
    edits = [
        Edit(id="a", prompt="We met Ada", subject="Ada", target_new="#"),
        Edit(id="b", prompt="This is Boris", subject="Boris", target_new="@"),
    ]
    leaks = {}
    for guard in ("revive", "none"):
        made = engine("memit-seq", guard, name, "fp32", steps=25, lr=0.5, ridge=1.0)
        result = made.apply(edits)
        model = made.context.runner.model
        for edit in edits:
            row = encode_edit(byte_tokenizer(), edit, ()).rewrite[0]
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([row.input_ids])).logits[0]
            assert int(logits[row.positions[0]].argmax()) == row.labels[0]
        mixed = [a for a in result.applied if a.site.expert is not None]
        assert len(mixed) > 1, "several experts write one residual"
        bases = engine("memit-seq", "revive", name, "fp32").guard
        leaks[guard] = max(
            outside(bases.basis(a.site.key), made.ledger.delta(a.site.key), "both") for a in mixed
        )
    assert leaks["revive"] < 1e-5
    assert leaks["none"] > 1e-2  # the control


def test_only_experts_that_are_met_are_fitted_and_factorised():
    made = engine("memit-seq", "revive", "mixtral", "fp32")
    assert made.guard._protectors == {}
    assert made.editor._equations == {}
    result = made.apply(BATCHES[0])
    met = {a.site.key for a in result.applied}
    assert met == set(made.editor._equations) == set(made.guard._protectors)
    assert met < set(made.ledger.sites), "an expert was left alone"


def test_the_list_that_needs_no_torch_is_what_the_editors_say():
    built_in = [n for n in registry.names("editors") if registry.is_builtin("editors", n)]
    able = {n for n in built_in if registry.load("editors", n).edits_experts}
    assert able == EDITORS


def build_with(editor, guard=None):
    """Build a run's engine on a mixture that is in memory already."""
    model = tiny_model("mixtral", dtype=torch.float32)
    loaded = LoadedModel("m", model, byte_tokenizer(), family_of(model), "fingerprint")
    given = {k: v for k, v in options(editor).model_dump().items() if v is not None}
    data = {"model": "m", "edits": "lab", "editor": {"name": editor, **given}}
    spec = RunSpec.model_validate({**data, "moments": {"text": "lab"}})
    return build(spec, loaded, BATCHES[0], guard=guard)


@pytest.mark.parametrize("editor", ["nse", "rome", "ultraedit"])
def test_an_editor_that_cannot_is_refused_before_anything_is_touched(editor):
    with pytest.raises(SpecError, match=f"{editor} writes to one projection a layer.*memit"):
        build_with(editor)


@pytest.mark.parametrize("solve", ["constrained", "weighted"])
def test_a_guard_that_solves_is_refused(solve):
    with pytest.raises(SpecError, match=f"{solve} is for one projection"):
        build_with("memit", Revive(solve=solve))
