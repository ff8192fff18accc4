"""The llama-like group: gated MLP with a `down_proj` that writes straight into the residual stream.

Models that normalise the MLP's output before they add it (`gemma2`, `olmo2`, `glm4`) or scale it
(`granite`) have families of their own: what an editor writes there is not what the residual
receives.
"""

from revive.models.family import Family

FAMILY = Family(
    name="llama",
    architectures=(
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "GemmaForCausalLM",
        "Phi3ForCausalLM",
        "OlmoForCausalLM",
        "StableLmForCausalLM",
        "SmolLM3ForCausalLM",
    ),
    base="model",
    blocks="layers",
    mlp="mlp",
    mlp_out="mlp.down_proj",
    transposed=False,
)
