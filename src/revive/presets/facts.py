"""The few numbers about a model that settings and estimates depend on, from its `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from revive.errors import SpecError


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Sizes of a causal language model.

    Attributes:
        model_type: As in the config, e.g. `llama`.
        hidden: Width of the residual stream.
        blocks: Number of transformer blocks.
        inner: Width inside the MLP.
        vocabulary: Number of tokens.
        gated: Whether the MLP has three matrices rather than two.
        tied: Whether input and output embeddings are one matrix.
    """

    model_type: str
    hidden: int
    blocks: int
    inner: int
    vocabulary: int
    gated: bool
    tied: bool

    @property
    def parameters(self) -> int:
        """Number of parameters, with attention counted as four square matrices."""
        mlp = (3 if self.gated else 2) * self.hidden * self.inner
        embeddings = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return self.blocks * (4 * self.hidden**2 + mlp) + embeddings


_UNGATED = frozenset({"gpt2", "gptj", "gpt_neox", "opt", "falcon", "phi", "starcoder2", "bloom"})
# Where the config does not say: what transformers takes for these.
_TIED = frozenset({"gpt2", "opt", "falcon", "gemma", "gemma2", "gemma3_text", "cohere", "bloom"})


def model_facts(config: Mapping[str, object]) -> ModelFacts:
    """Read the facts, whatever the family calls them.

    Raises:
        SpecError: The config does not say how wide or deep the model is.
    """
    nested = config.get("text_config")
    if isinstance(nested, dict) and "hidden_size" not in config:
        config = {**config, **cast("dict[str, object]", nested)}
    hidden = _number(config, "hidden_size", "n_embd", "n_embed")
    blocks = _number(config, "num_hidden_layers", "n_layer")
    if not hidden or not blocks:
        raise SpecError(
            "model: its config.json does not say hidden_size and num_hidden_layers; expected a "
            "decoder-only Hugging Face model."
        )
    model_type = str(config.get("model_type", ""))
    return ModelFacts(
        model_type=model_type,
        hidden=hidden,
        blocks=blocks,
        inner=_number(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
        or 4 * hidden,
        vocabulary=_number(config, "vocab_size"),
        gated=model_type not in _UNGATED,
        tied=bool(config.get("tie_word_embeddings", model_type in _TIED)),
    )


def _number(config: Mapping[str, object], *keys: str) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
