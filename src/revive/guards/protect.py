"""Guarding anybody's weight-changing code: a context manager, an optimizer hook, a bare filter."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast, final

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from revive.errors import NumericalError, SpecError
from revive.guards.fitted import FittedGuard, Weights, unknown_site
from revive.guards.rule import GuardRule
from revive.linalg.cache import BasisCache
from revive.models.wrappers import has_adapters, plain_name, unwrap

if TYPE_CHECKING:
    from revive.guards.trainer import GuardCallback

_ONE_OF = re.compile(r"(?P<parameter>.+)\[(?P<index>\d+)\]")


@final
class ModelGuard(FittedGuard):
    """A guard fitted to the parameters of one model. `Guard.fit` makes it."""

    def __init__(
        self,
        guard: GuardRule,
        model: nn.Module,
        weights: Mapping[str, Tensor],
        transposed: frozenset[str],
        cache: BasisCache | None = None,
    ) -> None:
        super().__init__(guard, weights, transposed=transposed, cache=cache)
        self.model = model

    @staticmethod
    def fit(
        guard: GuardRule,
        model: nn.Module,
        sites: str | Sequence[str],
        *,
        transposed: bool | None = None,
        cache: BasisCache | None = None,
    ) -> "ModelGuard":
        """See `Guard.fit`."""
        if guard.mode == "weighted":
            raise SpecError(
                "guard.solve: weighted is a way for editors to solve; it filters nothing. Use "
                "solve: posthoc here."
            )
        flips = _sites_of(model, sites, transposed)
        weights = {
            name: _wide(_parameter(model, name)).T if flip else _wide(_parameter(model, name))
            for name, flip in flips.items()
        }
        flipped = frozenset(name for name, flip in flips.items() if flip)
        return ModelGuard(guard, model, weights, flipped, cache)

    @contextmanager
    def protect(self, model: nn.Module | None = None) -> Generator[None, None, None]:
        """Filter, on exit, whatever the block did to the guarded weights.

        The difference is taken in fp32 (fp64 for fp64 weights), filtered, added to the weight as
        it was, and rounded once. If the block raises, or leaves NaN or infinity, the guarded
        weights are put back bit for bit. Weights that are not guarded are not touched.

        Args:
            model: The model that changes; by default the one the guard was fitted to.

        Raises:
            NumericalError: The block left NaN or infinity in a guarded weight.
            SpecError: The model lacks a guarded parameter.
        """
        target = self.model if model is None else model
        before = {key: _wide(_parameter(target, key)) for key in self.keys}
        try:
            yield
            after = {
                key: self._guarded(key, old, _parameter(target, key)) for key, old in before.items()
            }
        except BaseException:
            _write(target, before)
            raise
        _write(target, after)

    def attach(self, optimizer: Optimizer) -> "Attachment":
        """Filter every `optimizer.step()`.

        The guarded weights are kept in fp32 (fp64 for fp64 weights) beside the model and rounded
        into it after each step, so that rounding does not add up. What a step itself rounds away
        in a half-precision parameter is the optimizer's own.

        Returns:
            A handle; `remove()` ends it, and so does leaving it as a context manager.

        Raises:
            SpecError: The optimizer holds none of the guarded parameters.
        """
        # Accelerate wraps optimizers; the hooks of the wrapper never run.
        optimizer = cast(Optimizer, getattr(optimizer, "optimizer", optimizer))
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        keys = [k for k in self.keys if id(_owner(self.model, k)[0]) in held]
        if not keys:
            remedy = "give it the model's parameters, or fit the guard to those it has."
            if has_adapters(self.model):
                remedy = (
                    "an adapter is trained beside them. Filter what it does to them when it is "
                    "merged: with guard.protect(model): model.merge_adapter()."
                )
            raise SpecError(
                f"guard: the optimizer holds none of the {len(self.keys)} guarded parameters "
                f"(such as {', '.join(self.keys[:1])}); {remedy}"
            )
        return Attachment(self, optimizer, keys)

    def callback(self) -> "GuardCallback":
        """A callback for `transformers.Trainer` that guards every step of a training."""
        from revive.guards.trainer import GuardCallback  # transformers: only who trains with it

        return GuardCallback(self.attach)

    def weight(self, key: str) -> Tensor:
        """A guarded weight as it stands, canonical `[d_out, d_in]`, fp32 or fp64."""
        return self.canonical(key, _wide(_parameter(self.model, key)))

    def canonical(self, key: str, stored: Tensor) -> Tensor:
        """A stored parameter as `[d_out, d_in]`."""
        return stored.T if key in self._transposed else stored

    def _guarded(self, key: str, old: Tensor, parameter: Tensor) -> Tensor:
        if parameter.shape != old.shape:
            raise SpecError(
                f"guard: {key} had shape {tuple(old.shape)} and now has {tuple(parameter.shape)}."
            )
        delta = _wide(parameter) - old
        if not bool(torch.isfinite(delta).all()):
            raise NumericalError(
                f"guarded code left NaN or infinity in {key}; the weights are as before it."
            )
        return old + self.filter(delta, key, weight=lambda k: self.canonical(k, old))

    def _follow(self, key: str, weight: Weights | None) -> None:
        super()._follow(key, self.weight if weight is None else weight)


@final
class Attachment:
    """A guard at work on an optimizer."""

    def __init__(self, guard: ModelGuard, optimizer: Optimizer, keys: Sequence[str]) -> None:
        self._guard = guard
        # Looked up anew at every step: whoever moves a model swaps what its parameters hold.
        self._owners = {key: _owner(guard.model, key) for key in keys}
        self._master = {key: _wide(p) for key, p in self._parameters()}
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Stop filtering. Doing it twice is harmless."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def __enter__(self) -> "Attachment":
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _before(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        # Somebody else may have written the weight since: then that is where the step starts.
        for key, parameter in self._parameters():
            if not torch.equal(parameter.detach(), self._master[key].to(parameter.dtype)):
                self._master[key] = _wide(parameter)

    def _after(self, _optimizer: Optimizer, _args: Any, _kwargs: Any) -> None:
        deltas: dict[str, Tensor] = {}
        for key, parameter in self._parameters():
            start = _wide(self._master[key].to(parameter.dtype))
            deltas[key] = _wide(parameter) - start
        broken = [key for key, delta in deltas.items() if not bool(torch.isfinite(delta).all())]
        if broken:
            self._restore()
            raise NumericalError(
                f"the optimizer's step left NaN or infinity in {', '.join(broken)}; the guarded "
                "weights are as before it. A smaller learning rate usually helps."
            )
        for key, delta in deltas.items():
            master = self._master[key]
            safe = self._guard.filter(delta, key, weight=self._current)
            self._master[key] = master + safe
        self._restore()

    def _parameters(self) -> list[tuple[str, Tensor]]:
        return [
            (key, _matrix(parameter, index)) for key, (parameter, index) in self._owners.items()
        ]

    def _current(self, key: str) -> Tensor:
        return self._guard.canonical(key, self._master[key])

    def _restore(self) -> None:
        with torch.no_grad():
            for key, parameter in self._parameters():
                parameter.copy_(self._master[key])


def _sites_of(
    model: nn.Module, sites: str | Sequence[str], transposed: bool | None
) -> dict[str, bool]:
    """Parameter names, and whether each is stored `[in, out]`."""
    if isinstance(sites, str):
        from revive.models.family import family_of  # loads transformers; names do not need it

        inner = unwrap(model)
        family = family_of(inner)
        return {site.key: site.transposed for site in family.sites(inner, role=sites)}
    if not sites:
        raise SpecError("guard.sites: the list is empty; name a parameter, or give 'mlp_out'.")
    return {n: _stored_transposed(model, n) if transposed is None else transposed for n in sites}


def _stored_transposed(model: nn.Module, name: str) -> bool:
    _parameter(model, name)
    stored = _owner(model, name)[0]
    holders = (m for m in model.modules() if any(p is stored for p in m.parameters(recurse=False)))
    return any(type(holder).__name__ == "Conv1D" for holder in holders)


def _parameter(model: nn.Module, name: str) -> Tensor:
    """A guarded matrix: a parameter, or a view of one matrix of it."""
    parameter, index = _owner(model, name)
    if isinstance(parameter, DTensor) or hasattr(parameter, "_local_shard"):
        raise SpecError(
            f"guard: {name} is sharded over devices (FSDP), and a shard has no singular directions "
            "of its own. Guard an unsharded model; DDP is fine."
        )
    if index is None and parameter.ndim != 2:
        experts = "; of experts in one parameter name each, as in 'name[0]', or give 'mlp_out'"
        raise SpecError(
            f"guard: {name} has shape {tuple(parameter.shape)}; only matrices have the singular "
            f"directions that a guard protects{experts if parameter.ndim == 3 else ''}."
        )
    return _matrix(parameter, index)


def _matrix(parameter: nn.Parameter, index: int | None) -> Tensor:
    return parameter if index is None else parameter.detach()[index]


def _owner(model: nn.Module, name: str) -> tuple[nn.Parameter, int | None]:
    """The parameter that a name means, and which of its matrices: `name`, or `name[3]`."""
    found = _ONE_OF.fullmatch(name)
    whole = _named(model, name)
    if whole is not None:
        return whole, None
    parameter = None if found is None else _named(model, found["parameter"])
    if found is None or parameter is None:
        raise SpecError(unknown_site(name, dict(unwrap(model).named_parameters())))
    index = int(found["index"])
    if parameter.ndim != 3 or index >= len(parameter):
        raise SpecError(
            f"guard: {found['parameter']} has shape {tuple(parameter.shape)}, so there is no "
            f"matrix {index} in it."
        )
    return parameter, index


def _named(model: nn.Module, name: str) -> nn.Parameter | None:
    """A parameter by its name, whatever the model or the name is wrapped in."""
    inner = unwrap(model)
    for holder, known in ((model, name), (inner, name), (inner, plain_name(name))):
        try:
            return holder.get_parameter(known)
        except AttributeError:
            continue
    return None


def _wide(x: Tensor) -> Tensor:
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    return x.detach().to(dtype, copy=True)


def _write(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for key, weight in weights.items():
            _parameter(model, key).copy_(weight)
