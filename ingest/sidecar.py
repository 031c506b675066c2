"""The sidecar `NAME.meta.yaml`: what only a person can know about a document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.model import Kind, Person


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The validated fields of a sidecar; a document without one has the empty sidecar."""

    title: str | None = None
    date: str | None = None
    url: str | None = None
    kind: Kind | None = None
    people: tuple[Person, ...] = ()
    default_speaker: str | None = None

    def person_with_role(self, role: str) -> Person | None:
        """The first person of that role, compared without case."""
        return next((p for p in self.people if p.role and p.role.casefold() == role), None)


def sidecar_path(path: Path) -> Path:
    """`talk.vtt` -> `talk.meta.yaml`."""
    return path.with_name(path.stem + ".meta.yaml")
