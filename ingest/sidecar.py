"""The sidecar `NAME.meta.yaml`: what only a person can know about a document."""

from __future__ import annotations

import datetime
import errno
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from ingest.errors import ReadError
from ingest.files import open_file
from ingest.links import is_web_url
from ingest.model import Kind, Person
from ingest.plain_yaml import MAX_BYTES, load_plain_yaml

ENDING = ".meta.yaml"
MOST_GROUPS = 100
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ISO_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?(?![0-9])")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The validated fields of a sidecar; a document without one has the empty sidecar.

    `access` are groups, each once, in order.
    """

    title: str | None = None
    date: str | None = None
    url: str | None = None
    kind: Kind | None = None
    people: tuple[Person, ...] = ()
    default_speaker: str | None = None
    access: tuple[str, ...] = ()

    def person_with_role(self, role: str) -> Person | None:
        """The first person of that role, compared without case."""
        return next((p for p in self.people if p.role and p.role.casefold() == role), None)


def sidecar_path(path: Path) -> Path:
    """`talk.vtt` -> `talk.meta.yaml`."""
    return path.with_name(path.stem + ENDING)


def misnamed_sidecars(names: Iterable[str]) -> dict[str, str]:
    """Of the names of a folder, what looks like the sidecar of a document and is not: the document, and that name.

    Such are `talk.meta.yml`, `talk.vtt.meta.yaml` and `Talk.meta.yaml` beside `talk.vtt`. Nobody reads them, and what
    they say may be who may read the document.
    """
    listed = list(names)
    sidecars = {name for name in listed if name.lower().endswith((ENDING, ".meta.yml"))}
    others = [Path(name) for name in listed if name not in sidecars]
    unread = sidecars - {sidecar_path(other).name for other in others} if sidecars else sidecars
    meant = {name[: name.lower().rindex(".meta.y")].casefold(): name for name in unread}
    found = ((o.name, meant.get(o.name.casefold()) or meant.get(o.stem.casefold())) for o in others if meant)
    return {name: sidecar for name, sidecar in found if sidecar}


def load_sidecar(path: Path) -> Sidecar:
    """The sidecar of the document at `path`; the empty one where there is none.

    Raises ReadError, on the sidecar's own path, for anything in it that is not understood: what it was to say may be
    who may read the document.
    """
    beside = sidecar_path(path)
    data = read_sidecar_bytes(path)
    if data is None:
        return Sidecar()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ReadError(beside, "is not UTF-8: save the file as UTF-8", line) from error
    if not text.strip():
        raise ReadError(beside, "is empty: remove it, or write into it what it is to say")
    plain = load_plain_yaml(beside, text)
    if plain.value is None:
        return Sidecar()
    try:
        fields = _Fields.model_validate(plain.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ReadError(
            beside, _reason(first["loc"], first["type"], first["msg"]), plain.line_of(first["loc"])
        ) from error
    return Sidecar(
        title=fields.title,
        date=fields.date,
        url=fields.url,
        kind=fields.kind,
        people=tuple(Person(person.name, person.role, tuple(person.aliases)) for person in fields.people),
        default_speaker=fields.default_speaker,
        access=tuple(sorted(set(fields.access))),
    )


def read_sidecar_bytes(path: Path) -> bytes | None:
    """The bytes of the sidecar of the document at `path`, null where there is none."""
    beside = sidecar_path(path)
    try:
        with open_file(beside) as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        # The document's own name may be as long as a file system allows; the sidecar's would be longer.
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise ReadError(beside, f"cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise ReadError(beside, f"is larger than {MAX_BYTES // 1024} KiB: a sidecar only describes its document")
    return data


def iso_date(value: object) -> str | None:
    """A YAML date, or a string that begins with one (`2023`, `2023-01`, `2023-01-05T…`), as an ISO date; else null."""
    if isinstance(value, datetime.date):
        return value.isoformat()[: len("2023-01-05")]
    found = _ISO_DATE.match(str(value).strip()) if isinstance(value, str | int) else None
    return found[0] if found else None


def _date(value: object) -> str:
    found = iso_date(value)
    if found is None:
        raise ValueError("must be a date such as 2023-01-05")
    return found


def _web_url(value: str) -> str:
    if not is_web_url(value):
        raise ValueError("must be an http or https address")
    return value


def _group(value: str) -> str:
    if not _GROUP.fullmatch(value):
        raise ValueError("must be the name of a group: letters, digits, dots, dashes and underscores")
    return value


def _reason(location: tuple[str | int, ...], kind: str, message: str) -> str:
    field = ".".join(str(step) for step in location)
    if not field:
        return "must be a list of fields, such as `title: …`"
    if kind == "extra_forbidden":
        return f"{field}: unknown field; known are {', '.join(_Fields.model_fields)}"
    return f"{field}: {message.removeprefix('Value error, ')}"


_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Person(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: _Text
    role: _Text | None = None
    aliases: list[_Text] = []


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    title: _Text | None = None
    date: Annotated[str, BeforeValidator(_date)] | None = None
    url: Annotated[_Text, AfterValidator(_web_url)] | None = None
    kind: Kind | None = None
    people: list[_Person] = []
    default_speaker: _Text | None = None
    # Whoever writes the field means the document to be private: a field that names nobody is no way to say so.
    access: Annotated[
        list[Annotated[str, AfterValidator(_group)]],
        Field(min_length=1, max_length=MOST_GROUPS, validate_default=False),
    ] = []
