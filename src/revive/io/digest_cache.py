"""Digests of files, or of what is made of them, that are computed once and kept.

A file counts as changed when its size, its inode or one of its times does; the time of its last
change of any kind cannot be set back.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from revive.errors import PrerequisiteError
from revive.io.atomic import write_text
from revive.io.cache import cache_folder

_DIGEST = re.compile(r"([a-z0-9]+-)?[0-9a-f]{64}")


class DigestCache:
    """A digest of a file or a folder's files, as they are now."""

    def __init__(self, place: Path, how: Sequence[object] = ()) -> None:
        """Look at the files, before they are read.

        Args:
            place: A file, or a folder with all that is in it.
            how: All else that the digest depends on.
        """
        self._place = place
        self._how = tuple(how)
        self._state = self._look()

    def of(self, compute: Callable[[], str]) -> str:
        """The digest that is kept of the files, else a new one.

        Args:
            compute: Computes it, of what was read of the files since this object was made.
        """
        if self._look() != self._state:
            return compute()
        path = cache_folder() / "digests" / self._state
        with suppress(OSError, UnicodeDecodeError):
            kept = path.read_text("utf-8")
            if _DIGEST.fullmatch(kept):
                return kept
        found = compute()
        # A cache that cannot be written to costs time, no more.
        with suppress(OSError, PrerequisiteError):
            write_text(path, found)
        return found

    def _look(self) -> str:
        digest = hashlib.sha256(repr((str(self._place), *self._how)).encode())
        files = sorted(self._place.rglob("*")) if self._place.is_dir() else [self._place]
        for path in files:
            if path.is_file():
                s = path.stat()
                what = (str(path), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino, s.st_dev)
                digest.update(repr(what).encode())
        return digest.hexdigest()
