"""A real model's edits in the forms that others run: what llama.cpp says of them, and ours.

llama.cpp is asked in a process without our package.
"""

import json
import subprocess
import sys

import gguf
import pytest
from e2e_runs import revive
from safetensors.torch import load_file

from named_model import fetched_file, linked
from revive import load_edits, load_model
from revive.export.run import export_run
from revive.probes.edits import score_edits
from shared import ROOT

FACTS = ROOT / "examples" / "facts.jsonl"
# Minutes beside other work; the edit and both exports count as the first test's.
pytestmark = pytest.mark.timeout(3600)
UNRELATED = [
    "The capital of France is",
    "The capital of Germany is",
    "The sun rises in the",
    "Water boils at 100 degrees",
    "The largest planet in the solar system is",
    "The opposite of hot is",
]

ASK = """
import json, sys
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
if sys.argv[3:]:
    adapter = xllamacpp.CommonAdapterLoraInfo()
    adapter.path, adapter.scale = sys.argv[3], 1.0
    params.lora_adapters = [adapter]
params.n_ctx, params.port, params.warmup, params.verbosity = 512, 0, False, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
assert "revive" not in sys.modules
said = []
for prompt in json.loads(sys.argv[2]):
    done = server.handle_completions({"prompt": prompt, "n_predict": 3, "temperature": 0.0})
    said.append(done["choices"][0]["text"].strip())
print(json.dumps(said))
"""


def ask(file, prompts, *adapter):
    """What llama.cpp answers to each prompt."""
    command = [sys.executable, "-c", ASK, file, json.dumps(prompts), *adapter]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def original(pytestconfig):
    """The file that `smollm2` is converted from. Not to be changed."""
    return fetched_file(pytestconfig.cache.mkdir("models"))


@pytest.fixture(scope="module")
def run(smollm2, original, tmp_path_factory):
    """A run of four facts on `smollm2`, in a cache that has its folder and its file."""
    cache = linked(smollm2, tmp_path_factory.mktemp("own"))
    (cache / "revive" / "models" / original.parent.name).symlink_to(original.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        out = tmp_path_factory.mktemp("run") / "edited"
        revive("edit", "smollm2", FACTS, "--out", out, "--set", "probes=[]", "--quiet", timeout=900)
        yield out.with_name("edited.run")


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Files of the run by format, and what the command said of each."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install xllamacpp")
    folder = tmp_path_factory.mktemp("files")

    def export(form):
        file = folder / f"{form}.gguf"
        said = revive(
            "export", run, file, "--format", form, "--json", "--quiet", timeout=900
        ).stdout
        return file, json.loads(said)

    return {form: export(form) for form in ("gguf", "gguf-lora")}


@pytest.fixture(scope="module")
def facts():
    found = [json.loads(line) for line in FACTS.read_text("utf-8").splitlines()]
    return {f["prompt"].replace("{}", f["subject"]): f for f in found}


@pytest.mark.parametrize("form", ["gguf", "gguf-lora"])
def test_llama_cpp_gives_the_new_answers_and_no_others(form, exported, original, facts):
    file, said = exported[form]
    prompts = [*facts, *UNRELATED]
    before = ask(original, prompts)
    after = ask(original, prompts, file) if form == "gguf-lora" else ask(file, prompts)
    for answer, new, fact in zip(before, after, facts.values(), strict=False):
        assert not answer.startswith(fact["target_new"])  # or the next line would say nothing
        assert new.startswith(fact["target_new"])
    assert before[3].startswith("Oslo")
    said_of_others = [[x.split()[0] for x in found[len(facts) :]] for found in (before, after)]
    assert said_of_others[0] == said_of_others[1]
    assert said_of_others[1][:2] == ["Paris.", "Berlin."]
    counts = said["llama_cpp"]
    assert (counts["asked"], counts["stand"]) == (4, 4)
    assert (counts["unedited"], counts["before"], counts["reached"]) == (0, 4, 4)
    assert counts["kept"] > 40
    card = file.with_suffix(".md").read_text("utf-8")
    assert "In llama.cpp 4 of 4 edits answer with the new target, 4 before writing" in card
    assert "license: apache-2.0" in card


def test_what_was_not_edited_is_the_original_file(exported, original):
    file, said = exported["gguf"]
    old, new = ({t.name: t for t in gguf.GGUFReader(f).tensors} for f in (original, file))
    changed = {name for name in old if old[name].data.tobytes() != new[name].data.tobytes()}
    assert changed == {f"blk.{layer}.ffn_down.weight" for layer in (4, 5, 6, 7, 8)}
    assert {new[name].tensor_type.name for name in changed} == set(said["types"].values())
    assert list(old) == list(new)


def test_an_adapter_has_one_rank(exported):
    file, said = exported["gguf-lora"]
    held = gguf.GGUFReader(file)
    shapes = {t.name: tuple(map(int, t.shape)) for t in held.tensors}
    rank = max(said["ranks"].values())
    assert {shape[1] for name, shape in shapes.items() if name.endswith("lora_a")} == {rank}
    assert {shape[0] for name, shape in shapes.items() if name.endswith("lora_b")} == {rank}
    assert held.fields["adapter.lora.alpha"].contents() == rank
    assert held.fields["general.architecture"].contents() == "llama"


def test_the_original_may_be_another_rounding_of_the_same_model(run, original, tmp_path):
    # A base from safetensors has no file of its own: one that was made from it is named.
    file = tmp_path / "base.gguf"
    file.write_bytes(original.read_bytes())
    out = tmp_path / "out.gguf"
    given = ("--format", "gguf", "--gguf", file, "--keep-type", "--no-check", "--json", "--quiet")
    said = json.loads(revive("export", run, out, *given).stdout)
    assert set(said["types"].values()) == {"Q4_1"}
    assert said["llama_cpp"] is None
    assert said["rounding"]["share"] > 0.5  # what the card and the command warn of
    assert "changed them by" in said["note"]


def answered(loaded):
    """Facts that a model answers, by a measurement of its own."""
    edits = load_edits(FACTS).edits
    return int(score_edits(loaded.model, loaded.tokenizer, edits).exact.sum())


def test_what_a_small_rank_still_answers_is_measured(run, smollm2, tmp_path):
    done = export_run(run, tmp_path / "small", "lora", rank=1)
    assert (done.kept.stand, done.kept.asked, done.kept.before) == (4, 4, 4)
    loaded = load_model(str(smollm2), device="cpu")
    assert answered(loaded) == 0
    tensors = load_file(done.path / "adapter_model.safetensors")
    for key in done.ranks:
        module = key.removesuffix(".weight")
        left, right = (tensors[f"base_model.model.{module}.lora_{x}.weight"] for x in "BA")
        loaded.model.get_parameter(key).data += left @ right
    assert done.kept.reached == answered(loaded) < 4
    assert f"{done.kept.reached} of 4 edits answer with the new target" in done.note
    assert export_run(run, tmp_path / "exact", "lora").kept is None
    assert export_run(run, tmp_path / "not", "lora", rank=1, check=False).kept is None


def test_what_rounding_leaves_is_measured(run, tmp_path):
    done = export_run(run, tmp_path / "half", "hf", dtype="bfloat16")
    found = answered(load_model(str(tmp_path / "half"), device="cpu"))
    # The edited weights are what was asked about; here the others were rounded, too.
    assert done.kept.before == 4
    assert found > 0
    assert done.kept.reached == pytest.approx(found, abs=1)
    card = (tmp_path / "half" / "README.md").read_text("utf-8")
    assert f"{done.kept.reached} of 4 edits answer with the new target in what was written" in card
