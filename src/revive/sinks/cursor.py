"""What an external run was told so far: for services that only ever append. No torch."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from revive.errors import SpecError
from revive.io.atomic import write_text
from revive.io.json_text import read_json
from revive.sinks.base import Point


@dataclass
class Cursor:
    """A file in the run folder that names the external run and the next line it has not seen.

    A line is counted before it is sent: a kill in between loses one point there, never doubles one.

    Attributes:
        path: The file.
        id: Of the external run; drawn once.
        next: The first line of the journal that was not sent.
    """

    path: Path
    id: str
    next: int

    @classmethod
    def read(cls, path: Path) -> "Cursor":
        """What the file says; a new external run where there is none."""
        if not path.exists():
            return cls(path, secrets.token_hex(4), 0)
        try:
            known = read_json(path.read_text(encoding="utf-8"))
            return cls(path, str(known["id"]), int(known["next"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"{path}: is damaged ({error}); delete it, and the sink is told of the run again."
            ) from error

    def new(self, point: Point) -> bool:
        """Whether a point has numbers to send that were not sent; it counts as sent from now on."""
        if point.index < self.next:
            return False
        self.next = point.index + 1
        write_text(self.path, json.dumps({"id": self.id, "next": self.next}) + "\n")
        return bool(point.values) and point.stands
