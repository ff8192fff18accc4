"""A disk that is full, or a limit on file sizes, by the operating system itself."""

import errno
import os
import resource
import shutil
import subprocess

import pytest
from calling import files, updates

from revive.io.atomic import is_disk_full

PAGE = resource.getpagesize()


@pytest.fixture
def disk(tmp_path):
    """A disk of a mebibyte; `disk(pages)` fills all of it but so many pages."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here; limits on files are tested")

    class Disk:
        path = folder

        def leave(self, pages: int) -> None:
            self.free()
            free = os.statvfs(folder).f_bavail
            (folder / "filler").write_bytes(b"\0" * (free - pages) * PAGE)

        def free(self) -> None:
            (folder / "filler").unlink(missing_ok=True)

    yield Disk()
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("pages", [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14])
def test_a_run_on_a_full_disk_goes_on_when_there_is_space(revive, spec, disk, tmp_path, pages):
    path = spec()
    assert revive("run", path, "--out", "undisturbed", "--quiet").code == 0
    disk.leave(pages)
    run = disk.path / "run"
    ran = revive("run", path, "--out", run, "--quiet")
    ran.refused(3, str(run), "no space left on the disk", "'revive resume' goes on")
    assert not list(run.rglob("*.partial"))
    disk.free()
    # Before its spec is written there is no run to continue: the same command begins it.
    again = ("resume", run) if (run / "spec.yaml").exists() else ("run", path, "--out", run)
    assert revive(*again, "--quiet").code == 0
    assert updates(run) == updates(tmp_path / "undisturbed")


def test_a_model_that_cannot_be_saved_is_saved_later(revive, spec, model, edits, disk):
    spec()
    settings = ("layers=[0, 1]", "ridge=10", "steps=2", "contexts=0")
    out = disk.path / "edited"
    given = (
        *("edit", model, edits, "--out", out, "--run", "run", "--text", "corpus.txt", "--quiet"),
        *(part for setting in settings for part in ("--set", f"editor.{setting}")),
    )
    disk.leave(4)
    revive(*given).refused(3, str(out), "disk is full", "save again")
    assert list(disk.path.iterdir()) == [disk.path / "filler"]
    disk.free()
    assert revive(*given).code == 0
    assert (out / "model.safetensors").exists()


def test_a_report_and_a_cache_that_do_not_fit(revive, spec, disk, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(disk.path))
    disk.leave(1)
    revive("run", spec(), "--out", "run", "--quiet").refused(3, "no space left on the disk")
    disk.free()
    assert revive("resume", "run", "--quiet").code == 0
    before = files(tmp_path / "run")
    disk.leave(1)
    page = disk.path / "page"
    revive("report", "run", "--out", page).refused(3, str(page), "no space left on the disk")
    assert files(tmp_path / "run") == before
    disk.free()
    assert revive("report", "run", "--out", page).code == 0


def limited(bytes_: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))


@pytest.mark.parametrize("bytes_", [0, 2500])
def test_a_limit_on_file_sizes_in_a_real_process(process, revive, spec, tmp_path, bytes_):
    path = spec()
    ran = process("run", path, "--out", "run", "--quiet", preexec_fn=limited(bytes_))
    ran.refused(3, "no space left on the disk, or a limit on file sizes")
    assert revive("run", path, "--out", "undisturbed", "--quiet").code == 0
    again = ("resume", "run") if (tmp_path / "run/spec.yaml").exists() else ("run", path)
    assert revive(*again, *(("--out", "run") * (again[0] == "run")), "--quiet").code == 0
    assert updates(tmp_path / "run") == updates(tmp_path / "undisturbed")


def test_whatever_says_it_a_full_disk_is_known():
    full = os.strerror(errno.ENOSPC)
    assert is_disk_full(OSError(errno.ENOSPC, full))
    assert is_disk_full(shutil.Error([("a", "b", f"[Errno 28] {full}")]))
    assert is_disk_full(
        FileNotFoundError(errno.ENOENT, "No usable temporary directory found in []")
    )
    # Negative controls: the same exceptions for other reasons.
    assert not is_disk_full(shutil.Error([("a", "b", "[Errno 13] Permission denied")]))
    assert not is_disk_full(FileNotFoundError(errno.ENOENT, "No such file or directory"))
