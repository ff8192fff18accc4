"""`revive evaluate`: measure any model."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.model_options import Device, DeviceMap, Dtype, Quantized, model_settings
from revive.cli.output import print_json, print_metrics, say
from revive.errors import SpecError

TASKS = ("edits", "facts", "general")


def evaluate(
    model: Annotated[str, typer.Argument(help="'lab', a folder, or a hub id.")],
    edits: Annotated[
        Path | None, typer.Option("--edits", help="Edit file to score the model on.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Comma-separated: edits, facts, general [default: what applies]."),
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option("--text", help="Text file: report its perplexity.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many edits.")] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model: edit success, the lab's facts, general ability, perplexity of texts.

    Examples:
        revive evaluate lab
        revive evaluate edited/ --edits edits.jsonl --text corpus.txt
    """
    chosen = _tasks(tasks, model, edits)
    settings = model_settings(model, dtype, device, device_map, quantize)
    from revive.models.loading import load_model
    from revive.probes.evaluate import evaluate_model

    edit_list = ()
    if "edits" in chosen:
        from revive.data.readers import load_edits

        edit_list = load_edits(edits or "lab", limit=limit).edits
    loaded = load_model(**settings)
    say(f"measuring {', '.join(chosen)} ...")
    metrics = evaluate_model(loaded, chosen, edit_list, text or ())
    if json:
        print_json({"model": model, "fingerprint": loaded.fingerprint, "metrics": metrics})
    else:
        print_metrics(model, metrics)


def _tasks(tasks: str | None, model: str, edits: Path | None) -> tuple[str, ...]:
    if tasks is None:
        own = ("facts", "general") if model == "lab" else ("general",)
        return (*own, "edits") if edits is not None else own
    if tasks == "all":
        return TASKS if edits is not None else TASKS[1:]
    named = tuple(t.strip() for t in tasks.split(",") if t.strip())
    for name in named:
        if name not in TASKS:
            from revive.registry import did_you_mean

            raise SpecError(
                f"--tasks: unknown task {name!r}.{did_you_mean(name, TASKS)} Known: "
                f"{', '.join(TASKS)}, all."
            )
    if "edits" in named and edits is None:
        raise SpecError("--tasks edits: name the edit file with --edits.")
    return named
