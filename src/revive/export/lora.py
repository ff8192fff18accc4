"""A LoRA adapter in PEFT's form: W + B A with scale 1, loaded by `peft` like any other.

Written by hand so that exporting does not need `peft`. Experts of a mixture are one parameter,
which `peft` adapts by `target_parameters`. An
ordinary projection of such a model is named there too: as a target module, `peft` would take its
name for that of the experts in older checkpoints.

All projections have one rank, the next that vLLM has room for (`--max-lora-rank`), filled up with
zeros: vLLM reads no ranks of single modules (`rank_pattern`).
"""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import pad

from revive.errors import SpecError
from revive.export.card import LEAK
from revive.export.totals import Total
from revive.linalg.lowrank import LowRank
from revive.models.saving import appearing
from revive.models.site import Site

SERVED = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's `--max-lora-rank` (`vllm.config.lora.MaxLoRARanks`)."""

_PREFIX = "base_model.model."


def served_rank(rank: int) -> int:
    """The next rank that vLLM has room for; the rank itself where there is none."""
    return next((served for served in SERVED if served >= rank), rank)


def save_lora(
    totals: Mapping[str, Total],
    sites: Mapping[str, Site],
    base: str,
    folder: Path,
    card: str = LEAK,
    *,
    mixture: bool = False,
) -> Path:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Args:
        totals: What was written, by parameter name; weights that did not change are left out.
        sites: By parameter name.
        base: Name of the base model, as `from_pretrained` takes it.
        folder: Appears whole or not at all.
        card: Its README; without one, what whoever shares it should know.
        mixture: Whether the model's family has mixtures of experts.

    Raises:
        SpecError: The folder exists and is not empty, or nothing was changed.
        PrerequisiteError: The disk is full.
    """
    changed = {k: t for k, t in totals.items() if t.factors.rank > 0}
    if not changed:
        raise SpecError("export: no weight was changed, so there is no adapter to write.")
    rank = served_rank(max(t.factors.rank for t in changed.values()))
    tensors: dict[str, Tensor] = {}
    targets: set[str] = set()
    experts: dict[str, dict[int, LowRank]] = {}
    for key, total in changed.items():
        site, factors = sites[key], total.factors
        if site.expert is not None:
            experts.setdefault(site.parameter, {})[site.expert] = factors
            continue
        targets.add(site.parameter if mixture else site.module)
        more = rank - factors.rank
        tensors |= _named(
            site.module, pad(factors.right, (0, 0, 0, more)), pad(factors.left, (0, more))
        )
    for parameter, factors in experts.items():
        site = next(s for s in sites.values() if s.parameter == parameter)
        count = sum(s.parameter == parameter for s in sites.values())
        targets.add(parameter)
        tensors |= _named(site.module, *_stacked(factors, count, rank))
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,  # the scale alpha / r is 1
        "target_modules": [] if mixture else sorted(targets),
        **({"target_parameters": sorted(targets)} if mixture else {}),
        "fan_in_fan_out": any(sites[key].transposed for key in changed),
        "lora_dropout": 0.0,
        "bias": "none",
    }
    with appearing(folder) as partial:
        save_file(tensors, partial / "adapter_model.safetensors", {"format": "pt"})
        text = json.dumps(config, indent=2) + "\n"
        (partial / "adapter_config.json").write_text(text, encoding="utf-8")
        (partial / "README.md").write_text(card, encoding="utf-8")
    return folder


def _named(module: str, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    start = f"{_PREFIX}{module}"
    return {f"{start}.lora_A.weight": a.contiguous(), f"{start}.lora_B.weight": b.contiguous()}


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
