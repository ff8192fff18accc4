"""What ordinary text says of the edited sites: second moments of inputs and of gradients."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from revive.errors import SpecError
from revive.guards.base import Guard, SiteStatistics
from revive.linalg.moments import SecondMoment
from revive.models.forward.runner import BlockRunner, context_length
from revive.models.loading import LoadedModel
from revive.models.site import Site
from revive.moments.gradient_moments import collect_gradients
from revive.moments.input_moments import collect_moments
from revive.moments.shipped_moments import shipped_moments
from revive.paths import read_text
from revive.spec.schema import MomentsSpec, RunSpec
from revive.texts.package import PACKAGE, package_passages

Notify = Callable[[str, int, int], None]
"""Called with (phase, steps done, steps in all) while something long is computed."""

LAB_SENTENCES = 2_000


def silent(_phase: str, _done: int, _total: int) -> None:
    """Notify nobody."""


def reads_inputs(guard: Guard) -> bool:
    """Whether a guard weighs output directions, and so may ask for the inputs' moment."""
    return guard.mode == "weighted"


class TextStatistics:
    """Collects what a run needs, once, from the text its spec names."""

    def __init__(
        self,
        spec: RunSpec,
        loaded: LoadedModel,
        runner: BlockRunner,
        sites: Sequence[Site],
        cache: Path | None,
        notify: Notify,
    ) -> None:
        self._spec = spec
        self._loaded = loaded
        self._runner = runner
        self._sites = sites
        self._cache = cache
        self._notify = notify

    def moments(self) -> dict[str, SecondMoment]:
        """Key second moments by parameter name; those that come with the package where they do."""
        if self._spec.moments.text == PACKAGE:
            shipped = shipped_moments(self._loaded.forward_fingerprint, self._sites)
            if shipped:
                return shipped
        return collect_moments(
            self._runner,
            self._loaded.tokenizer,
            self._sites,
            self._texts(),
            cache=self._cache,
            model_fingerprint=self._loaded.forward_fingerprint,
            window=self._window(),
            progress=lambda done, total: self._notify("moments", done, total),
        )

    def statistics(
        self, guard: Guard, moments: Mapping[str, SecondMoment]
    ) -> dict[str, SiteStatistics]:
        """What a guard reads; nothing is collected that it does not."""
        if guard.mode != "weighted":
            return {}
        gradients: Mapping[str, SecondMoment] = {}
        if guard.needs_gradients:
            gradients = collect_gradients(
                self._runner,
                self._loaded.tokenizer,
                self._sites,
                self._texts(),
                cache=self._cache,
                model_fingerprint=self._loaded.forward_fingerprint,
                window=self._window(),
                progress=lambda done, total: self._notify("gradients", done, total),
            )
        return {
            site.key: SiteStatistics(
                inputs=moments[site.key].value() if moments else None,
                gradients=gradients[site.key].value() if gradients else None,
            )
            for site in self._sites
        }

    def _texts(self) -> list[str]:
        return moment_texts(self._spec.moments, self._spec.seed)

    def _window(self) -> int:
        wanted = self._spec.moments.window
        return min(wanted, context_length(self._loaded.model) or wanted)


def moment_texts(moments: MomentsSpec, seed: int) -> list[str]:
    """The passages key second moments are taken from."""
    if moments.text is None or moments.text == PACKAGE:
        return package_passages()[: moments.samples]
    if moments.text == "lab":
        from revive.lab.corpus import sentences

        return sentences(seed, min(LAB_SENTENCES, moments.samples))
    passages: list[str] = []
    for path in moments.text:
        text = read_text(path, "moments.text")
        passages.extend(p.strip() for p in text.splitlines() if p.strip())
        if len(passages) >= moments.samples:
            break
    if not passages:
        raise SpecError(f"moments.text: {', '.join(moments.text)} hold no text.")
    return passages[: moments.samples]
