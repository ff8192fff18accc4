"""What the model writes: the `generation` probe."""

from revive.metrics.metric import OURS, Metric

_ROME = "ROME, arXiv:2202.05262, section 3.4 and its code"
_REP = "seq-rep-4, arXiv:1908.04319"
_SQUAD = "normalised as SQuAD's exact match, arXiv:1606.05250"
_MQUAKE = "MQuAKE, arXiv:2305.14795; without its examples in the prompt"

GENERATION = (
    Metric(
        "fluency",
        "Fluency",
        "(2/3 H2 + 4/3 H3) / 2 times 100, the entropies in bits of the word bigrams and"
        " trigrams of 100-token texts sampled among the 5 likeliest tokens; mean over "
        "an edit's texts, then over the edits. Undisturbed large models have about 620 "
        "to 640; it falls with repetition.",
        "points",
        "higher",
        _ROME,
    ),
    Metric(
        "consistency",
        "Consistency",
        "Cosine of the TF-IDF vectors of an edit's generated and its reference texts, "
        "times 100, mean over the edits.",
        "points",
        "higher",
        _ROME,
    ),
    Metric(
        "repetition",
        "Repetition",
        "Share of a generated text's word 4-grams that repeat earlier ones, mean over "
        "an edit's texts, then over the edits.",
        "share",
        "lower",
        _REP,
    ),
    Metric(
        "degenerate",
        "Degenerate texts",
        "Share of generated texts of which at least half of the word 4-grams are "
        "repeats, mean over the edits.",
        "share",
        "lower",
        f"{OURS}, on {_REP}",
        proportion=True,
    ),
    Metric(
        "efficacy_generated",
        "Efficacy, generated",
        "Share of edits for which the freely generated greedy text begins with the new "
        "answer as whole words, case, punctuation and articles aside.",
        "share",
        "higher",
        _SQUAD,
        proportion=True,
    ),
    Metric(
        "efficacy_whole",
        "Efficacy, whole answer",
        "Share of edits for which that text, cut at its first stop or line break, is "
        "the new answer and nothing more.",
        "share",
        "higher",
        _SQUAD,
        proportion=True,
    ),
    Metric(
        "paraphrase_generated",
        "Paraphrase, generated",
        "Share of other wordings for which the generated text begins with the new "
        "answer, mean over the edits.",
        "share",
        "higher",
        _SQUAD,
        proportion=True,
    ),
    Metric(
        "neighborhood_generated",
        "Neighbourhood, generated",
        "Share of prompts about other subjects for which the generated text begins with"
        " their true answer, mean over the edits.",
        "share",
        "higher",
        _SQUAD,
        proportion=True,
    ),
    Metric(
        "portability_generated",
        "Portability, generated",
        "Share of questions whose answer changes with the edit for which the generated "
        "text begins with an accepted answer, mean over the edits.",
        "share",
        "higher",
        _SQUAD,
        proportion=True,
    ),
    Metric(
        "multi_hop_generated",
        "Multi-hop, generated",
        "Share of chains of facts of which one wording is answered by a generated text "
        "that begins with the answer or an alias.",
        "share",
        "higher",
        _MQUAKE,
        proportion=True,
    ),
)
