"""How edits are held: the `edits` probe."""

from revive.metrics.metric import OURS, Metric

_ROME = "ROME, arXiv:2202.05262, section 3.4"
_ZSRE = "MEND, arXiv:2110.11309, and ROME, arXiv:2202.05262, section 3.2"
_PORT = "arXiv:2305.13172; KnowEdit, arXiv:2401.01286"
_MQUAKE = "MQuAKE, arXiv:2305.14795; without its examples in the prompt"

SCORE = ("efficacy", "paraphrase", "neighborhood")
"""The parts of the score."""

EDITING = (
    Metric(
        "efficacy",
        "Efficacy",
        "Share of edits whose new answer the current model finds likelier than the old "
        "one, by mean token loss, on the edit's own prompt.",
        "share",
        "higher",
        _ROME,
        proportion=True,
    ),
    Metric(
        "paraphrase",
        "Paraphrase",
        "Share of an edit's other wordings for which the new answer is likelier than "
        "the old one, mean over the edits.",
        "share",
        "higher",
        _ROME,
        proportion=True,
    ),
    Metric(
        "neighborhood",
        "Neighbourhood",
        "Share of prompts about other subjects for which their true answer is still "
        "likelier than the edit's new one, mean over the edits.",
        "share",
        "higher",
        _ROME,
        proportion=True,
    ),
    Metric(
        "score",
        "Score",
        "Edit success: harmonic mean of efficacy, paraphrase and neighbourhood.",
        "share",
        "higher",
        _ROME,
    ),
    Metric(
        "attribute",
        "Attribute",
        "Share of prompts about other subjects, whose true answer is the edit's new "
        "one, for which it is likelier than the edit's old one, mean over the edits. It"
        " falls where that knowledge is lost and grows where the new answer leaks: "
        "compare it with the unedited model.",
        "share",
        "none",
        _ROME,
        proportion=True,
    ),
    Metric(
        "efficacy_exact",
        "Efficacy, exact",
        "Share of edits for which the model's own greedy answer begins with the new "
        "answer, token by token.",
        "share",
        "higher",
        OURS,
        proportion=True,
    ),
    Metric(
        "paraphrase_exact",
        "Paraphrase, exact",
        "Share of other wordings for which the model's own greedy answer begins with "
        "the new answer, token by token, mean over the edits.",
        "share",
        "higher",
        OURS,
        proportion=True,
    ),
    Metric(
        "neighborhood_exact",
        "Neighbourhood, exact",
        "Share of prompts about other subjects for which the model's own greedy answer "
        "begins with their true answer, token by token, mean over the edits.",
        "share",
        "higher",
        OURS,
        proportion=True,
    ),
    Metric(
        "attribute_exact",
        "Attribute, exact",
        "Share of attribute prompts for which the model's own greedy answer begins with"
        " the edit's new answer, which is the true one there, mean over the edits.",
        "share",
        "none",
        OURS,
        proportion=True,
    ),
    Metric(
        "efficacy_tokens",
        "Efficacy, tokens",
        "Share of the new answer's tokens that are the model's first choice after the "
        "right ones before (teacher forcing), mean over the edits: zsRE's efficacy.",
        "share",
        "higher",
        _ZSRE,
    ),
    Metric(
        "paraphrase_tokens",
        "Paraphrase, tokens",
        "The same on the edit's other wordings: zsRE's generalisation.",
        "share",
        "higher",
        _ZSRE,
    ),
    Metric(
        "neighborhood_tokens",
        "Neighbourhood, tokens",
        "The same for the true answers of prompts about other subjects: zsRE's specificity.",
        "share",
        "higher",
        _ZSRE,
    ),
    Metric(
        "portability_exact",
        "Portability, exact",
        "Share of questions whose answer changes with the edit for which the model's "
        "greedy answer begins with an accepted one, token by token, mean over the "
        "edits.",
        "share",
        "higher",
        _PORT,
        proportion=True,
    ),
    Metric(
        "portability_tokens",
        "Portability, tokens",
        "Share of the accepted answer's tokens that are first choices (teacher forcing;"
        " the best of several answers) on those questions, mean over the edits.",
        "share",
        "higher",
        _PORT,
    ),
    Metric(
        "multi_hop_exact",
        "Multi-hop, exact",
        "Share of chains of facts of which one wording is answered: the greedy answer "
        "begins with the chain's answer or an alias, token by token. A chain counts "
        "once all edits that it rests on are made.",
        "share",
        "higher",
        _MQUAKE,
        proportion=True,
    ),
)
