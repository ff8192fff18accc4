"""Where a space goes between a prompt and its target."""

import pytest

from revive.data.joining import joined, joiner
from revive.data.readers import load_edits
from shared import shared

# Nothing between them, a space, and who says so.
NOTHING = [
    ("法国的首都是", "纽约"),  # scripts without spaces
    ("首都は", "東京"),
    ("データー", "東京"),
    ("เมืองหลวงคือ", "กรุงเทพ"),
    ("ເມືອງຫຼວງແມ່ນ", "ວຽງຈັນ"),
    ("រាជធានីគឺ", "ភ្នំពេញ"),
    ("မြို့တော်က", "နေပြည်တော်"),
    ("苹果的CEO是", "Tim Cook"),  # the language of the prompt decides
    ("他的公司叫Apple", "公司"),
    ("人口是", "300万"),
    ("答：", "Paris"),  # a wide mark carries its space
    ("assistant\n", "Paris"),  # white space is there
    ("The capital is ", "Paris"),
    ("The capital is", " Paris"),
    ("The capital is", "\u00a0Paris"),
    ("the so-called “", "Big Apple"),  # opened and not yet filled
    ('the so-called "', "Big Apple"),
    ("Paris (", "France"),
    ("die „", "Hauptstadt"),
    ("the Anglo-", "Saxon"),
    ("1939–", "1945"),
    ("and/", "or"),
    ("la capitale de l'", "Ukraine"),
    ("il capoluogo dell’", "Umbria"),
    ("born in Paris", ", France"),  # closing marks follow what they close
    ("born in Paris", "."),
    ("the “city of light", "”"),
    ("The king of France", "'s name"),
]
SPACE = [
    ("The capital of France is", "Paris"),
    ("수도는", "서울"),  # Korean has spaces
    ("العاصمة هي", "القاهرة"),
    ("The Chinese name of Beijing is", "北京"),  # an English sentence
    ("The capital of 中国 is", "Beijing"),
    ("The population of 北京 is", "21 million"),
    ("Answer:", "Paris"),
    ("What is it?", "Paris"),
    ('They call it "home"', "there"),  # closed
    ("die „sogenannte“", "Stadt"),
    ("the players'", "names"),
    ("he called it 'big'", "once"),
    ("Capital –", "Paris"),  # a dash between words
    ("It runs on", ".NET"),
    ("It is", "'big'"),
    ("It is", '"big"'),
    ("It is at", "-5 degrees"),
]


@pytest.mark.parametrize(("prompt", "target"), NOTHING)
def test_nothing_stands_between(prompt: str, target: str):
    assert joined(prompt, target) == prompt + target


@pytest.mark.parametrize(("prompt", "target"), SPACE)
def test_a_space_stands_between(prompt: str, target: str):
    assert joined(prompt, target) == f"{prompt} {target}"


def test_what_is_asked_for_is_put_there():
    assert joined("是", "纽约", " ") == "是 纽约"
    assert joined("The capital is", "Paris", "") == "The capital isParis"
    assert joined("Q", "A", "\nA: ") == "Q\nA: A"
    assert joined("是", "纽约", "published") == "是 纽约"


def pairs(edits):
    for e in edits:
        targets = [t for t in (e.target_new, e.target_true) if t]
        yield from ((p, t) for p in (e.text, *e.paraphrases) for t in targets)
        yield from ((n.prompt, t) for n in e.neighborhood for t in (n.target, e.target_new))


def test_the_labs_edits_are_joined_as_ever():
    assert {joiner(p, t) for p, t in pairs(load_edits("lab").edits)} == {" "}


@pytest.mark.parametrize(
    "name", ["counterfact/counterfact-edit.json", "zsre/zsre_mend_train-1k.json"]
)
def test_the_rule_agrees_with_what_published_evaluations_do(name: str):
    """Every prompt of two large English sets, though their readers do not leave it to the rule."""
    edits = load_edits(shared("data", *name.split("/")), on_conflict="last").edits
    assert {joiner(p, t) for p, t in pairs(edits)} == {" "}
