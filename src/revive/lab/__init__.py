"""The embedded lab model: its facts, its text, and the recipe that trains it.

Nothing here needs the network or the data the model was trained from; only
`revive.lab.select` and `revive.lab.train` read source data, given with `--data`.
"""

from revive.lab.facts import Fact, Relation, load_facts, relations
from revive.lab.weights import model_path

__all__ = ["Fact", "Relation", "load_facts", "model_path", "relations"]
