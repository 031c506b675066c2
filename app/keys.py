"""The keys that callers show: known by their hashes alone, from the settings or from a file that is followed."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, get_args

import structlog
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from app.errors import KeyFileError

Scope = Literal["ask", "ingest", "admin"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
SHORTEST = 8
"""Characters of a key that is given in clear. Hashes are without salt and quick to make, which suits keys that nobody
can guess: those that are made have 43 characters, drawn at random."""
FILE_ENDINGS = (".yaml", ".yml")
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""Names of keys and groups: without spaces, so that no key is called as those are who show none."""

_PREFIX = "onrecord_"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Key:
    """Whoever shows the key of this hash may do what the scopes say, and read what is open to the groups."""

    name: str
    sha256: str
    scopes: frozenset[Scope] = SCOPES
    groups: frozenset[str] = frozenset()
    created: str = ""


def parse_keys(given: object) -> object:
    """What `ONRECORD_API_KEYS` says: the path of a key file, or keys, each with a name or without, and all scopes.

    The keys themselves are in no error, and in nothing that is returned.
    """
    if not isinstance(given, str):
        return given
    if given.strip().endswith(FILE_ENDINGS):
        return Path(given.strip())
    texts = [text for each in given.split(",") if (text := each.strip())]
    keys = [_given(text, number) for number, text in enumerate(texts, 1)]
    _refuse_doubles(keys)
    return tuple(keys) or None


def _given(text: str, number: int) -> Key:
    name, named, key = text.rpartition(":")
    if named and not re.fullmatch(NAME, name):
        raise ValueError(f"key {number} has a name that is not letters, digits, dots, dashes and underscores")
    if text.startswith(("/", "./", "~")) or Path(text).exists():
        raise ValueError(f"key {number} is a path, and that of a key file ends in {' or '.join(FILE_ENDINGS)}")
    if len(key) < SHORTEST or not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError(f"key {number} is not {SHORTEST} or more characters of ASCII without spaces")
    return Key(name or f"key {number}", _hash(key))


def _refuse_doubles(keys: Sequence[Key]) -> None:
    for what in ([key.name for key in keys], [key.sha256 for key in keys]):
        if len(set(what)) < len(what):
            raise ValueError("a key or a name is there twice")


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class KnownKeys:
    """The keys of now. Those of a file are read again when it has changed, so that a key ends when it is taken out."""

    def __init__(self, source: Path | tuple[Key, ...]) -> None:
        """Raises KeyFileError where the file cannot be read."""
        self._path = source if isinstance(source, Path) else None
        self._keys: tuple[Key, ...] = () if isinstance(source, Path) else source
        self._seen: tuple[int, ...] | None = None
        self._failed = False
        self._follow()

    def find(self, shown: str) -> Key | None:
        """The key that is shown. Raises KeyFileError while the file cannot be read: nobody knows then who may come in.

        It is compared with each, and each comparison takes the same time, whatever is shown.
        """
        self._follow()
        digest = _hash(shown)
        found: Key | None = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _follow(self) -> None:
        if self._path is None:
            return
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen != self._seen:
                self._keys, self._seen = read_keys(self._path), seen
        except (OSError, KeyFileError) as error:
            self._seen = None
            if not self._failed:
                _log.error("keys not read", reason=str(error))
            self._failed = True
            raise error if isinstance(error, KeyFileError) else KeyFileError(self._path, error) from error
        self._failed = False


def _listed(given: object) -> object:
    return [given] if isinstance(given, str) else given


def _written(moment: object) -> object:
    return moment.isoformat() if isinstance(moment, datetime) else moment  # as YAML reads one without quotes


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=f"^{NAME}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: Annotated[list[Scope], BeforeValidator(_listed), Field(min_length=1)]
    groups: Annotated[list[Annotated[str, Field(pattern=f"^{NAME}$")]], BeforeValidator(_listed)] = []
    created: Annotated[str, BeforeValidator(_written)] = ""


_entries = TypeAdapter(list[_Entry])


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file. Raises KeyFileError."""
    try:
        read = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)  # ten times as fast as the one in Python
        entries = _entries.validate_python([] if read is None else read)
        keys = tuple(
            Key(each.name, each.sha256, frozenset(each.scopes), frozenset(each.groups), each.created)
            for each in entries
        )
        _refuse_doubles(keys)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise KeyFileError(path, f"{where}: {first['msg']}") from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise KeyFileError(path, error) from error
    return keys


def add_key(path: Path, name: str, scopes: Iterable[Scope], groups: Iterable[str]) -> tuple[Key, str]:
    """A new key, and what it is shown as, which is kept nowhere. Raises KeyFileError, ValueError for a bad name."""
    for each in (name, *groups):
        if not re.fullmatch(NAME, each):
            raise ValueError(f"{each!r} is no name: letters, digits, dots, dashes and underscores, at most 64")
    shown = _PREFIX + secrets.token_urlsafe(32)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    key = Key(name, _hash(shown), frozenset(scopes), frozenset(groups), created)
    with _changing(path) as keys:
        if any(each.name == name for each in keys):
            raise ValueError(f"there is a key {name!r} already; revoke it first, or take another name")
        keys.append(key)
    return key, shown


def revoke_key(path: Path, name: str) -> bool:
    """Takes a key out of the file; false where there is none of that name. Raises KeyFileError."""
    with _changing(path) as keys:
        kept = [key for key in keys if key.name != name]
        found = len(kept) < len(keys)
        keys[:] = kept
    return found


@contextmanager
def _changing(path: Path) -> Generator[list[Key]]:
    """The keys, written back when the block ends without an error; one process at a time."""
    folder = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = read_keys(path) if path.exists() else ()
        keys = list(before)
        yield keys
        if tuple(keys) != before:
            _write(path, keys)
    except OSError as error:
        raise KeyFileError(path, error) from error
    finally:
        if folder is not None:
            os.close(folder)


def _write(path: Path, keys: Iterable[Key]) -> None:
    """At once or not at all. A new file is for its owner alone; one that was there keeps its owner and its mode."""
    entries = [
        {
            "name": key.name,
            "sha256": key.sha256,
            "scopes": sorted(key.scopes),
            **({"groups": sorted(key.groups)} if key.groups else {}),
            "created": key.created,
        }
        for key in keys
    ]
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    written = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump(entries, file, sort_keys=False)
            file.flush()
            if path.exists():
                old = path.stat()
                os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
                with suppress(PermissionError):
                    os.fchown(descriptor, old.st_uid, old.st_gid)
            os.fsync(descriptor)
        written.replace(path.resolve())
    except BaseException:
        written.unlink(missing_ok=True)
        raise
