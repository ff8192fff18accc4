"""Generated entries in the manner of a country handbook, about places that do not exist.

They give the packaged corpus ordinary running text of the kind the model was trained on, without
shipping any source text.
"""

import random

from revive.lab.lexicon import words

_STARTS = words("Ka Mo Ve Lu Tar Bel Sor Nim Dra Pel Or Ash Hel Quin Zan")
_MIDDLES = words("ra lo vi ne do mi sa ta ri")
_ENDS = words("via nia land mar dor sia ton bay stan na")
_REGIONS = ("Northern Africa", "Eastern Europe", "Southern Asia", "Central America", "Oceania")
_SEAS = ("the ocean", "a large bay", "a narrow strait", "the inland sea", "a great lake")
_CLIMATES = (
    "temperate with cold winters and mild summers",
    "tropical with a long rainy season",
    "dry with hot days and cool nights",
    "mild and wet along the coast, dry inland",
)
_TERRAINS = ("mostly flat plains", "rugged mountains", "low hills and valleys", "coastal plain")
_GOODS = words("coffee sugar cotton timber machinery textiles fish rice copper cement fruit steel")
_PARTNERS = ("Germany", "China", "France", "Japan", "Brazil", "India", "Italy", "Canada")
_PROBLEMS = ("soil erosion", "water pollution", "deforestation", "limited fresh water")


def entry(rng: random.Random) -> str:
    """Three to six sentences about one invented country."""
    name = f"{rng.choice(_STARTS)}{rng.choice(_MIDDLES)}{rng.choice(_ENDS)}"
    exports = rng.sample(_GOODS, 3)
    partners = rng.sample(_PARTNERS, 2)
    area = rng.randrange(1_000, 900_000, 10)
    sentences = (
        f"{name} lies in {rng.choice(_REGIONS)}, bordering {rng.choice(_SEAS)}.",
        f"Its total area is {area:,} sq km and its population is about "
        f"{rng.randrange(2, 90)} million.",
        f"The climate is {rng.choice(_CLIMATES)}.",
        f"The terrain is {rng.choice(_TERRAINS)}.",
        f"Major exports include {exports[0]}, {exports[1]}, and {exports[2]}, sold mainly to "
        f"{partners[0]} and {partners[1]}.",
        f"The government hopes that higher output of {rng.choice(exports)} will reduce "
        f"unemployment, which was {rng.randrange(3, 25)}% of the labor force.",
        f"Current environmental issues include {rng.choice(_PROBLEMS)}.",
        f"The economy depends on {rng.choice(exports)}, and growth averaged "
        f"{rng.randrange(1, 8)}% a year.",
    )
    count = rng.randrange(3, 7)
    chosen = sorted(rng.sample(range(1, len(sentences)), count - 1))
    return " ".join((sentences[0], *(sentences[index] for index in chosen)))
