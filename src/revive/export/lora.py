"""A LoRA adapter in PEFT's form: W + B A with scale 1, loaded by `peft` like any other.

Written by hand so that exporting does not need `peft`. Experts of a mixture are one parameter,
which `peft` adapts by `target_parameters`: all of them at the rank of the one that needs most. An
ordinary projection of such a model is named there too: as a target module, `peft` would take its
name for that of the experts in older checkpoints.
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
    totals: Mapping[str, Total],
    sites: Mapping[str, Site],
    base: str,
    folder: Path,
    *,
    mixture: bool = False,
) -> Path:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        totals: What was written, by parameter name; weights that did not change are left out.
        sites: By parameter name.
        base: Name of the base model, as `from_pretrained` takes it.
        folder: Appears whole or not at all.
        mixture: Whether the model's family has mixtures of experts.

    Raises:
        SpecError: The folder exists and is not empty, or nothing was changed.
        PrerequisiteError: The disk is full.
    """
    changed = {k: t for k, t in totals.items() if t.factors.rank > 0}
    if not changed:
        raise SpecError("export: no weight was changed, so there is no adapter to write.")
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    experts: dict[str, dict[int, LowRank]] = {}
    for key, total in changed.items():
        site, factors = sites[key], total.factors
        if site.expert is not None:
            experts.setdefault(site.parameter, {})[site.expert] = factors
            continue
        ranks[site.parameter if mixture else site.module] = factors.rank
        tensors |= _named(site.module, factors.right.contiguous(), factors.left.contiguous())
    for parameter, factors in experts.items():
        site = next(s for s in sites.values() if s.parameter == parameter)
        count = sum(s.parameter == parameter for s in sites.values())
        ranks[parameter] = max(f.rank for f in factors.values())
        tensors |= _named(site.module, *_stacked(factors, count, ranks[parameter]))
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
        "target_modules": [] if mixture else sorted(ranks),
        **({"target_parameters": sorted(ranks)} if mixture else {}),
        "fan_in_fan_out": any(sites[key].transposed for key in changed),
        "lora_dropout": 0.0,
        "bias": "none",
    }
    with appearing(folder) as partial:
        save_file(tensors, partial / "adapter_model.safetensors", {"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (partial / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder


def _named(module: str, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    start = f"{_PREFIX}{module}"
    return {f"{start}.lora_A.weight": a, f"{start}.lora_B.weight": b}


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
