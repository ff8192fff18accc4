"""How float32 matrix products are computed while a model runs."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["strict", "fast"]

_TORCH = {"strict": "highest", "fast": "medium"}


@contextmanager
def products(precision: Precision) -> Generator[None, None, None]:
    """Compute float32 products one way inside, and as before afterwards.

    `fast` lets the hardware round the factors of a product to bfloat16 or TF32 (sums stay
    float32); on a CPU without such units it only selects the faster library, at float32 accuracy.
    It is meant for forward passes; weights, updates and decompositions are always `strict`.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(_TORCH[precision])
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
