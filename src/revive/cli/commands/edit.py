"""`revive edit`: the everyday job."""

from pathlib import Path
from typing import Annotated

import typer

from revive.cli.commands.run import tell_run
from revive.cli.forms import Chat, Joiner, Sentence, form_overrides
from revive.cli.interrupt import keeps
from revive.cli.model_options import (
    Device,
    DeviceMap,
    Dtype,
    ModelName,
    Quantized,
    TrustRemoteCode,
    model_settings,
)
from revive.cli.output import say, say_text
from revive.errors import SpecError
from revive.paths import refuse_taken

_DTYPES = ("float32", "bfloat16", "float16", "float64")


def edit(
    context: typer.Context,
    model: ModelName,
    edits: Annotated[Path, typer.Argument(help="Edit file: JSON lines, CSV, CounterFact, zsRE.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the edited model.")],
    editor: Annotated[
        str,
        typer.Option(
            help="See 'revive list editors'; memit-seq keeps what earlier batches wrote in its "
            "least squares."
        ),
    ] = "memit-seq",
    guard: Annotated[
        str,
        typer.Option(
            help="See 'revive list guards'; auto is REVIVE, solved under its constraint where the "
            "editor can (filtered afterwards, as published, it takes a part of every edit)."
        ),
    ] = "auto",
    text: Annotated[
        list[Path] | None,
        typer.Option(
            "--text",
            help="Ordinary text the model should keep handling well, a passage a line; 'package' "
            "or 'lab' for what comes along \\[default: package; for the lab model, lab].",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a spec key: editor.ridge=3000")
    ] = None,
    dtype: Dtype = "float32",
    save_dtype: Annotated[
        str | None,
        typer.Option(help="Of the saved model: float32, bfloat16, ... \\[default: the base's]."),
    ] = None,
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    trust_remote_code: TrustRemoteCode = False,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder \\[default: <out>.run].")
    ] = None,
    on_conflict: Annotated[
        str,
        typer.Option(help="Contradicting edits: 'error', 'last' wins, or made in 'sequence'."),
    ] = "error",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out records that cannot be used.")
    ] = False,
    chat: Chat = False,
    sentence: Sentence = False,
    joiner: Joiner = None,
    sink: Annotated[
        list[str] | None,
        typer.Option("--sink", help="Also send the journal there; see 'revive list sinks'."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Apply a file of edits to a model and save one that 'from_pretrained' loads.

    The run is journalled beside the output, so that it survives an interruption (call the same
    command again) and can be rolled back. At its end a table says of every edit what the model
    said before, what it says now, and why an edit that did not take did not, where that is known;
    edits.csv and edits.json in the run folder have it whole.

    Prompts are continued as they stand, or, for a model that people chat with, asked for as a
    user's message (--chat). Both forms of a fact are two edits, the second one called ID.chat.

    Examples:
        revive edit gpt2 facts.jsonl --out gpt2-edited --text corpus.txt
        revive edit Qwen/Qwen3-0.6B facts.jsonl --out edited --text corpus.txt --chat --sentence
    """
    from revive.apply_edits import edit_spec
    from revive.presets.facts import model_facts
    from revive.run_folder.store import RunFolder
    from revive.spec.parsing import named_sinks, read_model_config, resolve, with_sinks

    refuse_taken(out, "--out")
    if save_dtype not in (None, *_DTYPES):
        raise SpecError(
            f"--save-dtype: {save_dtype!r} is unknown; use one of {', '.join(_DTYPES)}."
        )
    folder = run if run is not None else out.with_name(out.name + ".run")
    if not (folder / "spec.yaml").exists():
        RunFolder.check_free(folder)
    settings = model_settings(model, dtype, device, device_map, quantize, trust_remote_code)
    overrides = [*form_overrides(chat, sentence, joiner), *(set_ or ())]
    asked = (settings, edits, editor)
    rest = (text or (), on_conflict, overrides)
    spec = edit_spec(*asked, guard, *rest, skip_bad=skip_bad)
    config = read_model_config(spec.model.name, spec.model.revision)
    if guard == "auto" and model_facts(config).sparse:
        spec = edit_spec(*asked, "revive", *rest, skip_bad=skip_bad)
    spec = with_sinks(spec, named_sinks(sink or ()))
    resolved = resolve(spec, config)
    say_text(spec, resolved, quiet=quiet)
    from revive.apply_edits import apply_and_save
    from revive.cli.watch import watch
    from revive.export.card import Rounding, told
    from revive.runs.failures import check_made

    keeps(context, folder)
    with watch(out.name, quiet) as observer:
        summary = apply_and_save(
            resolved, folder, out, observer, dtype=save_dtype, trust_code=trust_remote_code
        )
    failed = check_made(folder)
    if failed is not None:
        say(failed)
    tell_run(str(out), folder, summary, json=json)
    rounded = told(Rounding(**summary["saved"]))
    if rounded:
        say(rounded)
    say(f"saved {out}; run folder {folder} can undo it: 'revive rollback {folder} --to 0'.")
