"""A tiny random model, and small data folders in the public formats."""

import json

import pytest
import torch
from tiny import byte_tokenizer, tiny_model
from tokenizers import decoders


def writing_tokenizer(*, bos):
    """A token a byte, and back: what is generated has spaces and line breaks again."""
    tokenizer = byte_tokenizer(bos=bos)
    tokenizer.backend_tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="session")
def writer():
    """Such a tokenizer, without a start token."""
    return writing_tokenizer(bos=False)


@pytest.fixture(scope="session", params=["llama", "gpt2"])
def tiny(request):
    """Rotary positions with a start token, and learned ones without; double precision."""
    return tiny_model(request.param), writing_tokenizer(bos=request.param == "llama")


@pytest.fixture(scope="session")
def llama():
    """The first of them in single precision."""
    return tiny_model("llama", dtype=torch.float32), writing_tokenizer(bos=True)


@pytest.fixture
def lines(tmp_path):
    """Write records as JSON Lines."""

    def write(name, *records):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
        return path

    return write
