"""Tiny random models, one per family, and a tokenizer; built in memory in milliseconds."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    CohereConfig,
    CohereForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    Glm4Config,
    Glm4ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Olmo2Config,
    Olmo2ForCausalLM,
    Olmo3Config,
    Olmo3ForCausalLM,
    OlmoConfig,
    OlmoeConfig,
    OlmoeForCausalLM,
    OlmoForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2MoeConfig,
    Qwen2MoeForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
    StableLmConfig,
    StableLmForCausalLM,
    Starcoder2Config,
    Starcoder2ForCausalLM,
)

VOCABULARY = 259
LLAMA_LIKE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


# Shorter than the rows of the tests, so that it bites; every second block sees everything.
WINDOW = 4
WINDOWS = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}


def _llama_like(config_class, model_class, inner=48, **more):
    return model_class(config_class(intermediate_size=inner, **LLAMA_LIKE, **more))


def _uneven_norms(model):
    """Norms that do something: their weights are ones, or zeros, in a new model.

    Those after the MLP let enough through for one block to decide what comes next.
    """
    for name, parameter in model.named_parameters():
        if "norm" in name:
            wide = 6.0 if "post_feedforward" in name or "post_mlp" in name else 1.0
            parameter.data += wide * torch.rand(parameter.shape) - 0.5
    return model


def _bloom(inner):
    """The config knows no inner width."""
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=3, n_head=4)
    model = BloomForCausalLM(config)
    for block in model.transformer.h:
        block.mlp.dense_h_to_4h = torch.nn.Linear(32, inner)
        block.mlp.dense_4h_to_h = torch.nn.Linear(inner, 32)
    return model


BUILDERS = {
    "gpt2": lambda inner=48: GPT2LMHeadModel(
        GPT2Config(
            vocab_size=VOCABULARY, n_embd=32, n_inner=inner, n_layer=3, n_head=4, n_positions=256
        )
    ),
    "gptj": lambda inner=48: GPTJForCausalLM(
        GPTJConfig(
            vocab_size=VOCABULARY,
            n_embd=32,
            n_inner=inner,
            n_layer=3,
            n_head=4,
            rotary_dim=4,
            n_positions=256,
        )
    ),
    "gpt_neox": lambda inner=48: GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=inner,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=256,
        )
    ),
    "llama": lambda inner=48: _llama_like(LlamaConfig, LlamaForCausalLM, inner),
    "mistral": lambda inner=48: _llama_like(
        MistralConfig, MistralForCausalLM, inner, sliding_window=WINDOW
    ),
    "qwen2": lambda inner=48: _llama_like(Qwen2Config, Qwen2ForCausalLM, inner),
    "qwen3": lambda inner=48: _llama_like(Qwen3Config, Qwen3ForCausalLM, inner, head_dim=8),
    "gemma": lambda inner=48: _llama_like(GemmaConfig, GemmaForCausalLM, inner, head_dim=8),
    "phi3": lambda inner=48: _llama_like(Phi3Config, Phi3ForCausalLM, inner, pad_token_id=1),
    "olmo": lambda inner=48: _llama_like(OlmoConfig, OlmoForCausalLM, inner),
    "stablelm": lambda inner=48: _llama_like(StableLmConfig, StableLmForCausalLM, inner),
    "smollm3": lambda inner=48: _llama_like(
        SmolLM3Config, SmolLM3ForCausalLM, inner, pad_token_id=1
    ),
    "starcoder2": lambda inner=48: _llama_like(Starcoder2Config, Starcoder2ForCausalLM, inner),
    "cohere": lambda inner=48: _llama_like(CohereConfig, CohereForCausalLM, inner),
    "gemma2": lambda inner=48: _uneven_norms(
        _llama_like(
            Gemma2Config,
            Gemma2ForCausalLM,
            inner,
            head_dim=8,
            query_pre_attn_scalar=8,
            attn_logit_softcapping=0.5,
            final_logit_softcapping=2.0,
            attn_implementation="eager",
            **WINDOWS,
        )
    ),
    "gemma3": lambda inner=48: _uneven_norms(
        _llama_like(
            Gemma3TextConfig,
            Gemma3ForCausalLM,
            inner,
            head_dim=8,
            query_pre_attn_scalar=8,
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 10.0},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000.0},
            },
            **WINDOWS,
        )
    ),
    "olmo2": lambda inner=48: _uneven_norms(
        _llama_like(Olmo2Config, Olmo2ForCausalLM, inner, pad_token_id=1)
    ),
    "olmo3": lambda inner=48: _uneven_norms(
        _llama_like(Olmo3Config, Olmo3ForCausalLM, inner, pad_token_id=1, **WINDOWS)
    ),
    "glm4": lambda inner=48: _uneven_norms(
        _llama_like(Glm4Config, Glm4ForCausalLM, inner, head_dim=8, pad_token_id=1)
    ),
    "granite": lambda inner=48: _llama_like(
        GraniteConfig,
        GraniteForCausalLM,
        inner,
        embedding_multiplier=3.0,
        residual_multiplier=0.3,
        attention_multiplier=0.2,
        logits_scaling=1.7,
    ),
    "bloom": lambda inner=48: _bloom(inner),
    "phi": lambda inner=48: _llama_like(PhiConfig, PhiForCausalLM, inner),
    "opt": lambda inner=48: OPTForCausalLM(
        OPTConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            word_embed_proj_dim=32,
            ffn_dim=inner,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=256,
        )
    ),
    "falcon": lambda inner=48: FalconForCausalLM(
        FalconConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            ffn_hidden_size=inner,
            num_hidden_layers=3,
            num_attention_heads=4,
            alibi=False,
        )
    ),
}


EXPERTS = 4
_ROUTED = {"num_experts": EXPERTS, "num_experts_per_tok": 2}
MIXTURES = {
    "mixtral": lambda inner=48: _llama_like(
        MixtralConfig, MixtralForCausalLM, inner, num_local_experts=EXPERTS, num_experts_per_tok=2
    ),
    "qwen2_moe": lambda inner=48: _llama_like(
        Qwen2MoeConfig,
        Qwen2MoeForCausalLM,
        40,
        moe_intermediate_size=inner,
        shared_expert_intermediate_size=24,
        **_ROUTED,
    ),
    # The first block is an ordinary MLP.
    "qwen3_moe": lambda inner=48: _llama_like(
        Qwen3MoeConfig,
        Qwen3MoeForCausalLM,
        40,
        moe_intermediate_size=inner,
        head_dim=8,
        mlp_only_layers=[0],
        norm_topk_prob=True,
        **_ROUTED,
    ),
    "olmoe": lambda inner=48: _llama_like(
        OlmoeConfig, OlmoeForCausalLM, inner, eos_token_id=1, **_ROUTED
    ),
}
"""Mixtures of experts: four experts a block, two to a token."""


def tiny_model(name, *, inner=48, dtype=torch.float64, seed=0):
    """A random model of the family; `inner=32` makes the edited weight square."""
    torch.manual_seed(seed)
    model = (BUILDERS | MIXTURES)[name](inner=inner)
    model.set_experts_implementation("eager")  # as a loaded model has on a CPU
    for parameter in model.parameters():
        parameter.data = parameter.data * 3 if parameter.ndim > 1 else parameter.data
    return model.to(dtype).eval()


def byte_tokenizer(*, bos=False, template="<s> $A"):
    """One token per byte; `<s>` = 0, `</s>` = 1, `<unk>` = 2; specials by template if `bos`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2} | {c: i + 3 for i, c in enumerate(alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if bos:
        tokenizer.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=False),
                processors.TemplateProcessing(
                    single=template, special_tokens=[("<s>", 0), ("</s>", 1)]
                ),
            ]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        model_input_names=["input_ids", "attention_mask"],
    )
