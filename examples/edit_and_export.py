"""Edit a model from Python, measure it, take an edit batch back, and export an adapter.

Run on a CPU, without a download:  python examples/edit_and_export.py OUT
"""

import sys
from pathlib import Path

import revive


def main(out: Path) -> None:
    """Write `OUT/adapter`, for `peft.PeftModel.from_pretrained(base, "OUT/adapter")`."""
    editor = revive.Editor.from_pretrained(
        "lab", method="memit-seq", guard=revive.Revive(energy=0.1), contexts=0
    )
    facts = revive.load_edits("lab", limit=4).edits
    editor.edit(facts[:2])
    editor.edit(facts[2:])
    print("after four edits:", editor.evaluate())
    editor.rollback(steps=1)
    print("after taking two back:", editor.evaluate())
    editor.export_lora(out / "adapter")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
