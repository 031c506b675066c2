"""Bytes -> text: one bounded read, UTF-8 or marked UTF-16, and a plain word on what is not text at all."""

from __future__ import annotations

import codecs
from pathlib import Path

from ingest.errors import ReadError
from ingest.files import open_file
from ingest.limits import MIB, Limits

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SIGNATURES = (
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"ID3", "an MP3 recording"),
    (0, b"OggS", "an Ogg recording"),
    (0, b"fLaC", "a FLAC recording"),
    (0, b"RIFF", "a WAV, AVI or WebP file"),
    (4, b"ftyp", "an MP4 recording"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM recording"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\x7fELF", "a program"),
    (0, b"MZ\x90", "a program"),
    (0, b"\xd0\xcf\x11\xe0", "an old Office file: save it as .docx"),
    (0, b"SQLite format 3", "an SQLite database"),
)


def read_bytes(path: Path, limits: Limits) -> bytes:
    """The file's bytes; raises ReadError where it cannot be opened or is over the limit."""
    try:
        with open_file(path) as file:
            data = file.read(limits.max_file_bytes + 1)
    except OSError as error:
        raise ReadError(path, f"cannot be read: {error.strerror}") from error
    if len(data) > limits.max_file_bytes:
        raise ReadError(path, f"is larger than the limit of {limits.max_file_bytes / MIB:g} MiB: split it")
    return data


def decode(path: Path, data: bytes) -> str:
    """The text with `\\n` newlines and no byte order mark; raises ReadError with the line that is not text."""
    for offset, signature, what in _SIGNATURES:
        if data.startswith(signature, offset):
            raise ReadError(path, f"is not text: it looks like {what}")
    encoding = "utf-16" if data.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise ReadError(path, f"is not valid UTF-16: {error.reason}; save the file as UTF-8") from error
        line = data.count(b"\n", 0, error.start) + 1
        reason = f"is not UTF-8 (byte 0x{data[error.start]:02x}): save the file as UTF-8"
        raise ReadError(path, reason, line) from error
    nul = text.find("\0")
    if nul >= 0:
        reason = "is not text: it holds NUL bytes (binary, or UTF-16 without a byte order mark: save it as UTF-8)"
        raise ReadError(path, reason, text.count("\n", 0, nul) + 1)
    return text.replace("\r\n", "\n").replace("\r", "\n")
