"""`revive moments`: key second moments of all edited layers, in one pass, ahead of a run."""

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from revive.cli.model_options import (
    Device,
    DeviceMap,
    Dtype,
    ModelName,
    Quantized,
    TrustRemoteCode,
    model_settings,
)
from revive.cli.output import print_json, print_table, say
from revive.wording import counted


def moments(
    model: ModelName,
    text: Annotated[
        list[Path] | None,
        typer.Option(
            "--text",
            help="Ordinary text, a passage a line; 'package' or 'lab' for what comes along "
            "\\[default: package; for the lab model, lab].",
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(help="Blocks, e.g. 4,5,6, or all \\[default: those that MEMIT would edit]."),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="At most this many passages.")] = 100_000,
    window: Annotated[int, typer.Option(min=2, help="Tokens per passage.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the lab's text.")] = 0,
    dtype: Dtype = "float32",
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Accumulate E[k k^T] at the inputs of the projections that would be edited.

    The result is cached; a run on the same model, text, layers and window finds it. An interrupted
    pass goes on where it was. Effective rank is (trace)^2 / ||C||_F^2: how many directions ordinary
    inputs really use.

    Under torchrun every process reads its share of the text, and the first one adds up: the result
    is the one of a single process, to the bit where they compute alike, and in the same place. On
    GPUs each process has its own. One that is interrupted goes on with any number of processes.

    Examples:
        revive moments ./my-model --text corpus.txt
        torchrun --nproc-per-node 8 --no-python revive moments gpt2 --text a.txt
    """
    from revive.cli.watch import hushed
    from revive.engine.text_statistics import moment_texts
    from revive.io.cache import cache_folder
    from revive.models.forward.runner import BlockRunner, context_length
    from revive.models.loading import load_model
    from revive.moments.input_moments import collect_moments
    from revive.moments.torchrun import team
    from revive.progress import progress_on_stderr
    from revive.spec.layers import blocks_of
    from revive.spec.resolve import stand_in_text
    from revive.spec.schema import MomentsSpec

    spec = MomentsSpec.model_validate(
        {
            "text": [str(t) for t in text or ()] or stand_in_text(model),
            "samples": samples,
            "window": window,
        }
    )
    with team(device, device_map is not None) as (processes, own):
        if not processes.first:
            _fall_silent()
        with (
            hushed() if quiet or json else nullcontext(),
            progress_on_stderr(quiet=quiet or json) as told,
        ):
            with processes.together():
                settings = model_settings(
                    model, dtype, own, device_map, quantize, trust_remote_code
                )
                texts = moment_texts(spec, seed)
                blocks = blocks_of(layers, settings)
                loaded = load_model(**settings, edited=blocks)
                sites = loaded.family.sites(loaded.model, layers=blocks)
            found = collect_moments(
                BlockRunner(loaded.model, loaded.family),
                loaded.tokenizer,
                sites,
                texts,
                cache=cache_folder(),
                model_fingerprint=loaded.forward_fingerprint,
                window=min(window, context_length(loaded.model) or window),
                progress=lambda done, total: told("moments", done, total),
                team=processes,
            )
    if not processes.first:
        return
    rows: list[dict[str, Any]] = []
    for site in sites:
        moment = found[site.key]
        value = moment.value().double()
        trace = float(value.trace())
        rows.append(
            {
                "site": site.key,
                "keys": moment.count,
                "trace": trace,
                "effective_rank": trace**2 / float(value.square().sum()) if trace > 0 else 0.0,
            }
        )
    if json:
        print_json(rows)
        return
    shown = [
        [r["site"], f"{r['keys']:,}", f"{r['trace']:.4g}", f"{r['effective_rank']:.1f}"]
        for r in rows
    ]
    print_table(f"{model}: {counted(len(texts), 'passage')}", list(rows[0]), shown)
    say(f"cached in {cache_folder()}", quiet=quiet)


def _fall_silent() -> None:
    """One process speaks for all, libraries that write past Python included."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
