"""The recipe that trained the lab model: `python -m recipes.lab.train`, from the repository's root.

Until version 0.1 it was `revive.lab.train`, which the model's card and `training.json` name.
"""
