"""Asks llama.cpp, in a process of its own: a failed check in it ends the process it runs in.

Reads one JSON request from stdin and writes one JSON line per answered group to stdout; what
llama.cpp itself writes goes to stderr. Imports nothing of ours.
"""

import json
import os
import secrets
import sys
from typing import Any


def main() -> None:
    """Answer the request on stdin.

    The request: `model` and `adapter` (paths; the latter may be null), `threads`, `context` (tokens
    a prompt and its answer take at most) and `groups`, each with `prompts` (texts or lists of
    tokens) and `tokens`, the length of every answer.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request: dict[str, Any] = json.load(sys.stdin)
    server = _server(request)
    for group in request["groups"]:
        done = server.handle_completions(
            {
                "prompt": group["prompts"],
                "n_predict": group["tokens"],
                "temperature": 0.0,
                "logprobs": 1,
                "cache_prompt": False,
            }
        )
        print(json.dumps(_said(done, len(group["prompts"]))), file=answers, flush=True)


def _server(request: dict[str, Any]) -> Any:
    import xllamacpp

    llama: Any = xllamacpp
    slots = max(len(group["prompts"]) for group in request["groups"])
    params = llama.CommonParams()
    params.model.path = request["model"]
    params.n_ctx = slots * request["context"]
    params.n_parallel = slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = request["threads"]
    params.warmup = params.ui = params.endpoint_slots = params.fit_params = False
    # It listens on this machine until the process ends, and obeys nobody else.
    params.port, params.api_keys = 0, [secrets.token_hex()]
    params.verbosity = 2  # errors and warnings
    if request["adapter"] is not None:
        adapter = llama.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = request["adapter"], 1.0
        params.lora_adapters = [adapter]
    return llama.Server(params)


def _said(done: dict[str, Any], count: int) -> list[list[int]]:
    """Tokens of every answer, in the order of the prompts.

    An answer with an end token ends there, and is shorter than asked for.
    """
    if "error" in done:
        raise RuntimeError(done["error"]["message"])
    # One prompt alone comes back in the same form.
    said = sorted(done["choices"], key=lambda choice: choice["index"])
    assert len(said) == count
    return [[token["id"] for token in choice["logprobs"]["content"]] for choice in said]


if __name__ == "__main__":
    main()
