"""GGUF files written anew: what was edited is in them, and nothing else has changed."""

import struct

import gguf
import numpy as np
import pytest
import torch
from gguf_files import write_gguf
from tiny import BUILDERS, byte_tokenizer, tiny_model

from revive.errors import SpecError
from revive.export.gguf_file import NewTensor, read_original, rewrite
from revive.export.gguf_sites import architecture_of, matched, tensor_name
from revive.linalg.lowrank import LowRank
from revive.models.family import family_of
from revive.models.ledger import Ledger
from revive.models.loading import load_model
from revive.sources.gguf import read_head

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "starcoder2")
FAMILIES = (*FAMILIES, "stablelm", "falcon", "bloom")
Q8 = gguf.GGMLQuantizationType.Q8_0
F32 = gguf.GGMLQuantizationType.F32
IDS = torch.tensor([[0, 35, 77, 12, 120, 66, 5, 9]])


def silent(_phase, _done, _total):
    """Tell nobody."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Files are written out to it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def file_of(model, path, kind=None):
    return write_gguf(model, byte_tokenizer(bos=True), path, kind)


def edited(model):
    """A ledger of the model with an update of two columns in its second block."""
    (site,) = family_of(model).sites(model, layers=[1])
    ledger = Ledger(model, [site])
    torch.manual_seed(3)
    d_out, d_in = site.shape
    ledger.commit(site.key, LowRank(torch.randn(d_out, 2), torch.randn(2, d_in)))
    return ledger


def put_in(ledger, source, target, kind=F32):
    """Write a file anew with a ledger's weights; the name of the tensor that changed."""
    head = read_original(source)
    ((key, name),) = matched(source, head, ledger).items()
    new = NewTensor(kind, lambda: ledger.weight(key).float().numpy())
    rewrite(source, head, target, {name: new}, {"revive.version": "x", "revive.edits": 2}, silent)
    return name


def tensors(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def logits(model):
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("name", FAMILIES)
def test_every_architecture_computes_what_the_edited_model_does(name, tmp_path):
    model = tiny_model(name, inner=128 if name == "bloom" else 64, dtype=torch.float32)
    source = file_of(model, tmp_path / "base.gguf")
    loaded = load_model(str(source))
    before = logits(loaded.model)
    ledger = edited(loaded.model)
    after = logits(loaded.model)
    assert (after - before).abs().max() > 0.05
    put_in(ledger, source, tmp_path / "edited.gguf")
    again = load_model(str(tmp_path / "edited.gguf"))
    torch.testing.assert_close(logits(again.model), after, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [None, Q8])
def test_what_was_not_edited_stays_byte_for_byte(kind, tmp_path):
    model = tiny_model("llama", inner=64, dtype=torch.float32)
    source = file_of(model, tmp_path / "base.gguf", kind)
    target = tmp_path / "edited.gguf"
    name = put_in(edited(load_model(str(source)).model), source, target)
    old, new = tensors(source), tensors(target)
    assert list(old) == list(new)
    assert name == "blk.1.ffn_down.weight"
    assert {n for n in old if old[n].data.tobytes() != new[n].data.tobytes()} == {name}
    assert {n for n in old if old[n].tensor_type != new[n].tensor_type} == (
        {name} if kind else set()
    )
    said, more = gguf.GGUFReader(source).fields, gguf.GGUFReader(target).fields
    assert more.keys() - said.keys() == {"revive.version", "revive.edits"}
    assert more["revive.edits"].contents() == 2
    # The bytes of the metadata, not only what a reader makes of them.
    begin, end = read_original(source).metadata
    assert target.read_bytes()[begin:end] == source.read_bytes()[begin:end]
    with pytest.raises(SpecError, match="written by 'revive export' itself"):
        read_original(target)


def test_a_type_that_nobody_knows_is_copied(tmp_path):
    source = file_of(tiny_model("llama", inner=64, dtype=torch.float32), tmp_path / "base.gguf")
    ledger = edited(load_model(str(source)).model)
    content = bytearray(source.read_bytes())
    at = content.index(b"blk.0.ffn_up.weight") + len("blk.0.ffn_up.weight") + 4 + 16
    assert struct.unpack_from("<I", content, at) == (0,)
    struct.pack_into("<I", content, at, 999)
    source.write_bytes(content)
    name = put_in(ledger, source, tmp_path / "edited.gguf")
    old, new = read_original(source), read_head(tmp_path / "edited.gguf")
    assert new.tensors["blk.0.ffn_up.weight"].kind == 999
    for held in set(old.tensors) - {name}:
        size = 4 * int(np.prod(old.tensors[held].shape))
        a, b = (
            path.read_bytes()[head.tensors[held].offset :][:size]
            for path, head in ((source, old), (tmp_path / "edited.gguf", new))
        )
        assert a == b


def test_a_file_of_another_model_is_refused(tmp_path):
    model = tiny_model("llama", inner=64, dtype=torch.float32)
    ledger = edited(model)

    def refused(other, match):
        path = file_of(other, tmp_path / "other.gguf")
        with pytest.raises(SpecError, match=match):
            matched(path, read_original(path), ledger)

    refused(tiny_model("llama", inner=64, dtype=torch.float32, seed=5), "is not the weight that")
    refused(tiny_model("llama", inner=32, dtype=torch.float32), "is 32 x 32 and .* is 32 x 64")
    swapped = tiny_model("llama", inner=64, dtype=torch.float32)
    swapped.model.layers[1].mlp.down_proj.weight.data = ledger.original(
        next(iter(ledger.sites))
    ).flip(0)
    refused(swapped, "is not the weight that")
    # Rounded to eight bits it is the same model.
    path = file_of(tiny_model("llama", inner=64, dtype=torch.float32), tmp_path / "q8.gguf", Q8)
    assert list(matched(path, read_original(path), ledger).values()) == ["blk.1.ffn_down.weight"]


def test_what_cannot_be_rewritten_is_refused(tmp_path):
    path = file_of(tiny_model("llama", inner=64, dtype=torch.float32), tmp_path / "base.gguf")
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    with pytest.raises(SpecError, match=r"--gguf: .* is cut off"):
        read_original(path, "--gguf")
    split = tmp_path / "split.gguf"
    writer = gguf.GGUFWriter(split, "llama")
    writer.add_uint16("split.count", 3)
    writer.add_tensor("x", np.zeros(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(SpecError, match=r"one part of several.*--merge"):
        read_original(split)


def test_experts_and_unknown_architectures_are_refused():
    model = tiny_model("mixtral", dtype=torch.float32)
    site = family_of(model).sites(model, layers=[0])[0]
    with pytest.raises(SpecError, match="all experts of a block in one tensor"):
        tensor_name("llama", site)
    model = tiny_model("llama", dtype=torch.float32)
    site = family_of(model).site(model, 0)
    with pytest.raises(SpecError, match="'nonesuch' has no tensor"):
        tensor_name("nonesuch", site)


def test_llama_cpp_has_a_name_for_every_dense_family():
    told = {}
    for family in BUILDERS:
        model = tiny_model(family)
        site = family_of(model).sites(model, layers=[1])[0]
        try:
            told[family] = tensor_name(architecture_of(model.config.model_type), site)
        except SpecError as error:
            told[family] = str(error)
    for unknown in ("opt", "olmo3"):
        assert "name a GGUF file of the base with --gguf" in told.pop(unknown)
    assert set(told.values()) == {"blk.1.ffn_down.weight"}
    assert len(told) > 20
