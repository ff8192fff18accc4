"""The shape of a spec: every key, its type and its default."""

from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from revive.options.numbers import Count, Seed

_Level = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(gt=0, lt=1)]


TEXTS = ("lab", "package")
"""Texts that have a name instead of a path."""

LAB_ALARM = ("weight_norm_ratio", 3.0)
"""Metric and level that warn in time on the lab model."""


def _form(value: object) -> str:
    """Which form of energy was meant, so that a wrong one is told of that form alone."""
    if isinstance(value, dict):
        return "by-site"
    return "auto" if value == "auto" else "one-share"


_Energy = Annotated[
    Annotated[_Share, Tag("one-share")]
    | Annotated[Literal["auto"], Tag("auto")]
    | Annotated[dict[str, _Share], Tag("by-site")],
    Discriminator(_form),
]


def _map_form(value: object) -> str:
    return "by-module" if isinstance(value, dict) else "whole"


def _gpu(value: object) -> object:
    """Accelerate's short form of a GPU is its number."""
    return f"cuda:{value}" if isinstance(value, int) and not isinstance(value, bool) else value


_Place = Annotated[str, BeforeValidator(_gpu), Field(pattern=r"^(cpu|disk|mps|cuda(:\d+)?)$")]
_DeviceMap = Annotated[
    Annotated[Literal["auto", "balanced", "balanced_low_0", "sequential"], Tag("whole")]
    | Annotated[dict[str, _Place], Tag("by-module")],
    Discriminator(_map_form),
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Named(_Part):
    """A part that names something from the registry and carries its settings.

    Settings of editors and of built-ins are checked when a spec is read; those of other packages'
    guards and probes are theirs.
    """

    model_config = ConfigDict(extra="allow")

    own_keys: ClassVar[frozenset[str]] = frozenset({"name"})

    name: str

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    def settings(self) -> dict[str, Any]:
        """Everything but the keys that REVIVE itself reads."""
        return {k: v for k, v in self.model_dump().items() if k not in self.own_keys}


class ModelSpec(_Part):
    """Which model, and how it is loaded.

    Attributes:
        name: `lab`, `smollm2`, a folder, a GGUF file, or a hub id.
        dtype: Precision it is loaded in, whatever the checkpoint's is.
        device: `auto`, `cpu`, `mps`, `cuda` or `cuda:1`.
        device_map: For a model that does not fit one device: `auto`, `balanced`, `sequential`, or a
            device (`cuda:0`, `cpu`, `disk`) by module name. Instead of `device`.
        quantize: Hold the base in `8bit` or `4bit`, all but the edited projections, the head and
            the embeddings.
        revision: Branch, tag or commit on the hub.
        trust_remote_code: Whether the model needs code that comes with it. Whoever runs a command
            allows that code there, with `--trust-remote-code`; a spec alone allows nothing.
        precision: How float32 products of its forward passes are computed: `strict`, or `fast`,
            which lets the hardware use bfloat16 or TF32 factors. Weights stay as `dtype` says.
    """

    name: str
    dtype: Literal["float32", "bfloat16", "float16", "float64"] = "float32"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    device_map: _DeviceMap | None = None
    quantize: Literal["8bit", "4bit"] | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    precision: Literal["strict", "fast"] = "strict"

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_placement(self) -> "ModelSpec":
        if self.device != "auto" and self.device_map is not None:
            raise ValueError("device and device_map exclude each other; give one of them")
        return self

    @model_validator(mode="after")
    def _quantised_computes(self) -> "ModelSpec":
        if self.quantize is not None and self.dtype == "float64":
            raise ValueError(
                "a quantised base is not computed in float64; use float32, bfloat16 or float16"
            )
        return self


class EditsSpec(_Part):
    """Which edits, in which order and batches.

    Attributes:
        path: A file, or `lab`.
        format: A dataset's name, or `auto`.
        limit: Use the first so many edits, repeats not counted.
        batch_size: Edits per update.
        order: `file`, `random`, or `clustered` by relation or subject.
        seed: Of the order, and of the lab's stream.
        on_conflict: Whether contradicting edits are refused, the last one wins before anything is
            edited, or all are made in `sequence`, later ones replacing earlier ones in time; the
            lab's stream may then be longer than there are facts.
        skip_bad: Leave out records that cannot be used, with a warning.
        chat: The form of all edits, for the editor and for every measurement: sentences (false), a
            user's message in the model's chat template (true), or `both`, each fact as two edits.
            None leaves it to each edit in the file; a sentence where it says nothing.
        joiner: What stands between prompt and target of all edits: a text, `auto` (a space where
            the language and the prompt's end ask for one), or `published` (texts trimmed, one
            space). None leaves it to the file: `published` for CounterFact and zsRE, else `auto`.
    """

    path: str
    format: str = "auto"
    limit: Count | None = None
    batch_size: Count = 100
    order: Literal["file", "random", "clustered"] = "file"
    seed: Seed = 0
    on_conflict: Literal["error", "last", "sequence"] = "error"
    skip_bad: bool = False
    chat: Literal[True, False, "both"] | None = None
    joiner: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value


class EditorSpec(_Named):
    """Which editor; its settings stand beside the name.

    Attributes:
        name: An editor.
        preset: Where settings that are not given come from: a preset's name, `rule`, or None for
            the model's own.
        fit: Settings that come from the rule and may be changed by what it does to a few edits of
            the package, before the first batch (`assembly.fit_settings`). Filled in by the rule;
            `[]` keeps it as it is.
    """

    own_keys: ClassVar[frozenset[str]] = frozenset({"name", "preset", "fit"})

    name: str = "memit-seq"
    preset: str | None = None
    fit: list[str] | None = None


class GuardSpec(_Named):
    """Which guard; its own settings stand beside the name.

    The settings below are common: those that a guard does not have are ignored by it, so guards
    can be swapped. A list of guards is the first one, `then` the others.

    Attributes:
        name: A guard; `none` writes what the editor asks.
        energy: Share of the sum of singular values that is protected; by parameter name, or
            `auto`, to choose it for every site on the first batch.
        basis: Directions of the original weight, or of the weight before every batch.
        when: Filter inside the layer loop, or the whole batch's difference at its end.
        solve: Filter afterwards, or have the editor solve its least squares under the constraint,
            or with a price on output directions.
        seed: Of guards that draw.
        then: Guards that filter what this one lets through, in order.
    """

    own_keys: ClassVar[frozenset[str]] = frozenset(
        {"name", "energy", "basis", "when", "solve", "seed", "then"}
    )

    name: str = "revive"
    energy: _Energy = 0.1
    basis: Literal["original", "current"] = "original"
    when: Literal["layer", "batch"] = "layer"
    solve: Literal["posthoc", "constrained", "weighted"] = "posthoc"
    seed: Seed = 0
    then: list["GuardSpec"] = Field(default_factory=list["GuardSpec"])

    @property
    def title(self) -> str:
        """Names of all guards in the list."""
        return " + ".join([self.name, *(g.name for g in self.then)])

    @model_validator(mode="before")
    @classmethod
    def _list_in_order(cls, value: object) -> object:
        parts = cast("list[object]", value) if isinstance(value, list) else []
        if not parts:
            return value
        first = parts[0]
        head = cast("dict[str, object]", first) if isinstance(first, dict) else {"name": first}
        return {**head, "then": parts[1:]}

    @model_validator(mode="after")
    def _calibrated_first(self) -> "GuardSpec":
        if any(guard.energy == "auto" for guard in self.then):
            raise ValueError(
                "energy: auto is for the first guard of a list; put that one first, or give the "
                "others a share"
            )
        return self

    @model_validator(mode="after")
    def _solve_is_per_layer(self) -> "GuardSpec":
        if self.solve != "posthoc" and self.when == "batch":
            raise ValueError(
                f"solve: {self.solve} happens inside the layer loop, when: batch after it; "
                "use when: layer"
            )
        return self


class ProbeSpec(_Named):
    """What is measured; a probe's settings stand beside its name.

    Attributes:
        name: A probe.
        every: Measure after every so many batches; always before the first and after the last.
    """

    own_keys: ClassVar[frozenset[str]] = frozenset({"name", "every"})

    every: Count = 1


class SinkSpec(_Named):
    """Where else the journal goes; a sink's settings stand beside its name.

    Attributes:
        name: A sink.
    """


class CheckpointSpec(_Part):
    """When the state is saved as a whole; every batch is recorded in any case.

    Attributes:
        every: Batches between checkpoints.
        keep: How many are kept, besides the one before the first batch.
    """

    every: Count = 5
    keep: Count = 2


class AlarmSpec(_Part):
    """When a run is said to collapse; the rule is in `runs.alarm`.

    Without metric and level the alarm watches the weight's norm, at the level that was fitted on
    the lab model (`recipes/drift.py`). It holds for that model: for another one fit your own.

    Attributes:
        metric: What is watched: any metric that one of the run's probes measures.
        above: The level beyond which is too far, for a metric that grows.
        below: The same for one that falls.
        relative: Whether the level is one of the metric over the unedited model's.
        patience: Measurements in a row that must lie beyond.
        stop: Whether the run stops, to be resumed if wanted, or goes on with a warning.
    """

    metric: str = LAB_ALARM[0]
    above: _Level | None = None
    below: _Level | None = None
    relative: bool = False
    patience: Count = 1
    stop: bool = False

    @property
    def level(self) -> float:
        """The level, whichever side of it is too far."""
        return self.above if self.above is not None else self.below or 0.0

    @model_validator(mode="before")
    @classmethod
    def _lab_level(cls, value: object) -> object:
        if isinstance(value, dict) and not {"metric", "above", "below"} & value.keys():
            return {**value, "above": LAB_ALARM[1]}
        return cast("object", value)

    @model_validator(mode="after")
    def _one_level(self) -> "AlarmSpec":
        if (self.above is None) == (self.below is None):
            raise ValueError("give above (for a metric that grows) or below, one of them")
        return self


class RepairSpec(_Part):
    """Edits that no longer answer are made again with a later batch; see `runs.repair`.

    Attributes:
        every: Look after every so many batches.
        sample: Edits looked at each time, besides those of the batch before: a window that moves on
            over all that stand. A look is one forward pass of an edit's prompt and target.
        share: At most so many are made again with a batch, over its size.
        rounds: Batches of repairs alone at the end of the stream, each as large as a batch. The
            first looks at every edit that stands.
    """

    every: Count = 1
    sample: Count = 200
    share: Annotated[float, Field(gt=0, le=1)] = 0.25
    rounds: Annotated[int, Field(ge=0, le=1000)] = 1


class MomentsSpec(_Part):
    """Text that key second moments are taken from.

    Attributes:
        text: Files of ordinary text; `package` for what comes along, or `lab` for the lab's
            corpus. None is `lab` for the lab model, and `package` for others.
        samples: Use at most so many passages.
        window: Tokens per passage.
    """

    text: list[str] | Literal["lab", "package"] | None = None
    samples: Count = 100_000
    window: Annotated[int, Field(ge=2, le=1_000_000)] = 128

    @model_validator(mode="before")
    @classmethod
    def _one_file(cls, value: object) -> object:
        fields = cast("dict[str, object]", value) if isinstance(value, dict) else {}
        text = fields.get("text")
        # `--text lab` and `text: [lab]` mean what `text: lab` does.
        if isinstance(text, list) and len(cast("list[object]", text)) == 1:
            (text,) = cast("list[object]", text)
        if not isinstance(text, str):
            return value
        return {**fields, "text": text if text in TEXTS else [text]}


class RunSpec(_Part):
    """One sequential-editing run.

    Attributes:
        model: Which model.
        edits: Which edits.
        editor: Which editor.
        guard: Which guard.
        probes: What is measured.
        checkpoint: When the state is saved.
        alarm: When to warn of a collapse, or to stop; None watches nothing.
        sinks: Where else the journal goes; they change nothing of a run.
        repair: Whether edits that no longer answer are made again; None makes each once.
        moments: Text for key second moments.
        seed: Of everything that draws and has no seed of its own.
        threads: CPU threads; None leaves it to torch. Part of what makes runs bit-identical.
        label: Name of the run in a comparison.
        role: What the run is in a comparison; the report's paragraph is written from it.
    """

    model: ModelSpec
    edits: EditsSpec
    editor: EditorSpec = EditorSpec()
    guard: GuardSpec = GuardSpec()
    probes: list[ProbeSpec] = Field(
        default_factory=lambda: [ProbeSpec(name="edits"), ProbeSpec(name="spectrum")]
    )
    checkpoint: CheckpointSpec = CheckpointSpec()
    alarm: AlarmSpec | None = None
    sinks: list[SinkSpec] = Field(default_factory=list[SinkSpec])
    repair: RepairSpec | None = None
    moments: MomentsSpec = MomentsSpec()
    seed: Seed = 0
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    label: str | None = None
    role: Literal["baseline", "guarded", "control", "best"] | None = None
