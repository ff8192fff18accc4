"""A model family: where the blocks are, which projections may be edited, how weights are stored.

One frozen value per architecture family. Nothing about a model is guessed from a shape: a square
weight written transposed would pass silently.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from revive import registry
from revive.architectures import family_name
from revive.errors import SpecError
from revive.models.experts import Experts
from revive.models.residual_write import ResidualWrite
from revive.models.site import Site


@dataclass(frozen=True)
class Family:
    """How one family of Hugging Face causal language models is laid out.

    Attributes:
        name: Short name, e.g. `llama`.
        architectures: Values of `config.architectures` that belong to the family.
        base: Attribute of the causal model that holds the decoder without its head.
        blocks: Attribute of the base that holds the list of blocks.
        mlp: Path of the MLP inside a block.
        mlp_out: Path of the second MLP projection inside a block.
        transposed: Whether that projection stores its weight `[in, out]`.
        after_head: What the model does to its head's output before it calls it logits, given the
            model and that output; None for nothing.
        entry: How a block's MLP output enters the residual stream, given the block; None where it
            is added as it is.
        experts: Where blocks hold a mixture of experts, and how those compute; None for families
            without any.
    """

    name: str
    architectures: tuple[str, ...]
    base: str
    blocks: str
    mlp: str
    mlp_out: str
    transposed: bool
    after_head: Callable[[Any, Tensor], Tensor] | None = None
    entry: Callable[[Any], ResidualWrite] | None = None
    experts: Experts | None = None

    def base_of(self, model: nn.Module) -> nn.Module:
        """The decoder without its head."""
        return model.get_submodule(self.base)

    def blocks_of(self, model: nn.Module) -> nn.ModuleList:
        """The list of blocks."""
        return cast(nn.ModuleList, self.base_of(model).get_submodule(self.blocks))

    def logits(self, model: Any, hidden: Tensor) -> Tensor:
        """Logits of final (normed) hidden states `[..., d]` -> `[..., vocabulary]`."""
        logits: Tensor = model.get_output_embeddings()(hidden)
        return logits if self.after_head is None else self.after_head(model, logits)

    def entry_of(self, model: nn.Module, layer: int) -> ResidualWrite | None:
        """How the MLP output of one block enters the residual stream; None where it is added."""
        return None if self.entry is None else self.entry(self.blocks_of(model)[layer])

    def site(self, model: nn.Module, layer: int, role: str = "mlp_out") -> Site:
        """The editable projection of one block.

        Raises:
            SpecError: The layer does not exist or is quantised, the role is unknown, or the block
                has one projection for each of its experts.
        """
        found = self._sites_of(model, layer, role)
        if found[0].expert is not None:
            raise SpecError(
                f"layers: block {layer} has {len(found)} experts with a projection each; ask for "
                "its sites."
            )
        return found[0]

    def sites(
        self, model: nn.Module, role: str = "mlp_out", layers: Sequence[int] | None = None
    ) -> tuple[Site, ...]:
        """Editable projections of `layers` (all blocks if None), in order of depth.

        A block with a mixture of experts has one for each routed expert.

        Raises:
            SpecError: As `site`.
        """
        chosen = range(len(self.blocks_of(model))) if layers is None else sorted(set(layers))
        return tuple(site for layer in chosen for site in self._sites_of(model, layer, role))

    def _sites_of(self, model: nn.Module, layer: int, role: str) -> tuple[Site, ...]:
        blocks = self.blocks_of(model)
        if not 0 <= layer < len(blocks):
            raise SpecError(
                f"layers: block {layer} does not exist; this {self.name} model has blocks "
                f"0 to {len(blocks) - 1}."
            )
        if role != "mlp_out":
            raise SpecError(f"sites: role {role!r} is unknown; the editable role is 'mlp_out'.")
        block = f"{self.base}.{self.blocks}.{layer}"
        if self.experts is not None and _has(blocks[layer], self.experts.module):
            module = f"{block}.{self.experts.module}"
            parameter = f"{module}.{self.experts.out}"
            count, rows, columns = model.get_parameter(parameter).shape
            return tuple(
                Site(layer, role, module, parameter, False, (rows, columns), expert)
                for expert in range(count)
            )
        module = f"{block}.{self.mlp_out}"
        weight = cast(Tensor, model.get_submodule(module).weight)
        if not weight.is_floating_point():
            raise SpecError(
                f"model: {module} is stored quantised and cannot be edited; take the unquantised "
                "checkpoint, with model.quantize if it is too large."
            )
        rows, columns = weight.shape
        shape = (columns, rows) if self.transposed else (rows, columns)
        return (Site(layer, role, module, f"{module}.weight", self.transposed, shape),)


def stored_weight(model: nn.Module, site: Site) -> Tensor:
    """The site's weight as the model stores it: its parameter, or the expert's matrix of it."""
    parameter = model.get_parameter(site.parameter).detach()
    return parameter if site.expert is None else parameter[site.expert]


def read_weight(model: nn.Module, site: Site) -> Tensor:
    """The site's weight as it stands, canonical `[d_out, d_in]`, fp32 or wider, detached copy."""
    weight = stored_weight(model, site)
    weight = weight.T if site.transposed else weight
    wide = weight.dtype if weight.dtype == torch.float64 else torch.float32
    return weight.to(wide, copy=True).contiguous()


def write_weight(model: nn.Module, site: Site, weight: Tensor) -> None:
    """Round a canonical `[d_out, d_in]` weight once into the model's parameter."""
    with torch.no_grad():
        stored_weight(model, site).copy_(weight.T if site.transposed else weight)


def family_of(model: Any) -> Family:
    """The family of a loaded model, by `config.architectures` or its class name.

    Raises:
        SpecError: No family knows the architecture.
    """
    declared = tuple(getattr(model.config, "architectures", None) or ())
    return family_for((*declared, type(model).__name__))


def family_for(architectures: Sequence[str]) -> Family:
    """The family that knows one of these architectures.

    Raises:
        SpecError: None does.
    """
    return cast(Family, registry.load("models", family_name(architectures)))


def _has(block: nn.Module, path: str) -> bool:
    return any(name == path for name, _ in block.named_modules())
