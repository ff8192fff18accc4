"""`revive evaluate`: measure any model."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.output import print_json, print_metrics, say
from revive.errors import SpecError

TASKS = ("edits", "generation", "facts", "general")
_OF_EDITS = ("edits", "generation")


def evaluate(
    model: Annotated[str, typer.Argument(help="'lab', a folder, or a hub id.")],
    edits: Annotated[
        Path | None, typer.Option("--edits", help="Edit file to score the model on.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: edits, generation, facts, general [default: what applies]."
        ),
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option("--text", help="Text file: report its perplexity.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many edits.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, float16, float64.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model: edit success, the lab's facts, general ability, perplexity of texts.

    `generation` lets the model write about every edit, which takes a while. Metrics of edits come
    with a 95 % interval (bootstrap over edits); `revive list metrics` says what each means.

    Examples:
        revive evaluate lab
        revive evaluate edited/ --edits edits.jsonl --text corpus.txt
    """
    chosen = _tasks(tasks, model, edits)
    from revive.models.loading import load_model
    from revive.probes.evaluate import evaluate_model

    loaded = None
    edit_list = ()
    if any(task in chosen for task in _OF_EDITS):
        from revive.data.readers import load_edits

        edit_list = load_edits(edits or "lab", limit=limit).edits
    loaded = load_model(model, dtype=dtype, device=device)
    say(f"measuring {', '.join(chosen)} ...")
    found = evaluate_model(loaded, chosen, edit_list, text or ())
    if json:
        print_json(
            {
                "model": model,
                "fingerprint": loaded.fingerprint,
                "metrics": found.metrics,
                "intervals": found.intervals,
            }
        )
    else:
        print_metrics(model, found.metrics, found.intervals)


def _tasks(tasks: str | None, model: str, edits: Path | None) -> tuple[str, ...]:
    if tasks is None:
        own = ("facts", "general") if model == "lab" else ("general",)
        return (*own, "edits") if edits is not None else own
    if tasks == "all":
        return tuple(t for t in TASKS if edits is not None or t not in _OF_EDITS)
    named = tuple(t.strip() for t in tasks.split(",") if t.strip())
    for name in named:
        if name not in TASKS:
            from revive.registry import did_you_mean

            raise SpecError(
                f"--tasks: unknown task {name!r}.{did_you_mean(name, TASKS)} Known: "
                f"{', '.join(TASKS)}, all."
            )
    needing = next((t for t in named if t in _OF_EDITS), None)
    if needing is not None and edits is None:
        raise SpecError(f"--tasks {needing}: name the edit file with --edits.")
    return named
