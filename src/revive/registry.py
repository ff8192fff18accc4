"""What can be named in a spec: editors, guards, model families, datasets, probes, tasks, sinks.

Built-ins are a table of lazy `module:attribute` targets, so that looking at the table imports
nothing and works from a source tree. Other packages add theirs through the entry-point groups
`revive.editors`, `revive.guards`, `revive.models`, `revive.datasets`, `revive.probes`,
`revive.tasks` and `revive.sinks`. A built-in cannot be replaced: a stored spec must mean the same
thing on every machine.
"""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Literal, get_args

from revive.errors import PrerequisiteError, SpecError

Group = Literal["editors", "guards", "models", "datasets", "probes", "tasks", "sinks"]

GROUPS: tuple[Group, ...] = get_args(Group)
DISTRIBUTION = "revive-edit"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be named.

    Attributes:
        name: The name to write in a spec.
        paper: Where it comes from, e.g. `arXiv:2210.07229`; empty where it has no paper.
        summary: One line.
        origin: The distribution that brings it.
    """

    name: str
    paper: str
    summary: str
    origin: str


@dataclass(frozen=True, slots=True)
class _Builtin:
    target: str
    summary: str
    paper: str = ""


_REVIVE = "arXiv:2601.11042"
_CONTROL = f"ours, a control for {_REVIVE}"
_CONTROLS = "revive.guards.controls"

_BUILTINS: Mapping[Group, Mapping[str, _Builtin]] = MappingProxyType(
    {
        "editors": {
            "memit": _Builtin(
                "revive.editors.memit:Memit",
                "least squares over the batch, regularised by the key second moment",
                "arXiv:2210.07229",
            ),
            "memit-seq": _Builtin(
                "revive.editors.memit:MemitSeq",
                "MEMIT with the keys of earlier edits in the least squares",
                "arXiv:2210.07229, arXiv:2410.02355",
            ),
            "alphaedit": _Builtin(
                "revive.editors.alphaedit:AlphaEdit",
                "updates only along input directions that ordinary keys leave free, with a history",
                "arXiv:2410.02355",
            ),
            "encore": _Builtin(
                "revive.editors.encore:Encore",
                "MEMIT with a history, a penalty on the update's norm, and targets that stop early",
                "arXiv:2502.01636",
            ),
            "emmet": _Builtin(
                "revive.editors.emmet:Emmet",
                "the smallest update on ordinary keys that writes the batch, softened",
                "arXiv:2403.14236",
            ),
            "nse": _Builtin(
                "revive.editors.nse:Nse",
                "targets of the unedited model, selected neurons, and rounds over what is missing",
                "arXiv:2410.04045",
            ),
            "rome": _Builtin(
                "revive.editors.rome:Rome",
                "one rank-one update of one block per edit, with the averaged key of R-ROME",
                "arXiv:2202.05262, arXiv:2403.07175",
            ),
            "ft": _Builtin(
                "revive.editors.ft:FineTuning",
                "gradient descent on the edited projections alone",
                "arXiv:2012.00363, arXiv:2308.07269",
            ),
            "ultraedit": _Builtin(
                "revive.editors.ultraedit:UltraEdit",
                "one gradient per batch, normalised over the stream, and one ridge regression",
                "arXiv:2505.14679",
            ),
            "rect": _Builtin(
                "revive.editors.rect:Rect",
                "MEMIT that writes only the entries that change most, relatively",
                "arXiv:2401.04700",
            ),
            "prune": _Builtin(
                "revive.editors.prune:Prune",
                "MEMIT with the singular values of all its updates' sum restrained",
                "arXiv:2405.16821",
            ),
        },
        "guards": {
            "none": _Builtin(
                f"{_CONTROLS}:NoGuard",
                "every update is written as the editor proposed it",
                _CONTROL,
            ),
            "revive": _Builtin(
                "revive.guards.revive:Revive",
                "no update touches the dominant singular directions of the weight",
                _REVIVE,
            ),
            "random-subspace": _Builtin(
                f"{_CONTROLS}:RandomSubspace",
                "as many protected directions as REVIVE, but random ones",
                _CONTROL,
            ),
            "bottom-subspace": _Builtin(
                f"{_CONTROLS}:BottomSubspace",
                "as many protected directions as REVIVE, but the least ones",
                _CONTROL,
            ),
            "norm-matched": _Builtin(
                f"{_CONTROLS}:NormMatched",
                "updates as small as REVIVE's, in the editor's own direction",
                _CONTROL,
            ),
            "left-only": _Builtin(
                f"{_CONTROLS}:LeftOnly", "REVIVE on the output directions alone", _CONTROL
            ),
            "right-only": _Builtin(
                f"{_CONTROLS}:RightOnly", "REVIVE on the input directions alone", _CONTROL
            ),
            "rect": _Builtin(
                "revive.guards.rect:Rect",
                "only the entries that change their weight most, relatively",
                "arXiv:2401.04700",
            ),
            "prune": _Builtin(
                "revive.guards.prune:Prune",
                "restrains what grows beyond the weight's largest singular value",
                "arXiv:2405.16821",
            ),
            "sphere": _Builtin(
                "revive.guards.sphere:Sphere",
                "updates are weak along the principal input directions of the neurons",
                "arXiv:2510.01172",
            ),
            "norm-cap": _Builtin(
                "revive.guards.norm_cap:NormCap",
                "updates, or their sum, no longer than a share of the weight's norm",
                "ours",
            ),
        },
        "models": {
            "gpt2": _Builtin("revive.models.families.gpt2:FAMILY", "GPT-2"),
            "gptj": _Builtin("revive.models.families.gptj:FAMILY", "GPT-J"),
            "gpt_neox": _Builtin("revive.models.families.gpt_neox:FAMILY", "GPT-NeoX, Pythia"),
            "llama": _Builtin(
                "revive.models.families.llama:FAMILY",
                "Llama, Mistral, Qwen2, Qwen3, Gemma, Phi-3, OLMo, StableLM, SmolLM3",
            ),
            "mixture": _Builtin(
                "revive.models.families.mixture:FAMILY",
                "mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE",
            ),
            "opt": _Builtin("revive.models.families.opt:FAMILY", "OPT"),
            "falcon": _Builtin("revive.models.families.falcon:FAMILY", "Falcon"),
            "phi": _Builtin("revive.models.families.phi:FAMILY", "Phi 1 and 2"),
            "starcoder2": _Builtin("revive.models.families.starcoder2:FAMILY", "StarCoder2"),
            "cohere": _Builtin("revive.models.families.cohere:FAMILY", "Command R"),
            "gemma2": _Builtin("revive.models.families.gemma2:FAMILY", "Gemma 2 and 3 (text)"),
            "olmo2": _Builtin("revive.models.families.olmo2:FAMILY", "OLMo 2 and 3"),
            "glm4": _Builtin("revive.models.families.glm4:FAMILY", "GLM-4"),
            "granite": _Builtin("revive.models.families.granite:FAMILY", "Granite"),
            "bloom": _Builtin("revive.models.families.bloom:FAMILY", "Bloom"),
        },
        "datasets": {
            "lab": _Builtin("revive.data.lab:LabStream", "edits of facts the lab model knows"),
            "jsonl": _Builtin("revive.data.jsonl:EditFile", "REVIVE's edit file, JSON Lines"),
            "counterfact": _Builtin(
                "revive.data.counterfact:CounterFact",
                "CounterFact, multi_counterfact.json",
                "arXiv:2202.05262",
            ),
            "counterfact-flat": _Builtin(
                "revive.data.counterfact:CounterFactFlat",
                "CounterFact in EasyEdit's flat form",
                "arXiv:2202.05262",
            ),
            "zsre": _Builtin(
                "revive.data.zsre:ZsRE", "zsRE question answering, MEND's form", "arXiv:2110.11309"
            ),
            "knowedit": _Builtin("revive.data.knowedit:KnowEdit", "KnowEdit", "arXiv:2401.01286"),
            "mquake": _Builtin(
                "revive.data.mquake:MQuAKE",
                "MQuAKE, edits with multi-hop questions",
                "arXiv:2305.14795",
            ),
            "wikibigedit": _Builtin(
                "revive.data.wikibigedit:WikiBigEdit",
                "WikiBigEdit, changes of Wikidata as questions",
                "arXiv:2503.05683",
            ),
            "csv": _Builtin("revive.data.csv_file:CsvFile", "a table with a header line"),
        },
        "probes": {
            "edits": _Builtin(
                "revive.probes.edits:EditsProbe",
                "efficacy, paraphrase, neighbourhood and retention of the edits so far",
            ),
            "general": _Builtin(
                "revive.probes.general:GeneralProbe", "general ability on questions never edited"
            ),
            "spectrum": _Builtin(
                "revive.probes.spectrum:SpectrumProbe",
                "drift of norms and dominant subspaces of the edited weights",
                _REVIVE,
            ),
            "generation": _Builtin(
                "revive.probes.generation:GenerationProbe",
                "fluency, consistency, repetition and freely generated answers",
                "arXiv:2202.05262",
            ),
            "perplexity": _Builtin(
                "revive.probes.perplexity:PerplexityProbe", "perplexity on held-out text"
            ),
            "tasks": _Builtin(
                "revive.probes.tasks:TasksProbe",
                "public test sets and tasks of lm-evaluation-harness",
            ),
        },
        "tasks": {
            "sst2": _Builtin(
                "revive.tasks.glue:SST2", "sentiment of film reviews", "arXiv:1804.07461"
            ),
            "mrpc": _Builtin(
                "revive.tasks.glue:MRPC", "whether two sentences say the same", "arXiv:1804.07461"
            ),
            "cola": _Builtin(
                "revive.tasks.glue:COLA", "whether a sentence is grammatical", "arXiv:1804.07461"
            ),
            "rte": _Builtin(
                "revive.tasks.glue:RTE", "whether a text entails a claim", "arXiv:1804.07461"
            ),
            "nli": _Builtin(
                "revive.tasks.glue:NLI",
                "whether a text entails a claim, the larger set",
                "arXiv:1804.07461",
            ),
            "mmlu_six": _Builtin(
                "revive.tasks.mmlu:MMLU_SIX",
                "MMLU's questions in one balanced file, without examples",
                "arXiv:2009.03300",
            ),
            "mmlu": _Builtin(
                "revive.tasks.mmlu:MMLU",
                "57 subjects, four choices, five examples",
                "arXiv:2009.03300",
            ),
            "lambada": _Builtin(
                "revive.tasks.lambada:LAMBADA",
                "last word of a passage: greedy accuracy and perplexity",
                "arXiv:1606.06031",
            ),
            "blimp": _Builtin(
                "revive.tasks.blimp:BLIMP",
                "67 paradigms of grammatical minimal pairs",
                "arXiv:1912.00582",
            ),
            "boolq": _Builtin(
                "revive.tasks.commonsense:BOOLQ", "yes-or-no questions", "arXiv:1905.10044"
            ),
            "piqa": _Builtin(
                "revive.tasks.commonsense:PIQA",
                "physical commonsense, two choices",
                "arXiv:1911.11641",
            ),
            "social_iqa": _Builtin(
                "revive.tasks.commonsense:SOCIAL_IQA",
                "social commonsense, three choices",
                "arXiv:1904.09728",
            ),
            "arc_easy": _Builtin(
                "revive.tasks.commonsense:ARC_EASY",
                "school science, the easy questions",
                "arXiv:1803.05457",
            ),
            "arc_challenge": _Builtin(
                "revive.tasks.commonsense:ARC_CHALLENGE",
                "school science, the hard questions",
                "arXiv:1803.05457",
            ),
            "openbookqa": _Builtin(
                "revive.tasks.commonsense:OPENBOOKQA",
                "elementary science facts in use, four choices",
                "arXiv:1809.02789",
            ),
            "winogrande": _Builtin(
                "revive.tasks.commonsense:WINOGRANDE",
                "which of two names fills a blank",
                "arXiv:1907.10641",
            ),
            "gsm8k": _Builtin(
                "revive.tasks.gsm8k:GSM8K",
                "school mathematics, free generation, exact number",
                "arXiv:2110.14168",
            ),
        },
        "sinks": {
            "tensorboard": _Builtin(
                "revive.sinks.tensorboard:TensorBoard",
                "event files in the run folder: tensorboard --logdir RUN",
            ),
            "wandb": _Builtin(
                "revive.sinks.weights_and_biases:Wandb",
                "Weights & Biases; WANDB_MODE=offline keeps it on the disk",
            ),
            "trackio": _Builtin(
                "revive.sinks.trackio_store:Trackio",
                "Trackio's local store: trackio show --project revive",
            ),
        },
    }
)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'memit'?"`, or nothing if no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def names(group: Group) -> tuple[str, ...]:
    """Every name of a group: built-ins in a fixed order, then others by name."""
    return (*_BUILTINS[group], *sorted(_foreign(group)))


def is_builtin(group: Group, name: str) -> bool:
    """Whether a name is one of ours."""
    return name in _BUILTINS[group]


def origin(group: Group, name: str) -> str:
    """The distribution that brings a name.

    Raises:
        SpecError: The name is unknown.
    """
    require(group, name)
    return DISTRIBUTION if is_builtin(group, name) else _origin(_foreign(group)[name])


def require(group: Group, name: str) -> None:
    """Check that a name exists, without importing what it names.

    Raises:
        SpecError: It does not.
    """
    known = names(group)
    if name not in known:
        raise SpecError(
            f"Unknown {group[:-1]} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )


def load(group: Group, name: str) -> Any:
    """Import what a name stands for.

    Raises:
        SpecError: The name is unknown, or two distributions claim it.
        PrerequisiteError: It cannot be imported.
    """
    require(group, name)
    if is_builtin(group, name):
        module, _, attribute = _BUILTINS[group][name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    point = _foreign(group)[name]
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise PrerequisiteError(
            f"{group[:-1]} {name!r} of distribution {_origin(point)!r} cannot be imported "
            f"({error}). Install what it needs, or uninstall it."
        ) from error


def describe(group: Group) -> list[Entry]:
    """One entry per name. Imports only what other packages bring."""
    entries = [Entry(n, b.paper, b.summary, DISTRIBUTION) for n, b in _BUILTINS[group].items()]
    for name, point in sorted(_foreign(group).items()):
        try:
            found: object = load(group, name)
        except PrerequisiteError as error:
            entries.append(Entry(name, "", str(error), _origin(point)))
            continue
        paper, summary = (str(getattr(found, key, "")) for key in ("paper", "summary"))
        entries.append(Entry(name, paper, summary, _origin(point)))
    return entries


def _foreign(group: Group) -> dict[str, EntryPoint]:
    """Entry points of other distributions, refused where a name is taken."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"revive.{group}"):
        origin = _origin(point)
        if origin == DISTRIBUTION:
            continue
        if is_builtin(group, point.name):
            holder = DISTRIBUTION
        elif point.name in found and _origin(found[point.name]) != origin:
            holder = _origin(found[point.name])
        else:
            found[point.name] = point
            continue
        raise SpecError(
            f"Two distributions provide the {group[:-1]} {point.name!r}: {holder!r} and "
            f"{origin!r}. Uninstall one of them, or ask {origin!r} to rename its own."
        )
    return found


def _origin(point: EntryPoint) -> str:
    if point.dist is None:
        return "unknown"
    return point.dist.name.lower().replace("_", "-")
