"""Imports everything once, then starts the command in forked processes, one per line on stdin.

Importing takes seconds; a process that is killed twenty times cannot pay that every time. Each
child is a real process in a group of its own, so that killing it is a real kill.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

import revive.cli.main as command
from revive.cli import watch  # noqa: F401
from revive.editors.target_solver.context_templates import generate_context_templates
from revive.guards import controls  # noqa: F401
from revive.models.loading import load_model
from revive.probes import edits, spectrum  # noqa: F401
from revive.runs import loop  # noqa: F401


def child(argv, log):
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.argv = ["revive", *argv]
        command.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve(model):
    """`{"argv": [...], "log": path}` answers a process id, `{"wait": id}` its wait status."""
    torch.set_num_threads(1)
    # Much is imported at the first use of a model only.
    loaded = load_model(model)
    generate_context_templates(loaded.model, loaded.tokenizer, count=1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = os.waitpid(request["wait"], 0)[1]
        else:
            answer = os.fork()
            if answer == 0:
                child(request["argv"], Path(request["log"]))
            # Here too: whoever is answered may kill the group before the child has made it.
            with suppress(OSError):
                os.setpgid(answer, answer)
        print(answer, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
