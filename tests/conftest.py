"""Shared settings: one thread per worker, so that workers do not fight for cores; no hub."""

import os

# Read when huggingface_hub is first imported: nothing in this process goes to the network.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

from named_model import fetched

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def smollm2(pytestconfig):
    """Folder of the real model `smollm2`. Not to be changed."""
    return fetched(pytestconfig.cache.mkdir("models"))
