"""A model that somebody has loaded already, made ready for editing."""

from typing import Any

from torch import nn

from revive.errors import SpecError
from revive.models.family import family_of
from revive.models.fingerprint import model_fingerprint
from revive.models.loading import LoadedModel
from revive.models.wrappers import unwrap


def adopt(model: LoadedModel | nn.Module, tokenizer: Any = None) -> LoadedModel:
    """Take a model as it stands: in its precision, where it is, with what PEFT has put into it.

    Args:
        model: A causal language model of transformers, in DDP, PEFT or `torch.compile` or in none;
            it is put into eval mode. What `load_model` gives is returned as it is.
        tokenizer: Its fast tokenizer.

    Raises:
        SpecError: It is no such model or tokenizer, or its architecture is not supported.
    """
    if isinstance(model, LoadedModel):
        if tokenizer is not None and tokenizer is not model.tokenizer:
            raise SpecError("model: comes with a tokenizer of its own; leave out the other.")
        return model
    if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise SpecError(
            f"model: {model!r} is no model; to load one by name, write "
            "revive.Editor.from_pretrained(name)."
        )
    if not getattr(tokenizer, "is_fast", False):
        raise SpecError(
            f"tokenizer: {'is missing' if tokenizer is None else 'is not a fast one'}; give "
            "transformers.AutoTokenizer.from_pretrained(name) of the same model."
        )
    inner: Any = unwrap(model)
    if not hasattr(inner, "config"):
        raise SpecError(f"model: {type(inner).__name__} is no causal model of transformers.")
    if getattr(inner, "_hf_peft_config_loaded", False):
        raise SpecError(
            "model: holds an adapter inside, as a part of itself, and would be saved as that part "
            "alone; load the base and put peft.PeftModel.from_pretrained(base, adapter) around it, "
            "or merge the adapter."
        )
    family = family_of(inner)
    if inner.get_output_embeddings() is None:
        raise SpecError(
            f"model: {type(inner).__name__} has no language-model head; load it with "
            "transformers.AutoModelForCausalLM."
        )
    inner.eval()
    name = str(getattr(inner.config, "_name_or_path", "")) or type(inner).__name__
    return LoadedModel(name, inner, tokenizer, family, model_fingerprint(inner))
