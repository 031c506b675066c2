"""The walk over a corpus: which files are documents, their stable ids, and digests that tell what changed.

A source id is made of the file's path under its corpus folder, without extension: lower case, accents folded, every
run of characters that a URL does not take as they are one hyphen, folders joined by hyphens (`2024/Café Talk_2.vtt` ->
`2024-cafe-talk_2`). It depends on
the file's own path alone, except where two paths come out alike: then each of them ends in a hash of its own path, so
that neither takes over the other's id.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import ReadError
from ingest.files import open_file
from ingest.sidecar import ENDING, misnamed_sidecars, read_sidecar_bytes, sidecar_path

EXTENSIONS = frozenset({".md", ".markdown", ".txt", ".vtt", ".srt", ".json", ".html", ".htm", ".pdf", ".docx"})
MAX_ID_LENGTH = 96

_COMBINING_ACCENTS = re.compile(r"[\u0300-\u036f]+")
_NOT_IN_IDS = re.compile(r"[^a-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Found:
    """A document of the corpus. `root` is its corpus folder, resolved, and `relative` its path under it, with `/`
    between folders; `digest` is the sha256 of the file and its sidecar, and `sidecar` that of the sidecar alone, null
    where there is none."""

    path: Path
    root: Path
    relative: str
    source_id: str
    digest: str
    sidecar: str | None


@dataclass(frozen=True, slots=True)
class Walk:
    """What is under the paths, in a fixed order: documents, what cannot be read, and files that are no documents."""

    found: tuple[Found, ...]
    errors: tuple[ReadError, ...]
    skipped: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A file, and the ids it may get, the plain one first."""

    path: Path
    root: Path
    relative: str
    ids: tuple[str, ...]
    digest: str
    sidecar: str | None


def walk(paths: Sequence[Path]) -> Walk:
    """The documents under files and folders, each once. A file given by itself has its parent as corpus folder.

    Hidden files, sidecars and a folder's README are no documents. A symlink is followed to a file inside the corpus
    folder; one that leads out of it, or nowhere, is an error.
    """
    errors: list[ReadError] = []
    skipped: list[Path] = []
    candidates: dict[Path, _Candidate] = {}
    for path in paths:
        root = path if path.is_dir() else path.parent
        for file in _files(path, root, errors, skipped):
            real = file.resolve()
            if real in candidates:
                continue
            try:
                candidates[real] = _candidate(file, root)
            except ReadError as error:
                errors.append(error)
    ids = _unique_ids(list(candidates.values()))
    found = (
        Found(each.path, each.root, each.relative, ids[each.path], each.digest, each.sidecar)
        for each in candidates.values()
    )
    return Walk(tuple(found), tuple(errors), tuple(skipped))


def sidecar_digest(path: Path) -> str | None:
    """The sha256 of the sidecar of the document at `path`, null where there is none. Raises ReadError."""
    data = read_sidecar_bytes(path)
    return None if data is None else hashlib.sha256(data).hexdigest()


def _files(path: Path, root: Path, errors: list[ReadError], skipped: list[Path]) -> Iterator[Path]:
    if path.is_dir():
        yield from _files_under(root, errors, skipped)
    elif path.is_file():
        try:
            misnamed = misnamed_sidecars(each.name for each in path.parent.iterdir()).get(path.name)
        except OSError as error:
            errors.append(ReadError(path.parent, f"cannot be read: {error.strerror}"))
            return
        if misnamed is None:
            yield path
        else:
            errors.append(_misnamed(path, misnamed))
    else:
        errors.append(ReadError(path, "is not a file or folder" if path.exists() else "does not exist"))


def _files_under(root: Path, errors: list[ReadError], skipped: list[Path]) -> Iterator[Path]:
    """Regular files first, so that a symlink beside its target adds nothing."""
    links: list[Path] = []

    def refused(error: OSError) -> None:
        errors.append(ReadError(Path(error.filename), f"cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(root, onerror=refused):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        here = Path(folder)
        misnamed = misnamed_sidecars(names)
        # What a linked folder holds is met where it stands; walked again, it might never end.
        links.extend(here / name for name in folders if (here / name).is_symlink())
        for name in sorted(names):
            if not _may_be_document(name):
                continue
            file = here / name
            if file.suffix.lower() not in EXTENSIONS:
                skipped.append(file)
            elif name in misnamed:
                errors.append(_misnamed(file, misnamed[name]))
            elif file.is_symlink():
                links.append(file)
            elif file.is_file():
                yield file
            else:
                skipped.append(file)
    inside = root.resolve()
    for link in links:
        fault = _fault_of_link(link, inside)
        if fault:
            errors.append(ReadError(link, fault))
        elif link.is_file():
            yield link
        elif not link.is_dir():
            skipped.append(link)


def _misnamed(file: Path, sidecar: str) -> ReadError:
    called = sidecar_path(file).name
    return ReadError(file.with_name(sidecar), f"is not read, and neither is {file.name}: a sidecar is called {called}")


def _may_be_document(name: str) -> bool:
    lowered = name.lower()
    return not (
        name.startswith((".", "~$"))
        or name.endswith("~")
        or lowered.endswith(ENDING)
        or lowered.partition(".")[0] == "readme"
    )


def _fault_of_link(link: Path, inside: Path) -> str | None:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "is a symlink that leads nowhere"
    if not target.is_relative_to(inside):
        return "is a symlink out of the corpus folder: copy the file instead"
    return None


def _candidate(file: Path, root: Path) -> _Candidate:
    relative = file.relative_to(root).as_posix()
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        shown = Path(os.fsencode(file).decode(errors="replace"))
        raise ReadError(shown, "has a name that is not UTF-8: rename it") from error
    sidecar = read_sidecar_bytes(file)
    if sidecar is not None and (fault := _fault_of_link(sidecar_path(file), root.resolve())):
        raise ReadError(sidecar_path(file), fault)
    # The same path may stand under two corpus folders; then the folder, and at last the whole path, tell them apart.
    keys = (relative, f"{root.resolve().name}/{relative}", str(file.absolute()))
    alone = None if sidecar is None else hashlib.sha256(sidecar).hexdigest()
    return _Candidate(file, root.resolve(), relative, _ids(relative, keys), _digest(file, sidecar), alone)


def _digest(file: Path, sidecar: bytes | None) -> str:
    try:
        with open_file(file) as opened:
            digest = hashlib.file_digest(opened, "sha256")
    except OSError as error:
        raise ReadError(file, f"cannot be read: {error.strerror}") from error
    if sidecar is not None:
        # The lengths differ when bytes move from one file to the other.
        digest.update(b"\0%d\0" % len(sidecar) + sidecar)
    return digest.hexdigest()


def _ids(relative: str, keys: Sequence[str]) -> tuple[str, ...]:
    stem = relative.removesuffix(Path(relative).suffix)
    plain = unicodedata.normalize("NFKD", stem.casefold())
    slug = _NOT_IN_IDS.sub("-", _COMBINING_ACCENTS.sub("", plain)).strip("-.~")
    hashed = tuple(f"{slug[:MAX_ID_LENGTH].strip('-') or 'source'}-{_hash(key)}" for key in keys)
    return (slug, *hashed) if slug and len(slug) <= MAX_ID_LENGTH and not _loses_words(plain) else hashed


def _loses_words(plain: str) -> bool:
    """Whether letters, digits or signs have no place in an id, so that other names would come out the same."""
    left = _NOT_IN_IDS.findall(_COMBINING_ACCENTS.sub("", plain))
    return any(unicodedata.category(char)[0] in "LNS" for run in left for char in run)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:8]


def _unique_ids(candidates: Sequence[_Candidate]) -> dict[Path, str]:
    rungs = {each.path: 0 for each in candidates}
    while True:
        alike: defaultdict[str, list[_Candidate]] = defaultdict(list)
        for each in candidates:
            alike[each.ids[rungs[each.path]]].append(each)
        climbing = [
            each for group in alike.values() if len(group) > 1 for each in group if rungs[each.path] + 1 < len(each.ids)
        ]
        if not climbing:
            return {each.path: each.ids[rungs[each.path]] for each in candidates}
        for each in climbing:
            rungs[each.path] += 1
