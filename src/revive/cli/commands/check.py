"""`revive check`: validate a spec without loading anything heavy."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from revive.cli.output import print_json, say, say_text, show
from revive.data.edits import Edit
from revive.data.joining import AUTO, PUBLISHED
from revive.wording import counted, span

if TYPE_CHECKING:
    from revive.estimate.estimate import Times
    from revive.spec.fit_cache import Fit

_GIB = 2**30


def check(
    spec: Annotated[Path, typer.Argument(help="Spec file (YAML).")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: guard.energy=0.2")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Validate a spec, print it with every default filled in, estimate memory, disk and time.

    Says of every setting of the editor where its value comes from: the spec, a preset with its
    source, the rule for models without one, or a default. The edit file is read and checked too.
    No model is loaded. Time is estimated from how fast this machine multiplies matrices, which is
    measured in about two seconds, once a day; on a GPU from an assumed rate.
    """
    from revive.architectures import require_family
    from revive.data.readers import load_edits
    from revive.estimate.estimate import estimate, on_gpu
    from revive.estimate.lengths import measure_lengths
    from revive.estimate.machine_rates import measure_rates
    from revive.io.cache import cache_folder
    from revive.presets.facts import model_facts
    from revive.sources.model_config import require_chat_template, tokenizer_file
    from revive.spec.fit_cache import cached_fit_of
    from revive.spec.parsing import dump_spec, load_spec, read_model_config, resolve
    from revive.spec.resolve import setting_sources

    read = load_spec(spec, set_ or ())
    config = read_model_config(read.model.name, read.model.revision)
    require_family(config)
    resolved = resolve(read, config)
    say_text(read, resolved, quiet=json)
    sources = setting_sources(read, config)
    edits = resolved.edits
    loaded = load_edits(
        edits.path,
        format=edits.format,
        limit=edits.limit,
        on_conflict=edits.on_conflict,
        seed=edits.seed,
        skip_bad=edits.skip_bad,
        chat=edits.chat,
        joiner=edits.joiner,
    )
    chats = sum(bool(edit.chat) for edit in loaded.edits)
    if chats:
        require_chat_template(resolved.model.name, resolved.model.revision)
    lengths = measure_lengths(
        loaded.edits, tokenizer_file(resolved.model.name, resolved.model.revision)
    )
    measured = None
    if not on_gpu(resolved):
        measured = measure_rates(model_facts(config), resolved.threads, cache_folder())
    needs = estimate(resolved, config, len(loaded.edits), lengths, measured)
    fit = cached_fit_of(cache_folder(), resolved)
    if json:
        print_json(
            {
                "spec": resolved.model_dump(),
                "sources": sources,
                "trial": None if fit is None else asdict(fit.chosen),
                "edits": len(loaded.edits),
                "edits_in_chat": chats,
                "duplicates": len(loaded.duplicates),
                "conflicts": len(loaded.conflicts),
                "bad": len(loaded.bad),
                "memory_bytes": needs.memory_bytes,
                "memory": {
                    "standing": dict(needs.memory.standing),
                    "working": dict(needs.memory.working),
                    "gpu_bytes": needs.memory.on_gpu,
                    "host_bytes_with_gpu": needs.memory.beside_gpu,
                },
                "disk_bytes": needs.disk_bytes,
                "seconds": needs.seconds,
                "time": asdict(needs.times),
            }
        )
        return
    show(dump_spec(resolved), nl=False)
    for source in dict.fromkeys(sources.values()):
        keys = ", ".join(key for key, found in sources.items() if found == source)
        say(f"editor {resolved.editor.name}, {source}: {keys}")
    if resolved.editor.fit:
        say(_trial(fit))
    told = needs.memory
    say(f"memory, GiB, all the time: {_parts(told.standing)}")
    say(f"memory, GiB, the largest of these at a time: {_parts(told.working)}")
    if not resolved.model.device.startswith(("cpu", "mps")):
        say(
            f"on a GPU: {told.on_gpu / _GIB:.1f} GiB of its memory and "
            f"{told.beside_gpu / _GIB:.1f} GiB of the host's."
        )
    for line in _time_told(needs.times, measured is not None):
        say(line)
    say(
        f"ok: {counted(len(loaded.edits), 'edit')} ({loaded.format}) in "
        f"{counted(needs.batches, 'batch')}; about "
        f"{needs.memory_bytes / _GIB:.1f} GiB memory, {needs.disk_bytes / _GIB:.2f} GiB disk, "
        f"{span(needs.seconds)}."
    )
    say(_forms(loaded.edits, chats))
    for repeat in loaded.duplicates[:5]:
        say(f"duplicate dropped: {repeat}")


def _trial(fit: "Fit | None") -> str:
    """What a trial of the settings found, or that there will be one."""
    if fit is None:
        return (
            "settings by rule are tried on 12 edits of the package before the first batch; 'revive "
            "doctor MODEL' does it now."
        )
    changed = ", ".join(f"{key} {value:g}" for key, value in fit.chosen.settings.items())
    return f"{fit.told()} The run takes {changed}."


def _forms(edits: Sequence[Edit], chats: int) -> str:
    """In which form edits are made and measured, as a line."""
    forms = {"as sentences": len(edits) - chats, "in the model's chat template": chats}
    told = " and ".join(f"{counted(n, 'edit')} {form}" for form, n in forms.items() if n)
    joiners = dict.fromkeys(edit.joiner for edit in edits)
    names = [j if j in (AUTO, PUBLISHED) else repr(j) for j in joiners]
    return f"{told}; prompt and target joined: {', '.join(names)}."


def _time_told(times: "Times", measured: bool) -> list[str]:
    """What takes how long, and how that is known."""
    before = ", ".join(f"{name} {span(seconds)}" for name, seconds in times.before.items())
    probing = f"{span(sum(times.probing.values()))} of measuring"
    if times.unknown:
        probing += f" and what {', '.join(times.unknown)} take, of which nothing is known"
    sure = "as a rule within a factor of two" if measured else "of the right order at best"
    return [
        f"time: {span(sum(times.editing.values()))} of editing; {probing}.",
        f"time, once before that (moments, bases and the trial are kept): {before}.",
        f"time is estimated for {times.measured_on}, all to itself; {sure}.",
    ]


def _parts(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {size / _GIB:.2f}" for name, size in sizes.items() if size)
