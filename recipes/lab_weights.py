"""How coarsely the lab model's weights may be stored: `python recipes/lab_weights.py FOLDER`.

FOLDER is a lab model as training leaves it. Every type is scored on the same items as the weights
that it was made from (five minutes on one core); `--write` puts the type that ships into the
package, its row on the card.
"""

import argparse
import random
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from revive.lab import load_facts, relations
from revive.lab.facts import Fact, state
from revive.lab.weights import KIND, PACKAGED, PACKED, pack, read_packed
from revive.probes import lab_battery
from revive.scoring.score import score_targets

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
    rows = [_HEAD]
    print(_HEAD)
    for line in compare(options.folder, (KIND,) if options.write else options.kinds, options.facts):
        print(line, flush=True)
        rows.append(line)
    if options.write:
        write(options.folder, "\n".join(rows))


def compare(folder: Path, kinds: Sequence[str], asked: int) -> Iterator[str]:
    """A row of the table for the model as it is, and one for every kind."""
    whole = as_arrays(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    editable = [fact for fact in load_facts() if fact.split == "editable"]
    facts = random.Random(0).sample(editable, asked)
    first = score(model, tokenizer, facts)
    yield row("as trained", sum(values.size * 2 for values in whole.values()), None, first, first)
    for kind in kinds:
        with tempfile.TemporaryDirectory() as private:
            path = Path(private) / PACKED
            pack(whole, path, kind)
            rounded = {n: torch.from_numpy(v).bfloat16() for n, v in read_packed(path).items()}
            packed = path.read_bytes()
        model.load_state_dict(rounded, strict=False)  # the head is tied
        scores = score(model, tokenizer, facts)
        yield row(kind, len(packed), len(zlib.compress(packed)), scores, first)


def as_arrays(folder: Path) -> dict[str, NDArray[np.float32]]:
    tensors = load_file(folder / "model.safetensors")
    return {name: values.float().numpy() for name, values in tensors.items()}


def write(folder: Path, table: str) -> None:
    """Put a trained model into the package, and on its card what packing cost."""
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".safetensors":
            shutil.copyfile(path, PACKAGED / path.name)
    pack(as_arrays(folder), PACKAGED / PACKED)
    card = PACKAGED / "README.md"
    card.write_text(card.read_text("utf-8") + _SECTION + table + "\n", "utf-8")


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
    return Scores(
        exact, nll, lab_battery.measure(model, tokenizer, facts=items, pairs=items, copies=items)
    )


_HEAD = (
    "| weights | MB | zipped | recall | paraphrase | held out | change of loss "
    "| minimal pairs | kept facts | copying | general | perplexity |\n" + "|---" * 12 + "|"
)
_SECTION = f"""
## Packing

The package holds the weights in four bits each, blocks of 32 with a scale (GGUF {KIND}); the first
use writes them out in bfloat16, the same bytes everywhere. The table above was measured before;
this one compares the two on the same items (`python recipes/lab_weights.py FOLDER`). Change of
loss: of the answers to the first template, fact by fact, with a 95 % interval.

"""


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
