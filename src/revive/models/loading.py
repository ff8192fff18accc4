"""Load a Hugging Face causal language model, with everything explicit."""

import errno
import hashlib
import logging
import os
import tempfile
import weakref
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from logging.handlers import BufferingHandler
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
import transformers
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError
from transformers import AutoTokenizer, FineGrainedFP8Config

from revive.architectures import require_family
from revive.errors import PrerequisiteError, ReviveError, SpecError
from revive.io.atomic import error_number
from revive.io.digest_cache import DigestCache
from revive.models.family import Family, family_of
from revive.models.fingerprint import FORM, model_fingerprint
from revive.models.gguf import make_plain
from revive.models.hollow import refuse_hollow
from revive.models.placement import bring_in
from revive.models.quantized import check_quantized, keep_differentiable, quantization
from revive.models.stored_dtype import main_dtype, stored_values
from revive.models.text_part import class_to_load, has_text_part
from revive.sources.model_config import read_model_config
from revive.sources.refusals import no_safetensors, quantized_by
from revive.sources.source import Source, find_source

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

_HELD = 10_000  # records, which one load never comes near
_SHOWN = 300  # characters of what a library says

DeviceMap = str | Mapping[str, str | int]

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")

ON_DISK: DeviceMap = {"": "disk"}
"""Everything stays in its files, and is read when it is needed."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for editing.

    Attributes:
        name: What was asked for (a name of ours, a folder, a GGUF file, a hub id).
        model: The causal language model, in eval mode.
        tokenizer: Its fast tokenizer.
        family: Its family.
        fingerprint: Digest of the configuration and every weight, as the checkpoint has them: a
            quantised base has that of the unquantised one.
        stored: The dtype that most of its checkpoint is stored in; None where nothing says so.
        quantized: `8bit` or `4bit`, and the blocks that were left out; empty for neither.
    """

    name: str
    model: Any
    tokenizer: Any
    family: Family
    fingerprint: str
    quantized: str = ""
    stored: torch.dtype | None = None

    @property
    def forward_fingerprint(self) -> str:
        """Of what its forward computes, which quantisation changes: names what is cached of it."""
        if not self.quantized:
            return self.fingerprint
        return hashlib.sha256(f"{self.fingerprint} {self.quantized}".encode()).hexdigest()


def load_model(
    name: str,
    *,
    dtype: str = "float32",
    device: str = "auto",
    device_map: DeviceMap | None = None,
    quantize: str | None = None,
    edited: Sequence[int] = (),
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model by folder, GGUF file, hub id, or one of our names.

    Args:
        name: `lab` for the embedded model, `smollm2`, which is fetched on first use, a folder, a
            GGUF file or a folder that holds one, or a hub id.
        dtype: float32 (default), float64, bfloat16 or float16. Never the checkpoint's own by
            accident: transformers 5 would take that.
        device: `auto` (CUDA if there is one, else CPU), `cpu`, `cuda`, `cuda:1`, ...
        device_map: For a model larger than one device: `auto`, `balanced`, `sequential`, or a
            device (`cuda:0`, `cpu`, `disk`) by module name.
        quantize: Hold the base in `8bit` or `4bit`.
        edited: Blocks that will be edited: their projections are kept in memory whatever the
            device map says, and out of the quantisation.
        revision: Hub revision.
        trust_remote_code: Allow code from the checkpoint. Off unless asked.

    Raises:
        SpecError: Unknown dtype, not a model folder, one that is damaged or incomplete, an
            unsupported architecture, or a device map that does not fit the model.
        PrerequisiteError: The hub cannot be reached, or the device or a package is missing.
    """
    if dtype not in DTYPES:
        raise SpecError(f"model.dtype: {dtype!r} is unknown; use one of {', '.join(DTYPES)}.")
    source = find_source(name)
    # What is wrong with a model is told here: transformers would wait for the hub once more, and
    # read its weights first.
    config = read_model_config(name, revision)
    require_family(config)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    place = _device(device)
    source = _as_folder(name, source)
    tokenizer = _tokenizer(name, source, options)
    placed: dict[str, Any] = {"device_map": _device_map(device_map)}
    folder = source.folder or model_source(name, revision)
    # What code of the model's own makes of its files, only the values can tell.
    kept = None
    if folder is not None and not trust_remote_code:
        kept = DigestCache(folder, (FORM, dtype, transformers.__version__))
    fingerprint, quantized = "", ""
    if quantize is not None:
        # The base is known by its checkpoint; what it was rounded to says less.
        if has_text_part(config):
            raise SpecError(
                f"model.quantize: {name} is multimodal, and its text part is not quantised while "
                "it is taken out; leave model.quantize out."
            )
        whole = _read(name, source, dtype, place, {"device_map": ON_DISK}, options, config)
        fingerprint = _fingerprint(whole, kept)
        placed["quantization_config"] = quantization(
            quantize, source.place, DTYPES[dtype], edited, **options
        )
        placed["device_map"] = placed["device_map"] or {"": str(place)}
        quantized = f"{quantize} but {sorted(edited)}"
    model = _read(name, source, dtype, place, placed, options, config)
    if quantize is not None:
        check_quantized(model)
        keep_differentiable(model)
    if placed["device_map"] is None:
        model = model.to(place)
    model.eval()
    family = family_of(model)
    bring_in(model, [site.parameter for site in family.sites(model, layers=edited)])
    fingerprint = fingerprint or _fingerprint(model, kept)
    stored = main_dtype(folder, config)
    return LoadedModel(name, model, tokenizer, family, fingerprint, quantized, stored)


def _fingerprint(model: Any, kept: DigestCache | None) -> str:
    return model_fingerprint(model) if kept is None else kept.of(lambda: model_fingerprint(model))


def _read(
    name: str,
    source: Source,
    dtype: str,
    place: torch.device,
    placed: Mapping[str, Any],
    options: Mapping[str, Any],
    config: Mapping[str, Any],
) -> Any:
    """The model, checked to be whole."""
    model_class, more = class_to_load(config)
    # What is wrong with a file's head is told by whoever reads all of it.
    if source.folder is not None:
        with suppress(SafetensorError, OSError):
            refuse_hollow(name, config, stored_values(source.folder))
    whole = quantized_by(config) is None
    if not whole and placed["device_map"] is not None:
        # What is dequantised on its way has no file to lie in.
        placed = {**placed, "device_map": None if placed["device_map"] == ON_DISK else "auto"}
    if not whole:
        more["quantization_config"] = FineGrainedFP8Config(dequantize=True)
    # Weights that stay on the disk and whose form there is not the model's are written anew here.
    mapped = placed["device_map"] is not None
    folder = tempfile.TemporaryDirectory(prefix="revive-") if mapped else None
    on_cpu = _on_cpu(placed["device_map"], place)
    # accelerate warns of what was asked for, transformers of what of a whole is not in its part.
    with (
        reading(name, source),
        _quiet("accelerate.big_modeling"),
        _quiet("transformers", has_text_part(config)),
        _said_of_what_loads("transformers"),
    ):
        loaded: Any = model_class.from_pretrained(
            source.place,
            dtype=DTYPES[dtype],
            # On short rows with masks, plain products beat torch's fused attention on a CPU.
            attn_implementation="eager" if on_cpu else None,
            # Likewise; and torch's grouped products know no float64.
            experts_implementation="eager" if on_cpu or dtype == "float64" else None,
            offload_folder=None if folder is None else folder.name,
            output_loading_info=True,
            use_safetensors=True,
            **placed,
            **options,
            **more,
        )
    model, report = loaded
    if not whole:
        make_plain(model)
        model = model.to(DTYPES[dtype])
    if folder is not None:
        weakref.finalize(model, folder.cleanup)
    if report["missing_keys"]:
        # transformers would fill them with random numbers.
        missing = sorted(report["missing_keys"])
        raise SpecError(
            f"model: {name} lacks {len(missing)} weights of its architecture, the first is "
            f"{missing[0]}; give a complete checkpoint of a causal language model."
        )
    return model


def _tokenizer(name: str, source: Source, options: Mapping[str, Any]) -> Any:
    folder = source.folder
    if folder is not None and not any((folder / file).is_file() for file in _TOKENIZERS):
        raise SpecError(
            f"model: cannot read {name}: it has no tokenizer ({', '.join(_TOKENIZERS)}). Save its "
            "base's beside the weights: transformers.AutoTokenizer.from_pretrained(BASE)"
            f".save_pretrained({str(folder)!r})."
        )
    # What it warns of before it fails, its error says again.
    with reading(name, source), _quiet("transformers.tokenization_utils_tokenizers"):
        return AutoTokenizer.from_pretrained(source.place, **options)


def _as_folder(name: str, source: Source) -> Source:
    """What a GGUF file is read from: the folder that it is written out to."""
    if source.gguf is None:
        return source
    from revive.models.conversion import converted

    with reading(name, source):
        folder = converted(source.gguf)
    return Source(str(folder), folder)


@contextmanager
def reading(name: str, source: Source) -> Generator[None, None, None]:
    """Tell what goes wrong in reading a model's files as that, whatever a library makes of it.

    Damaged files end in any exception, and in panics of Rust code.

    Raises:
        SpecError: The files cannot be read as a model.
        PrerequisiteError: The disk, the hub or a package does not give them.
    """
    try:
        yield
    except (ReviveError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _unreadable(name, source, error) from error
    except BaseException as error:
        # tokenizers' panics are no Exceptions.
        if type(error).__name__ != "PanicException":
            raise
        raise _unreadable(name, source, error) from None


@contextmanager
def _said_of_what_loads(name: str) -> Generator[None, None, None]:
    """Let a library's warnings wait, and drop them where it fails: its error says it again."""
    logger = logging.getLogger(name)
    handlers, propagates = logger.handlers, logger.propagate
    waiting = BufferingHandler(_HELD)
    logger.handlers, logger.propagate = [waiting], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagates
    for record in waiting.buffer:
        logger.handle(record)


@contextmanager
def _quiet(name: str, asked: bool = True) -> Generator[None, None, None]:
    logger = logging.getLogger(name)
    level = logger.level
    if asked:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def model_source(name: str, revision: str | None = None) -> Path | None:
    """The folder that a model is read from: its own, or the local copy of a hub id; else None.

    Args:
        name: A name of ours, a folder, a GGUF file, or a hub id.
        revision: Of a hub id.
    """
    source = _as_folder(name, find_source(name))
    if source.folder is not None:
        return source.folder
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise SpecError(f"model.device: {device!r} is unknown; use auto, cpu or cuda.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise PrerequisiteError(f"model.device: {device} asked for, but CUDA is not available.")
    return place


def _device_map(wanted: DeviceMap | None) -> Any:
    """As transformers takes it, with every named device at hand."""
    if wanted is None or isinstance(wanted, str):
        return wanted
    for place in wanted.values():
        if place != "disk":
            _device(f"cuda:{place}" if isinstance(place, int) else place)
    return dict(wanted)


def _on_cpu(placed: Any, place: torch.device) -> bool:
    """Whether every product will be computed on the CPU."""
    if isinstance(placed, Mapping):
        return all(str(device) in ("cpu", "disk") for device in placed.values())
    return place.type == "cpu" if placed is None else not torch.cuda.is_available()


def _unreadable(name: str, source: Source, error: BaseException) -> Exception:
    if isinstance(error, ImportError):
        return PrerequisiteError(f"model: {name} needs a package: {' '.join(str(error).split())}")
    reason = shorten(str(error), _SHOWN, placeholder=" ...") or type(error).__name__
    if "trust_remote_code" in str(error):
        # transformers' own advice is about a Python argument.
        return SpecError(
            f"model: {name} brings code of its own, which was not run. Read it, and if you trust "
            "it add --trust-remote-code (trust_remote_code=True in Python)."
        )
    if source.folder is not None:
        number = error_number(error)
        if number is not None and number != errno.ENOENT:
            return PrerequisiteError(f"model: cannot read {name}: {os.strerror(number)}.")
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        return SpecError(
            f"model: cannot read {name}, its files are damaged or not what its config.json says: "
            f"{kind}{reason}"
        )
    if "safetensors" in reason:
        return no_safetensors(name, "are not there as safetensors")
    return PrerequisiteError(
        f"model: cannot get {name!r} from the hub: {reason} If it is a folder, check the path; "
        "if you are offline, download it first."
    )
