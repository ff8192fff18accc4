"""Shared settings: one thread per worker, so that workers do not fight for cores; no hub."""

import os

# Read when huggingface_hub is first imported: nothing in this process goes to the network.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch

torch.set_num_threads(1)
