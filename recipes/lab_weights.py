"""How coarsely the lab model's weights may be stored: `python recipes/lab_weights.py FOLDER`.

FOLDER is a lab model as training leaves it. Every type is scored on the same items as the weights
that it was made from; `--write` puts those of the type that ships into the package.
"""

import argparse
import copy
import random
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from revive.lab import battery, load_facts, relations
from revive.lab.facts import Fact, state
from revive.lab.weights import KIND, PACKAGED, PACKED, pack, read_packed
from revive.probes.scoring import score_targets

_KINDS = ("Q4_0", "Q4_1", "Q5_0", "Q8_0")
_ASKED = {"recall": (0, False), "paraphrase": (3, False), "held_out": (0, True)}


@dataclass(frozen=True)
class Scores:
    """What a model answers: correct or not and the loss of every item; the battery's measures."""

    exact: Mapping[str, Tensor]
    nll: Mapping[str, Tensor]
    battery: Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a lab model as training leaves it")
    parser.add_argument("--kinds", nargs="+", default=_KINDS)
    parser.add_argument("--facts", type=int, default=300, help="asked in three wordings each")
    parser.add_argument("--write", action="store_true", help=f"put {KIND} into the package")
    options = parser.parse_args(argv)
    whole = load_file(options.folder / "model.safetensors")
    if options.write:
        write(options.folder, whole)
        return
    tokenizer = AutoTokenizer.from_pretrained(options.folder)
    model = AutoModelForCausalLM.from_pretrained(options.folder, dtype=torch.float32).eval()
    editable = [fact for fact in load_facts() if fact.split == "editable"]
    facts = random.Random(0).sample(editable, options.facts)
    first = score(model, tokenizer, facts)
    print(_HEAD)
    print(row("as trained", sum(t.nbytes for t in whole.values()), None, first, first))
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PACKED
            pack({name: t.float().numpy() for name, t in whole.items()}, path, kind)
            rounded = copy.deepcopy(model)
            rounded.load_state_dict(
                {n: torch.from_numpy(v).bfloat16() for n, v in read_packed(path).items()},
                strict=False,  # the head is tied
            )
            packed = path.read_bytes()
        scores = score(rounded, tokenizer, facts)
        print(row(kind, len(packed), len(zlib.compress(packed)), scores, first), flush=True)


def write(folder: Path, whole: Mapping[str, Tensor]) -> None:
    """Put a trained model into the package."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copyfile(path, PACKAGED / path.name)
    pack({name: t.float().numpy() for name, t in whole.items()}, PACKAGED / PACKED)


def score(model: Any, tokenizer: Any, facts: Sequence[Fact]) -> Scores:
    exact, nll = {}, {}
    for name, (index, held_out) in _ASKED.items():
        prompts: list[str] = []
        for fact in facts:
            relation = relations()[fact.relation]
            wording = relation.held_out if held_out else relation.templates
            prompts.append(state(wording[index], fact.subject))
        scored = score_targets(model, tokenizer, prompts, [fact.object for fact in facts])
        exact[name], nll[name] = scored.exact.double(), scored.nll.double()
    items = len(facts) // 2
    return Scores(exact, nll, battery.measure(model, tokenizer, facts=items, pairs=items, copies=items))


_HEAD = (
    "| weights | MB | in the wheel, MB | recall | paraphrase | held out | loss, change | minimal "
    "pairs | kept facts | copying | general | perplexity |\n" + "|---" * 12 + "|"
)


def row(kind: str, size: int, wheel: int | None, scores: Scores, first: Scores) -> str:
    """A row of the table; the loss of a trained wording's answer is compared item by item."""
    apart = scores.nll["recall"] - first.nll["recall"]
    error = float(apart.std()) / len(apart) ** 0.5
    cells = [
        kind,
        f"{size / 1e6:.1f}",
        "–" if wheel is None else f"{wheel / 1e6:.1f}",
        *(f"{float(scores.exact[name].mean()):.3f}" for name in _ASKED),
        f"{float(apart.mean()):+.4f} ± {1.96 * error:.4f}",
        *(f"{scores.battery[n]:.3f}" for n in ("minimal_pairs", "fact_recall", "copying")),
        f"{scores.battery['general']:.3f}",
        f"{scores.battery['perplexity']:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
