"""A LoRA adapter in PEFT's form: W + B A with scale 1, loaded by `peft` like any other.

Written by hand so that exporting does not need `peft`. Experts of a mixture are one parameter, which
`peft` (0.17 on) adapts by `target_parameters`: all of them at the rank of the one that needs most.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from revive.errors import SpecError
from revive.export.totals import Total
from revive.linalg.lowrank import LowRank
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
    mixtures: dict[str, dict[int, LowRank]] = {}
    for key, total in changed.items():
        site = sites[key]
        if site.expert is not None:
            mixtures.setdefault(site.parameter, {})[site.expert] = total.factors
            continue
        ranks[site.module] = total.factors.rank
        tensors[f"{_PREFIX}{site.module}.lora_A.weight"] = total.factors.right.contiguous()
        tensors[f"{_PREFIX}{site.module}.lora_B.weight"] = total.factors.left.contiguous()
    modules = sorted(ranks)
    for parameter, factors in mixtures.items():
        count = sum(site.parameter == parameter for site in sites.values())
        ranks[parameter] = max(f.rank for f in factors.values())
        module = f"{_PREFIX}{parameter.rpartition('.')[0]}"
        a, b = _stacked(factors, count, ranks[parameter])
        tensors |= {f"{module}.lora_A.weight": a, f"{module}.lora_B.weight": b}
    rank = max(ranks.values())
    own = {name: r for name, r in ranks.items() if r != rank}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,  # the scale alpha / r is 1
        "rank_pattern": own,
        "alpha_pattern": own,
        "target_modules": modules,
        **({"target_parameters": sorted(mixtures)} if mixtures else {}),
        "fan_in_fan_out": any(sites[key].transposed for key in changed),
        "lora_dropout": 0.0,
        "bias": "none",
    }
    with appearing(folder) as partial:
        save_file(tensors, partial / "adapter_model.safetensors", {"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (partial / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder


def _stacked(factors: Mapping[int, LowRank], count: int, rank: int) -> tuple[Tensor, Tensor]:
    """Factors of all experts as `peft` lays them out: `[count rank, in]` and `[out, rank count]`.

    The first has the experts' rows one after the other, the second their columns in turns.
    """
    some = next(iter(factors.values()))
    a = some.right.new_zeros(count, rank, some.right.shape[1])
    b = some.left.new_zeros(some.left.shape[0], rank, count)
    for expert, factor in factors.items():
        a[expert, : factor.rank] = factor.right
        b[:, : factor.rank, expert] = factor.left
    return a.flatten(0, 1), b.flatten(1, 2)
