"""What the model can do besides: the `general` and `perplexity` probes, `revive evaluate`."""

from revive.metrics.metric import OURS, Metric

ABILITY = (
    Metric(
        "general",
        "General ability",
        "Mean over the tasks that have nothing to do with the edits, each rescaled so "
        "that guessing scores 0: minimal pairs, fact recall and copying for the lab "
        "battery.",
        "share",
        "higher",
        OURS,
    ),
    Metric(
        "fact_recall",
        "Fact recall",
        "Share of known facts that were not edited and are still answered right: the "
        "object is the greedy continuation.",
        "share",
        "higher",
        OURS,
    ),
    Metric(
        "minimal_pairs",
        "Minimal pairs",
        "Share of pairs of sentences of which the grammatical one is likelier as a "
        "whole; guessing scores one half.",
        "share",
        "higher",
        "arXiv:1912.00582",
    ),
    Metric(
        "copying",
        "Copying",
        "Share of pairs of texts of which the one that repeats what went before is "
        "likelier; guessing scores one half.",
        "share",
        "higher",
        OURS,
    ),
    Metric(
        "perplexity",
        "Perplexity",
        "Exponential of the mean token loss on held-out text in overlapping windows; "
        "every token is scored once, the first one after the start token. Code that "
        "counts the first token among those scored, without scoring it, gives less.",
        "none",
        "lower",
        OURS,
    ),
    Metric(
        "perplexity_*",
        "Perplexity of a text",
        "Perplexity of the named file.",
        "none",
        "lower",
        OURS,
    ),
    Metric(
        "editable_facts",
        "Editable facts",
        "Number of facts that the lab model ships for editing.",
        "count",
        "none",
        OURS,
    ),
    Metric(
        "editable_recall",
        "Editable recall",
        "Share of those facts whose object is the greedy continuation of their "
        "relation's first wording.",
        "share",
        "none",
        OURS,
    ),
    Metric(
        "editable_paraphrase_recall",
        "Editable recall, other wordings",
        "The same on other wordings seen in training.",
        "share",
        "none",
        OURS,
    ),
    Metric(
        "editable_held_out_recall",
        "Editable recall, held out",
        "The same on wordings never seen in training.",
        "share",
        "none",
        OURS,
    ),
)
