"""What reads files of others, and a valid file of each for a start."""

import io
import json
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from gguf_files import write_gguf
from hypothesis import strategies as st
from safetensors.torch import load, save
from tiny import byte_tokenizer, tiny_model

from e2e.e2e_runs import as_older_version, short_editor
from reliability.bed import Bed, call, copied
from reliability.mutations import (
    NUMBERS,
    TEXTS,
    damaged,
    json_file,
    json_lines,
    odd,
    spoilt,
    table,
    tensors_file,
)
from revive.data.readers import load_edits
from revive.estimate.estimate import estimate
from revive.estimate.lengths import measure_lengths
from revive.export.delta import FILE, Delta
from revive.io.cache import cache_folder
from revive.models.loading import load_model
from revive.report.page import Report
from revive.runs.rebuild import finish_model
from revive.runs.status import run_status
from revive.runs.verify import verify_run
from revive.sources.gguf_config import file_type, left_out
from revive.sources.model_config import read_model_config
from revive.sources.source import find_source
from revive.spec.parsing import dump_spec, load_spec, resolve
from revive.spec.resolve import setting_sources
from revive.sweeps.grid import cells, load_sweep

Files = dict[str, bytes]


@dataclass(frozen=True)
class Parser:
    """One kind of file.

    Attributes:
        name: For people.
        cases: Files that are wrong, by name; an empty name is an option, not a file.
        readings: What reads them, given their folder.
        whole: The files before they are made wrong; all readings take them, if not told otherwise.
        base: A folder of further files that are as they should be.
        refused: Whether even whole ones are refused: an adapter is no model.
    """

    name: str
    cases: st.SearchStrategy[Files]
    readings: tuple[Callable[[Path], object], ...]
    whole: Files
    base: Path | None = None
    refused: bool = False

    def laid_out(self, place: Path, files: Files) -> Path:
        """The folder of a case, made anew."""
        shutil.rmtree(place, ignore_errors=True)
        if self.base is None:
            place.mkdir(parents=True)
        else:
            shutil.copytree(self.base, place)
        for name, content in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        return place


def parsers(bed: Bed, only: Sequence[str] = ()) -> Iterator[Parser]:
    """All of them, or those that are named; the fast ones first."""
    makers: dict[str, Callable[[], Parser]] = {
        name: partial(_edit_file, name, json_lines(records), json.dumps(records))
        for name, records in RECORDS.items()
    }
    rows = "\n".join(",".join(row) for row in _ROWS)
    makers["csv"] = partial(_edit_file, "csv", table(_ROWS), rows)
    others = {
        "spec": _spec,
        "sweep": _sweep,
        "adapter": _adapter,
        "gguf": _gguf_head,
        "delta": _delta,
        "model folder": _model_folder,
        "run folder": _run_folder,
    }
    makers |= {name: partial(make, bed) for name, make in others.items()}
    for name, make in makers.items():
        if not only or name in only:
            yield make()


def one(name: str, content: st.SearchStrategy[bytes]) -> st.SearchStrategy[Files]:
    return content.map(lambda data: {name: data})


# Edits

_PLAIN = {"prompt": "Ada lives in", "subject": "Ada", "target_new": "Rome"}
_TRUE = {"target_new": {"str": "Rome"}, "target_true": {"str": "Oslo"}, "relation_id": "P20"}
_REWRITE = {"prompt": "{} lives in", "subject": "Ada", **_TRUE}
_ASKED = [{"prompt": "Ada's town is", "ground_truth": [["Rome", "Roma"], "ROME"]}]

RECORDS: dict[str, list[Any]] = {
    "jsonl": [
        {
            **_PLAIN,
            "id": "a",
            "target_true": "Oslo",
            "paraphrases": ["The home of Ada is"],
            "neighborhood": [{"prompt": "Zoe lives in", "target": "Bern"}],
            "portability": [{"prompt": "Ada's mayor is", "answers": ["Gio"]}],
            "multi_hop": [{"questions": ["Who rules Ada's town?"], "answers": ["Gio"]}],
            "attribute_prompts": ["Eva lives in"],
            "generation_prompts": ["Ada said"],
            "references": ["Ada is from Rome."],
            "chat": "both",
            "joiner": " ",
            "relation": "P20",
        },
        {**_PLAIN, "prompt": "{} works in", "id": 7},
    ],
    "counterfact": [
        {
            "case_id": 1,
            "requested_rewrite": _REWRITE,
            "paraphrase_prompts": ["Ada's home is"],
            "neighborhood_prompts": ["Zoe lives in"],
            "attribute_prompts": ["Eva lives in"],
            "generation_prompts": ["Ada said"],
        },
        {"case_id": "2", "requested_rewrite": {**_REWRITE, "subject": "Boris"}},
    ],
    "counterfact-flat": [
        {
            **_PLAIN,
            "case_id": 1,
            "ground_truth": "Oslo",
            "rephrase_prompt": "Ada's home is",
            "locality_prompt": "Zoe lives in",
            "locality_ground_truth": "Bern",
            "portability_prompt": "Ada's mayor is",
            "portability_ground_truth": "Gio",
        }
    ],
    "zsre": [
        {
            "src": "Where does Ada live?",
            "alt": "Rome",
            "subject": "Ada",
            "answers": ["Oslo"],
            "rephrase": "Where is Ada's home?",
            "loc": "nq question: who was first",
            "loc_ans": "Zoe",
            "portability": {"New Question": "Who rules there?", "New Answer": "Gio"},
        }
    ],
    "mquake": [
        {
            "case_id": 1,
            "requested_rewrite": [
                {**_REWRITE, "question": "Where does Ada live?"},
                {**_REWRITE, "subject": "Rome", "prompt": "{} is in"},
            ],
            "questions": ["Who rules Ada's town?", "The ruler of Ada's town?"],
            "new_answer": "Gio",
            "new_answer_alias": ["G."],
        }
    ],
    "knowedit": [
        {
            **_PLAIN,
            "ground_truth": ["Oslo"],
            "rephrase": "Ada's home is",
            "portability": {"Subject_Aliasing": _ASKED, "Reasoning": _ASKED},
            "locality": {"Relation_Specificity": _ASKED},
        },
        {"text": "Ada was born in", "concept": "Ada", "labels": "Rome"},
    ],
    "wikibigedit": [
        {
            "update": "Where does Ada live?",
            "ans": "Rome",
            "subject": "Ada",
            "rephrase": "Where is Ada's home?",
            "personas": "Arr, where be Ada?",
            "loc": "Where does Zoe live?",
            "loc_ans": "Bern",
            "mhop": "Who rules Ada's town?",
            "mhop_ans": "Gio",
            "relation": "P20",
        }
    ],
}
_HEAD = ["id", "prompt", "subject", "target_new", "target_true", "paraphrases", "chat", "relation"]
_HEAD += ["neighborhood_prompt", "neighborhood_target"]
_ROWS = [
    _HEAD,
    ["1", "Ada lives in", "Ada", "Rome", "Oslo", "a|b", "true", "P20", "Zoe lives in", "Bern"],
    ["2", "{} works in", "Boris", "Oslo", "", "", "", "", "", ""],
]


def _edit_file(name: str, content: st.SearchStrategy[bytes], whole: str) -> Parser:
    readings = (_edits("auto"), _edits(name))
    return Parser(name, one("edits", content), readings, {"edits": whole.encode()})


def _edits(form: str) -> Callable[[Path], object]:
    def read(folder: Path) -> object:
        with redirect_stderr(io.StringIO()):
            skip = form != "auto"
            loaded = load_edits(
                folder / "edits",
                format=form,
                on_conflict="sequence" if skip else "error",
                skip_bad=skip,
            )
        assert all(edit.subject in edit.text for edit in loaded.edits)
        return measure_lengths(loaded.edits, None)

    return read


# Specs

_SPEC = {
    "model": {"name": "lab", "device": "cpu", "dtype": "float32", "revision": None},
    "edits": {"path": "lab", "limit": 16, "batch_size": 8, "order": "random", "seed": 1},
    "editor": short_editor(),
    "guard": {"name": "revive", "energy": 0.1, "solve": "constrained", "then": ["norm-cap"]},
    "probes": [{"name": "edits", "every": 2, "sample": 4}, {"name": "spectrum", "detail": True}],
    "sinks": [{"name": "tensorboard"}],
    "checkpoint": {"every": 2, "keep": 2},
    "alarm": {"metric": "weight_norm_ratio", "above": 1.5, "relative": True, "stop": True},
    "repair": {"share": 0.25},
    "seed": 0,
    "threads": 1,
    "label": "fuzzed",
}
_SHORT = {"model": "lab", "edits": "lab", "editor": "memit", "guard": ["revive", "norm-cap"]}


def _yaml(value: Any) -> st.SearchStrategy[bytes]:
    """As YAML's own form, or as the JSON that YAML takes."""
    whole = yaml.safe_dump(value, sort_keys=False).encode("utf-8")
    return st.one_of(json_file(value), damaged(value).map(_dumped), spoilt(whole, most=3, least=1))


def _dumped(value: Any) -> bytes:
    try:
        return yaml.safe_dump(value, sort_keys=False).encode("utf-8", "surrogatepass")
    except yaml.YAMLError:
        return repr(value).encode("utf-8", "surrogatepass")


_KEYS = ("guard.energy", "edits", "probes.0.every", "probes.²", "", ".", "a.b.c", "model.name.x")


def _spec(bed: Bed) -> Parser:
    config = read_model_config(str(bed.model))
    whole = {**_SPEC, "moments": {"text": [str(bed.corpus)], "samples": 1000}}
    override = st.tuples(st.sampled_from(_KEYS), odd).map(lambda pair: f"{pair[0]}={pair[1]}")

    def read(folder: Path) -> object:
        given = (folder / "set").read_text("utf-8", "surrogatepass")
        spec = resolve(load_spec(folder / "spec.yaml", [given] if given else []), config)
        setting_sources(spec, config)
        estimate(spec, config, 6, None, None)
        stored = folder / "stored.yaml"
        stored.write_text(dump_spec(spec), "utf-8")
        assert load_spec(stored) == spec, "a spec is written as another one"
        return spec

    content = st.one_of(_yaml(whole), _yaml(whole), _yaml(_SHORT))
    asked = st.one_of(st.just(""), st.just(""), override)
    cases = st.tuples(content, asked).map(
        lambda pair: {"spec.yaml": pair[0], "set": pair[1].encode("utf-8", "surrogatepass")}
    )
    return Parser("spec", cases, (read,), {"spec.yaml": _dumped(whole), "set": b""})


_GRID = {
    "base": {**_SHORT, "edits": {"path": "lab", "limit": 16}},
    "grid": {
        "editor": ["memit", {"name": "rect", "keep": 0.3}],
        "guard": ["none", {"name": "revive", "energy": 0.1}],
        "editor.ridge": [300, 3000],
    },
    "seeds": [0, 1],
    "metrics": ["efficacy_exact", "score"],
}


def _sweep(bed: Bed) -> Parser:
    def read(folder: Path) -> object:
        return list(cells(load_sweep(folder / "sweep.yaml")))

    whole = {"sweep.yaml": _dumped(_GRID)}
    return Parser("sweep", one("sweep.yaml", _yaml(_GRID)), (read,), whole)


# Models

_ADAPTER = {
    "peft_type": "LORA",
    "base_model_name_or_path": "base",
    "r": 8,
    "target_modules": ["down_proj"],
    "rank_pattern": {"a": 1},
}


def _adapter(bed: Bed) -> Parser:
    def read(folder: Path) -> object:
        find_source(str(folder))
        return read_model_config(str(folder))

    name = "adapter_config.json"
    whole = {name: json.dumps(_ADAPTER).encode()}
    return Parser("adapter", one(name, json_file(_ADAPTER)), (read,), whole, refused=True)


_KINDS = {"I": 4, "f": 6, "s": 8, "Q": 10}


def _head(value: Any) -> bytes:
    """A GGUF head of plain data, as far as its form can say it."""
    out = [b"GGUF", _int("I", value.get("version")), _int("Q", value.get("tensors"))]
    said = value.get("said")
    said = said if isinstance(said, dict) else {}
    out.append(_int("Q", value.get("count", len(said))))
    for key, entry in said.items():
        out += [_text(key), *_entry(entry)]
    listed = value.get("listed")
    for name, shape, kind, offset in (
        x for x in (listed if isinstance(listed, list) else ()) if _of_four(x)
    ):
        sizes = shape if isinstance(shape, list) else [shape]
        out += [_text(name), _int("I", len(sizes)), *(_int("Q", s) for s in sizes)]
        out += [_int("I", kind), _int("Q", offset)]
    return b"".join(out) + bytes(256)


def _of_four(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4


def _entry(value: Any) -> list[bytes]:
    if isinstance(value, str):
        return [_int("I", 8), _text(value)]
    if isinstance(value, list):
        texts = [x if isinstance(x, str) else "x" for x in value]
        deep = any(isinstance(x, list) for x in value)
        kind = 9 if deep else 8
        inner = [b"".join(_entry([])[1:])] if deep else [_text(x) for x in texts]
        return [_int("I", 9), _int("I", kind), _int("Q", len(value)), *inner]
    if isinstance(value, float):
        return [_int("I", 6), struct.pack("<d", value)[4:]]
    if isinstance(value, bool):
        return [_int("I", 7), bytes([value])]
    return [_int("I", 10), _int("Q", value)]


def _int(form: str, value: Any) -> bytes:
    number = value if isinstance(value, int) else 3
    return struct.pack(f"<{form}", number % (1 << (8 * struct.calcsize(form))))


def _text(value: Any) -> bytes:
    data = str(value).encode("utf-8", "surrogatepass")[:5000]
    return struct.pack("<Q", len(data)) + data


_SAID = {
    "general.architecture": "llama",
    "general.alignment": 32,
    "general.file_type": 7,
    "llama.embedding_length": 32,
    "llama.block_count": 3,
    "llama.feed_forward_length": 48,
    "llama.context_length": 256,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.key_length": 8,
    "llama.attention.layer_norm_epsilon": 1e-5,
    "llama.rope.freq_base": 10000.0,
    "llama.rope.dimension_count": 8,
    "llama.rope.scaling.type": "linear",
    "llama.rope.scaling.factor": 2.0,
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
    "tokenizer.ggml.pre": "default",
}
_GGUF = {
    "version": 3,
    "tensors": 2,
    "said": _SAID,
    "listed": [["token_embd.weight", [32, 3], 0, 0], ["rope_freqs.weight", [4], 0, 32]],
}


def _gguf_head(bed: Bed) -> Parser:
    real = write_gguf(tiny_model("llama"), byte_tokenizer(bos=True), bed.root / "real.gguf")
    whole = real.read_bytes()
    spec = resolve(
        load_spec(bed.spec("memit", name="of-a-gguf")), read_model_config(str(bed.model))
    )

    def head(folder: Path) -> object:
        file = folder / "model.gguf"
        config = read_model_config(str(file))
        file_type(file)
        left_out(file)
        return estimate(resolve(spec, config), config, 6)

    def loaded(folder: Path) -> object:
        with redirect_stderr(io.StringIO()):
            try:
                return load_model(str(folder / "model.gguf"), device="cpu")
            finally:
                shutil.rmtree(cache_folder(), ignore_errors=True)

    made = damaged(_GGUF, most=4).map(lambda v: _head(v if isinstance(v, dict) else {}))
    # What follows the values' start is of no concern to the head.
    start = whole[: whole.index(b"blk.0") + 2000]
    changed = spoilt(start, most=3, least=1).map(lambda begun: begun + whole[len(begun) :])
    content = st.one_of(made.flatmap(lambda data: spoilt(data, most=1)), changed)
    return Parser("gguf", one("model.gguf", content), (head, loaded), {"model.gguf": whole})


def _delta(bed: Bed) -> Parser:
    spec = bed.spec("memit-seq", name="of-a-delta")
    ran = call("run", spec, "--out", bed.root / "of-a-delta" / "run", "--quiet")
    assert ran.code == 0, ran.err
    out = bed.root / "of-a-delta" / "delta"
    ran = call("export", bed.root / "of-a-delta" / "run", out, "--format", "delta", "--quiet")
    assert ran.code == 0, ran.err
    whole = (out / FILE).read_bytes()
    loaded = load_model(str(bed.model), device="cpu")
    state = {k: v.clone() for k, v in loaded.model.state_dict().items()}
    delta = Delta.load(out)

    def read(folder: Path) -> object:
        found = Delta.load(folder)
        try:
            found.apply(loaded.model)
            found.remove(loaded.model)
        finally:
            loaded.model.load_state_dict(state)
        return found

    cases = one(FILE, st.one_of(tensors_file(whole), _resealed(delta)))
    return Parser("delta", cases, (read,), {FILE: whole})


@st.composite
def _resealed(draw: Any, delta: Delta) -> bytes:
    """A delta whose tensors or words are others, and whose checksums fit all the same."""
    import tempfile

    from revive.io.tensors import save_tensors

    tensors = {f"left|{k}": u.left for k, u in delta.updates.items()}
    tensors |= {f"right|{k}": u.right for k, u in delta.updates.items()}
    about = {"form": "revive-delta-1", "model": delta.model, "base": delta.base}
    about |= {"dtype": delta.dtype, "edited": delta.edited}
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(tensors)))
        how = draw(st.sampled_from(["gone", "renamed", "shape", "dtype", "nan", "flat", "about"]))
        value = tensors.pop(name)
        if how == "renamed":
            tensors[draw(st.sampled_from(["left|x", "x", "right|", *map(str, TEXTS)]))] = value
        elif how == "shape":
            tensors[name] = value[: draw(st.integers(0, 2))]
        elif how == "dtype":
            kinds = [torch.int64, torch.bool, torch.float64, torch.float16]
            tensors[name] = value.to(draw(st.sampled_from(kinds)))
        elif how == "nan":
            tensors[name] = torch.full(value.shape, float("nan"))
        elif how == "flat":
            tensors[name] = value.flatten()
        elif how == "about":
            tensors[name] = value
            key = draw(st.sampled_from(sorted(about) or ["form"]))
            about[key] = draw(st.sampled_from([str(n) for n in (*NUMBERS, *TEXTS)]))
            if draw(st.booleans()):
                del about[key]
        if not tensors:
            tensors[name] = value
    with tempfile.TemporaryDirectory() as folder:
        save_tensors(Path(folder) / "x", tensors, {k: v for k, v in about.items() if _plain(v)})
        return (Path(folder) / "x").read_bytes()


def _plain(text: str) -> bool:
    return "\ud800" not in text


_OPTIONAL = ("generation_config.json", "special_tokens_map.json")


def _model_folder(bed: Bed) -> Parser:
    small = [p.name for p in bed.model.iterdir() if p.suffix == ".json"]
    weights = (bed.model / "model.safetensors").read_bytes()
    spec = resolve(
        load_spec(bed.spec("memit", name="of-a-model")), read_model_config(str(bed.model))
    )

    def checked(folder: Path) -> object:
        config = read_model_config(str(folder))
        return estimate(resolve(spec, config), config, 6)

    def loaded(folder: Path) -> object:
        with redirect_stderr(io.StringIO()):
            try:
                return load_model(str(folder), device="cpu")
            finally:
                shutil.rmtree(cache_folder(), ignore_errors=True)

    files = [
        one(name, json_file(json.loads((bed.model / name).read_text("utf-8")))) for name in small
    ]
    shards = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(load(weights), "model")}
    files.append(one("model.safetensors.index.json", json_file(shards)))
    files.append(one("model.safetensors", tensors_file(weights)))
    return Parser("model folder", st.one_of(files), (checked, loaded), {}, base=bed.model)


# Runs


def _run_folder(bed: Bed) -> Parser:
    spec = bed.spec("memit-seq", name="of-a-run")
    whole = bed.root / "of-a-run" / "run"
    assert call("run", spec, "--out", whole, "--quiet").code == 0
    removed = copied(whole, bed.root / "of-a-run" / "removed" / "run")
    assert call("rollback", removed, "--edit", "home-1", "--no-measure").code == 0
    # One that keeps no checksums: what is read behind them is met too.
    older = copied(removed, bed.root / "of-a-run" / "older" / "run")
    as_older_version(older)
    folders = [folder for folder in (whole, older) for _ in (0, 1)]

    def status(folder: Path) -> object:
        return run_status(folder).as_dict()

    def verified(folder: Path) -> object:
        return verify_run(folder).as_dict()

    def reported(folder: Path) -> object:
        found = Report.of([folder])
        return [found.text(name, form) for name in found.tables() for form in ("md", "csv", "tex")]

    def rebuilt(folder: Path) -> object:
        with redirect_stderr(io.StringIO()):
            return finish_model(folder)

    cases = st.sampled_from(folders).flatmap(_run_files)
    readings = (status, verified, reported, rebuilt)
    return Parser("run folder", cases, readings, _contents(older))


def _contents(folder: Path) -> Files:
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


@st.composite
def _run_files(draw: Any, folder: Path) -> Files:
    """A run folder of which one file is wrong."""
    files = _contents(folder)
    name = draw(st.sampled_from([n for n in sorted(files) if files[n]] + ["journal.jsonl"] * 6))
    content = files[name]
    if name == "journal.jsonl":
        lines = [json.loads(line) for line in content.splitlines()]
        content = draw(_journal(lines))
        files.pop("journal.head", None)
    elif name.endswith(".json"):
        content = draw(json_file(json.loads(content)))
    elif name.endswith(".yaml"):
        content = draw(_yaml(yaml.safe_load(content)))
    elif name.endswith(".safetensors"):
        content = draw(st.one_of(tensors_file(content), _other_tensors(content)))
    else:
        content = draw(spoilt(content, most=3, least=1))
    return {**files, name: content}


@st.composite
def _journal(draw: Any, lines: list[Any]) -> bytes:
    """Lines of which one is wrong in its fields, or in its bytes."""
    from reliability.mutations import as_json

    at = draw(st.integers(0, len(lines) - 1))
    written = [json.dumps(line) for line in lines]
    written[at] = as_json(draw(damaged(lines[at])))
    text = "\n".join(written) + "\n"
    return draw(spoilt(text.encode("utf-8", "surrogatepass"), most=1))


@st.composite
def _other_tensors(draw: Any, content: bytes) -> bytes:
    """The same names with other shapes, dtypes and values, and no checksums."""
    tensors = load(content)
    if not tensors:
        return content
    name = draw(st.sampled_from(sorted(tensors)))
    value = tensors[name]
    changed = (
        value[: len(value) // 2] if value.ndim else value,
        value.flatten(),
        value.to(torch.int8),
        torch.full_like(value, -1),
        value.to(torch.float64) * float("nan"),
    )
    tensors[name] = draw(st.sampled_from(changed)).contiguous()
    if draw(st.booleans()):
        tensors[f"{name}x"] = tensors.pop(name)
    return save(tensors)
