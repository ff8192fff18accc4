"""Load a Hugging Face causal language model, with everything explicit."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from revive.errors import PrerequisiteError, SpecError
from revive.models.family import Family, family_for

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for editing.

    Attributes:
        name: What was asked for (`lab`, a folder, a hub id).
        model: The causal language model, in eval mode.
        tokenizer: Its fast tokenizer.
        family: Its family.
        fingerprint: Digest of the configuration and a sample of every weight.
    """

    name: str
    model: Any
    tokenizer: Any
    family: Family
    fingerprint: str


def load_model(
    name: str,
    *,
    dtype: str = "float32",
    device: str = "auto",
    device_map: Any = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model by folder, hub id, or `lab`.

    Args:
        name: `lab` for the embedded model, a folder, or a hub id.
        dtype: float32 (default), float64, bfloat16 or float16. Never the checkpoint's own by
            accident: transformers 5 would take that.
        device: `auto` (CUDA if there is one, else CPU), `cpu`, `cuda`, `cuda:1`, ...
        device_map: Passed to transformers, for models larger than one device.
        revision: Hub revision.
        trust_remote_code: Allow code from the checkpoint. Off unless asked.

    Raises:
        SpecError: Unknown dtype, not a model folder, one that is damaged or incomplete, or an
            unsupported architecture.
        PrerequisiteError: The hub cannot be reached or the device is missing.
    """
    if dtype not in DTYPES:
        raise SpecError(f"model.dtype: {dtype!r} is unknown; use one of {', '.join(DTYPES)}.")
    source = _source(name)
    place = _device(device)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=DTYPES[dtype],
            device_map=device_map,
            # On short rows with masks, plain products beat torch's fused attention on a CPU.
            attn_implementation="eager" if device_map is None and place.type == "cpu" else None,
            # Likewise; and torch's grouped products know no float64.
            experts_implementation="eager"
            if dtype == "float64" or (device_map is None and place.type == "cpu")
            else None,
            output_loading_info=True,
            **options,
        )
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreadable(name, source, error) from error
    model, report = loaded
    if report["missing_keys"]:
        # transformers would fill them with random numbers.
        missing = sorted(report["missing_keys"])
        raise SpecError(
            f"model: {name} lacks {len(missing)} weights of its architecture, the first is "
            f"{missing[0]}; give a complete checkpoint of a causal language model."
        )
    if device_map is None:
        model = model.to(place)
    model.eval()
    declared = tuple(getattr(model.config, "architectures", None) or ())
    family = family_for((*declared, type(model).__name__))
    return LoadedModel(name, model, tokenizer, family, model_fingerprint(model))


def model_fingerprint(model: Any) -> str:
    """Digest of configuration, names, shapes and up to 4,096 evenly spaced values per weight.

    Computed in fp32, so that the same checkpoint has one fingerprint per dtype it is loaded in.
    """
    digest = hashlib.sha256()
    config = {k: v for k, v in model.config.to_dict().items() if not k.startswith("_")}
    config.pop("transformers_version", None)
    digest.update(json.dumps(config, sort_keys=True, default=str).encode())
    for key, parameter in sorted(model.named_parameters(), key=lambda item: item[0]):
        flat = parameter.detach().reshape(-1)
        stride = max(1, flat.numel() // 4096)
        digest.update(f"{key}{tuple(parameter.shape)}".encode())
        digest.update(flat[::stride].float().cpu().numpy().tobytes())
    return digest.hexdigest()


def model_source(name: str, revision: str | None = None) -> Path | None:
    """The folder that a model is read from: its own, or the local copy of a hub id; else None.

    Args:
        name: `lab`, a folder, or a hub id.
        revision: Of a hub id.
    """
    source = Path(_source(name))
    if source.is_dir():
        return source
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _source(name: str) -> str:
    if name == "lab":
        from revive import lab

        return str(lab.model_path())
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise SpecError(
                f"model: folder {name} has no config.json; give the folder that "
                "save_pretrained wrote."
            )
        return str(path)
    if path.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise SpecError(f"model: {name} is not a model folder; give a folder or a hub id.")
    return name


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise SpecError(f"model.device: {device!r} is unknown; use auto, cpu or cuda.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise PrerequisiteError(f"model.device: {device} asked for, but CUDA is not available.")
    return place


def _unreadable(name: str, source: str, error: Exception) -> Exception:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "trust_remote_code" in str(error):
        # transformers' own advice is about a Python argument.
        return SpecError(
            f"model: {name} brings code of its own, which was not run. Read it, and if you trust "
            "it say so: model.trust_remote_code: true in a spec (--set "
            "model.trust_remote_code=true), or --trust-remote-code."
        )
    if Path(source).is_dir():
        return SpecError(f"model: cannot read {name}: {reason}")
    return PrerequisiteError(
        f"model: cannot get {name!r} from the hub: {reason} If it is a folder, check the path; "
        "if you are offline, download it first."
    )
