"""Which metrics a report puts first. What they mean stands in `revive.metrics`."""

from revive.metrics.metric import Metric
from revive.metrics.table import METRICS, metric

__all__ = ["BRIEF", "HEADLINE", "METRICS", "Metric", "metric"]

HEADLINE = (
    "efficacy",
    "paraphrase",
    "neighborhood",
    "score",
    "efficacy_exact",
    "general",
    "fact_recall",
    "perplexity",
    "weight_norm_ratio",
    "seconds",
)

BRIEF = ("score", "efficacy_exact", "general", "fact_recall", "perplexity")
