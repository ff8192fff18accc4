"""Read the golden values of an independent implementation (numbers only)."""

import json

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from revive.editors.target_solver.tokenized_edit import TokenizedEdit, TokenizedPrompt
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from shared import shared

MODELS = ("gpt2", "gptj", "llama-bos", "stories260K-llama")


def golden(model, dtype, method):
    """Tensors and json of one method."""
    folder = shared("goldens", model, dtype)
    return load_file(folder / f"{method}.safetensors"), json.loads(
        (folder / f"{method}.json").read_text()
    )


def hparams(model, method="MEMIT"):
    return json.loads(shared("goldens", model, "hparams.json").read_text())[method]


def covariance(model, layer):
    return load_file(shared("goldens", model, "cov.safetensors"))[f"C.l{layer}"].double()


def load_runner(model, dtype):
    loaded = AutoModelForCausalLM.from_pretrained(
        shared("goldens", model, "model"), dtype=dtype
    ).eval()
    return BlockRunner(loaded, family_of(loaded))


def token_rows(model, batch):
    """Rows as the reference tokenised them: labels and positions are taken as stored."""
    tokens = json.loads(shared("goldens", model, "tokens.json").read_text())[batch]
    edits = []
    for request in tokens:
        targets = tuple(request["target_ids"])
        rewrite = tuple(
            TokenizedPrompt(tuple(ids), lookup, tuple(positions), targets)
            for ids, lookup, positions in zip(
                request["input_ids"][:-1],
                request["lookup_idxs"][:-1],
                request["target_positions"],
                strict=True,
            )
        )
        last = request["lookup_idxs"][-1]
        essence = TokenizedPrompt(tuple(request["input_ids"][-1][: last + 1]), last)
        edits.append(TokenizedEdit(rewrite, essence))
    return edits


def close(actual, expected, tolerance):
    """Largest absolute difference over the largest absolute golden value."""
    actual, expected = torch.as_tensor(actual).double(), torch.as_tensor(expected).double()
    error = float((actual - expected).abs().max() / expected.abs().max())
    assert error <= tolerance, f"relative difference {error:.2e} > {tolerance:.0e}"
