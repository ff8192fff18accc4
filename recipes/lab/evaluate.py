"""Evaluate a trained lab model: `python -m recipes.lab.evaluate MODEL --data DIR`."""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from revive.lab.facts import Fact, load_facts, relations, state
from revive.lab.weights import model_path
from revive.probes import lab_battery
from revive.scoring.score import pair_accuracy, perplexity, score_targets

_LOG = logging.getLogger(__name__)

_BLIMP_PAIRS = 200  # per paradigm; 67 paradigms


def evaluate(
    folder: Path, data: Path, device: str = "cpu", *, facts: int | None = None
) -> dict[str, float]:
    """Recall on all editable facts, the battery, and public sets where `data` has them.

    Args:
        folder: Hugging Face folder of the model.
        data: Folder with `general/blimp` and `text/wikitext-2`; parts that are missing are left
            out of the result.
        device: Torch device.
        facts: Measure the first so many editable facts and a battery of as many items, and no
            public sets; None measures everything.

    Returns:
        `recall` (first template), `paraphrase` (the other trained templates), `held_out`
        (templates never trained on), the battery's measures on all kept facts, and `blimp`
        accuracy and `wikitext2` token perplexity.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model: nn.Module = loaded.to(device)
    asked = [fact for fact in load_facts() if fact.split == "editable"][:facts]
    items = {"facts": 10**6, "pairs": 500, "copies": 200}
    if facts is not None:
        items = dict.fromkeys(items, facts)
    result = {
        "recall": _recall(model, tokenizer, asked, [0]),
        "paraphrase": _recall(model, tokenizer, asked, range(1, 7)),
        "held_out": _recall(model, tokenizer, asked, range(2), held_out=True),
        **lab_battery.measure(model, tokenizer, **items),
    }
    if facts is not None:
        return {key: round(value, 4) for key, value in result.items()}
    blimp = sorted((data / "general" / "blimp").glob("*.jsonl"))
    if blimp:
        result["blimp"] = _blimp(model, tokenizer, blimp)
    wikitext = data / "text" / "wikitext-2" / "test.txt"
    if wikitext.is_file():
        text = wikitext.read_text(encoding="utf-8")
        result["wikitext2"] = perplexity(model, tokenizer, text, window=lab_battery.WINDOW)
    return {key: round(value, 4) for key, value in result.items()}


def _recall(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    facts: Sequence[Fact],
    templates: Sequence[int],
    held_out: bool = False,
) -> float:
    prompts: list[str] = []
    targets: list[str] = []
    for fact in facts:
        relation = relations()[fact.relation]
        wording = relation.held_out if held_out else relation.templates
        prompts += [state(wording[index], fact.subject) for index in templates]
        targets += [fact.object] * len(templates)
    return score_targets(model, tokenizer, prompts, targets).exact.double().mean().item()


def _blimp(model: nn.Module, tokenizer: PreTrainedTokenizerBase, files: Sequence[Path]) -> float:
    shares: list[float] = []
    for path in files:
        lines = path.read_text(encoding="utf-8").splitlines()[:_BLIMP_PAIRS]
        rows = [json.loads(line) for line in lines]
        good = [row["sentence_good"] for row in rows]
        bad = [row["sentence_bad"] for row in rows]
        shares.append(pair_accuracy(model, tokenizer, good, bad))
    return sum(shares) / len(shares)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate and log the result as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "model", type=Path, nargs="?", help="a folder [default: the embedded model]"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    _LOG.info(
        "%s", json.dumps(evaluate(options.model or model_path(), options.data, options.device))
    )


if __name__ == "__main__":
    main()
