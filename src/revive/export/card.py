"""The model card of an exported model: what was done to it, and what was measured. No torch."""

from typing import Any

from revive.runs.schema import RunSpec

_SHOWN = {
    "efficacy": "new object preferred to the old one, over the measured edits",
    "efficacy_exact": "new object generated exactly",
    "paraphrase": "the same, in other words",
    "neighborhood": "other facts of the same kind that stayed",
    "general": "general ability (lab battery; 0 is guessing)",
    "perplexity": "of held-out prose",
}


def model_card(spec: RunSpec, step: int, edits: int, summary: dict[str, Any] | None) -> str:
    """Markdown.

    Args:
        spec: The run's.
        step: Batches that are in the model.
        edits: Edits that are in it.
        summary: `summary.json` of the finished run; None if it is not over, or not exported at its
            end, so that its numbers are of another model.
    """
    guard = spec.guard.model_dump(exclude_none=True)
    lines = [
        "---",
        f"base_model: {spec.model.name}",
        "library_name: transformers",
        "tags: [model-editing, revive]",
        "---",
        "",
        f"# {spec.model.name}, edited",
        "",
        f"{edits:,} facts were changed in {step:,} batches by "
        f"[REVIVE](https://arxiv.org/abs/2601.11042), editor `{spec.editor.name}`, guard "
        f"`{spec.guard.name}`.",
        "",
        "```yaml",
        f"editor: {spec.editor.model_dump(exclude_none=True)}",
        f"guard: {guard}",
        f"seed: {spec.seed}",
        "```",
        "",
    ]
    if spec.model.quantize is not None:
        lines += [
            "Targets were solved, and everything below measured, on the base quantised to "
            f"{spec.model.quantize}. The edited weights here are the unquantised base's plus the "
            "updates; all others are the unquantised base's own.",
            "",
        ]
    if summary is None:
        lines.append("Nothing was measured of the model at this batch.")
        return "\n".join([*lines, ""])
    before, after = summary.get("unedited", {}), summary.get("final", {})
    lines += ["| metric | unedited | edited | |", "|---|---|---|---|"]
    for name, meaning in _SHOWN.items():
        if name in after:
            lines.append(
                f"| {name} | {_number(before, name)} | {_number(after, name)} | {meaning} |"
            )
    return "\n".join([*lines, ""])


def _number(values: dict[str, Any], name: str) -> str:
    value = values.get(name)
    return f"{value:.3f}" if isinstance(value, int | float) else "-"
