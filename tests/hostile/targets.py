"""What reads bytes of strangers, each as a function that takes any bytes: it returns, or raises for a fault of ours.

What is wrong with the bytes themselves is refused by the readers' own errors, which are swallowed here.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from app.citations import cite
from app.conversation import Exchange
from app.drafts import DraftReader
from app.followup import stand_alone
from app.markup import inert
from app.origins import parse_origin
from app.prompts import answer_prompt
from app.question import resolve_speaker, understand
from app.quoting import quote
from app.settings import Settings
from app.support import Checker, Supported
from index.build import ingest
from index.prepare import prepare
from index.search import Hit, Index
from ingest.corpus import walk
from ingest.errors import ReadError
from ingest.limits import Limits
from ingest.links import deep_link, is_web_url
from ingest.model import Document, Source
from ingest.readers import read_document
from ingest.readers.convert import sniff
from ingest.readers.decode import decode
from ingest.readers.front_matter import read_front_matter
from ingest.readers.to_markdown import Unreadable, docx_to_markdown, html_to_markdown, pdf_to_markdown
from ingest.sidecar import load_sidecar, sidecar_path
from ingest.speakers import Naming, merge_speakers
from tests.hashing import HashingEmbedder

CORPUS = Path(__file__).parents[2] / "corpus"
LIMITS = Limits(max_file_bytes=1 << 20, max_inflated_bytes=8 << 20)
SECONDS = 1.0
"""Of the processor's, for fewer than 64 KB; what takes longer hangs."""
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_TYPES = f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
_RELATIONS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="a" Type="{_OFFICE}" Target="word/document.xml"/></Relationships>'
)
_ASKED = "what did Kayvon Beykpour say about OKRs?"
_HISTORY = (Exchange(_ASKED, "“OKRs work.” [1]", "OKRs", ("Kayvon Beykpour",), True),)


def text_file(data: bytes) -> None:
    """All that an ingest does with a text, up to its passages."""
    if sniff(data) is None:
        _ingest(data)


def converted(convert: Callable[[bytes], str]) -> Callable[[bytes], None]:
    """All that an ingest does with another format, in this process instead of one that is limited."""

    def read(data: bytes) -> None:
        try:
            markdown = convert(data)
        except (Unreadable, RecursionError):
            return
        _ingest(markdown.encode())

    return read


def word_xml(data: bytes) -> str:
    """A Word document whose text is these bytes."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        archive.writestr("_rels/.rels", _RELATIONS)
        archive.writestr("word/document.xml", data)
    return docx_to_markdown(package.getvalue(), LIMITS.max_inflated_bytes)


def sidecar(data: bytes) -> None:
    file = _folder() / "talk.txt"
    sidecar_path(file).write_bytes(data)
    with suppress(ReadError):
        load_sidecar(file)
    sidecar_path(file).unlink()


def front_matter(data: bytes) -> None:
    with suppress(ReadError):
        read_front_matter(Path("talk.md"), decode(Path("talk.md"), b"---\n" + data + b"\n---\n"))


def links(data: bytes) -> None:
    text = _text(data)
    for seconds in (None, 0.0, 7.5, float("nan"), float("inf")):
        address = deep_link(text, seconds)
        assert address is None or is_web_url(address)
        assert (address is None) != is_web_url(text)
    parse_origin(text)
    assert "](" not in inert(f"[1]({text}"), text


def model_text(data: bytes) -> None:
    """What a model writes, in pieces as large as the first byte says; each sentence is checked and cited."""
    size, text = max(1, data[0] if data else 1), _text(data[1:])
    reader = DraftReader()
    drafts = [each for at in range(0, len(text), size) for each in reader.feed(text[at : at + size])]
    drafts += reader.finish()
    hits, checker = _checking()
    named: Sequence[str] = ()
    for draft in drafts[:12]:
        checked = checker.check(draft, named)
        if isinstance(checked, Supported):
            named = checked.named or named
            for support in checked.cited:
                citation = cite(support.hit, support.first, support.last, 1)
                assert support.hit in hits
                assert citation.quote in support.hit.turns[citation.turn].text


def question(data: bytes) -> None:
    text = _text(data)[:4000]
    speakers = _index().store.speakers()
    for asked in filter(None, (text, stand_alone(text, _HISTORY, speakers))):
        understand(asked, speakers)
    resolve_speaker(text[:200], speakers)
    if text.strip():
        quote(_index(), Settings(min_confidence=0.0), text)


TARGETS: dict[str, Callable[[bytes], object]] = {
    "text": text_file,
    "html": converted(html_to_markdown),
    "docx": converted(lambda data: docx_to_markdown(data, LIMITS.max_inflated_bytes)),
    "word": converted(word_xml),
    "pdf": converted(pdf_to_markdown),
    "sniff": sniff,
    "sidecar": sidecar,
    "front_matter": front_matter,
    "links": links,
    "model": model_text,
    "question": question,
}


def _ingest(data: bytes) -> Document | None:
    file = _folder() / "talk.txt"
    file.write_bytes(data)
    [found] = walk([file]).found
    try:
        document = read_document(file, LIMITS)
    except ReadError:
        return None
    _, [canonical] = merge_speakers([Naming.of(document)])
    source = Source(found.source_id, found.relative, document.title, document.kind, document.url, document.date)
    prepared = prepare(source, "", found.digest, document, canonical, HashingEmbedder())
    for passage in prepared.passages:
        for span in (*passage.spans, *passage.sentences):
            assert 0 <= span.begin < span.end <= len(prepared.turns[span.turn].text)
    return document


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="onrecord-hostile-"))


@cache
def _index() -> Index:
    folder = _folder() / "snapshots"
    ingest([CORPUS], folder, HashingEmbedder(), Limits())
    return Index.open(folder, HashingEmbedder())


@cache
def _checking() -> tuple[Sequence[Hit], Checker]:
    hits = _index().search(_ASKED, _index().vector(_ASKED), top_k=8)
    return hits, Checker(answer_prompt(_ASKED, hits, "", 6000).offered, _index().store.speakers())
