"""A disk that fails is told as that, through whichever library it is met."""

import errno
import os
import shutil

import pytest
import torch
from calling import files
from safetensors import SafetensorError
from safetensors.torch import save_file

from revive.cli.complaints import account
from revive.io.atomic import error_number, is_disk_full

SETTINGS = [
    part
    for one in ("layers=[0]", "ridge=10", "steps=1", "contexts=0")
    for part in ("--set", f"editor.{one}")
]
CODES = (errno.EIO, errno.EROFS, errno.EACCES, errno.ESTALE)


def failure(make):
    with pytest.raises(Exception) as raised:
        make()
    return raised.value


def test_what_safetensors_raises_holds_the_system_s_number(tmp_path):
    """Of the real library: the form that the number is read from."""
    path = tmp_path / "none" / "x.safetensors"
    error = failure(lambda: save_file({"a": torch.ones(2)}, path))
    assert isinstance(error, SafetensorError)
    assert error_number(error) == errno.ENOENT
    code, told = account(error)
    assert code == 3
    assert str(path.parent) in told
    assert "No such file or directory; check" in told


def test_what_copytree_raises_holds_the_system_s_number(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").touch()

    def refuse(source, target):
        raise OSError(errno.EIO, os.strerror(errno.EIO), source)

    error = failure(lambda: shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=refuse))
    assert isinstance(error, shutil.Error)
    code, told = account(error)
    assert code == 3
    assert told.startswith(f"{tmp_path / 'b' / 'x'}: Input/output error; check")


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("kind", [SafetensorError, Exception])
def test_numbers_in_texts_are_told_as_what_they_mean(code, kind):
    error = kind(
        f'Error while serializing: I/O error: {os.strerror(code)} (os error {code}) at path "/m/x"'
    )
    number, told = account(error)
    assert number == 3
    assert told.startswith(f"/m/x: {os.strerror(code)}; check")
    assert "mistake of revive" not in told


def test_other_failures_are_still_mistakes():
    for error in (SafetensorError("invalid header"), ValueError("os error"), KeyError(5)):
        assert error_number(error) is None
        assert account(error)[0] == 1
    assert is_disk_full(SafetensorError("I/O error: ... (os error 28)"))


@pytest.mark.parametrize("command", ["export", "delta", "lora", "edit", "rollback"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_every_writer_tells_of_a_failing_disk(
    revive, spec, edits, model, tmp_path, monkeypatch, command, code
):
    assert revive("run", spec(), "--out", "out", "--quiet").code == 0

    def refuse(tensors, filename, metadata=None):
        text = f'I/O error: {os.strerror(code)} (os error {code}) at path "{filename}"'
        raise SafetensorError(f"Error while serializing: {text}")

    def refuse_write(descriptor, data):
        raise OSError(code, os.strerror(code))

    def refuse_copy(source, target, **options):
        raise OSError(code, os.strerror(code), str(target))

    monkeypatch.setattr("safetensors.torch.save_file", refuse)
    monkeypatch.setattr("revive.models.stored_dtype.save_file", refuse)
    monkeypatch.setattr("revive.export.lora.save_file", refuse)
    monkeypatch.setattr("revive.io.sealed._write", refuse_write)
    monkeypatch.setattr(shutil, "copyfile", refuse_copy)
    monkeypatch.setattr(shutil, "copy2", refuse_copy)
    before = files(tmp_path / "out")
    more = {
        "export": ("export", "out", "new"),
        "delta": ("export", "out", "new", "--format", "delta"),
        "lora": ("export", "out", "new", "--format", "lora"),
        "rollback": ("rollback", "out", "--to", "3", "--out", "new"),
        "edit": ("edit", model, edits, "--out", "new", "--text", "corpus.txt", *SETTINGS),
    }[command]
    ran = revive(*more, "--quiet")
    ran.refused(3, os.strerror(code), "check that it is there and may be used")
    assert not (tmp_path / "new").exists()
    if command != "rollback":
        assert files(tmp_path / "out") == before
    assert not list(tmp_path.glob(".revive-*"))
