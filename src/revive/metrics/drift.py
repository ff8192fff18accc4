"""How far the edited weights have moved: the `spectrum` probe, alone and with `detail`."""

from revive.metrics.metric import Direction, Metric, Unit

_REVIVE = "arXiv:2601.11042, which does not publish its own definition"


def _drift(
    name: str, title: str, definition: str, unit: Unit = "share", direction: Direction = "none"
) -> Metric:
    return Metric(name, title, f"{definition} Mean over the sites.", unit, direction, _REVIVE)


DRIFT = (
    Metric(
        "weight_norm_ratio",
        "Weight norm",
        "Frobenius norm of an edited weight over that of the original, mean over the sites.",
        "ratio",
        "lower",
        "arXiv:2601.11042",
    ),
    Metric(
        "subspace_overlap",
        "Subspace overlap",
        "Share of the original dominant singular directions that the current dominant ones span "
        "(projector overlap, mean of left and right and over the sites); 1 is unchanged.",
        "share",
        "higher",
        _REVIVE,
    ),
    Metric(
        "tail_ratio",
        "Tail over head",
        "Spectral norm of the part outside the protected directions over the smallest protected "
        "singular value, at the worst site; above 1, directions made by edits outrank original "
        "ones.",
        "ratio",
        "lower",
        "ours",
    ),
    _drift(
        "overlap_left",
        "Overlap, outputs",
        "Share of the original dominant output directions that the current ones span.",
        direction="higher",
    ),
    _drift(
        "overlap_right",
        "Overlap, inputs",
        "Share of the original dominant input directions that the current ones span.",
        direction="higher",
    ),
    _drift(
        "angle_left",
        "Angle, outputs",
        "Median principal angle, in rad, between original and current dominant output directions.",
        "none",
        "lower",
    ),
    _drift(
        "angle_right",
        "Angle, inputs",
        "Median principal angle, in rad, between original and current dominant input directions.",
        "none",
        "lower",
    ),
    _drift(
        "update_norm",
        "Update norm",
        "Frobenius norm of the sum of all updates over that of the original weight.",
        "ratio",
        "lower",
    ),
    _drift(
        "update_uk_vk",
        "Update, dominant block",
        "Share of the update's energy from dominant inputs to dominant outputs.",
    ),
    _drift(
        "update_uk_rest",
        "Update, dominant outputs",
        "Share of the update's energy from other inputs to dominant outputs.",
    ),
    _drift(
        "update_rest_vk",
        "Update, dominant inputs",
        "Share of the update's energy from dominant inputs to other outputs.",
    ),
    _drift(
        "update_rest_rest",
        "Update, outside",
        "Share of the update's energy that touches no dominant direction.",
    ),
    _drift(
        "update_stable_rank",
        "Update, stable rank",
        "Squared Frobenius over squared spectral norm of the sum of all updates.",
        "none",
    ),
    _drift(
        "update_entropy",
        "Update, entropy",
        "Entropy of the squared singular values of the sum of all updates; 1 is a flat spectrum.",
    ),
)
