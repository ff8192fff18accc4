"""Make the second moments of `smollm2` that come with the package, and say what packing them costs.

    python recipes/ship_moments.py --text FILE... [--passages 1200] [--rank 256]
    python recipes/ship_moments.py --text FILE... --edits FILE    # what packing costs

One pass over the text at the preset's blocks; every C is kept as its leading eigenvectors (float16)
and the diagonal of the rest, C ~ V diag(s) V^T + diag(d). Prints the relative error (Frobenius) of
each. With edits nothing is written: the first 100 are made in one batch by default settings, with
the moments that come with the package and with those of the same text as they are.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from revive.io.cache import cache_folder
from revive.models.forward.runner import BlockRunner
from revive.models.loading import load_model
from revive.moments.input_moments import collect_moments
from revive.moments.shipped_moments import FOLDER, pack, unpack
from revive.runs.loop import start
from revive.sources.model_config import read_model_config
from revive.spec.parsing import parse_spec
from revive.spec.resolve import resolve

MODEL, LAYERS = "smollm2", (4, 5, 6, 7, 8)


def passages(files, count):
    """So many passages, the same number from every file, evenly over each."""
    found = []
    for path in files:
        lines = [x.strip() for x in Path(path).read_text(encoding="utf-8").splitlines()]
        lines = [x for x in lines if len(x) > 200]
        share = count // len(files)
        found.extend(lines[:: max(1, len(lines) // share)][:share])
    return found


def cost(texts, edits):
    """Edit success of one batch, with packed moments and with whole ones."""
    print("| moments | exact | efficacy | paraphrase | neighbourhood |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text("\n".join(texts), encoding="utf-8")
        for name, source in (("packed", "package"), ("whole", [str(text)])):
            spec = {
                "model": {"name": MODEL, "precision": "fast"},
                "edits": {"path": edits, "limit": 100, "on_conflict": "last"},
                "guard": {"name": "revive", "solve": "constrained"},
                "moments": {"text": source},
                "probes": [{"name": "edits"}],
                "threads": 1,
            }
            whole = resolve(parse_spec(spec, "spec"), read_model_config(MODEL, None))
            final = start(whole, Path(folder) / name)["final"]
            columns = ("efficacy_exact", "efficacy", "paraphrase", "neighborhood")
            print(f"| {name} | {' | '.join(f'{final[c]:.3f}' for c in columns)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--passages", type=int, default=1200)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--about", default="", help="What the text is, for the record.")
    parser.add_argument("--edits", help="CounterFact: measure instead of packing.")
    args = parser.parse_args()
    if args.edits:
        cost(passages(args.text, args.passages), args.edits)
        return
    loaded = load_model(MODEL)
    runner = BlockRunner(loaded.model, loaded.family)
    sites = loaded.family.sites(loaded.model, layers=LAYERS)
    moments = collect_moments(
        runner,
        loaded.tokenizer,
        sites,
        passages(args.text, args.passages),
        cache=cache_folder(),
        model_fingerprint=loaded.forward_fingerprint,
        progress=lambda done, total: print(f"{done}/{total}", end="\r", flush=True),
    )
    tensors = {}
    for key, moment in moments.items():
        packed = pack(moment.value(), args.rank)
        tensors.update({f"{key}.{part}": value for part, value in packed.items()})
        value = moment.value()
        error = torch.linalg.matrix_norm(unpack(packed) - value) / torch.linalg.matrix_norm(value)
        print(f"{key}: {moment.count} tokens, relative error {float(error):.4f}")
    count = next(iter(moments.values())).count
    FOLDER.mkdir(exist_ok=True)
    record = {"fingerprint": loaded.forward_fingerprint, "tokens": str(count), "about": args.about}
    save_file(tensors, FOLDER / f"{MODEL}.safetensors", metadata=record)
    size = (FOLDER / f"{MODEL}.safetensors").stat().st_size
    print(f"{FOLDER / MODEL}.safetensors: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
