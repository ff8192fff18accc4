import json
from collections import Counter
from pathlib import Path

import pytest

from revive import registry
from revive.errors import SpecError
from revive.tasks.collect import collect, collect_all, expand, load_task, locate
from revive.tasks.suites import SIX
from shared import shared

ONE = {"sentence": "fine .", "label": 1}
TWO = {"sentence1": "It rains.", "sentence2": "It is wet.", "label": 0}
INSTRUCTED = {
    "instruction": "Please choose the correct answer to the question: Why: rain?\n\nAnswer1: "
    "clouds: many Answer2: sun\n\nAnswer format: answer1/answer2",
    "input": "",
    "output": "the correct answer is answer2",
    "answer": "answer2",
}
# By task: records in every form that is read, all with the same question and answer.
FORMS = {
    "boolq": [
        {
            "instruction": "Please answer the following question with true or false, question: is "
            "ice cold?\n\nAnswer format: true/false",
            "answer": "true",
        },
        {"question": "is ice cold", "answer": True},
        {"question": "is ice cold?", "label": 1},
    ],
    "piqa": [
        {
            "instruction": "Please choose the correct solution to the question: To rest:\n\n"
            "Solution1: run\n\nSolution2: lie down\n\nAnswer format: solution1/solution2",
            "answer": "solution2",
        },
        {"goal": "To rest:", "sol1": "run", "sol2": "lie down", "label": "1"},
    ],
    "social_iqa": [
        {
            "instruction": "Please choose the correct answer to the question: Ann fell. What now?"
            "\n\nAnswer1: rise Answer2: sing Answer3: eat\n\nAnswer format: "
            "answer1/answer2/answer3",
            "answer": "answer1",
        },
        {
            **{"context": "Ann fell.", "question": "What now?", "answerA": "rise"},
            **{"answerB": "sing", "answerC": "eat", "label": "1"},
        },
    ],
    "arc_challenge": [
        INSTRUCTED,
        {
            "question": {
                "stem": "Why: rain?",
                "choices": [
                    {"text": "clouds: many", "label": "1"},
                    {"text": "sun", "label": "2"},
                ],
            },
            "answerKey": "2",
        },
        {
            "question": "Why: rain?",
            "choices": {"text": ["clouds: many", "sun"], "label": ["A", "B"]},
            "answerKey": "B",
        },
    ],
    "openbookqa": [
        INSTRUCTED,
        {
            "question_stem": "Why: rain?",
            "choices": {"text": ["clouds: many", "sun"], "label": ["A", "B"]},
            "answerKey": "B",
        },
    ],
    "winogrande": [
        {
            "instruction": "Please choose the correct answer to fill in the blank to complete the "
            "given sentence: Bo met Al but _ left.\n\nOption1: Bo Option2: Al Answer format: "
            "option1/option2",
            "answer": "option2",
        },
        {"sentence": "Bo met Al but _ left.", "option1": "Bo", "option2": "Al", "answer": "2"},
    ],
    "gsm8k": [
        {"instruction": "2 plus 2?", "output": "...", "answer": "4.0"},
        {"question": "2 plus 2?", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"},
    ],
}


def content(item):
    fields = ("prompt", "choices", "answer", "ending", "question", "labels", "target")
    return [getattr(item, name) for name in fields]


@pytest.mark.parametrize("name", FORMS)
def test_all_forms_of_a_set_say_the_same(name, lines):
    task = load_task(name)
    found = [
        task.read(lines(f"{number}.jsonl", record))[0] for number, record in enumerate(FORMS[name])
    ]
    assert all(content(item) == content(found[0]) for item in found)


def test_what_is_asked(lines):
    arc = load_task("arc_challenge").read(lines("arc.jsonl", INSTRUCTED))[0]
    assert (arc.prompt, arc.answer) == ("Question: Why: rain?\nAnswer:", 1)
    assert arc.choices == (" clouds: many", " sun")
    assert arc.question == "Question: Why: rain?\nA. clouds: many\nB. sun\nAnswer:"
    assert arc.labels == ("A", "B")
    wino = load_task("winogrande").read(lines("w.jsonl", FORMS["winogrande"][1]))[0]
    assert (wino.prompt, wino.choices, wino.ending) == ("Bo met Al but ", ("Bo", "Al"), " left.")
    passage = {"question": "is it", "passage": "It is.", "answer": False}
    boolq = load_task("boolq").read(lines("b.jsonl", passage))[0]
    assert boolq.prompt == "Text: It is.\nQuestion: is it?\nAnswer:"
    assert boolq.choices[boolq.answer] == " no"


@pytest.mark.parametrize(
    ("name", "record", "choice"),
    [
        ("sst2", ONE, " positive"),
        ("cola", ONE, " yes"),
        ("mrpc", TWO, " no"),
        ("rte", TWO, " yes"),
        ("nli", {**TWO, "label": "not_entailment"}, " no"),
    ],
)
def test_labels_of_the_sentence_sets(name, record, choice, lines):
    task = load_task(name)
    item = task.read(lines(f"{name}.jsonl", record))[0]
    assert item.choices[item.answer] == choice
    assert all(record[field] in item.prompt for field in record if field.startswith("sentence"))


def test_lambada_cuts_at_the_last_space(lines):
    text = "She said she'd come,\nand so she did."
    item = load_task("lambada").read(lines("lambada_test.jsonl", {"text": text}))[0]
    assert item.prompt + item.choices[0] == text
    assert item.choices == (" did.",)


def mmlu(folder, *, header):
    rows = ["question,choice0,choice1,choice2,choice3,answer"] if header else []
    answers = ("1", "3") if header else ("B", "D")
    rows += [f'"What, {n}?",w,x,"y, y",z,{answers[n % 2]}' for n in range(7)]
    for part in ("dev", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / f"law_and_order_{part}.csv").write_text("\n".join(rows), "utf-8")


@pytest.mark.parametrize("header", [True, False])
def test_mmlu_with_and_without_header(header, tmp_path):
    mmlu(tmp_path / "mmlu", header=header)
    items = load_task("mmlu").read(tmp_path / "mmlu")
    assert [item.answer for item in items] == [1, 3, 1, 3, 1, 3, 1]
    first = items[0]
    assert first.preamble.startswith("Questions about law and order")
    assert len(first.shots) == 5
    solved = "Question: What, 1?\nA. w\nB. x\nC. y, y\nD. z\nAnswer: D\n\n"
    assert first.shots[1] == solved
    assert first.prompt == "Question: What, 0?\nA. w\nB. x\nC. y, y\nD. z\nAnswer:"
    assert first.group == "law_and_order"


def test_mmlu_needs_the_examples(tmp_path):
    mmlu(tmp_path, header=True)
    next((tmp_path / "dev").iterdir()).unlink()
    with pytest.raises(SpecError, match=r"law_and_order_dev\.csv: no such file"):
        load_task("mmlu").read(tmp_path)


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("sst2", {"sentence": "x", "label": 2}, "line 2: label must be one of 0, 1"),
        ("sst2", {"sentence": " ", "label": 1}, "line 2: sentence must be text, got blank"),
        ("nli", {**TWO, "label": "neutral"}, "one of entailment, not_entailment"),
        ("lambada", {"text": "Word"}, "line 2: text must be words"),
        ("blimp", {"sentence_good": "x"}, "line 2: sentence_bad must be text, got null"),
        ("boolq", {"question": "is it", "answer": "perhaps"}, "answer must be true or false"),
        ("piqa", {"instruction": "Choose!", "answer": "solution1"}, "must open with a request"),
        ("arc_easy", {**INSTRUCTED, "answer": "answer3"}, "answer must be one of answer1, answer2"),
        ("winogrande", {**FORMS["winogrande"][1], "sentence": "No gap."}, "needs a blank"),
        ("gsm8k", {"question": "How?", "answer": "so"}, "answer ends with no number"),
        ("mmlu_six", {"question": "q", "subject": "s", "choices": ["a"]}, "list of at least two"),
    ],
)
def test_a_malformed_record_is_refused_with_its_line(name, record, reason, lines):
    good = {
        **{"sst2": ONE, "nli": {**TWO, "label": "entailment"}, "lambada": {"text": "a b"}},
        **{"blimp": {"sentence_good": "a", "sentence_bad": "b"}, "arc_easy": INSTRUCTED},
        "mmlu_six": {"question": "q", "subject": "s", "choices": list("abcd"), "answer": 0},
        **{key: forms[0] for key, forms in FORMS.items() if key not in ("arc_easy",)},
    }[name]
    with pytest.raises(SpecError, match=reason):
        load_task(name).read(lines("bad.jsonl", good, record))


def test_data_are_found_in_a_folder_and_up_to_two_below(lines, tmp_path):
    task = load_task("sst2")
    assert task.find(tmp_path) is None
    deep = lines("a/b/sst2.jsonl", ONE)
    assert task.find(tmp_path) == deep
    nearer = lines("a/sst2.jsonl", ONE)
    assert task.find(tmp_path) == nearer
    assert task.find(nearer) == nearer
    lines("c/sst2.jsonl", ONE)
    with pytest.raises(SpecError, match="2 places hold data of sst2"):
        task.find(tmp_path)


def test_a_folder_of_the_tasks_own_name_is_enough(lines, tmp_path):
    pair = {"sentence_good": "a", "sentence_bad": "b"}
    lines("blimp/one.jsonl", pair)
    lines("boolq/test.jsonl", FORMS["boolq"][0])
    mmlu(tmp_path / "mmlu", header=True)
    for name in ("blimp", "mmlu"):
        for folder in (tmp_path, tmp_path / name):
            assert load_task(name).find(folder) == tmp_path / name
    assert load_task("boolq").find(tmp_path / "boolq") == tmp_path / "boolq" / "test.jsonl"


def test_missing_data_are_told_in_one_line(lines, tmp_path):
    lines("sst2.jsonl", ONE)
    for data, where in ((tmp_path, str(tmp_path)), (None, "--data")):
        with pytest.raises(SpecError) as caught:
            locate(["lambada"], data)
        line = str(caught.value)
        assert "\n" not in line
        assert "lambada: no data; expects lambada_test.jsonl (JSON Lines with text)" in line
        assert where in line
    with pytest.raises(SpecError, match="no such file or folder"):
        locate(["sst2"], tmp_path / "none")
    with pytest.raises(SpecError, match="one file cannot hold 2 tasks"):
        locate(["sst2", "cola"], tmp_path / "sst2.jsonl")
    found, missing = collect_all(tmp_path)
    assert [prepared.task.name for prepared in found] == ["sst2"]
    assert len(missing) == len(registry.names("tasks")) - 1


def test_suites_and_unknown_names():
    assert expand(["six", "cola", "boolq"]) == [*SIX, "boolq"]
    with pytest.raises(SpecError, match=r"Unknown task 'sst3'\. Did you mean 'sst2'\?"):
        expand(["sst3"])


def test_rules_that_a_task_has_not_fall_back_to_its_own(lines, tmp_path):
    lines("lambada_test.jsonl", {"text": "a b"})
    lines("gsm8k.jsonl", FORMS["gsm8k"][1])
    lines("sst2.jsonl", ONE)
    names = ["lambada", "gsm8k", "sst2"]

    def rules(**options):
        return [prepared.rules for prepared in collect(names, tmp_path, **options)]

    plain, written = ("likelihood",), ("generation",)
    assert rules() == [plain, written, plain]
    assert rules(rule="generation") == [plain, written, written]
    assert rules(both=True) == [plain, written, ("likelihood", "generation")]


COUNTS = {
    **{"sst2": 856, "mrpc": 258, "cola": 644, "rte": 262, "nli": 2489, "mmlu_six": 1516},
    **{"mmlu": 14042, "lambada": 5153, "boolq": 3270, "piqa": 1838},
    **{"social_iqa": 1954, "arc_easy": 2376, "arc_challenge": 1172, "openbookqa": 500},
    **{"winogrande": 1267, "gsm8k": 1319},
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_real_sets_are_read_in_full(name):
    data = shared("data", "general")
    task = load_task(name)
    path = task.find(data)
    assert path is not None
    items = task.read(path)
    assert len(items) == COUNTS[name]
    assert all(0 <= item.answer < max(1, len(item.choices)) for item in items)
    if name in SIX:
        # The six sets are balanced.
        shares = Counter(item.answer for item in items)
        assert max(shares.values()) - min(shares.values()) <= 9
    if name == "mmlu":
        assert len({item.group for item in items}) == 57
    if name == "gsm8k":
        raw = json.loads(Path(path).read_text("utf-8"))
        assert [float(i.target) for i in items] == [float(r["answer"]) for r in raw]


def test_the_real_paradigms():
    folder = shared("data", "general", "blimp")
    assert load_task("blimp").find(folder) == folder.resolve()
    assert len(list(folder.glob("*.jsonl"))) == 67
    items = load_task("blimp").read(folder / "adjunct_island.jsonl")
    assert len(items) == 1000
    assert items[0].group == "adjunct_island"
