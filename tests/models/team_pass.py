"""One process of a pass over text that several share; writes down what became of every part.

torchrun --nproc-per-node N team_pass.py CACHE RESULTS PART...
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from tiny import byte_tokenizer, tiny_model

from revive.errors import ReviveError
from revive.models.family import family_of
from revive.models.forward.runner import BlockRunner
from revive.moments import second_moment_pass
from revive.moments.input_moments import collect_moments
from revive.moments.torchrun import team

TEXTS = [f"{n} The ship {n * 7919 % 1000} left at dawn; {n * 31 % 77} saw it." for n in range(90)]
SAVE_EVERY = 5


def one_pass(cache, processes=None, *, texts=TEXTS, before=None, model=None):
    """The moments of two blocks' inputs, and the numbers of batches that were told."""
    second_moment_pass._LARGEST, second_moment_pass._TOKENS_PER_SAVE = SAVE_EVERY, 1
    model = tiny_model("llama", dtype=torch.float32) if model is None else model
    runner = BlockRunner(model, family_of(model))
    told = []

    def progress(done, total):
        told.append(done)
        if before is not None:
            before(done, total)

    found = collect_moments(
        runner,
        byte_tokenizer(),
        runner.family.sites(model, layers=[0, 1]),
        texts,
        cache=cache,
        tokens_per_batch=64,
        progress=progress,
        **({} if processes is None else {"team": processes}),
    )
    return found, told


def failing(rank):
    """The model of a process that was damaged."""
    model = tiny_model("llama", dtype=torch.float32)
    if rank == 1:
        with torch.no_grad():
            model.model.layers[1].mlp.up_proj.weight.fill_(float("inf"))
    return model


def dying(rank):
    """What kills the second process in its third chunk."""

    def before(done, _total):
        if rank == 1 and done >= 3 * SAVE_EVERY:
            os.kill(os.getpid(), signal.SIGKILL)

    return before


def main(cache, results, *parts):
    torch.set_num_threads(1)
    with team("cpu", False) as (processes, _):
        whole = {
            "whole": {},
            "failing": {"model": failing(processes.rank)},
            "other text": {"texts": [*TEXTS, "more"] if processes.rank else TEXTS},
            "dying": {"before": dying(processes.rank)},
        }
        became = {}
        for part in parts:
            try:
                found, told = one_pass(Path(cache) / part, processes, **whole[part])
                became[part] = {"moments": len(found), "told": told}
            except ReviveError as error:
                became[part] = {"error": str(error), "code": error.exit_code}
        Path(results, f"{processes.rank}.json").write_text(json.dumps(became), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
