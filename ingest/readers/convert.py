"""HTML, PDF and DOCX -> Markdown text, in a child process that can neither hang nor eat the machine."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal

from ingest.errors import ReadError
from ingest.limits import Limits

Format = Literal["html", "pdf", "docx"]

_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--[^>]{0,2000}-->\s*)*"
    rb"<(?:!doctype\s+html|html|head|body|(?P<fragment>(?:p|div|article|section|main|h1|table)))\b",
    re.IGNORECASE,
)
_SNIFFED_BYTES = 4096
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def sniff(data: bytes) -> Format | None:
    """The format of a file that has to be converted, told by its bytes; null for anything else.

    An encrypted or old Word file counts as `docx`, so that `convert` can say what is wrong with it.
    """
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(_OLE):
        return "docx"
    if data.startswith(b"PK\x03\x04"):
        return "docx" if _is_word(data) else None
    # UTF-16 keeps the letters of a tag; only zeros stand between them.
    top = data[:_SNIFFED_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip(b"\xff\xfe").replace(b"\0", b"")
    found = _HTML.match(top)
    if found is None or (found["fragment"] and not data[-64:].replace(b"\0", b"").rstrip().endswith(b">")):
        return None
    return "html"


def convert(path: Path, data: bytes, limits: Limits) -> str:
    """The words of the file as Markdown: `#` headings, lists, tables as lines; no images, scripts or link targets.

    Raises ReadError for what is broken, encrypted, has no words or would exceed the limits.
    """
    kind = sniff(data)
    if kind is None:
        raise ReadError(path, "is neither HTML, PDF nor DOCX")
    if data.startswith(_OLE):
        raise ReadError(path, "is encrypted or an old .doc: save it as .docx without a password")
    search_path = os.pathsep.join(filter(None, (str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", "ingest.readers.to_markdown", kind, str(limits.max_inflated_bytes)]
    try:
        child = subprocess.run(  # noqa: S603 - our own module and a number
            command,
            input=data,
            capture_output=True,
            timeout=limits.max_seconds,
            env={**os.environ, "PYTHONPATH": search_path, "PYTHONIOENCODING": "utf-8"},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ReadError(path, f"takes more than {limits.max_seconds:g} seconds to convert from {kind}") from error
    if child.returncode != 0:
        last_line = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ReadError(path, f"cannot be converted from {kind}: {last_line or 'it needs too much memory'}")
    answer: dict[str, str] = json.loads(child.stdout)
    if "error" in answer:
        raise ReadError(path, answer["error"])
    return answer["text"]


def _is_word(data: bytes) -> bool:
    """Whether a ZIP archive holds a Word document; where its directory is broken, whether one of its names says so."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return "word/document.xml" in archive.NameToInfo
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return b"word/document.xml" in data or b"[Content_Types].xml" in data[:_SNIFFED_BYTES]
