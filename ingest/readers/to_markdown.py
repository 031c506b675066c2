"""The converters themselves: reads a file from standard input and prints `{"text": …}` or `{"error": …}` as JSON.

Runs as a process of its own, `python -m ingest.readers.to_markdown KIND MAX_INFLATED_BYTES`, under a memory limit.
"""

from __future__ import annotations

import io
import json
import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from xml.parsers.expat import ExpatError

from ingest.names import is_english_word
from ingest.readers.prose import ends_sentence
from ingest.turns import fold

_MEMORY_FACTOR = 4
_BASE_MEMORY = 512 << 20
_MIB = 1 << 20
# What stands in a PDF's text where a line ended in the middle of a word: a soft hyphen, or the library's own marks.
_BROKEN_WORD = re.compile(r"\b(?P<begin>\w{1,60})(?P<mark>[\u00ad\ufffe\x02])\s{0,2}(?P<end>\w{1,60})")
_DROPPED = (
    "script, style, noscript, template, nav, svg, iframe, object, embed, button, select, textarea, input, img, "
    "picture, video, audio, canvas, [hidden], [aria-hidden=true]"
)
_HIDING_STYLES = ("display:none", "visibility:hidden")
_UNWRAPPED = ["a", "b", "strong", "em", "i", "u", "s", "del", "code", "kbd", "samp", "sub", "sup", "mark", "q"]


class Unreadable(Exception):
    """What is wrong with the file, in words for whoever put it there."""


def html_to_markdown(data: bytes | str) -> str:
    """The visible words of a page; its `<title>` becomes the first heading where the page has no `<h1>`."""
    from bs4 import BeautifulSoup, Comment
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(data, "lxml")
    title = fold(soup.title.get_text()) if soup.title else ""
    body = soup.body or soup
    for tag in body.select(_DROPPED):
        tag.decompose()
    for tag in body.select("[style]"):
        if tag.attrs and any(style in "".join(str(tag["style"]).lower().split()) for style in _HIDING_STYLES):
            tag.decompose()
    for comment in body.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    # `<cite>Name:</cite><time>0:12</time>` is how podcasts mark speakers; as text it is `Name (0:12):`.
    for cite in body.find_all("cite"):
        time = cite.find_next_sibling()
        if time is not None and time.name == "time":
            header = soup.new_tag("p")
            header.string = f"{fold(cite.get_text()).rstrip(': ')} ({fold(time.get_text())}):"
            time.decompose()
            cite.replace_with(header)
    converter = MarkdownConverter(
        heading_style="atx",
        bullets="-",
        strip=_UNWRAPPED,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    words = "\n".join(line.rstrip() for line in converter.convert_soup(body).split("\n")).strip()
    if not any(character.isalnum() for character in words):
        raise Unreadable("is HTML without any visible words")
    return words if body.find("h1") or not title else f"# {title}\n\n{words}"


def docx_to_markdown(data: bytes, max_inflated_bytes: int) -> str:
    """The words of a Word document, its heading styles as headings."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_archive(archive, max_inflated_bytes)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise Unreadable(f"is a damaged DOCX: {error}") from error
    import mammoth

    try:
        result = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map="p[style-name='Title'] => h1:fresh",
            convert_image=mammoth.images.img_element(lambda image: {}),
        )
    except (ExpatError, LookupError, ValueError, AttributeError, TypeError, OSError) as error:
        raise Unreadable(f"is a damaged DOCX: {error}") from error
    if not result.value.strip():
        raise Unreadable("is a DOCX without any words")
    return html_to_markdown(result.value)


def _check_archive(archive: zipfile.ZipFile, max_inflated_bytes: int) -> None:
    too_large = Unreadable(f"inflates to more than {max_inflated_bytes // _MIB} MiB")
    members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise Unreadable("is an encrypted DOCX: save it without a password")
    if sum(member.file_size for member in members) > max_inflated_bytes:
        raise too_large
    inflated = 0
    for member in members:
        before = b""
        with archive.open(member) as file:
            while chunk := file.read(_MIB):
                inflated += len(chunk)
                if inflated > max_inflated_bytes:
                    raise too_large
                # A Word document has no use for entities, which can stand for other files or for gigabytes.
                if member.filename.endswith((".xml", ".rels")) and b"<!DOCTYPE" in (before + chunk).replace(b"\0", b""):
                    raise Unreadable("is a DOCX with an XML document type, which is not read")
                before = chunk[-32:]


def pdf_to_markdown(data: bytes) -> str:
    """The text layer of a PDF in paragraphs, without page numbers and running heads."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(data)
        pages = [_page_lines(document[i].get_textpage().get_text_range()) for i in range(len(document))]
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Unreadable("is an encrypted PDF: save it without a password") from error
        raise Unreadable(f"is a damaged PDF: {error}") from error
    if not any(character.isalnum() for lines in pages for line in lines for character in line):
        raise Unreadable("is a PDF with no text layer; run OCR first")
    return "\n\n".join(_pdf_paragraphs([line for lines in _without_running_heads(pages) for line in lines]))


def _page_lines(text: str) -> list[str]:
    lines = _BROKEN_WORD.sub(_mended, text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.strip() for line in lines]


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """The pages without first and last lines that most of them share, numbers aside."""

    def shape(line: str) -> str:
        return "".join("#" if character.isdigit() else character for character in line)

    filled = [[line for line in lines if line] for lines in pages]
    for edge in (0, -1):
        shapes = Counter(shape(lines[edge]) for lines in filled if lines)
        repeated = {each for each, count in shapes.items() if count >= 3 and count * 2 > len(filled)}
        for lines in filled:
            if lines and (shape(lines[edge]) in repeated or lines[edge].isdigit()):
                del lines[edge]
    return filled


def _pdf_paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines joined where one only broke off at the right margin: it is nearly as long as most and ends no sentence."""
    lengths = sorted(len(line) for line in lines)
    margin = lengths[len(lengths) * 4 // 5] * 3 // 4
    paragraph: list[str] = []
    for above, line in zip(["", *lines], lines, strict=False):
        if above and not ends_sentence(above) and (len(above) >= margin or line[0].islower()):
            paragraph.append(line)
        else:
            if paragraph:
                yield " ".join(paragraph)
            paragraph = [line]
    yield " ".join(paragraph)


def _mended(broken: re.Match[str]) -> str:
    """A word broken by the end of a line: its hyphen goes where it was a soft one or the word is one without it."""
    whole = broken["begin"] + broken["end"]
    return whole if broken["mark"] == "\u00ad" or is_english_word(whole) else f"{broken['begin']}-{broken['end']}"


def main() -> None:
    """Convert standard input, and say so where it cannot be done."""
    kind, max_inflated_bytes = sys.argv[1], int(sys.argv[2])
    _limit_memory(_BASE_MEMORY + _MEMORY_FACTOR * max_inflated_bytes)
    data = sys.stdin.buffer.read()
    try:
        if kind == "html":
            text = html_to_markdown(data)
        elif kind == "docx":
            text = docx_to_markdown(data, max_inflated_bytes)
        else:
            text = pdf_to_markdown(data)
        answer = {"text": text}
    except Unreadable as error:
        answer = {"error": str(error)}
    except RecursionError:
        answer = {"error": f"is {kind} nested too deep to be prose"}
    except MemoryError:
        answer = {"error": f"needs too much memory to convert from {kind}"}
    json.dump(answer, sys.stdout)


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    main()
