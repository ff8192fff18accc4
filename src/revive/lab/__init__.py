"""The embedded lab model: its facts, its text, its weights.

Nothing here needs the network or the data the model was trained from; `recipes/lab` made both.
"""

from revive.lab.facts import Fact, Relation, load_facts, relations
from revive.lab.weights import model_path

__all__ = ["Fact", "Relation", "load_facts", "model_path", "relations"]
