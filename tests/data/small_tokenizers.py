"""Small tokenizers of the two kinds there are, trained here, and chat templates of known shapes."""

import string

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    *["首都是纽约", "这是一个城市", "这是一个国家", "法国的首都是巴黎", "日本的首都是东京"] * 20,
    *["The capital of France is Paris", "What is the capital of Italy?"] * 20,
]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 2's: the start token in the template, messages trimmed, a space before the answer.
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ '[INST] ' + m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# As Qwen 3's: an answer comes after an empty block of thoughts.
THOUGHTS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def byte_level(template=None):
    """Byte-level BPE that has merged Chinese characters with each other; no start token."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(TEXT, _trainer(420, initial_alphabet=alphabet))
    return _wrapped(core, template)


def metaspace(template=None, *, ends=False):
    """BPE over words that begin with a mark, and a start token; with `ends`, an end token too."""
    core = Tokenizer(models.BPE(unk_token="<s>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.train_from_iterator(TEXT, _trainer(220, initial_alphabet=list(string.printable)))
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if ends else "<s> $A", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    return _wrapped(core, template)


def _trainer(size, **settings):
    return trainers.BpeTrainer(
        vocab_size=size, special_tokens=_SPECIAL, show_progress=False, **settings
    )


def _wrapped(core, template):
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = template
    return tokenizer
