"""A LoRA adapter in PEFT's form: W + B A with scale 1, loaded by `peft` like any other.

Written by hand so that exporting does not need `peft`.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from revive.errors import SpecError
from revive.export.totals import Total
from revive.models.saving import appearing
from revive.models.site import Site

_PREFIX = "base_model.model."


def save_lora(
    totals: Mapping[str, Total], sites: Mapping[str, Site], base: str, folder: Path
) -> Path:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        totals: What was written, by parameter name; weights that did not change are left out.
        sites: By parameter name.
        base: Name of the base model, as `from_pretrained` takes it.
        folder: Appears whole or not at all.

    Raises:
        SpecError: The folder exists and is not empty, or nothing was changed.
        PrerequisiteError: The disk is full.
    """
    changed = {k: t for k, t in totals.items() if t.factors.rank > 0}
    if not changed:
        raise SpecError("export: no weight was changed, so there is no adapter to write.")
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    for key, total in changed.items():
        module = sites[key].module
        ranks[module] = total.factors.rank
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = total.factors.right.contiguous()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = total.factors.left.contiguous()
    rank = max(ranks.values())
    own = {module: r for module, r in ranks.items() if r != rank}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,  # the scale alpha / r is 1
        "rank_pattern": own,
        "alpha_pattern": own,
        "target_modules": sorted(ranks),
        "fan_in_fan_out": any(sites[key].transposed for key in changed),
        "lora_dropout": 0.0,
        "bias": "none",
    }
    with appearing(folder) as partial:
        save_file(tensors, partial / "adapter_model.safetensors", {"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (partial / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder
