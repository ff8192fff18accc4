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
        heads: Attention heads.
        queries: Width of all queries together.
        keys: Width of all keys together; smaller than that of queries where heads share them.
        activation: Of the MLP, as in the config.
        stored: Dtype of the checkpoint, as in the config; empty if it does not say.
    """

    model_type: str
    hidden: int
    blocks: int
    inner: int
    vocabulary: int
    gated: bool
    tied: bool
    heads: int
    queries: int
    keys: int
    activation: str
    stored: str

    @property
    def parameters(self) -> int:
        """Number of parameters, but for norms, biases and learned positions."""
        return self.blocks * self.block_parameters + self.embedding_parameters

    @property
    def block_parameters(self) -> int:
        """Of one block: attention and MLP."""
        mlp = (3 if self.gated else 2) * self.hidden * self.inner
        return 2 * self.hidden * (self.queries + self.keys) + mlp

    @property
    def embedding_parameters(self) -> int:
        """Of input and output embeddings."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden


_UNGATED = frozenset({"gpt2", "gptj", "gpt_neox", "opt", "falcon", "phi", "starcoder2"})
# Where the config does not say: what transformers takes for these.
_TIED = frozenset({"gpt2", "opt", "falcon", "gemma", "cohere"})


def model_facts(config: Mapping[str, object]) -> ModelFacts:
    """Read the facts, whatever the family calls them.

    Raises:
        SpecError: The config does not say how wide or deep the model is.
    """
    nested = config.get("text_config")
    if isinstance(nested, dict) and "hidden_size" not in config:
        config = {**config, **cast("dict[str, object]", nested)}
    hidden = _number(config, "hidden_size", "n_embd")
    blocks = _number(config, "num_hidden_layers", "n_layer")
    if not hidden or not blocks:
        raise SpecError(
            "model: its config.json does not say hidden_size and num_hidden_layers; expected a "
            "decoder-only Hugging Face model."
        )
    model_type = str(config.get("model_type", ""))
    heads = _number(config, "num_attention_heads", "n_head") or 1
    width = _number(config, "head_dim") or hidden // heads
    shared = _number(config, "num_key_value_heads") or heads
    stored = config.get("dtype") or config.get("torch_dtype") or ""
    return ModelFacts(
        model_type=model_type,
        hidden=hidden,
        blocks=blocks,
        inner=_number(config, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
        or 4 * hidden,
        vocabulary=_number(config, "vocab_size"),
        gated=model_type not in _UNGATED,
        tied=bool(config.get("tie_word_embeddings", model_type in _TIED)),
        heads=heads,
        queries=heads * width,
        keys=shared * width,
        activation=str(config.get("activation_function") or config.get("hidden_act") or ""),
        stored=str(stored).removeprefix("torch."),
    )


def _number(config: Mapping[str, object], *keys: str) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
