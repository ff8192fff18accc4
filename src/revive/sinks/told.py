"""What an external run was told so far: for services that only ever append. No torch."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from revive.runs.atomic import write_text
from revive.sinks.base import Point


@dataclass
class Told:
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
    def read(cls, path: Path) -> "Told":
        """What the file says; a new external run where there is none."""
        if not path.exists():
            return cls(path, secrets.token_hex(4), 0)
        known = json.loads(path.read_text(encoding="utf-8"))
        return cls(path, known["id"], known["next"])

    def new(self, point: Point) -> bool:
        """Whether a point has numbers to send that were not sent; it counts as sent from now on."""
        if point.index < self.next:
            return False
        self.next = point.index + 1
        write_text(self.path, json.dumps({"id": self.id, "next": self.next}) + "\n")
        return bool(point.values) and point.stands
