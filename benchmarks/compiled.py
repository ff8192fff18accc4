"""Does `torch.compile` pay in the target solver?

    python -m benchmarks.compiled --shape lab --edits 40

The solver runs the blocks above the edited one some twenty times a batch, there and back; torch can
compile their forwards into fused kernels, and on a GPU record them as CUDA graphs. Each way solves
the same targets: once with the compilation, then timed. The blocks take rows of every number and
length, so shapes are dynamic.
"""

import argparse
import os
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
import torch._dynamo.config
from torch import Tensor, nn

from benchmarks.machine import timed
from benchmarks.row import relative
from benchmarks.shapes import SHAPES
from benchmarks.stage import Stage, prepare
from revive.editors.target_editor import target_settings
from revive.editors.target_solver.targets import solve_targets

# With and without a prefix, one row or many, with a gradient or not: more than torch expects.
_KERNELS = 64


@dataclass(frozen=True)
class Account:
    """What one way took.

    Attributes:
        way: Its name.
        first: Seconds with the compilation.
        later: Median seconds after it.
        z: Targets, `[n, d]`.
    """

    way: str
    first: float
    later: float
    z: Tensor


def main(arguments: list[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compiled",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shape", default="lab", choices=sorted(SHAPES))
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3, help="times after the first")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--precision", default="strict", choices=("strict", "fast"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: every core")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    stage = prepare(SHAPES[chosen.shape], chosen.dtype, chosen.precision, device, chosen.edits)
    blocks = list(stage.loaded.family.blocks_of(stage.loaded.model))
    mlps = [block.get_submodule(stage.loaded.family.mlp) for block in blocks]
    ways: list[tuple[str, Sequence[nn.Module], str]] = [
        ("eager", (), "default"),
        ("MLPs compiled", mlps, "default"),
        ("blocks compiled", blocks, "default"),
    ]
    if device.type == "cuda":
        ways.append(("blocks in CUDA graphs", blocks, "reduce-overhead"))
    found: list[Account] = []
    for way, modules, mode in ways:
        print(way, file=sys.stderr, flush=True)
        with _compiled(modules, mode):
            found.append(_solved(stage, way, chosen.repeat))
    print(_table(found))
    return 0


@contextmanager
def _compiled(modules: Sequence[nn.Module], mode: str) -> Generator[None, None, None]:
    """Exchange the modules' forwards for compiled ones."""
    torch.compiler.reset()
    for module in modules:
        # The forward alone: hooks on blocks come and go with every slice that is run.
        module.forward = torch.compile(module.forward, dynamic=True, mode=mode)
    try:
        with torch._dynamo.config.patch(recompile_limit=_KERNELS):
            yield
    finally:
        for module in modules:
            del module.forward


def _solved(stage: Stage, way: str, repeat: int) -> Account:
    settings = target_settings(stage.shape.options, stage.sites[-1].layer)

    def solve() -> Tensor:
        return solve_targets(stage.runner, stage.rows, settings).z

    z, first = timed(solve, stage.device)
    return Account(way, first, median(timed(solve, stage.device)[1] for _ in range(repeat)), z)


def _table(found: Sequence[Account]) -> str:
    eager = found[0]
    lines = ["| way | first time, s | later, s | of eager | difference |", "|:--|--:|--:|--:|--:|"]
    for account in found:
        lines.append(
            f"| {account.way} | {account.first:.3g} | {account.later:.3g} | "
            f"{account.later / eager.later:.0%} | {relative(account.z, eager.z):.0e} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
