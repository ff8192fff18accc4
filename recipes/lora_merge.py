"""Does the guard help a LoRA merge? An adapter trained on new facts, merged under `guard.protect`.

    python recipes/lora_merge.py [--seeds 0 1 2]

One adapter a seed is trained by `peft` on 64 counterfactual sentences, on the MLP output
projections of the lab model, and merged at several scales, with and without a guard. The guard sees
nothing of the training: it filters what the merge adds. Arms are compared at equal training loss
after the merge (linear between scales); the scale itself is the control that every user has.
"""

import argparse
import copy

import torch
from fact_training import FACTS, GUARDS, Point, Subject, print_table
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

RANK = 16
RATE = 3e-3
BATCH = 16
STEPS = 96
SCALES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)


class Merges:
    """One trained adapter, and the subject it was trained on."""

    def __init__(self, seed: int) -> None:
        self.subject = Subject(seed)
        self._base = copy.deepcopy(self.subject.loaded.model.state_dict())
        self._adapter = self._train(seed)

    def path(self, arm: str) -> list[Point]:
        """Merge at every scale."""
        return [self._merged(arm, scale) for scale in SCALES]

    def _train(self, seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        adapted = self._adapted()
        trained = [p for p in adapted.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
        order = torch.Generator().manual_seed(seed)
        for _ in range(STEPS):
            chosen = torch.randperm(FACTS, generator=order)[:BATCH].tolist()
            optimizer.zero_grad()
            self.subject.facts.loss(adapted, chosen).backward()
            optimizer.step()
        state = {
            name: p.detach().clone() for name, p in adapted.named_parameters() if "lora_" in name
        }
        adapted.unload()
        return state

    def _adapted(self):
        return get_peft_model(
            self.subject.loaded.model,
            LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["down_proj"]),
        )

    def _merged(self, arm: str, scale: float) -> Point:
        model = self.subject.loaded.model
        model.load_state_dict(self._base)
        guard = GUARDS[arm].fit(model, "mlp_out")
        with guard.protect(model):
            adapted = self._adapted()
            adapted.load_state_dict(self._adapter, strict=False)
            for module in adapted.modules():
                if isinstance(module, LoraLayer):
                    module.set_scale("default", scale)
            adapted.merge_and_unload()
        return self.subject.measure()


def main() -> None:
    """Train the adapters, merge them, print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)
    merges = {seed: Merges(seed) for seed in options.seeds}
    print_table(list(GUARDS), options.seeds, lambda arm, seed: merges[seed].path(arm))


if __name__ == "__main__":
    main()
