"""`revive doctor`: can this model be edited safely?"""

from contextlib import nullcontext
from typing import Annotated

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

_UNFIT = 2


def doctor(
    model: ModelName,
    layers: Annotated[
        str | None,
        typer.Option(help="Blocks, e.g. 4,5,6, or all \\[default: those that MEMIT would edit]."),
    ] = None,
    dtype: Dtype = "float32",
    device: Device = "auto",
    device_map: DeviceMap = None,
    quantize: Quantized = None,
    trust_remote_code: TrustRemoteCode = False,
    trial: Annotated[
        bool, typer.Option(help="Make the package's trial edits too, and undo them.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check a model before editing it: sites, orientation, tokenizer, forward, spectrum, rounding.

    Then twelve edits of the package are made with the settings that 'revive edit' would take, and
    it is told whether the model answers. That reads text for second moments, which takes most of
    the time and is kept for later runs; --no-trial leaves it out, and so does --layers.

    Every check measures on the loaded model and leaves it as it was. Exit code 0 if it can be
    edited, warnings included; 2 if edits would be wrong.

    Example: revive doctor ./my-model --dtype bfloat16
    """
    from revive.cli.watch import hushed
    from revive.doctor.checks import examine, trial_finding
    from revive.io.cache import cache_folder
    from revive.models.loading import load_model
    from revive.progress import progress_on_stderr
    from revive.spec.layers import bare_spec, blocks_of

    settings = model_settings(model, dtype, device, device_map, quantize, trust_remote_code)
    silent = quiet or json
    with hushed() if silent else nullcontext(), progress_on_stderr(quiet=silent) as told:
        blocks = blocks_of(layers, settings)
        loaded = load_model(**settings, edited=blocks)
        found = list(examine(loaded, blocks))
        # Where numbers would be wrong, a trial of them tells nothing.
        if trial and layers is None and all(f.verdict != "failed" for f in found):
            found.append(trial_finding(loaded, bare_spec(settings), cache_folder(), told))
    worst = max(("ok", "warning", "failed").index(f.verdict) for f in found)
    verdict = ("can be edited", "can be edited, see the warnings", "cannot be edited safely")[worst]
    if json:
        findings = [{"check": f.check, "verdict": f.verdict, "text": f.text} for f in found]
        print_json({"model": model, "verdict": verdict, "findings": findings})
    else:
        print_table(
            model, ["check", "verdict", "found"], [[f.check, f.verdict, f.text] for f in found]
        )
    say(f"{model} {verdict}.", quiet=silent)
    if worst == len(("ok", "warning")):
        raise typer.Exit(_UNFIT)
