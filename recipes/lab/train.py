"""Train the lab model, in two stages.

    python -m recipes.lab.train --data DIR --out A
    python -m recipes.lab.train --data DIR --out B --start A/model --exposures 4 --rate 5e-4

The first teaches facts and language, the second copying in context. What the package ships is
B/model.

The whole data order is fixed by the seed before the first step, so a resumed run sees exactly
the batches an undisturbed one would have seen.

On a GPU the packed data lie on it as a whole, attention is torch's fused kernel with the documents'
mask, and nothing is read back but the losses of every tenth step. `recipes/gpu_study.py` trains
lab-large this way.
"""

import argparse
import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from revive.lab.facts import load_facts

from . import architecture, card, mix, packing, tokenizer
from .objective import weighted_loss
from .schedule import Schedule

_LOG = logging.getLogger(__name__)

_CHECKPOINT_SECONDS = 180.0
_LOG_STEPS = 10
_CLIP = 1.0
_OBJECT_WEIGHT = 1.2  # weights above this belong to object tokens


@dataclass(frozen=True)
class Options:
    """Command-line options of one training run."""

    data: Path
    out: Path
    size: architecture.Size
    device: str
    seed: int
    exposures: int
    rate: float
    batch: int
    length: int
    threads: int
    facts: int
    resume: bool
    start: Path | None
    compile: bool = False


@dataclass(frozen=True)
class Losses:
    """Losses of one step, nats per token; on the device, where reading them waits for the step.

    Attributes:
        weighted: What is minimised.
        objects: Of the facts' objects.
        text: Of ordinary text.
    """

    weighted: Tensor
    objects: Tensor
    text: Tensor


Progress = Callable[[int, int], None]
"""Called with steps done and steps in all; may raise to stop the training, which can be resumed."""


class Trainer:
    """A bfloat16 model with float32 master weights and AdamW state."""

    def __init__(
        self,
        model: LlamaForCausalLM,
        schedule: Schedule,
        device: torch.device,
        *,
        compile: bool = False,
    ) -> None:
        """Move a model to a device.

        Args:
            model: The model; compiled or not, it is the one that is saved.
            schedule: Of the learning rate.
            device: Where it is trained.
            compile: Whether torch compiles the forward pass: a minute at the start, worth it where
                training takes many.
        """
        nn.Module.to(model, device=device, dtype=torch.bfloat16)
        self.model = model
        self.schedule = schedule
        self._body: Any = torch.compile(model.model) if compile else model.model
        self._weights = list(self.model.parameters())
        self._master = [weight.detach().float().clone() for weight in self._weights]
        matrices = [weight for weight in self._master if weight.ndim > 1]
        vectors = [weight for weight in self._master if weight.ndim == 1]
        groups = [
            {"params": matrices, "weight_decay": 0.05},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def step(self, number: int, rows: packing.Rows) -> Losses:
        """One update from some rows, which lie on the model's device."""
        tokens = rows.tokens.long()
        hidden = self._body(
            input_ids=tokens,
            attention_mask=_document_mask(rows.documents, self.model.dtype),
            position_ids=rows.positions.long(),
            use_cache=False,
        ).last_hidden_state[:, :-1]
        wanted = rows.weights[:, 1:].reshape(-1)
        loss, each = weighted_loss(
            hidden.reshape(-1, hidden.shape[-1]),
            self.model.lm_head.weight,
            tokens[:, 1:].reshape(-1),
            wanted / wanted.sum(),
        )
        loss.backward()
        self._update(self.schedule.rate(number))
        return Losses(
            loss.detach(), _mean(each, wanted > _OBJECT_WEIGHT), _mean(each, wanted == 1.0)
        )

    def _update(self, rate: float) -> None:
        for master, weight in zip(self._master, self._weights, strict=True):
            master.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None
        torch.nn.utils.clip_grad_norm_(self._master, _CLIP)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        with torch.no_grad():
            for master, weight in zip(self._master, self._weights, strict=True):
                weight.copy_(master)

    def state(self) -> dict[str, Any]:
        """Everything needed to continue."""
        return {"master": self._master, "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        with torch.no_grad():
            for target, source in zip(self._master, state["master"], strict=True):
                target.copy_(source)
            for weight, master in zip(self._weights, self._master, strict=True):
                weight.copy_(master)
        self.optimizer.load_state_dict(state["optimizer"])


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values; no indexing, which would wait for the device to count them."""
    return (values * chosen).sum() / chosen.sum()


def _document_mask(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive mask that keeps attention causal and inside one document."""
    length = numbers.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=numbers.device).tril()
    allowed = causal & (numbers[:, :, None] == numbers[:, None, :])
    mask = torch.zeros(allowed.shape, dtype=dtype, device=numbers.device)
    return mask.masked_fill_(~allowed, torch.finfo(dtype).min)[:, None]


def run(options: Options, progress: Progress | None = None) -> Path:
    """Train and save; see `finish` for the evaluation.

    Args:
        options: What is trained, and how.
        progress: Told after every step.

    Returns:
        The model's folder, which holds `training.json`.
    """
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    device = _device(options.device)
    coder, rows = _prepare(options)
    rows = rows.to(device)
    model = _model(options, coder)
    # On short rows with a dense mask, plain matrix products beat the fused CPU attention.
    model.set_attn_implementation("eager" if device.type == "cpu" else "sdpa")
    steps = len(rows.tokens) // options.batch
    trainer = Trainer(model, Schedule(options.rate, steps), device, compile=options.compile)
    checkpoint = options.out / "checkpoint.pt"
    first, before = 0, 0.0
    if options.resume and checkpoint.is_file():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        trainer.load(saved["trainer"])
        first, before = saved["step"], saved["seconds"]
    per_step = options.batch * options.length
    _LOG.info("%s", json.dumps({"event": "start", "steps": steps, "tokens": steps * per_step}))
    begin = saved_at = time.monotonic()
    for number in range(first, steps):
        part = rows.part(number * options.batch, (number + 1) * options.batch)
        losses = trainer.step(number, part)
        if number % _LOG_STEPS == 0 or number == steps - 1:
            seconds = time.monotonic() - begin
            _log_step(number, steps, per_step, first, losses, trainer.schedule, seconds, before)
        now = time.monotonic()
        if now - saved_at > _CHECKPOINT_SECONDS:
            saved_at = now
            _save(checkpoint, trainer, number + 1, before + now - begin)
        if progress is not None:
            try:
                progress(number + 1, steps)
            except BaseException:
                _save(checkpoint, trainer, number + 1, before + time.monotonic() - begin)
                raise
    seconds = before + time.monotonic() - begin
    folder = options.out / "model"
    model.set_attn_implementation("sdpa")
    model.save_pretrained(folder)
    coder.save_pretrained(folder)
    card.record_stage(folder, _stage(options, steps * per_step, seconds, device), options.start)
    checkpoint.unlink(missing_ok=True)
    return folder


def _model(options: Options, coder: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    if options.start is not None:
        return LlamaForCausalLM.from_pretrained(options.start, dtype=torch.float32)
    return LlamaForCausalLM(
        architecture.config(
            options.size, len(coder), _token(coder.bos_token_id), _token(coder.eos_token_id)
        )
    )


def _prepare(options: Options) -> tuple[PreTrainedTokenizerFast, packing.Rows]:
    facts = load_facts()[: options.facts or None]
    passages = mix.source_passages(options.data, options.seed)
    lines: list[str] = list(passages[:6000])
    for kind in ("handbook", "grammar", "copying"):
        supply = mix.skill_lines(kind, options.seed)
        lines += [next(supply) for _ in range(1500)]
    for pieces in mix.fact_passes(facts, 4, random.Random("tokenizer facts")):
        lines.append("".join(text for text, _ in pieces))
    if options.start is None:
        coder, amounts = tokenizer.build(facts, lines), mix.LEARN
    else:
        coder, amounts = AutoTokenizer.from_pretrained(options.start), mix.FINISH
    stream = packing.documents(
        facts,
        passages,
        replace(amounts, exposures=options.exposures),
        packing.Encoder(coder),
        options.seed,
        _token(coder.bos_token_id),
        options.length,
    )
    return coder, packing.pack(stream, options.length, _token(coder.pad_token_id))


def _token(number: Any) -> int:
    """A special token's id; transformers types it as almost anything."""
    return int(number)


def _log_step(
    number: int,
    steps: int,
    per_step: int,
    first: int,
    losses: Losses,
    schedule: Schedule,
    seconds: float,
    before: float,
) -> None:
    entry = {
        "event": "step",
        "step": number,
        "steps": steps,
        "tokens": (number + 1) * per_step,
        "tokens_per_second": round((number + 1 - first) * per_step / max(seconds, 1e-9)),
        "loss": round(losses.weighted.item(), 4),
        "object_loss": round(losses.objects.item(), 4),
        "text_loss": round(losses.text.item(), 4),
        "rate": schedule.rate(number),
        "seconds": round(before + seconds, 1),
    }
    _LOG.info("%s", json.dumps(entry))


def _save(path: Path, trainer: Trainer, step: int, seconds: float) -> None:
    partial = path.with_suffix(".partial")
    torch.save({"trainer": trainer.state(), "step": step, "seconds": seconds}, partial)
    os.replace(partial, path)


def _stage(options: Options, tokens: int, seconds: float, device: torch.device) -> card.Stage:
    return card.Stage(
        tokens=tokens,
        minutes=round(seconds / 60, 1),
        hardware=f"{os.cpu_count()} CPU cores" if device.type == "cpu" else "one GPU",
        command=f"python -m recipes.lab.train --size {options.size} --exposures "
        f"{options.exposures} --rate {options.rate} --batch {options.batch} --seed {options.seed}"
        + (" --start STAGE-BEFORE" if options.start else ""),
    )


def finish(folder: Path, options: Options) -> None:
    """Evaluate what was trained, and write its card."""
    # Imported late: evaluation needs the probes, which training itself does not.
    from . import evaluate

    result = evaluate.evaluate(folder, options.data, device=str(_device(options.device)))
    _LOG.info("%s", json.dumps({"event": "evaluation", **result}))
    card.write(folder, card.read_stages(folder), result)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, required=True, help="folder for model and checkpoint")
    parser.add_argument(
        "--size",
        choices=("tiny", "base", "large"),
        help="base is what ships; large, lab-large, needs a GPU [default: large if there is one]",
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--exposures", type=int, default=40, help="statements of each fact")
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--batch", type=int, default=32, help="rows per step")
    parser.add_argument("--length", type=int, default=96, help="tokens per row")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--facts", type=int, default=0, help="only the first N facts (0: all)")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--compile", action="store_true", help="let torch compile the model")
    parser.add_argument("--start", type=Path, help="model folder of the stage before")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = parser.parse_args(argv)
    if options.size is None:
        options.size = "base" if _device(options.device).type == "cpu" else "large"
    chosen = Options(**vars(options))
    finish(run(chosen), chosen)


if __name__ == "__main__":
    main()
