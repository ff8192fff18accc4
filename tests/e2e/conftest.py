"""A tiny Llama folder and specs of short runs; a cache of their own for all of them."""

import os
import shutil

import pytest
import torch
from e2e_runs import run_here, write_spec_in
from tiny import byte_tokenizer, tiny_model


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Nothing is read from or left in the user's cache, in this process and its children."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield os.environ["XDG_CACHE_HOME"]


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A Llama of random weights, three blocks."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model("llama", dtype=torch.float32).save_pretrained(folder)
    byte_tokenizer(bos=True).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A little ordinary text."""
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    lines = ["The ship left the harbour at dawn.", "Nobody saw it come back.", "It was cold."]
    path.write_text("".join(f"{i} {line}\n" for i in range(20) for line in lines), "utf-8")
    return path


@pytest.fixture
def write_spec(tmp_path, tiny_folder, corpus):
    """Write a spec of a short run; keywords replace its parts."""

    def write(**parts):
        return write_spec_in(tmp_path, tiny_folder, corpus, **parts)

    return write


@pytest.fixture(scope="session")
def calm_run(tmp_path_factory, tiny_folder, corpus):
    """A finished run that nothing disturbed: 13 edits in seven batches. Not to be changed."""
    folder = tmp_path_factory.mktemp("calm")
    run_here(write_spec_in(folder, tiny_folder, corpus), folder / "run")
    return folder / "run"


@pytest.fixture
def run_folder(calm_run, tmp_path):
    """A copy of it."""
    return shutil.copytree(calm_run, tmp_path / "copied" / "run")
