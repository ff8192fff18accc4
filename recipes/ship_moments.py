"""Make the second moments of `smollm2` that come with the package, and say what packing them costs.

    python recipes/ship_moments.py --text FILE... [--passages 1200] [--rank 256]

One pass over the text at the preset's blocks; every C is kept as its leading eigenvectors (float16)
and the diagonal of the rest, C ~ V diag(s) V^T + diag(d). Prints the relative error (Frobenius) of
each; what packing costs in edit success is not measured yet.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from revive.editors.moments import collect_moments
from revive.models.loading import load_model
from revive.models.runner import BlockRunner
from revive.runs.cache import cache_folder
from revive.runs.shipped_moments import FOLDER, pack, unpack

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--passages", type=int, default=1200)
    parser.add_argument("--rank", type=int, default=256)
    parser.add_argument("--about", default="", help="What the text is, for the record.")
    args = parser.parse_args()
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
