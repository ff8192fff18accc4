"""How a command loads its model: the options that all of them share, as the `model` of a spec."""

from typing import Annotated, Any

import typer

ModelName = Annotated[
    str,
    typer.Argument(help="A name ('lab', 'smollm2'), a folder, a GGUF file, or a hub id."),
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16, float64.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")]
DeviceMap = Annotated[
    str | None,
    typer.Option(
        help="For a model larger than a device: auto, balanced, sequential, or a mapping as in a "
        "spec, e.g. '{model.embed_tokens: cuda:0, model.layers.0: disk, ...}'. Blocks on the disk "
        "are read when they run; edited projections are kept in memory."
    ),
]
Quantized = Annotated[
    str | None,
    typer.Option(
        help="Hold the base in 8bit or 4bit, the edited projections in full precision. Needs "
        "'revive-edit\\[quantize]'."
    ),
]

TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]


def model_settings(
    name: str,
    dtype: str,
    device: str,
    device_map: str | None,
    quantize: str | None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """The `model` of a spec, checked.

    Raises:
        SpecError: An option that no spec may have.
    """
    from pydantic import ValidationError

    from revive.io.yaml_text import parse_yaml
    from revive.spec.complaints import complaint
    from revive.spec.schema import ModelSpec

    given: dict[str, Any] = {
        "name": name,
        "dtype": dtype,
        "device": device,
        "quantize": quantize,
        "trust_remote_code": trust_remote_code,
    }
    if device_map is not None:
        given["device_map"] = parse_yaml(device_map, "--device-map")
    try:
        checked = ModelSpec.model_validate(given)
    except ValidationError as error:
        raise complaint(error, ModelSpec, "options", "model") from error
    return checked.model_dump(exclude_defaults=True)
