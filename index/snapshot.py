"""Snapshots on disk: the manifest and its checksums, the atomic switch, and what a crash leaves behind.

    snapshots/
      CURRENT              the id of the live snapshot
      LOCK                 held by the one writer
      <id>/manifest.json   what the snapshot holds, with the sha256 of every file in it, its own included
      <id>/...
      .building-<id>/      left by a writer that died; the next one clears it away

A snapshot is never changed once CURRENT has named it. Its readers hold a shared lock on its manifest, and a writer
deletes only what it can lock alone. The locks are the kernel's (flock): a dead process holds none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from index.errors import LockedError, NoSnapshotError, SnapshotError

FORMAT_VERSION = 4
"""Counts up whenever the files of a snapshot or what readers make of a document change: then all is built anew."""
CURRENT = "CURRENT"
MANIFEST = "manifest.json"
BUILDING = ".building-"
_NAME = re.compile(r"[0-9A-Za-z-]{1,64}")
REBUILD = "build it anew with `onrecord ingest`"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot says of itself. `files` maps each path in it, `/` between folders, to its sha256, `sizes` to its
    bytes.
    """

    id: str
    created: str
    model: str
    dimension: int
    corpus_hash: str
    counts: dict[str, int]
    files: dict[str, str]
    sizes: dict[str, int]
    format_version: int = FORMAT_VERSION

    def to_bytes(self) -> bytes:
        """One fixed spelling as JSON, closed by the checksum of itself, so that any flipped byte shows."""
        fields = asdict(self)
        fields["sha256"] = hashlib.sha256(_dump(fields)).hexdigest()
        return _dump(fields)

    @classmethod
    def from_bytes(cls, data: bytes, path: Path) -> Manifest:
        """Refuses anything but what `to_bytes` writes in this format version."""
        damaged = SnapshotError(f"{path} is damaged; {REBUILD}")
        try:
            fields: dict[str, Any] = json.loads(data)
            version = fields["format_version"]
            del fields["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise damaged from error
        if version != FORMAT_VERSION:
            raise SnapshotError(
                f"{path} is of format {version}, and this On Record reads format {FORMAT_VERSION}; {REBUILD}"
            )
        try:
            manifest = cls(**fields)
        except TypeError as error:
            raise damaged from error
        if manifest.to_bytes() != data:
            raise damaged
        return manifest


def _dump(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, indent=1, ensure_ascii=False).encode() + b"\n"


def current_folder(index_dir: Path) -> Path:
    """The folder of the live snapshot."""
    while True:
        name = _live_name(index_dir)
        folder = index_dir / name
        if _NAME.fullmatch(name) and (folder / MANIFEST).is_file():
            return folder
        # A writer may have replaced and deleted it since CURRENT was read.
        if _live_name(index_dir) == name:
            raise SnapshotError(f"{index_dir / CURRENT} names a snapshot that is not there; {REBUILD}")


def _live_name(index_dir: Path) -> str:
    try:
        return (index_dir / CURRENT).read_text(encoding="ascii").strip()
    except FileNotFoundError as error:
        raise NoSnapshotError(f"no index in {index_dir} yet: run `onrecord ingest` first") from error
    except OSError as error:
        raise SnapshotError(f"{index_dir / CURRENT} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SnapshotError(f"{index_dir / CURRENT} is damaged; {REBUILD}") from error


class HeldSnapshot:
    """A snapshot's folder, kept from deletion until `close`; `manifest` has been checked, the other files have not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = (folder / MANIFEST).open("rb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            if not (folder / MANIFEST).exists():  # deleted between the opening and the locking
                raise FileNotFoundError(folder / MANIFEST)
            self.manifest = Manifest.from_bytes(self._lock.read(), folder / MANIFEST)
            if self.manifest.id != folder.name:
                raise SnapshotError(f"{folder} holds the snapshot {self.manifest.id}; {REBUILD}")
        except Exception:
            self.close()
            raise

    def is_small(self, most_bytes: int) -> bool:
        """Whether all its files together are of at most so many bytes."""
        return sum(self.manifest.sizes.values()) <= most_bytes

    def damaged_files(self, most_bytes: int | None = None) -> list[str]:
        """A sentence for each file that is missing, too many, or not what was written.

        Of a snapshot of more than `most_bytes`, files of more than a thousandth of that are judged by their size.
        """
        present = {path.relative_to(self.folder).as_posix(): path for path in _files(self.folder)}
        wanted, sizes = self.manifest.files, self.manifest.sizes
        whole = most_bytes is None or self.is_small(most_bytes)
        return sorted(
            [f"{name}: is missing" for name in wanted.keys() - present.keys()]
            + [f"{name}: does not belong to the snapshot" for name in present.keys() - wanted.keys()]
            + [
                f"{name}: its checksum is not the one in the manifest"
                for name in wanted.keys() & present.keys()
                if present[name].stat().st_size != sizes[name]
                or ((whole or sizes[name] * 1000 <= (most_bytes or 0)) and _sha256(present[name]) != wanted[name])
            ]
        )

    def close(self) -> None:
        """Lets the snapshot go."""
        self._lock.close()


def hold_current(index_dir: Path) -> HeldSnapshot:
    """The live snapshot, held. One that a writer replaced and deleted in between is tried again."""
    while True:
        folder = current_folder(index_dir)
        try:
            return HeldSnapshot(folder)
        except FileNotFoundError:
            if current_folder(index_dir) == folder:
                raise SnapshotError(f"{folder} cannot be read; {REBUILD}") from None


@contextmanager
def writer_lock(index_dir: Path) -> Generator[None]:
    """Held by the one writer of an index; a second one is refused at once. What a dead writer left is cleared away."""
    index_dir.mkdir(parents=True, exist_ok=True)
    with (index_dir / "LOCK").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(f"another ingest is writing {index_dir}; wait for it to end") from error
        for left in index_dir.glob(f"{BUILDING}*"):
            shutil.rmtree(left)
        yield


@contextmanager
def new_snapshot(index_dir: Path) -> Generator[Path]:
    """An empty folder to build in, under the writer's lock; it is cleared away unless `publish` takes it."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    folder = index_dir / f"{BUILDING}{name}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def link(older: HeldSnapshot, folder: Path, part: str) -> None:
    """Puts all files of an older snapshot under its subfolder `part` into the folder of a new one.

    No file of a snapshot is ever written to, so that both may have the same; where the file system has no hard links,
    they are copied.
    """
    for path in sorted(_files(older.folder / part)):
        target = folder / path.relative_to(older.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(path)
        except OSError:
            shutil.copyfile(path, target)


def publish(
    folder: Path,
    *,
    model: str,
    dimension: int,
    corpus_hash: str,
    counts: dict[str, int],
    older: HeldSnapshot | None = None,
) -> Manifest:
    """Makes the folder that `new_snapshot` gave the live snapshot: a crash at any moment leaves the old or the new one.

    Everything is on the disk (fsync, folders included) before CURRENT is replaced. Files that are links to those of an
    `older` snapshot are there already, with the checksums that it has for them.
    """
    index_dir, name = folder.parent, folder.name.removeprefix(BUILDING)
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(_files(folder))}
    known = {
        path: older.manifest.files[path]
        for path, file in paths.items()
        if older and path in older.manifest.files and _same(older.folder / path, file)
    }
    manifest = Manifest(
        id=name,
        created=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        model=model,
        dimension=dimension,
        corpus_hash=corpus_hash,
        counts=counts,
        files={path: known.get(path) or _sha256(file) for path, file in paths.items()},
        sizes={path: file.stat().st_size for path, file in paths.items()},
    )
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
    folders = {parent for path in paths.values() for parent in path.relative_to(folder).parents}
    for path in [
        *(file for path, file in paths.items() if path not in known),
        folder / MANIFEST,
        *(folder / parent for parent in sorted(folders, reverse=True)),
        folder,
    ]:
        fsync(path)
    folder.rename(index_dir / name)
    fsync(index_dir)
    replacement = index_dir / f"{CURRENT}.new"
    replacement.write_text(f"{name}\n", encoding="ascii")
    fsync(replacement)
    replacement.replace(index_dir / CURRENT)
    fsync(index_dir)
    return manifest


def delete_unread(index_dir: Path, keep: str) -> None:
    """Under the writer's lock: deletes all snapshots but `keep` that nobody reads."""
    for folder in index_dir.iterdir():
        if folder.name == keep or not folder.is_dir() or not (folder / MANIFEST).is_file():
            continue
        with (folder / MANIFEST).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            # Renamed first, so that what a crash leaves half deleted is cleared away like any unfinished folder.
            shutil.rmtree(folder.rename(index_dir / f"{BUILDING}{folder.name}"))


def _files(folder: Path) -> Iterator[Path]:
    """The files of a snapshot but its manifest and the empty lock files that tantivy leaves."""
    for path in folder.rglob("*"):
        if path.is_file() and path != folder / MANIFEST and path.suffix != ".lock":
            yield path


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except FileNotFoundError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
