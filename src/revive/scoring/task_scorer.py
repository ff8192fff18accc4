"""Score tasks with a model."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from torch import nn
from transformers import PreTrainedTokenizerBase

from revive.models.forward.runner import context_length
from revive.scoring.task_encoding import encode_question
from revive.scoring.task_generation import write_on
from revive.scoring.task_likelihood import ChoiceScores, Progress, best, score_choices
from revive.tasks import metrics
from revive.tasks.answers import read_label, read_number
from revive.tasks.collect import Prepared
from revive.tasks.item import Item
from revive.tasks.metrics import Interval
from revive.tasks.result import TaskResult, digest
from revive.tasks.task import Rule, Task

Report = Callable[[str, int, int], None]
"""Told the task, the items done, and of how many."""


def score_tasks(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[Prepared],
    *,
    max_tokens_per_batch: int = 4096,
    report: Report | None = None,
) -> list[TaskResult]:
    """Score every task by every rule it was prepared for; changes nothing of the model."""
    found: list[TaskResult] = []
    for prepared in tasks:
        for rule in prepared.rules:
            by = _generation if rule == "generation" else _likelihood
            told = _told(report, prepared.task.name, rule)
            found.append(by(model, tokenizer, prepared, max_tokens_per_batch, told))
    return found


def _told(report: Report | None, name: str, rule: Rule) -> Progress | None:
    if report is None:
        return None
    label = f"{name} (generation)" if rule == "generation" else name
    return lambda done, total: report(label, done, total)


def _likelihood(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    budget: int,
    progress: Progress | None,
) -> TaskResult:
    task, items = prepared.task, prepared.items
    scores = score_choices(model, tokenizer, items, max_tokens_per_batch=budget, progress=progress)
    if task.word:
        return _words(prepared, scores)
    said = {
        key: [best(i, s, per_character=key == _LENGTH) for i, s in zip(items, scores, strict=True)]
        for key in (_SUM, _LENGTH)
    }
    right = {
        key: sum(a == i.answer for a, i in zip(answers, items, strict=True))
        for key, answers in said.items()
    }
    return _result(
        prepared,
        "likelihood",
        list(said[_LENGTH if task.per_character else _SUM]),
        {key: count / len(items) for key, count in right.items()},
        {key: metrics.wilson(count, len(items)) for key, count in right.items()},
    )


def _words(prepared: Prepared, scores: Sequence[ChoiceScores]) -> TaskResult:
    nll = [-score.sums[0] for score in scores]
    return _result(
        prepared,
        "likelihood",
        [0 if score.exact[0] else None for score in scores],
        {_PERPLEXITY: metrics.perplexity(nll)},
        {_PERPLEXITY: metrics.perplexity_interval(nll)},
    )


def _generation(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    prepared: Prepared,
    budget: int,
    progress: Progress | None,
) -> TaskResult:
    task, items = prepared.task, prepared.items
    room = context_length(model)
    tokens = _answer_tokens(tokenizer, task, items)
    prompts = [encode_question(tokenizer, item, room, tokens) for item in items]
    texts = write_on(
        model, tokenizer, prompts, tokens, max_tokens_per_batch=budget, progress=progress
    )
    found = [_read(item, text) for item, text in zip(items, texts, strict=True)]
    readable = sum(1 for _, known in found if known)
    return _result(
        prepared,
        "generation",
        [answer for answer, _ in found],
        {_READABLE: readable / len(items)},
        {_READABLE: metrics.wilson(readable, len(items))},
    )


def _answer_tokens(tokenizer: PreTrainedTokenizerBase, task: Task, items: Sequence[Item]) -> int:
    """Tokens that an answer may take: with small vocabularies a label alone may take many."""
    labels = {f" {label}" for item in items for label in item.labels}
    lengths = [len(tokenizer(label, add_special_tokens=False)["input_ids"]) for label in labels]
    return max([task.tokens, *(2 * length for length in lengths)])


def _read(item: Item, text: str) -> tuple[int | None, bool]:
    """The answer's position, and whether the text holds an answer at all."""
    if item.labels:
        label = read_label(text, item.labels)
        return label, label is not None
    number = read_number(text)
    right = number is not None and number == Decimal(item.target)
    return (item.answer if right else None), number is not None


def _result(
    prepared: Prepared,
    rule: Rule,
    said: Sequence[int | None],
    more: Mapping[str, float],
    intervals: Mapping[str, Interval],
) -> TaskResult:
    task, items = prepared.task, prepared.items
    hits = [answer == item.answer for answer, item in zip(said, items, strict=True)]
    scores = {"accuracy": sum(hits) / len(hits), **more}
    spans = {"accuracy": metrics.wilson(sum(hits), len(hits)), **intervals}
    if task.classes:
        table = metrics.confusion([i.answer for i in items], said, len(task.classes))
        for name, score in _F1.items():
            scores[name] = score(table)
            spans[name] = metrics.f1_interval(table, score)
    groups = _groups(items, hits)
    if groups:
        scores["group_mean"] = sum(groups.values()) / len(groups)
    return TaskResult(
        task=task.name,
        version=task.version,
        rule=rule,
        count=len(items),
        total=prepared.total,
        metrics=scores,
        intervals=spans,
        baselines=_baselines(task, items),
        groups=groups,
        items=digest(items),
    )


def _groups(items: Sequence[Item], hits: Sequence[bool]) -> dict[str, float]:
    found: dict[str, list[bool]] = defaultdict(list)
    for item, hit in zip(items, hits, strict=True):
        if item.group:
            found[item.group].append(hit)
    return {name: sum(group) / len(group) for name, group in sorted(found.items())}


def _baselines(task: Task, items: Sequence[Item]) -> dict[str, float]:
    """What guessing gets. Where there is nothing to choose from, that is nothing."""
    if task.word or not all(len(item.choices) > 1 for item in items):
        return {"chance": 0.0, "majority": 0.0}
    truth = [item.answer for item in items]
    chance = sum(1 / len(item.choices) for item in items) / len(items)
    if len(set(truth)) == 1 and not task.classes:
        # The right choice always stands at the same place: its frequency says nothing.
        return {"chance": chance, "majority": chance}
    usual = metrics.majority(truth)
    found = {"chance": chance, "majority": truth.count(usual) / len(truth)}
    if task.classes:
        table = metrics.confusion(truth, [usual] * len(truth), len(task.classes))
        found.update({f"majority_{name}": score(table) for name, score in _F1.items()})
    return found


_SUM, _LENGTH = "accuracy_sum", "accuracy_per_character"
_PERPLEXITY, _READABLE = "perplexity", "readable"
_F1 = {"f1_weighted": metrics.f1_weighted, "f1_macro": metrics.f1_macro}
