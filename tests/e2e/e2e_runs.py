"""Short runs and what is left of them: files, events, numbers."""

import json
import subprocess
import sys

import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from revive.runs.loop import start
from revive.runs.rebuild import finish_model
from revive.spec.parsing import load_spec, read_model_config, resolve

PEOPLE = ("Ada", "Boris", "Clara", "Dmitri", "Elena", "Farid", "Gerda")
CITIES = ("Rome", "Oslo", "Lima", "Cairo", "Quito")
SITES = tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (0, 1))

# Runs without our package on the path: what was saved must not need it.
FOREIGN = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
assert "revive" not in sys.modules
torch.set_num_threads(1)
found = {}
for prompt in json.loads(sys.argv[2]):
    ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        found[prompt] = model(input_ids=ids).logits[0].tolist()
json.dump(found, sys.stdout)
"""


def short_editor(**settings):
    """MEMIT with history, on two blocks, with a few steps."""
    return {
        **{"name": "memit-seq", "layers": [0, 1], "ridge": 1000.0, "steps": 4, "lr": 0.1},
        **{"weight_decay": 0.0, "kl_factor": 0.0625, "clamp": 4.0, "contexts": 1},
        "context_length": 3,
        **settings,
    }


def write_edits(path, count):
    """Edits of different lengths, with paraphrases and neighbours, no two of one subject."""
    lines = []
    for n in range(count):
        person = f"{PEOPLE[n % len(PEOPLE)]} {'Bo' * (n // len(PEOPLE))}".strip()
        city = CITIES[n % len(CITIES)]
        fields = {
            "id": f"home-{n}",
            "prompt": f"{person} lives in",
            "subject": person,
            "target_new": city,
            "target_true": CITIES[(n + 1) % len(CITIES)],
            "paraphrases": [f"The home of {person} is"],
            "neighborhood": [{"prompt": "Zoe lives in", "target": "Bern"}],
        }
        lines.append(json.dumps(fields) + "\n")
    path.write_text("".join(lines), "utf-8")
    return path


def write_spec_in(
    folder, tiny_folder, corpus, *, name="spec.yaml", edits=13, whole_editor=None, **parts
):
    """Write a spec of a short run, and so many edits; keywords replace its parts."""
    if isinstance(edits, int):
        edits = {"path": str(write_edits(folder / "edits.jsonl", edits)), "batch_size": 2}
    whole = {
        "model": {"name": str(tiny_folder), "device": "cpu"},
        "edits": edits,
        "editor": whole_editor or short_editor(**parts.pop("editor", {})),
        "guard": {"name": "revive"},
        "probes": [{"name": "edits", "every": 3, "sample": 4}, {"name": "spectrum"}],
        "checkpoint": {"every": 2},
        "moments": {"text": [str(corpus)]},
        "threads": 1,
        **parts,
    }
    path = folder / name
    path.write_text(yaml.safe_dump(whole), "utf-8")
    return path


def run_here(spec, folder):
    """`revive run`, in this process."""
    read = load_spec(spec)
    return start(resolve(read, read_model_config(read.model.name)), folder)


def revive(*args, timeout=240, **options):
    """The command, in a process of its own; fails with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "revive.cli.main", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=timeout,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done


def journal(folder):
    """All events of a run."""
    lines = (folder / "journal.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def batches(folder):
    """Its batch events that stand, the last of each step, without what the clock decides."""
    clock = ("time", "seconds", "sum")
    last = {e["step"]: e for e in journal(folder) if e["event"] == "batch"}
    return [{k: v for k, v in last[step].items() if k not in clock} for step in sorted(last)]


CLOCK = ("seconds", "peak_memory_bytes", "journal_time", "checksum")


def metrics(folder):
    """Its summary, without what the clock and the machine decide."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    return {k: v for k, v in summary.items() if k not in CLOCK}


def update_files(folder):
    """The bytes of every stored update."""
    return {p.name: p.read_bytes() for p in sorted((folder / "updates").iterdir())}


def same_end(folder, calm):
    """Fail unless a run ended, to the bit, as an undisturbed one did."""
    assert batches(folder) == batches(calm)
    assert metrics(folder) == metrics(calm)
    assert update_files(folder) == update_files(calm)
    assert (folder / "edits.json").read_bytes() == (calm / "edits.json").read_bytes()
    saved, wanted = (sorted((f / "checkpoints").glob("*.safetensors")) for f in (folder, calm))
    assert [p.name for p in saved] == [p.name for p in wanted]
    assert equal_tensors(load_file(saved[-1]), load_file(wanted[-1]))
    assert journal(folder)[-1]["event"] == "finish"


def cut_after(folder, kind, step):
    """Leave the journal as a kill right after one event would, and drop what came later."""
    path = folder / "journal.jsonl"
    lines = path.read_text("utf-8").splitlines(keepends=True)
    events = [json.loads(line) for line in lines]
    at = next(i for i, e in enumerate(events) if (e["event"], e["step"]) == (kind, step))
    path.write_text("".join(lines[: at + 1]), "utf-8")
    (folder / "journal.head").unlink(missing_ok=True)
    done = max((e["step"] for e in events[: at + 1] if e["event"] == "batch"), default=0)
    for part in ("updates", "checkpoints", "measures"):
        for file in (folder / part).glob("*"):
            if int(file.name.partition(".")[0]) > done:
                file.unlink()
    for name in ("summary.json", "edits.json", "edits.csv"):
        (folder / name).unlink()


def rewrite_journal(folder, events):
    """Write a journal anew, as versions did that kept no checksums."""
    lines = [json.dumps({k: v for k, v in e.items() if k != "sum"}) + "\n" for e in events]
    (folder / "journal.jsonl").write_text("".join(lines), "utf-8")
    (folder / "journal.head").unlink(missing_ok=True)


def as_older_version(folder):
    """Make a run one of a version that kept no checksums, seals or identities."""
    later = {"update", "state", "outcomes", "table", "identity", "model_fingerprint", "spec"}
    rewrite_journal(
        folder, [{k: v for k, v in e.items() if k not in later} for e in journal(folder)]
    )
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            ids = {k: v for k, v in (file.metadata() or {}).items() if k == "ids"}
        save_file(load_file(path), path, ids or None)
    for name in ("summary.json", "edits.json"):
        content = json.loads((folder / name).read_text("utf-8"))
        kept = {k: v for k, v in content.items() if k not in ("checksum", "journal_time")}
        (folder / name).write_text(json.dumps(kept), "utf-8")


def equal_tensors(a, b):
    """Same names, same bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def edited_weights(folder, to=None):
    """The weights of a run's edited sites, rebuilt from the folder."""
    model = finish_model(folder, to).model
    return {k: model.get_parameter(k).detach().clone() for k in SITES}


def logits_elsewhere(folder, prompts):
    """Logits by stock transformers, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", FOREIGN, str(folder), json.dumps(prompts)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {k: torch.tensor(v) for k, v in json.loads(done.stdout).items()}


def logits_here(loaded, prompt):
    """Logits of a model in memory."""
    ids = loaded.tokenizer(prompt, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return loaded.model(input_ids=ids).logits[0]
