"""Which model family knows an architecture. No torch: a spec is checked with it.

The families themselves import torch, so the architectures of the built-in ones are listed here
once more, with their `model_type`; a test holds the list to what the families say. Families of
other packages are asked when no built-in one knows the architecture.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from revive import registry
from revive.errors import SpecError

BUILTIN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gpt2": {"GPT2LMHeadModel": "gpt2"},
        "gptj": {"GPTJForCausalLM": "gptj"},
        "gpt_neox": {"GPTNeoXForCausalLM": "gpt_neox"},
        "llama": {
            "LlamaForCausalLM": "llama",
            "MistralForCausalLM": "mistral",
            "Qwen2ForCausalLM": "qwen2",
            "Qwen3ForCausalLM": "qwen3",
            "GemmaForCausalLM": "gemma",
            "Phi3ForCausalLM": "phi3",
            "OlmoForCausalLM": "olmo",
            "StableLmForCausalLM": "stablelm",
            "SmolLM3ForCausalLM": "smollm3",
        },
        "mixture": {
            "MixtralForCausalLM": "mixtral",
            "Qwen2MoeForCausalLM": "qwen2_moe",
            "Qwen3MoeForCausalLM": "qwen3_moe",
            "OlmoeForCausalLM": "olmoe",
        },
        "opt": {"OPTForCausalLM": "opt"},
        "falcon": {"FalconForCausalLM": "falcon"},
        "phi": {"PhiForCausalLM": "phi"},
        "starcoder2": {"Starcoder2ForCausalLM": "starcoder2"},
        "cohere": {"CohereForCausalLM": "cohere"},
        "gemma2": {
            "Gemma2ForCausalLM": "gemma2",
            "Gemma3ForCausalLM": "gemma3_text",
            "Gemma3ForConditionalGeneration": "gemma3",
        },
        "olmo2": {"Olmo2ForCausalLM": "olmo2", "Olmo3ForCausalLM": "olmo3"},
        "glm4": {"Glm4ForCausalLM": "glm4"},
        "granite": {"GraniteForCausalLM": "granite"},
        "bloom": {"BloomForCausalLM": "bloom"},
    }
)
"""By family: architecture, and the `model_type` of its config."""


def family_name(architectures: Sequence[str], model_type: str = "") -> str:
    """The name of the family that knows one of these architectures.

    A built-in family comes first: another package cannot take an architecture from it.

    Args:
        architectures: Values of `config.architectures`, or names of model classes.
        model_type: Of the config. A built-in one is enough: it decides the class that is loaded.

    Raises:
        SpecError: No family knows them, or two of other packages do.
    """
    for name, known in BUILTIN.items():
        if any(a in known for a in architectures) or model_type in known.values():
            return name
    listed = [a for known in BUILTIN.values() for a in known]
    found: list[str] = []
    for name in registry.names("models"):
        if registry.is_builtin("models", name):
            continue
        foreign: tuple[str, ...] = registry.load("models", name).architectures
        listed.extend(foreign)
        if any(a in foreign for a in architectures):
            found.append(name)
    if len(found) > 1:
        owners = " and ".join(f"{n!r} of {registry.origin('models', n)!r}" for n in found)
        raise SpecError(
            f"model: architecture {_named(architectures)} is claimed by the model families "
            f"{owners}. Uninstall one of them."
        )
    if found:
        return found[0]
    raise SpecError(
        f"model: architecture {_named(architectures)} has no supported layer; supported are "
        f"{', '.join(sorted(set(listed)))}. A package can add a family through the entry-point "
        "group 'revive.models'."
    )


def require_family(config: Mapping[str, object]) -> str:
    """The name of the family of a model, by its `config.json`.

    Raises:
        SpecError: No family knows the architecture.
    """
    declared = config.get("architectures")
    names = [str(a) for a in declared] if isinstance(declared, list | tuple) else []
    return family_name(names, str(config.get("model_type", "")))


def _named(architectures: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(architectures)) or "unknown"
