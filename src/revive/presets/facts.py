"""The few numbers about a model that settings and estimates depend on, from its `config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

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
        stored: Dtype of the checkpoint, as in the config; empty if it does not say.
        experts: Routed experts in each block of `sparse`.
        chosen: Experts that a token is sent to.
        expert_inner: Width inside an expert.
        shared_inner: Width inside the experts that every token is sent to, together.
        sparse: Blocks whose MLP is a mixture of experts.
        positions: Most tokens that the model takes, where the config says so.
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
    stored: str
    experts: int = 0
    chosen: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    sparse: frozenset[int] = frozenset()
    positions: int | None = None

    @property
    def parameters(self) -> int:
        """Number of parameters, but for norms, biases, routers and learned positions."""
        return self._count(self.experts)

    @property
    def active(self) -> int:
        """Those that one token meets."""
        return self._count(self.chosen)

    @property
    def embedding_parameters(self) -> int:
        """Of input and output embeddings."""
        return (1 if self.tied else 2) * self.vocabulary * self.hidden

    def _count(self, experts: int) -> int:
        mlps = (self.blocks - len(self.sparse)) * self.inner
        mlps += len(self.sparse) * (experts * self.expert_inner + self.shared_inner)
        mlp = (3 if self.gated else 2) * self.hidden * mlps
        attention = 2 * self.hidden * (self.queries + self.keys)
        return self.blocks * attention + mlp + self.embedding_parameters


_UNGATED = frozenset({"gpt2", "gptj", "gpt_neox", "opt", "falcon", "phi", "starcoder2", "bloom"})
# Where the config does not say: what transformers takes for these.
_TIED = frozenset({"gpt2", "opt", "falcon", "gemma", "gemma2", "gemma3_text", "cohere", "bloom"})

# Mixtures of experts, and how many there are where the config does not say.
_MIXTURES = {"mixtral": 8, "olmoe": 64, "qwen2_moe": 60, "qwen3_moe": 128}


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
        stored=str(stored).removeprefix("torch."),
        # Bloom's positions are slopes: it has no most, whatever length its files say.
        positions=None
        if model_type == "bloom"
        else _number(config, "max_position_embeddings", "n_positions") or None,
        **(_mixture(config, model_type, blocks) if model_type in _MIXTURES else {}),
    )


def _mixture(config: Mapping[str, object], model_type: str, blocks: int) -> dict[str, Any]:
    every = _number(config, "decoder_sparse_step") or 1
    dense = config.get("mlp_only_layers") or ()
    listed = {i for i in dense if isinstance(i, int)} if isinstance(dense, list | tuple) else set()
    return {
        "experts": _number(config, "num_local_experts", "num_experts") or _MIXTURES[model_type],
        "chosen": _number(config, "num_experts_per_tok") or 2,
        "expert_inner": _number(config, "moe_intermediate_size", "intermediate_size"),
        "shared_inner": _number(config, "shared_expert_intermediate_size"),
        "sparse": frozenset(i for i in range(blocks) if i not in listed and (i + 1) % every == 0),
    }


def _number(config: Mapping[str, object], *keys: str) -> int:
    for key in keys:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
