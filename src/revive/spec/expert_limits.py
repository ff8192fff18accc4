"""What can be done to the experts of a mixture, said before a model is loaded. No torch."""

from collections.abc import Set

from revive.errors import SpecError

EDITORS: Set[str] = frozenset(
    {"memit", "memit-seq", "alphaedit", "encore", "emmet", "rect", "prune", "ft"}
)
"""Built-in editors that can write to them; a test holds this to what the editors say."""


def refuse_on_experts(editor: str, *, able: bool, mode: str, energy: object = None) -> None:
    """Refuse what cannot be done where an edited layer is a mixture of experts.

    Args:
        editor: The editor's name.
        able: Whether it can write to experts.
        mode: The guard's `solve`.
        energy: The guard's `energy`.

    Raises:
        SpecError: Names what to change.
    """
    if not able:
        raise SpecError(
            f"editor: {editor} writes to one projection a layer, and an edited layer of this model "
            f"is a mixture of experts. Use one of {', '.join(sorted(EDITORS))}."
        )
    if mode != "posthoc":
        raise SpecError(
            f"guard.solve: {mode} is for one projection a layer, and an edited layer of this model "
            "is a mixture of experts, each with protected directions of its own; use posthoc."
        )
    if energy == "auto":
        raise SpecError(
            "guard.energy: auto tries every site by itself, which a mixture of experts has too "
            "many of; give a share, such as 0.1."
        )
