"""What a chat template puts around a message, and what it leaves to the model."""

import pytest
from small_tokenizers import BRACKETS, CHATML, THOUGHTS, byte_level, metaspace

from revive.data.edits import Edit
from revive.data.prompts import ChatFrame, Prompts, check_forms
from revive.errors import SpecError

EDIT = Edit(prompt="{} is in", subject="Paris", target_new="Rome", chat=True)


def test_a_template_that_keeps_messages_as_they_are():
    frame = ChatFrame.of(byte_level(CHATML))
    assert frame == ChatFrame(
        "<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n", False, ""
    )


def test_a_template_that_trims_and_puts_a_space_before_the_answer():
    tokenizer = metaspace(BRACKETS)
    assert ChatFrame.of(tokenizer) == ChatFrame("<s>[INST] ", " [/INST]", True, " ")
    prompt = Prompts(tokenizer).of(EDIT, " Where? ")
    assert prompt.text == "<s>[INST] Where? [/INST]"
    assert prompt.continuation("Rome") == prompt.continuation(" Rome") == " Rome"


def test_an_empty_block_of_thoughts_belongs_to_the_prompt():
    frame = ChatFrame.of(byte_level(THOUGHTS))
    assert frame.tail.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert frame.joiner == ""


def test_a_joiner_of_ones_own_counts_in_a_chat_too():
    edit = Edit(prompt="{} is in", subject="Paris", target_new="Rome", chat=True, joiner="A: ")
    assert Prompts(byte_level(CHATML)).of(edit).continuation("Rome") == "A: Rome"


def test_a_sentence_asks_for_no_template():
    prompt = Prompts(byte_level()).of(Edit(prompt="{} is in\n", subject="Paris", target_new="Rome"))
    assert (prompt.text, prompt.chat) == ("Paris is in\n", False)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (None, "no chat template"),
        ("{{ messages[0].content | upper | length }}", "once and as it is"),
        ("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", "once and as it is"),
        ("{{ raise_exception('a system message is needed') }}", "a system message is needed"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(template, told):
    with pytest.raises(SpecError, match=told):
        check_forms(byte_level(template), [EDIT])
    check_forms(byte_level(template), [Edit(prompt="a", subject="a", target_new="b")])
