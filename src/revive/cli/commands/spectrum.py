"""`revive spectrum`: what a model's abilities hang on, and how edits wear it away."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from revive.cli.output import print_json, print_table, say, show
from revive.errors import SpecError
from revive.sources.named import knows_facts

if TYPE_CHECKING:
    from revive.report.study_page import Chapter
    from revive.studies.task_ability import TaskAbility

STUDIES = ("reconstruct", "perturb", "drift")
_SHOWN = 40  # rows of one table on the screen; the page has them all


def spectrum(
    context: typer.Context,
    model: ModelName,
    study: Annotated[
        str, typer.Option(help="Comma-separated: reconstruct, perturb, drift.")
    ] = "reconstruct,perturb",
    out: Annotated[Path, typer.Option("--out", help="Folder of page, figures and points.")] = Path(
        "spectrum"
    ),
    layers: Annotated[
        str | None,
        typer.Option(help="Blocks, e.g. 4,5,6, or all \\[default: those that MEMIT would edit]."),
    ] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="Text file: its likelihood is measured, its inputs are used."),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            help="For reconstruct and perturb: public test sets to measure too, comma-separated: "
            "names of 'revive list tasks', six, or lm-eval:NAME."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with the tasks' data.")
    ] = None,
    items: Annotated[int, typer.Option(min=1, help="Items of each task.")] = 100,
    include: Annotated[
        Path | None, typer.Option("--include", help="Folder with configurations for lm-eval.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", help="For drift: a finished run's folder, once for each."),
    ] = None,
    edits: Annotated[
        Path | None, typer.Option("--edits", help="For drift: edits to make runs of.")
    ] = None,
    limit: Annotated[int, typer.Option(min=32, help="For drift: edits per run.")] = 96,
    seeds: Annotated[int, typer.Option(min=1, help="For drift: seeds per arm.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="For drift: runs at a time \\[default: one per core].")
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Measure the whole battery at every point.")
    ] = False,
    bands: Annotated[int, typer.Option(min=2, help="Bands of the spectrum for noise.")] = 10,
    draws: Annotated[int, typer.Option(min=2, help="Draws of noise and of random components.")] = 3,
    paper: Annotated[bool, typer.Option("--paper", help="Figures for print.")] = False,
    dtype: Dtype = "float32",
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the tables as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print them as Markdown.")] = False,
) -> None:
    """Characterise a model by the spectra of its MLP output projections.

    - reconstruct: ability with the weights rebuilt from their top, bottom or random components.
    - perturb: ability with noise of equal norm, or equal effect on inputs, in bands of the
      spectrum.
    - drift: over many editing runs, which measure leads the loss of ability, and how well an alarm
      on it works; runs of the lab model are made, for others name --runs, or --edits to make them.

    Call it again after an interruption: points that were measured are kept.

    Examples:
        revive spectrum lab --study reconstruct,perturb,drift
        revive spectrum ./my-model --layers all --text corpus.txt --thorough
        revive spectrum ./my-model --tasks six,lambada --data DIR --items 200
    """
    chosen = _studies(study)
    from contextlib import nullcontext

    from revive.cli.watch import hushed
    from revive.io.atomic import write_text
    from revive.progress import progress_on_stderr
    from revive.report.study_page import study_page

    settings = model_settings(model, dtype, device, device_map, quantize, trust_remote_code)
    if "drift" in chosen and not knows_facts(model) and not runs and edits is None:
        raise SpecError(
            "--study drift: name finished runs with --runs, or edits to make some of with --edits."
        )
    measured = _tasks(tasks, data, items, include, chosen)
    chapters: dict[str, Chapter] = {}
    subject = None
    keeps(context, out)
    with hushed() if quiet else nullcontext(), progress_on_stderr(quiet=quiet) as told:
        if {"reconstruct", "perturb"} & set(chosen):
            from revive.studies import characterise

            subject = characterise.Subject.load(
                settings,
                layers,
                text or (),
                thorough=thorough,
                bands=bands,
                draws=draws,
                tasks=measured,
            )
            studies: Mapping[str, Callable[..., Chapter]] = {
                "reconstruct": characterise.reconstruct_chapter,
                "perturb": characterise.perturb_chapter,
            }
            for name in (n for n in chosen if n in studies):
                chapters[name] = studies[name](subject, out, told, paper=paper)
        if "drift" in chosen:
            from revive.studies.drift_study.chapter import drift_chapter

            folders = runs or _make_runs(settings, edits, limit, seeds, text, out, jobs, told)
            chapters["drift"] = drift_chapter(folders, out, paper=paper)
    facts = {"Model": model, "Studies": ", ".join(chosen)}
    if subject is not None:
        facts["Projections"] = ", ".join(subject.ledger.sites)
    found = [chapters[name] for name in chosen]
    write_text(out / "index.html", study_page(f"The spectra of {model}", facts, found))
    _print(chapters, json=json, markdown=markdown)
    say(f"page: {out / 'index.html'}", quiet=quiet)


def _tasks(
    tasks: str | None, data: Path | None, items: int, include: Path | None, chosen: list[str]
) -> "TaskAbility | None":
    named = [part.strip() for part in (tasks or "").split(",") if part.strip()]
    if not named:
        if data is not None or include is not None:
            option = "--data" if data is not None else "--include"
            raise SpecError(f"{option}: name the tasks with --tasks.")
        return None
    if chosen == ["drift"]:
        raise SpecError("--tasks: drift has no use for them; its runs name their own probes.")
    from revive.studies.task_ability import TaskAbility

    return TaskAbility.read(named, data, limit=items, include=include)


def _make_runs(
    model: dict[str, Any],
    edits: Path | None,
    limit: int,
    seeds: int,
    text: list[Path] | None,
    out: Path,
    jobs: int | None,
    told: Callable[[str, int, int], None],
) -> list[Path]:
    from revive.studies.drift_study.drift_runs import drift_variants, model_arms
    from revive.sweeps.executor import LocalExecutor
    from revive.sweeps.variants import run_variants

    arms = [
        arm
        for seed in range(seeds)
        for arm in (
            drift_variants(limit, seed)
            if edits is None
            else model_arms(model, edits, limit, seed, text or ())
        )
    ]
    done: dict[str, int] = {}

    def report(label: str, edited: int, metrics: Mapping[str, float], phase: str) -> None:
        del metrics, phase
        done[label] = edited
        told("drift", sum(done.values()), limit * len(arms))

    # What a command allows, it allows the runs that it makes.
    place = LocalExecutor(trust_code=bool(model.get("trust_remote_code")))
    run_variants(arms, out / "runs", jobs=jobs, report=report, place=place)
    return [out / "runs" / arm.name for arm in arms]


def _studies(study: str) -> list[str]:
    named = [part.strip() for part in study.split(",") if part.strip()]
    for name in named:
        if name not in STUDIES:
            from revive.registry import did_you_mean

            raise SpecError(
                f"--study: unknown study {name!r}.{did_you_mean(name, STUDIES)} Known: "
                f"{', '.join(STUDIES)}."
            )
    if not named:
        raise SpecError(f"--study: name at least one of {', '.join(STUDIES)}.")
    return [name for name in STUDIES if name in named]


def _print(chapters: "Mapping[str, Chapter]", *, json: bool, markdown: bool) -> None:
    if json:
        print_json(
            {
                name: [
                    {"title": t.title, "header": t.header, "rows": t.rows} for t in chapter.tables
                ]
                for name, chapter in chapters.items()
            }
        )
        return
    for chapter in chapters.values():
        for table in chapter.tables:
            if markdown:
                show(table.markdown())
                continue
            print_table(table.title, table.header, table.rows[:_SHOWN])
            show(table.note)
