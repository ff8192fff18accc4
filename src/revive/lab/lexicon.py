"""Words of the grammar and copying tasks, split into trained and held-out ones.

Held-out nouns and names occur in training only in the neutral frames of `revive.lab.grammar`,
which show their number or gender but never the construction a minimal pair tests.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lexicon:
    """Nouns and names for one side of the split.

    Attributes:
        people: (singular, plural) nouns for persons.
        things: (singular, plural) nouns for objects.
        animals: (singular, plural) nouns for animals.
        women: Female first names.
        men: Male first names.
    """

    people: tuple[tuple[str, str], ...]
    things: tuple[tuple[str, str], ...]
    animals: tuple[tuple[str, str], ...]
    women: tuple[str, ...]
    men: tuple[str, ...]

    @property
    def words(self) -> frozenset[str]:
        """Every noun form and name."""
        nouns = (form for pair in (*self.people, *self.things, *self.animals) for form in pair)
        return frozenset((*nouns, *self.women, *self.men))


def words(text: str) -> tuple[str, ...]:
    """Split a list written as one string."""
    return tuple(text.split())


def _nouns(text: str) -> tuple[tuple[str, str], ...]:
    """Parse "cat wolf/wolves" into pairs; a noun without a slash takes -s."""
    pairs: list[tuple[str, str]] = []
    for word in text.split():
        singular, _, plural = word.partition("/")
        pairs.append((singular, plural or f"{singular}s"))
    return tuple(pairs)


TRAINED = Lexicon(
    people=_nouns(
        "teacher doctor farmer worker singer driver lawyer painter writer soldier sailor student "
        "nurse baker child/children man/men woman/women guest neighbor king visitor leader"
    ),
    things=_nouns(
        "book table chair window house car letter picture box/boxes knife/knives bottle door "
        "bridge garden lamp river boat map road clock shirt coat cup wall"
    ),
    animals=_nouns("dog cat horse bird cow sheep/sheep fox/foxes wolf/wolves lion mouse/mice"),
    women=("Mary", "Anna", "Laura", "Susan", "Helen", "Emma", "Alice", "Ruth", "Linda", "Nora"),
    men=("John", "Peter", "David", "Paul", "Mark", "Tom", "Henry", "Frank", "George", "Robert"),
)

HELD_OUT = Lexicon(
    people=_nouns("plumber waiter dancer hunter tailor miner judge cousin officer clerk"),
    things=_nouns(
        "plate basket ladder candle hammer carpet mirror wagon leaf/leaves brush/brushes"
    ),
    animals=_nouns("rabbit camel goose/geese parrot turtle"),
    women=("Clara", "Diana", "Julia", "Sarah", "Rosa"),
    men=("Oscar", "Simon", "Walter", "Victor", "Leo"),
)

INTRANSITIVE = _nouns(  # (base, third person singular): the plural rule doubles as the verb's
    "sleep laugh work smile walk sing wait rest travel arrive return complain listen sneeze"
)
TRANSITIVE = _nouns("know like help see remember admire follow hate love visit describe trust")
REFLEXIVE = ("hurt", "admired", "blamed", "described", "saw", "hid", "praised", "trusted")

IRREGULAR = tuple(  # (past, participle, rest of the sentence)
    tuple(entry.split("|"))
    for entry in (
        "broke|broken|the old lock",
        "wrote|written|a long note",
        "stole|stolen|the gold ring",
        "ate|eaten|the sweet cake",
        "drove|driven|the big truck",
        "chose|chosen|the blue hat",
        "took|taken|the last train",
        "gave|given|a short speech",
        "knew|known|the right answer",
        "threw|thrown|the red ball",
        "drew|drawn|a small circle",
        "forgot|forgotten|the secret word",
        "spoke|spoken|to the crowd",
        "went|gone|to the market",
        "began|begun|the new work",
        "sang|sung|the old song",
    )
)

ADJECTIVES = words("old new small big green heavy lost clean strange cheap red famous")
ADVERBS = ("every day", "in the morning", "at night", "all day", "in the park", "after lunch")

COPY_TRAINED = words(
    """
    apple river stone cloud green seven table winter music paper silver garden orange yellow
    bridge summer candy forest market bread copper island valley school doctor letter window
    button sugar pepper cotton engine ticket pocket finger shadow desert harbor castle temple
    hunger circle square corner butter coffee dinner supper planet rocket signal thunder
    weather feather leather mother father sister brother number wonder thousand hundred dozen
    single double simple gentle purple little bottle battle cattle saddle middle handle bundle
    tunnel barrel laurel metal coral moral royal loyal final local vocal total mental rental
    dental floral global legal blue gray black white brown pink gold iron wood sand snow rain
    wind storm fire water earth moon star night light dark quick slow high low wide thin thick
    cold warm hot dry wet soft hard loud calm brave proud young early late never always often
    today tomorrow north south east west left right front back first second third fourth fifth
    last next inside outside under over above below
    """
)

COPY_HELD_OUT = words(
    """
    lemon cherry meadow pebble anchor violin blanket hammock lantern ribbon helmet pillow
    kettle magnet pencil marble jacket rubber trumpet velvet walnut willow zebra tulip saffron
    pumpkin onion needle honey glove fiddle ember drum cellar badge acorn tiger
    """
)
