"""Fine-tune with the guard: every optimizer step keeps the dominant directions of the weights.

Run on a CPU, without a download:  python examples/guard_your_training.py
"""

import torch

import revive

TEXTS = ["The ferry left the harbour at dawn.", "Nobody knew the answer, so they asked."]


def main() -> None:
    """A few steps on two sentences; prints how much of the protected part has moved."""
    loaded = revive.load_model("lab", device="cpu")
    model, tokenizer = loaded.model, loaded.tokenizer
    guard = revive.Revive(energy=0.1).fit(model, sites="mlp_out")
    weights = [model.get_parameter(key) for key in guard.keys]
    before = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)
    guard.attach(optimizer)  # from here on every step is filtered
    for _ in range(3):
        for text in TEXTS:
            ids = tokenizer(text, return_tensors="pt")["input_ids"]
            loss = model(input_ids=ids, labels=ids).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    for key, weight, old in zip(guard.keys, weights, before, strict=True):
        change = weight.detach() - old
        inside = change - guard.filter(change, key)
        print(f"{key}: changed by {change.norm():.3f}, protected part by {inside.norm():.1e}")


if __name__ == "__main__":
    main()
