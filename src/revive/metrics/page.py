"""The metrics as a page of the documentation, `docs/metrics.md`."""

from revive.metrics.metric import Metric
from revive.metrics.table import GROUPS

UNITS = {
    "share": "share, 0 to 1",
    "ratio": "ratio",
    "points": "points",
    "s": "seconds",
    "count": "number",
    "none": "no unit",
}
BETTER = {"higher": "higher", "lower": "lower", "none": "neither"}

_HEAD = """# Metrics

Written by `revive list metrics --markdown`; a test holds it to the code.

Every metric is taken with the current model over all edits made so far, or over a sample of them
drawn by seed. A share is taken over the prompts of one edit first, then over the edits; an edit
that has no such prompt does not count. Metrics of edits carry 95 % intervals in the journal and the
summary: percentile bootstrap over edits, 1,000 resamples, seeded. A prompt and its answer are
joined by one space and tokenised together; the answer is what follows the prompt's own tokens.
"""


def page() -> str:
    """The page as Markdown."""
    parts = [_HEAD]
    for title, metrics in GROUPS.items():
        rows = "".join(_row(m) for m in metrics)
        parts.append(
            f"## {title}\n\n| metric | definition | unit | better | source |\n"
            f"|---|---|---|---|---|\n{rows}"
        )
    return "\n".join(parts)


def _row(m: Metric) -> str:
    cells = (f"`{m.name}`", m.definition, UNITS[m.unit], BETTER[m.direction], m.source)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"
