"""`revive evaluate`: measure any model."""

from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from revive import registry
from revive.cli.edit_table import SHOWN, print_edits, write_edits
from revive.cli.forms import Chat, Joiner, Sentence, form_of
from revive.cli.model_options import (
    Device,
    DeviceMap,
    Dtype,
    ModelName,
    Quantized,
    TrustRemoteCode,
    model_settings,
)
from revive.cli.output import print_json, print_metrics, say
from revive.errors import SpecError
from revive.progress import progress_on_stderr
from revive.sources.named import knows_facts
from revive.tasks.collect import Prepared, collect, collect_all
from revive.tasks.suites import HARNESS, SUITES, split

MEASURES = ("edits", "generation", "facts", "general")
"""What needs no data of its own but the edit file."""

_OF_EDITS = ("edits", "generation")
_LAB_EDITS = 200  # of the lab's own stream, where all is asked for and no edit file is named


class RuleOption(StrEnum):
    """How a task's answers are taken."""

    likelihood = "likelihood"
    generation = "generation"
    both = "both"


@dataclass(frozen=True)
class _Plan:
    """What is to be measured."""

    measures: tuple[str, ...]
    tasks: tuple[str, ...] = ()
    harness: tuple[str, ...] = ()
    every: bool = False


def evaluate(
    model: ModelName,
    edits: Annotated[
        Path | None, typer.Option("--edits", help="Edit file to score the model on.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: edits, generation, facts, general; names of 'revive list "
            "tasks', or six for sst2, mrpc, cola, rte, nli and mmlu_six; lm-eval:NAME for any task "
            "of lm-evaluation-harness; or all, which takes a sample of every task that has data "
            "\\[default: edits, facts and general where they apply]."
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder with the tasks' data in their public formats, or one's file."
        ),
    ] = None,
    rule: Annotated[
        RuleOption | None,
        typer.Option(
            help="How tasks are answered: likeliest choice, or a label in generated text "
            "\\[default: likelihood; gsm8k: generation]."
        ),
    ] = None,
    chat: Chat = False,
    sentence: Sentence = False,
    joiner: Joiner = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out records that cannot be used.")
    ] = False,
    per_edit: Annotated[
        Path | None,
        typer.Option(
            "--per-edit",
            help="Save a table of the edits, what the model says to each and whether that is the "
            "new target: a .csv or .json file.",
        ),
    ] = None,
    text: Annotated[
        list[Path] | None, typer.Option("--text", help="Text file: report its perplexity.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most this many edits, and this many items of each task."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Which items, where not all are taken.")] = 0,
    include: Annotated[
        Path | None, typer.Option("--include", help="Folder with configurations for lm-eval.")
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a model: edit success, the lab's facts, general ability, perplexity of texts.

    `generation` lets the model write about every edit, which takes a while. Metrics of edits come
    with a 95 % interval (bootstrap over edits); `revive list metrics` says what each means. A table
    says of single edits what the model answers, those that did not take first.

    Tasks are read from files in the form in which the sets are published; without data a task
    says which file it expects. Named tasks are scored in full unless there is a limit.

    Examples:
        revive evaluate lab
        revive evaluate edited/ --edits edits.jsonl --text corpus.txt
        revive evaluate edited/ --edits edits.jsonl --tasks edits,generation --chat
        revive evaluate edited/ --edits edits.jsonl --per-edit answers.csv
        revive evaluate edited/ --tasks sst2,mmlu,lambada --data DIR --limit 500
        revive evaluate edited/ --tasks six --rule both --data DIR
        revive evaluate edited/ --tasks lm-eval:hellaswag,lm-eval:arc_easy
    """
    plan = _plan(tasks, model, edits, data)
    if per_edit is not None:
        _check_per_edit(per_edit, plan)
    prepared = _prepared(plan, data, limit, seed, rule)
    settings = model_settings(model, dtype, device, device_map, quantize, trust_remote_code)
    edit_list = ()
    if any(measure in plan.measures for measure in _OF_EDITS):
        from revive.data.readers import load_edits

        shown = limit if edits is not None or limit is not None else _LAB_EDITS
        form = form_of(chat, sentence)
        edit_list = load_edits(
            edits or "lab", limit=shown, chat=form, joiner=joiner, skip_bad=skip_bad
        ).edits

    from revive.cli.watch import hushed
    from revive.models.loading import load_model
    from revive.probes.evaluate import edit_table, evaluate_model
    from revive.scoring.harness import Harness
    from revive.scoring.task_scorer import score_tasks
    from revive.tasks.result import flat_metrics

    silent = quiet or json
    harness = Harness(plan.harness, include=include, limit=limit) if plan.harness else None
    with hushed() if silent else nullcontext():
        loaded = load_model(**settings)
        if plan.measures:
            say(f"measuring {', '.join(plan.measures)} ...", quiet=silent)
        measured = evaluate_model(loaded, plan.measures, edit_list, text or ())
        table = None
        if measured.edits is not None:
            most = None if per_edit is not None else 0 if json else SHOWN
            table = edit_table(loaded, edit_list, measured.edits, most)
        with progress_on_stderr(quiet=silent or not prepared) as report:
            scored = score_tasks(loaded.model, loaded.tokenizer, prepared, report=report)
        foreign = [] if harness is None else harness.run(loaded.model, loaded.tokenizer)
    metrics = {**measured.metrics, **flat_metrics(scored)}
    for result in foreign:
        metrics.update(result.flat())
    if per_edit is not None and table is not None:
        write_edits(per_edit, table)
    if json:
        tables = {
            "tasks": [result.plain() for result in scored],
            "lm_eval": [result.plain() for result in foreign],
        }
        head: dict[str, Any] = {
            "model": model,
            "fingerprint": loaded.fingerprint,
            "metrics": metrics,
            "intervals": measured.intervals,
        }
        if table is not None:
            head["answers"] = table.counts()
        print_json({**head, **{key: rows for key, rows in tables.items() if rows}})
        return
    if table is not None:
        saved = f"{per_edit} has all of them" if per_edit else "--per-edit FILE saves all of them"
        print_edits(model, table, saved)
    in_table = {key for result in scored for key in result.flat()}
    rest = {key: value for key, value in metrics.items() if key not in in_table}
    if scored:
        from revive.cli.task_table import print_tasks

        print_tasks(model, scored, rest, measured.intervals)
    elif rest:
        print_metrics(model, rest, measured.intervals)


def _prepared(
    plan: _Plan, data: Path | None, limit: int | None, seed: int, rule: RuleOption | None
) -> list[Prepared]:
    both = rule is RuleOption.both
    taken = None if rule is None or both else rule.value
    if plan.every and data is not None:
        found, missing = collect_all(data, limit=limit, seed=seed, rule=taken, both=both)
        for line in missing:
            say(line)
        return found
    return collect(plan.tasks, data, limit=limit, seed=seed, rule=taken, both=both)


def _check_per_edit(file: Path, plan: _Plan) -> None:
    """Refuse a file that could not be written, before a model is loaded.

    Raises:
        SpecError: No edits are measured, or the file's ending or folder is none.
    """
    if "edits" not in plan.measures:
        raise SpecError("--per-edit: no edits are measured; name their file with --edits.")
    if file.suffix.lower() not in (".csv", ".json"):
        raise SpecError(f"--per-edit: {file} ends in neither .csv nor .json; its ending decides.")
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise SpecError(f"--per-edit: {file} cannot be written; name a file in a folder there is.")


def _plan(tasks: str | None, model: str, edits: Path | None, data: Path | None) -> _Plan:
    own = ("facts", "general") if knows_facts(model) else ("general",)
    scored = ("edits",) if edits is not None else ()
    if tasks is None:
        if data is not None:
            raise SpecError("--data: name the tasks with --tasks, or ask for --tasks all.")
        return _Plan((*own, *scored))
    if tasks == "all":
        lab = ("edits",) if knows_facts(model) and edits is None else ()
        of_edits = _OF_EDITS if edits is not None else lab
        return _Plan((*own, *of_edits), every=True)
    named = [name.strip() for name in tasks.split(",") if name.strip()]
    _known(named)
    needing = next((name for name in named if name in _OF_EDITS), None)
    if needing is not None and edits is None:
        raise SpecError(f"--tasks {needing}: name the edit file with --edits.")
    measures = tuple(name for name in named if name in MEASURES)
    ours, harness = split([name for name in named if name not in MEASURES])
    return _Plan(measures, tuple(ours), tuple(harness))


def _known(named: list[str]) -> None:
    known = (*MEASURES, *SUITES, *registry.names("tasks"), "all")
    for name in named:
        if name not in known and not name.startswith(HARNESS):
            raise SpecError(
                f"--tasks: unknown task {name!r}.{registry.did_you_mean(name, known)} Known: "
                f"{', '.join(known)}, and {HARNESS}NAME."
            )
    if "all" in named:
        raise SpecError("--tasks all: stands alone; it takes everything there is.")
