"""Where a prompt ends and its target begins, in tokens."""

import pytest
from small_tokenizers import BRACKETS, CHATML, byte_level, metaspace

from revive.data.edits import Edit
from revive.data.encoding import encode_prompt, encode_target
from revive.data.joining import joined
from revive.data.prompts import Prompt, Prompts
from revive.editors.target_solver.tokenized_edit import encode_edit
from revive.errors import SpecError

FRANCE = Edit(prompt="法国的首都是", subject="法国", target_new="纽约")
ENGLISH = Edit(prompt="The capital of {} is", subject="France", target_new="Paris")


def target_of(tokenizer, row):
    return tokenizer.decode(row.labels)


@pytest.mark.parametrize("make", [byte_level, metaspace])
@pytest.mark.parametrize("edit", [FRANCE, ENGLISH])
def test_one_reading_of_both_where_no_token_has_a_part_in_both(make, edit):
    tokenizer = make()
    text = joined(edit.text, edit.target_new)
    found = encode_target(tokenizer, Prompt(edit.text), edit.target_new)
    whole = tokenizer(text)["input_ids"]
    alone = tokenizer(edit.text)["input_ids"]
    if whole[: len(alone)] == alone:
        assert list(found.ids) == whole
    assert list(found.ids[: found.first]) == alone
    assert tokenizer.decode(found.ids, skip_special_tokens=True).strip() == text
    row = encode_edit(tokenizer, edit, ()).rewrite[0]
    assert (*row.input_ids, row.labels[-1]) == found.ids
    assert row.labels == found.ids[found.first :]


def test_chinese_is_learnt_without_a_space():
    row = encode_edit(byte_level(), FRANCE, ()).rewrite[0]
    assert target_of(byte_level(), row) == "纽约"
    spaced = Edit(prompt="法国的首都是", subject="法国", target_new="纽约", joiner=" ")
    assert target_of(byte_level(), encode_edit(byte_level(), spaced, ()).rewrite[0]) == " 纽约"


def test_a_token_of_both_is_never_asked_for():
    """The joined text has the token 是一个; no answer to 这是 can begin inside it."""
    tokenizer = byte_level()
    joint = [tokenizer.decode([i]) for i in tokenizer("这是一个城市")["input_ids"]]
    prompt = encode_prompt(tokenizer, Prompt("这是"))
    assert tokenizer("这是一个城市")["input_ids"][: len(prompt)] != prompt, joint
    found = encode_target(tokenizer, Prompt("这是"), "一个城市")
    assert list(found.ids[: found.first]) == prompt
    assert tokenizer.decode(found.ids[found.first :]) == "一个城市"


@pytest.mark.parametrize("make", [byte_level, metaspace])
def test_a_blank_at_a_prompts_end_is_read_as_the_prompts(make):
    tokenizer = make()
    found = encode_target(tokenizer, Prompt("The capital of France is "), "Paris")
    assert list(found.ids[: found.first]) == tokenizer("The capital of France is ")["input_ids"]
    # A word that stands alone would get the mark of a word's beginning.
    assert "".join(tokenizer.convert_ids_to_tokens(list(found.ids[found.first :]))) == "Paris"


def test_a_newline_at_a_prompts_end_stays():
    tokenizer = byte_level()
    found = encode_target(tokenizer, Prompt("France?\n"), "Paris")
    assert tokenizer.decode(found.ids) == "France?\nParis"


def test_an_end_token_that_the_tokenizer_appends_is_no_part_of_either():
    tokenizer = metaspace(ends=True)
    assert tokenizer("France")["input_ids"][-1] == tokenizer.eos_token_id
    found = encode_target(tokenizer, Prompt("The capital of France is"), "Paris")
    assert found == encode_target(metaspace(), Prompt("The capital of France is"), "Paris")
    assert encode_edit(tokenizer, ENGLISH, ()) == encode_edit(metaspace(), ENGLISH, ())


def test_nothing_to_read_or_to_say_is_refused():
    with pytest.raises(SpecError, match="no tokens"):
        encode_target(byte_level(), Prompt(""), "Paris")
    with pytest.raises(SpecError, match="no tokens"):
        encode_target(byte_level(), Prompt("France is"), " ")


@pytest.mark.parametrize(
    ("tokenizer", "special"),
    [(byte_level(CHATML), []), (metaspace(BRACKETS), ["<s>"]), (metaspace(CHATML), [])],
)
def test_a_chat_is_tokenised_as_the_template_does_it(tokenizer, special):
    """To the token: no second start token, nor one where the template has none."""
    edit = Edit(prompt="The capital of {} is", subject="France", target_new="Paris", chat=True)
    messages = [{"role": "user", "content": edit.text}, {"role": "assistant", "content": "Paris"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
    found = encode_target(tokenizer, Prompts(tokenizer).of(edit), edit.target_new)
    assert list(found.ids) == whole[: len(found.ids)]
    assert tokenizer.decode(found.ids[found.first :]).strip() == "Paris"
    starts = [t for t in tokenizer.convert_ids_to_tokens(list(found.ids)) if t == "<s>"]
    assert starts == special


def test_a_target_may_ask_for_the_end_of_the_turn():
    tokenizer = byte_level(CHATML)
    edit = Edit(
        prompt="The capital of {} is", subject="France", target_new="Paris<|im_end|>", chat=True
    )
    (row,) = encode_edit(tokenizer, edit, ()).rewrite
    assert row.labels[-1] == tokenizer.convert_tokens_to_ids("<|im_end|>")


@pytest.mark.parametrize("tokenizer", [byte_level(CHATML), metaspace(BRACKETS)])
def test_rows_of_a_chat(tokenizer):
    """The subject is found in the user's message, also behind a context and before its twin."""
    edit = Edit(prompt="France, and the capital of {} is", subject="France", target_new="Paris")
    chat = Edit(edit.prompt, edit.subject, edit.target_new, chat=True)
    found = encode_edit(tokenizer, chat, ("What is the capital",))
    for row, start in zip(found.rewrite, ("", "What is the capital. "), strict=True):
        text = tokenizer.decode(row.input_ids)
        assert f"{start}France, and the capital of France is" in text
        read = tokenizer.decode(row.input_ids[: row.lookup + 1])
        assert read.endswith("the capital of France")
        assert target_of(tokenizer, row).strip() == "Paris"
    assert tokenizer.decode(found.essence.input_ids).endswith("France")
    assert len(found.essence.input_ids) == found.essence.lookup + 1
