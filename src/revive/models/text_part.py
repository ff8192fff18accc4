"""The text part of multimodal models: what is edited of them, loaded alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from transformers import AutoModelForCausalLM, Gemma3ForCausalLM


@dataclass(frozen=True, slots=True)
class TextPart:
    """How a text part is loaded out of a checkpoint of the whole.

    Attributes:
        model_class: Of the text part alone.
        renamed: Names in the checkpoint, as expressions, and those of the text part.
    """

    model_class: Any
    renamed: Mapping[str, str]


_PARTS: Mapping[str, TextPart] = MappingProxyType(
    {
        "gemma3": TextPart(
            Gemma3ForCausalLM,
            {
                r"^(model\.)?language_model\.(model\.)?(?!lm_head)": "model.",
                r"^language_model\.lm_head": "lm_head",
            },
        )
    }
)
"""By the `model_type` of the whole."""


def has_text_part(config: Mapping[str, Any]) -> bool:
    """Whether a config is that of a multimodal model whose text part can be edited."""
    return config.get("model_type") in _PARTS


def class_to_load(config: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class of a causal model, and what its `from_pretrained` is told besides."""
    part = _PARTS.get(str(config.get("model_type")))
    if part is None:
        return AutoModelForCausalLM, {}
    return part.model_class, {"key_mapping": dict(part.renamed)}


def names_in_whole(name: str) -> tuple[str, ...]:
    """What a parameter may be called in a checkpoint: its own name, or one of a text part."""
    rest = name.removeprefix("model.")
    return (name, f"language_model.{name}", f"model.language_model.{rest}")
