"""The golden models' edited weights, read without building the models."""

from goldens import hparams
from safetensors.torch import load_file

from shared import shared

WEIGHT = {
    "gpt2": "transformer.h.{}.mlp.c_proj.weight",
    "gptj": "transformer.h.{}.mlp.fc_out.weight",
    "llama-bos": "model.layers.{}.mlp.down_proj.weight",
    "stories260K-llama": "model.layers.{}.mlp.down_proj.weight",
}


def weights(model):
    """Edited weights, canonical [out, in], fp64, by layer."""
    stored = load_file(shared("goldens", model, "model", "model.safetensors"))
    by_layer = {layer: stored[WEIGHT[model].format(layer)] for layer in hparams(model)["layers"]}
    return {n: (w.T if model == "gpt2" else w).double() for n, w in by_layer.items()}
