"""A LoRA adapter for llama.cpp: what a run wrote, to be put on its GGUF file when it is loaded.

llama.cpp adds `scale alpha / r B A x` to a projection, with r the columns of each tensor's own B
and one alpha for all of them (`llama_adapter_lora_weight::get_scale`): all tensors are padded to
one rank r with zeros, and alpha is r, so that the scale is 1.
"""

from collections.abc import Mapping
from pathlib import Path

from gguf import GGUFWriter
from torch import Tensor
from torch.nn.functional import pad

from revive.errors import SpecError
from revive.export.gguf_sites import tensor_name
from revive.export.totals import Total
from revive.io.atomic import replacing
from revive.models.site import Site


def save_gguf_lora(
    totals: Mapping[str, Total],
    sites: Mapping[str, Site],
    architecture: str,
    said: Mapping[str, str | int],
    file: Path,
) -> int:
    """Write the adapter in float32.

    Args:
        totals: What was written, by key; weights that did not change are left out.
        sites: By key.
        architecture: llama.cpp's name of it.
        said: Metadata to add.
        file: Appears whole or not at all.

    Returns:
        The rank that all tensors have.

    Raises:
        SpecError: Nothing was changed, or llama.cpp has no tensor for a site.
        PrerequisiteError: The disk is full.
    """
    changed = {k: t.factors for k, t in totals.items() if t.factors.rank > 0}
    if not changed:
        raise SpecError("export: no weight was changed, so there is no adapter to write.")
    names = {key: tensor_name(architecture, sites[key]) for key in changed}
    rank = max(factors.rank for factors in changed.values())
    with replacing(file) as partial:
        writer = GGUFWriter(partial, architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(rank))
        for key, value in said.items():
            writer.add_string(key, value) if isinstance(value, str) else writer.add_uint32(
                key, value
            )
        for key, factors in changed.items():
            more = rank - factors.rank
            _add(writer, f"{names[key]}.lora_a", pad(factors.right, (0, 0, 0, more)))
            _add(writer, f"{names[key]}.lora_b", pad(factors.left, (0, more)))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return rank


def _add(writer: GGUFWriter, name: str, value: Tensor) -> None:
    writer.add_tensor(name, value.float().cpu().contiguous().numpy())
