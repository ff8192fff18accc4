"""Settings of the built-in probes. No torch: a spec is checked with them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from revive.options.numbers import Count, Seed


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EditsOptions(_Options):
    """`edits`: measure a sample (None: all), and retention in so many groups of age."""

    sample: Count | None = None
    age_bins: Annotated[int, Field(ge=1, le=1000)] = 5


class GeneralOptions(_Options):
    """`general`: how many facts, minimal pairs, copying tasks, and words of prose (None: all)."""

    facts: Count = 300
    pairs: Count = 300
    copies: Count = 100
    words: Count | None = None


class SpectrumOptions(_Options):
    """`spectrum`: share of the sum of singular values that makes the dominant subspace.

    With `detail` angles, blocks, ranks and histograms come in addition, by site.
    """

    energy: Annotated[float, Field(gt=0, lt=1)] = 0.1
    detail: bool = False


class PerplexityOptions(_Options):
    """`perplexity`: a text file, and how much of it."""

    text: str
    characters: Count = 200_000


class GenerationOptions(_Options):
    """`generation`: on how many edits, how long and from how many prompts each.

    `corpus` is a text file whose paragraphs give the TF-IDF weights of `consistency`.
    """

    sample: Count | None = 100
    length: Annotated[int, Field(ge=4, le=100_000)] = 100
    top_k: Count = 5
    prompts: Count = 10
    rows: Count = 32
    corpus: str | None = None


class TasksOptions(_Options):
    """`tasks`: public test sets in a folder, so many items of each, and how answers are taken.

    `lm-eval:NAME` is a task of lm-evaluation-harness; `include` is a folder with configurations.
    """

    tasks: Annotated[list[str], Field(min_length=1)]
    data: str | None = None
    limit: Count | None = 200
    rule: Literal["likelihood", "generation", "both"] | None = None
    seed: Seed = 0
    include: str | None = None


PROBE_OPTIONS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "edits": EditsOptions,
        "general": GeneralOptions,
        "spectrum": SpectrumOptions,
        "perplexity": PerplexityOptions,
        "generation": GenerationOptions,
        "tasks": TasksOptions,
    }
)
