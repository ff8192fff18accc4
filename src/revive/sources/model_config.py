"""A model's config, read without loading anything heavy."""

from pathlib import Path
from typing import Any, cast

from revive.errors import PrerequisiteError, SpecError
from revive.io.json_text import read_json
from revive.sources.gguf_config import read_config
from revive.sources.named import NAMED
from revive.sources.refusals import refuse_kernels, refuse_odd, refuse_quantized
from revive.sources.source import find_source

_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"


def read_model_config(name: str, revision: str | None = None) -> dict[str, Any]:
    """A model's config; of a hub model it alone is fetched, and of none any weight is read.

    Args:
        name: As in the spec: a name of ours, a folder, a GGUF file, or a hub id.
        revision: Branch, tag or commit, for a hub id.

    Raises:
        SpecError: There is no such model, or its config cannot be read.
        PrerequisiteError: The model is not in the cache, and the hub or index does not give it.
    """
    source = find_source(name)
    if source.gguf is not None:
        config = read_config(source.gguf)
        refuse_odd(name, config)
        return config
    path = _from_hub(name, revision) if source.folder is None else source.folder / _CONFIG
    config = _parse(path)
    refuse_odd(name, config)
    refuse_quantized(name, config)
    refuse_kernels(name, config)
    return config


def tokenizer_file(name: str, revision: str | None = None) -> Path | None:
    """The model's `tokenizer.json`, if it is at hand."""
    source = find_source(name)
    if source.folder is not None:
        path = source.folder / _TOKENIZER
    else:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, _TOKENIZER, revision=revision)
        path = Path(found) if isinstance(found, str) else Path()
    return path if path.is_file() else None


def require_chat_template(name: str, revision: str | None = None) -> None:
    """Refuse a model whose files are at hand and hold no chat template.

    Raises:
        SpecError: There is none.
    """
    tokenizer = tokenizer_file(name, revision)
    if tokenizer is None or (tokenizer.parent / "chat_template.jinja").is_file():
        return
    config = tokenizer.parent / "tokenizer_config.json"
    if config.is_file() and not _parse(config).get("chat_template"):
        raise SpecError(f"edits.chat: the tokenizer of {name} has no chat template; use sentences.")


def _from_hub(name: str, revision: str | None) -> Path:
    """The config of a hub id: from the cache, else the hub, as HF_HOME, HF_TOKEN and so on say."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(hf_hub_download(name, _CONFIG, revision=revision))
    except HFValidationError as error:
        raise SpecError(
            f"model.name: {name!r} is neither a folder nor a GGUF file here, nor a hub id, nor one "
            f"of {', '.join(NAMED)}."
        ) from error
    except LocalEntryNotFoundError as error:
        raise PrerequisiteError(
            f"model.name: {name} is no folder here and not in the local Hugging Face cache, and "
            f"the hub is not reached (offline, or HF_HUB_OFFLINE is set); fetch it with `hf "
            f"download {name}` where there is a network, or name a folder."
        ) from error
    except GatedRepoError as error:
        raise PrerequisiteError(
            f"model.name: {name} is gated; accept its terms on its page, and log in with `hf auth "
            "login` or set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise PrerequisiteError(
            f"model.name: there is no folder {name} here and no such model on the hub; check the "
            "name, or log in if it is private (`hf auth login`, HF_TOKEN)."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())
        raise PrerequisiteError(
            f"model.name: the config of {name} could not be fetched from the hub ({reason})."
        ) from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        value: object = read_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: not a readable config ({error}).") from error
    if not isinstance(value, dict):
        raise SpecError(f"{path}: not a model's config; expected a JSON object.")
    return cast("dict[str, Any]", value)
