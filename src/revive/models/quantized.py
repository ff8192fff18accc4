"""A base in 8 or 4 bits, of which only what is edited is held in full precision.

Weights are quantised by bitsandbytes while they are loaded: `8bit` is LLM.int8() (arXiv
2208.07339), `4bit` is NF4 with double quantisation (arXiv 2305.14314). Edited projections stay as
they are in the checkpoint, and so do the head, which every loss is read from, and the embeddings.
Gradients of hidden states pass through quantised projections. In 8 bits they are those of the
dequantised weights, while the forward also rounds activations, and computes inputs that have an
entry beyond 6 in any row of a batch in 16 bits: edits of one batch see each other that much.
"""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

from revive.errors import PrerequisiteError, SpecError
from revive.models.family import family_of

Quantize = Literal["8bit", "4bit"]


def quantization(
    quantize: str, source: str, dtype: torch.dtype, edited: Sequence[int], **options: Any
) -> BitsAndBytesConfig:
    """What transformers is told.

    Args:
        quantize: `8bit` or `4bit`.
        source: Folder or hub id.
        dtype: Of what is not quantised, and of computing.
        edited: Blocks whose MLP output projection stays in full precision.
        options: Of `from_pretrained`.

    Raises:
        SpecError: Unknown form, a dtype that bitsandbytes does not compute in, or no such block.
        PrerequisiteError: bitsandbytes is not installed.
    """
    if quantize not in ("8bit", "4bit"):
        raise SpecError(f"model.quantize: {quantize!r} is unknown; use 8bit or 4bit.")
    if dtype == torch.float64:
        raise SpecError(
            "model.quantize: a quantised base is computed in float32, bfloat16 or float16; choose "
            "one of them for model.dtype."
        )
    if find_spec("bitsandbytes") is None:
        raise PrerequisiteError(
            f"model.quantize: {quantize} needs bitsandbytes; install it with "
            "pip install 'revive-edit[quantize]'."
        )
    # It says of every product that 8-bit ones have 16-bit inputs.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    kept = _kept(source, edited, **options)
    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


def check_quantized(model: Any) -> None:
    """Refuse a model of which nothing was quantised.

    Raises:
        SpecError: Its projections are of a class of their own, which bitsandbytes does not know.
    """
    from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt

    if not any(isinstance(module, Linear4bit | Linear8bitLt) for module in model.modules()):
        raise SpecError(
            f"model.quantize: bitsandbytes finds nothing to quantise in {type(model).__name__}; "
            "leave model.quantize out."
        )


def keep_differentiable(model: Any) -> None:
    """Have 4-bit projections stay in the form that gradients pass through.

    On a CPU that multiplies bfloat16, bitsandbytes repacks a weight at its first forward without
    gradients: from then on its product is a kernel without a backward, which computes in bfloat16
    and refuses projections narrower than a block of its scales.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _kept(source: str, edited: Sequence[int], **options: Any) -> list[str]:
    """Modules that stay as they are, found on a model without values."""
    config = AutoConfig.from_pretrained(source, **options)
    code = {"trust_remote_code": options.get("trust_remote_code", False)}
    with torch.device("meta"):
        bare: Any = AutoModelForCausalLM.from_config(config, **code)
    head = bare.get_output_embeddings()
    names = [name for name, module in bare.named_modules() if module is head]
    return names + [s.module for s in family_of(bare).sites(bare, layers=edited)]
