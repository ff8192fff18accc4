"""What the registry holds of ours: lazy targets, so that looking at the table imports nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One thing of ours that can be named.

    Attributes:
        target: `module:attribute`, imported when it is asked for.
        summary: One line.
        paper: Where it comes from; empty where it has no paper.
    """

    target: str
    summary: str
    paper: str = ""


_REVIVE = "arXiv:2601.11042"
_CONTROL = f"ours, a control for {_REVIVE}"
_CONTROLS = "revive.guards.controls"

BUILT_IN: Mapping[str, Mapping[str, BuiltIn]] = MappingProxyType(
    {
        "editors": {
            "memit": BuiltIn(
                "revive.editors.memit:Memit",
                "least squares over the batch, regularised by the key second moment",
                "arXiv:2210.07229",
            ),
            "memit-seq": BuiltIn(
                "revive.editors.memit:MemitSeq",
                "MEMIT with the keys of earlier edits in the least squares",
                "arXiv:2210.07229, arXiv:2410.02355",
            ),
            "alphaedit": BuiltIn(
                "revive.editors.alphaedit:AlphaEdit",
                "updates only along input directions that ordinary keys leave free, with a history",
                "arXiv:2410.02355",
            ),
            "encore": BuiltIn(
                "revive.editors.encore:Encore",
                "MEMIT with a history, a penalty on the update's norm, and targets that stop early",
                "arXiv:2502.01636",
            ),
            "emmet": BuiltIn(
                "revive.editors.emmet:Emmet",
                "the smallest update on ordinary keys that writes the batch, softened",
                "arXiv:2403.14236",
            ),
            "nse": BuiltIn(
                "revive.editors.nse:Nse",
                "targets of the unedited model, selected neurons, and rounds over what is missing",
                "arXiv:2410.04045",
            ),
            "rome": BuiltIn(
                "revive.editors.rome:Rome",
                "one rank-one update of one block per edit, with the averaged key of R-ROME",
                "arXiv:2202.05262, arXiv:2403.07175",
            ),
            "ft": BuiltIn(
                "revive.editors.ft:FineTuning",
                "gradient descent on the edited projections alone",
                "arXiv:2012.00363, arXiv:2308.07269",
            ),
            "ultraedit": BuiltIn(
                "revive.editors.ultraedit:UltraEdit",
                "one gradient per batch, normalised over the stream, and one ridge regression",
                "arXiv:2505.14679",
            ),
            "rect": BuiltIn(
                "revive.editors.rect:Rect",
                "MEMIT that writes only the entries that change most, relatively",
                "arXiv:2401.04700",
            ),
            "prune": BuiltIn(
                "revive.editors.prune:Prune",
                "MEMIT with the singular values of all its updates' sum restrained",
                "arXiv:2405.16821",
            ),
        },
        "guards": {
            "none": BuiltIn(
                f"{_CONTROLS}:NoGuard",
                "every update is written as the editor proposed it",
                _CONTROL,
            ),
            "revive": BuiltIn(
                "revive.guards.revive:Revive",
                "no update touches the dominant singular directions of the weight",
                _REVIVE,
            ),
            "random-subspace": BuiltIn(
                f"{_CONTROLS}:RandomSubspace",
                "as many protected directions as REVIVE, but random ones",
                _CONTROL,
            ),
            "bottom-subspace": BuiltIn(
                f"{_CONTROLS}:BottomSubspace",
                "as many protected directions as REVIVE, but the least ones",
                _CONTROL,
            ),
            "norm-matched": BuiltIn(
                f"{_CONTROLS}:NormMatched",
                "updates as small as REVIVE's, in the editor's own direction",
                _CONTROL,
            ),
            "left-only": BuiltIn(
                f"{_CONTROLS}:LeftOnly", "REVIVE on the output directions alone", _CONTROL
            ),
            "right-only": BuiltIn(
                f"{_CONTROLS}:RightOnly", "REVIVE on the input directions alone", _CONTROL
            ),
            "rect": BuiltIn(
                "revive.guards.rect:Rect",
                "only the entries that change their weight most, relatively",
                "arXiv:2401.04700",
            ),
            "prune": BuiltIn(
                "revive.guards.prune:Prune",
                "restrains what grows beyond the weight's largest singular value",
                "arXiv:2405.16821",
            ),
            "sphere": BuiltIn(
                "revive.guards.sphere:Sphere",
                "updates are weak along the principal input directions of the neurons",
                "arXiv:2510.01172",
            ),
            "norm-cap": BuiltIn(
                "revive.guards.norm_cap:NormCap",
                "updates, or their sum, no longer than a share of the weight's norm",
                "ours",
            ),
        },
        "models": {
            "gpt2": BuiltIn("revive.models.families.gpt2:FAMILY", "GPT-2"),
            "gptj": BuiltIn("revive.models.families.gptj:FAMILY", "GPT-J"),
            "gpt_neox": BuiltIn("revive.models.families.gpt_neox:FAMILY", "GPT-NeoX, Pythia"),
            "llama": BuiltIn(
                "revive.models.families.llama:FAMILY",
                "Llama, Mistral, Qwen2, Qwen3, Gemma, Phi-3, OLMo, StableLM, SmolLM3",
            ),
            "mixture": BuiltIn(
                "revive.models.families.mixture:FAMILY",
                "mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE",
            ),
            "opt": BuiltIn("revive.models.families.opt:FAMILY", "OPT"),
            "falcon": BuiltIn("revive.models.families.falcon:FAMILY", "Falcon"),
            "phi": BuiltIn("revive.models.families.phi:FAMILY", "Phi 1 and 2"),
            "starcoder2": BuiltIn("revive.models.families.starcoder2:FAMILY", "StarCoder2"),
            "cohere": BuiltIn("revive.models.families.cohere:FAMILY", "Command R"),
            "gemma2": BuiltIn("revive.models.families.gemma2:FAMILY", "Gemma 2 and 3 (text)"),
            "olmo2": BuiltIn("revive.models.families.olmo2:FAMILY", "OLMo 2 and 3"),
            "glm4": BuiltIn("revive.models.families.glm4:FAMILY", "GLM-4"),
            "granite": BuiltIn("revive.models.families.granite:FAMILY", "Granite"),
            "bloom": BuiltIn("revive.models.families.bloom:FAMILY", "Bloom"),
        },
        "datasets": {
            "lab": BuiltIn(
                "revive.data.formats.lab:LabStream", "edits of facts the lab model knows"
            ),
            "jsonl": BuiltIn(
                "revive.data.formats.jsonl:EditFile", "REVIVE's edit file, JSON Lines"
            ),
            "counterfact": BuiltIn(
                "revive.data.formats.counterfact:CounterFact",
                "CounterFact, multi_counterfact.json",
                "arXiv:2202.05262",
            ),
            "counterfact-flat": BuiltIn(
                "revive.data.formats.counterfact:CounterFactFlat",
                "CounterFact in EasyEdit's flat form",
                "arXiv:2202.05262",
            ),
            "zsre": BuiltIn(
                "revive.data.formats.zsre:ZsRE",
                "zsRE question answering, MEND's form",
                "arXiv:2110.11309",
            ),
            "knowedit": BuiltIn(
                "revive.data.formats.knowedit:KnowEdit", "KnowEdit", "arXiv:2401.01286"
            ),
            "mquake": BuiltIn(
                "revive.data.formats.mquake:MQuAKE",
                "MQuAKE, edits with multi-hop questions",
                "arXiv:2305.14795",
            ),
            "wikibigedit": BuiltIn(
                "revive.data.formats.wikibigedit:WikiBigEdit",
                "WikiBigEdit, changes of Wikidata as questions",
                "arXiv:2503.05683",
            ),
            "csv": BuiltIn("revive.data.formats.csv_file:CsvFile", "a table with a header line"),
        },
        "probes": {
            "edits": BuiltIn(
                "revive.probes.edits:EditsProbe",
                "efficacy, paraphrase, neighbourhood and retention of the edits so far",
            ),
            "general": BuiltIn(
                "revive.probes.general:GeneralProbe", "general ability on questions never edited"
            ),
            "spectrum": BuiltIn(
                "revive.probes.spectrum:SpectrumProbe",
                "drift of norms and dominant subspaces of the edited weights",
                _REVIVE,
            ),
            "generation": BuiltIn(
                "revive.probes.generation:GenerationProbe",
                "fluency, consistency, repetition and freely generated answers",
                "arXiv:2202.05262",
            ),
            "perplexity": BuiltIn(
                "revive.probes.perplexity:PerplexityProbe", "perplexity on held-out text"
            ),
            "tasks": BuiltIn(
                "revive.probes.tasks:TasksProbe",
                "public test sets and tasks of lm-evaluation-harness",
            ),
        },
        "tasks": {
            "sst2": BuiltIn(
                "revive.tasks.sets.glue:SST2", "sentiment of film reviews", "arXiv:1804.07461"
            ),
            "mrpc": BuiltIn(
                "revive.tasks.sets.glue:MRPC",
                "whether two sentences say the same",
                "arXiv:1804.07461",
            ),
            "cola": BuiltIn(
                "revive.tasks.sets.glue:COLA",
                "whether a sentence is grammatical",
                "arXiv:1804.07461",
            ),
            "rte": BuiltIn(
                "revive.tasks.sets.glue:RTE", "whether a text entails a claim", "arXiv:1804.07461"
            ),
            "nli": BuiltIn(
                "revive.tasks.sets.glue:NLI",
                "whether a text entails a claim, the larger set",
                "arXiv:1804.07461",
            ),
            "mmlu_six": BuiltIn(
                "revive.tasks.sets.mmlu:MMLU_SIX",
                "MMLU's questions in one balanced file, without examples",
                "arXiv:2009.03300",
            ),
            "mmlu": BuiltIn(
                "revive.tasks.sets.mmlu:MMLU",
                "57 subjects, four choices, five examples",
                "arXiv:2009.03300",
            ),
            "lambada": BuiltIn(
                "revive.tasks.sets.lambada:LAMBADA",
                "last word of a passage: greedy accuracy and perplexity",
                "arXiv:1606.06031",
            ),
            "blimp": BuiltIn(
                "revive.tasks.sets.blimp:BLIMP",
                "67 paradigms of grammatical minimal pairs",
                "arXiv:1912.00582",
            ),
            "boolq": BuiltIn(
                "revive.tasks.sets.commonsense:BOOLQ", "yes-or-no questions", "arXiv:1905.10044"
            ),
            "piqa": BuiltIn(
                "revive.tasks.sets.commonsense:PIQA",
                "physical commonsense, two choices",
                "arXiv:1911.11641",
            ),
            "social_iqa": BuiltIn(
                "revive.tasks.sets.commonsense:SOCIAL_IQA",
                "social commonsense, three choices",
                "arXiv:1904.09728",
            ),
            "arc_easy": BuiltIn(
                "revive.tasks.sets.commonsense:ARC_EASY",
                "school science, the easy questions",
                "arXiv:1803.05457",
            ),
            "arc_challenge": BuiltIn(
                "revive.tasks.sets.commonsense:ARC_CHALLENGE",
                "school science, the hard questions",
                "arXiv:1803.05457",
            ),
            "openbookqa": BuiltIn(
                "revive.tasks.sets.commonsense:OPENBOOKQA",
                "elementary science facts in use, four choices",
                "arXiv:1809.02789",
            ),
            "winogrande": BuiltIn(
                "revive.tasks.sets.commonsense:WINOGRANDE",
                "which of two names fills a blank",
                "arXiv:1907.10641",
            ),
            "gsm8k": BuiltIn(
                "revive.tasks.sets.gsm8k:GSM8K",
                "school mathematics, free generation, exact number",
                "arXiv:2110.14168",
            ),
        },
        "sinks": {
            "tensorboard": BuiltIn(
                "revive.sinks.tensorboard:TensorBoard",
                "event files in the run folder: tensorboard --logdir RUN",
            ),
            "wandb": BuiltIn(
                "revive.sinks.weights_and_biases:Wandb",
                "Weights & Biases; WANDB_MODE=offline keeps it on the disk",
            ),
            "trackio": BuiltIn(
                "revive.sinks.trackio_store:Trackio",
                "Trackio's local store: trackio show --project revive",
            ),
        },
    }
)
"""By group, then by name, in the order in which they are shown."""
