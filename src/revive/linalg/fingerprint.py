"""Fingerprints of tensors: the same bytes give the same name, on every machine."""

import hashlib

import torch
from torch import Tensor


def fingerprint(*tensors: Tensor) -> str:
    """sha256 over the dtype, shape and bytes of the tensors, in order.

    Storage does not matter: a transposed view has the fingerprint of its contiguous copy.

    Args:
        *tensors: Any dtype, shape and device.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().data)
    return digest.hexdigest()
