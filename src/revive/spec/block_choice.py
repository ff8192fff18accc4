"""Which blocks of a model are edited where nobody published it: tried, chosen and kept. No torch.

The rule for blocks (`presets.rule`) goes by depth alone. `revive calibrate MODEL` tries as many
consecutive blocks elsewhere, on the package's trial edits, and what wins is kept by the model's
name and config: later specs that leave the blocks to the rule get it when they are resolved.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import harmonic_mean

from revive.io.atomic import write_text
from revive.io.json_text import read_json
from revive.presets.facts import ModelFacts
from revive.presets.rule import layers_by_rule
from revive.spec.fit_cache import SettingsTrial
from revive.spec.schema import ModelSpec

TIE = 0.02
_STARTS = (0.07, 0.125, 0.2, 0.27, 0.35, 0.45)
"""Where ranges begin, as shares of the depth: published ones begin between 11 and 27 %."""


@dataclass(frozen=True, slots=True)
class BlockTrial:
    """One range of blocks and what the trial edits did there, under the best settings for it.

    Attributes:
        layers: The blocks, 0-based.
        attempt: How the edits went.
    """

    layers: tuple[int, ...]
    attempt: SettingsTrial

    @property
    def score(self) -> float:
        """Harmonic mean of the shares answered, of paraphrases and of neighbours."""
        one = self.attempt
        return harmonic_mean([one.answered, one.paraphrase, one.neighborhood])


@dataclass(frozen=True, slots=True)
class BlockChoice:
    """The blocks that were chosen, and every trial.

    Attributes:
        layers: The blocks.
        trials: From the lowest range up.
    """

    layers: tuple[int, ...]
    trials: tuple[BlockTrial, ...]

    @property
    def chosen(self) -> BlockTrial:
        """The trial of the blocks that were chosen."""
        return next(t for t in self.trials if t.layers == self.layers)


def ranges(facts: ModelFacts) -> list[tuple[int, ...]]:
    """Ranges to try: as wide as the rule's, which is one of them; never with the last block."""
    own = tuple(layers_by_rule(facts))
    last = max(0, facts.blocks - 1 - len(own))
    firsts = {min(round(share * facts.blocks), last) for share in _STARTS} | {own[0]}
    return [tuple(range(first, first + len(own))) for first in sorted(firsts)]


def choose_blocks(trials: Sequence[BlockTrial], tie: float = TIE) -> tuple[int, ...]:
    """The best score; of scores within `tie` of it, the shortest update."""
    best = max(t.score for t in trials)
    equal = [t for t in trials if t.score >= best - tie]
    return min(equal, key=lambda t: t.attempt.update).layers


def kept_blocks(cache: Path, model: ModelSpec, config: Mapping[str, object]) -> BlockChoice | None:
    """What was chosen for a model, its name as in a resolved spec."""
    place = _place(cache, model, config)
    if not place.is_file():
        return None
    try:
        data = read_json(place.read_text(encoding="utf-8"))
        trials = [
            BlockTrial(tuple(t["layers"]), SettingsTrial(**t["attempt"])) for t in data["trials"]
        ]
        return BlockChoice(tuple(data["layers"]), tuple(trials))
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a cache that is damaged is no cache


def keep_blocks(
    cache: Path, model: ModelSpec, config: Mapping[str, object], choice: BlockChoice
) -> None:
    """Keep a choice for later runs."""
    place = _place(cache, model, config)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_text(place, json.dumps(asdict(choice)))


def forget_blocks(cache: Path, model: ModelSpec, config: Mapping[str, object]) -> bool:
    """Go back to the rule's blocks; whether anything was kept."""
    place = _place(cache, model, config)
    found = place.is_file()
    place.unlink(missing_ok=True)
    return found


def _place(cache: Path, model: ModelSpec, config: Mapping[str, object]) -> Path:
    what = json.dumps([model.name, model.revision, config], sort_keys=True, default=str)
    return cache / "settings" / f"blocks-{hashlib.sha256(what.encode()).hexdigest()[:24]}.json"
