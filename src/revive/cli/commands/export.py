"""`revive export`: a run's model for other tools."""

from contextlib import nullcontext
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from revive.cli.model_options import TrustRemoteCode
from revive.cli.output import print_json, say
from revive.wording import counted


class Format(StrEnum):
    """What is written."""

    HF = "hf"
    DELTA = "delta"
    LORA = "lora"
    GGUF = "gguf"
    GGUF_LORA = "gguf-lora"


def export(
    run: Annotated[Path, typer.Argument(help="Run folder; it may be unfinished.")],
    out: Annotated[Path, typer.Argument(help="Folder to write; of gguf and gguf-lora the file.")],
    format_: Annotated[
        Format,
        typer.Option(
            "--format", help="Model folder, factors, PEFT adapter, GGUF file, adapter for one."
        ),
    ] = Format.HF,
    step: Annotated[
        int | None, typer.Option(min=0, help="After this batch \\[default: the last].")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Of an adapter \\[default: as much as is exact].")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="Of a model folder: float32, bfloat16, ... \\[default: the base's]. Of the edited "
            "tensors of a GGUF file: float16, q8_0, ... \\[default: float16, which keeps edits]."
        ),
    ] = None,
    gguf: Annotated[
        Path | None,
        typer.Option(help="The model's original GGUF file, where it was not read from one."),
    ] = None,
    keep_type: Annotated[
        bool,
        typer.Option(
            "--keep-type", help="Edited tensors of a GGUF file stay in the type they have there."
        ),
    ] = False,
    no_check: Annotated[
        bool,
        typer.Option("--no-check", help="Do not ask for the edits again in what was written."),
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export a run's model at some batch.

    - hf: a folder that from_pretrained loads; files without an edited weight are the base's own,
      and a model card says what was done.
    - delta: the low-rank factors alone, to be put on the base and taken off again in Python.
    - lora: an adapter that peft and vLLM load; with --rank the best one of that rank, how much it
      leaves out, and how many edits it still answers.
    - gguf: one file for llama.cpp, Ollama and LM Studio, made from the model's original GGUF file:
      what was not edited stays byte for byte. llama.cpp is asked for the edits afterwards, and a
      card beside the file says what it answers.
    - gguf-lora: the edits as an adapter, put on the original GGUF file when that is loaded.

    Examples:
        revive export runs/lab edited
        revive export runs/lab adapter --format lora --rank 64
        revive export edited.run edited.gguf --format gguf
        revive export edited.run edited.gguf --format gguf --gguf base-Q4_K_M.gguf
    """
    from revive.cli.watch import hushed
    from revive.export.run import export_run
    from revive.progress import progress_on_stderr

    still = quiet or json
    with (
        hushed() if still else nullcontext(),
        progress_on_stderr(quiet=still, patience=1.0) as tell,
    ):
        done = export_run(
            run,
            out,
            format_.value,
            step=step,
            rank=rank,
            dtype=dtype,
            trust_code=trust_remote_code,
            gguf=gguf,
            keep_type=keep_type,
            check=not no_check,
            tell=tell,
        )
    if json:
        print_json(
            {
                "path": str(done.path),
                "format": done.form,
                "step": done.step,
                "edits": done.edits,
                "ranks": done.ranks,
                "errors": done.errors,
                "rounding": None if done.rounding is None else asdict(done.rounding),
                "kept": None if done.kept is None else asdict(done.kept),
                "types": done.types,
                "llama_cpp": None if done.engine is None else asdict(done.engine),
                "note": done.note,
            }
        )
        return
    for key, error in done.errors.items():
        left_out = f", leaves out {error:.2%} of its norm" if error else ""
        say(f"{key}: rank {done.ranks[key]}{left_out}")
    say(f"{done.path}: {counted(done.edits, 'edit')} of {counted(done.step, 'batch')}. {done.note}")
