"""HTML, PDF and DOCX to text: what is kept, what is dropped, and that nothing hostile does more than fail."""

import io
import time
import zipfile
from pathlib import Path

import docx
import pytest

from ingest.errors import ReadError
from ingest.limits import MIB, Limits
from ingest.readers.convert import convert, sniff

HERE = Path("upload")


def markdown(data: bytes, limits: Limits | None = None) -> str:
    return convert(HERE, data, limits or Limits())


def reason(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ReadError) as caught:
        markdown(data, limits)
    assert caught.value.path == HERE
    return caught.value.reason


def pdf(*pages: list[str]) -> bytes:
    """A small PDF with one line of Helvetica for each string."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids: list[bytes] = []
    for lines in pages:
        shown = b"".join(b"(" + line.encode("latin-1") + b") Tj T*\n" for line in lines)
        content = b"BT /F1 12 Tf 72 760 Td 14 TL\n" + shown + b"ET"
        kids.append(b"%d 0 R" % (len(objects) + 1))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % (len(objects) + 2)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), b" ".join(kids))
    out, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return out + b"xref\n0 %d\n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (
        size,
        table,
        size,
        len(out),
    )


def word(*paragraphs: tuple[str, str]) -> bytes:
    """A Word document of (style, text) paragraphs and one table."""
    document = docx.Document()
    for style, text in paragraphs:
        document.add_paragraph(text, style=style)
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def repacked(data: bytes, changes: dict[str, bytes]) -> bytes:
    """The archive with members replaced or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in changes:
                new.writestr(name, old.read(name))
        for name, content in changes.items():
            new.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html><p>x", "html"),
        (b"\xef\xbb\xbf\n<!-- saved -->\n<HTML>", "html"),
        ("\ufeff<html><body>x</body></html>".encode("utf-16-le"), "html"),
        (b"<p>a fragment</p>\n", "html"),
        (b"<p>not closed, just a line of text", None),
        (b"%PDF-1.7\n", "pdf"),
        (word(("Normal", "x")), "docx"),
        (bytes.fromhex("d0cf11e0a1b11ae1"), "docx"),
        (repacked(word(), {}).replace(b"word/document.xml", b"data/document.xml"), None),
        (b"WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>hi", None),
        (b"# <html> in a title", None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_the_format_is_told_by_content(data: bytes, kind: str | None):
    assert sniff(data) == kind


def test_html_keeps_the_words_and_their_structure():
    page = """<!doctype html><html><head><title>Tides</title><style>p{}</style></head><body>
    <nav><a href="/">Home</a></nav><script>steal()</script><p hidden>secret</p><p style="display: none">gone</p>
    <h2>Talk</h2><p><strong>Jane Doe</strong> (00:12):<br>The <a href="http://x.y">moon_light</a> &amp; <em>I</em>.</p>
    <!-- comment --><ul><li>one</li><li>two</li></ul><div>alone</div><img src="x" alt="picture">
    <table><tr><th>Sea</th><th>Height</th></tr><tr><td>North</td><td>4 m</td></tr></table></body></html>"""
    assert markdown(page.encode()) == (
        "# Tides\n\n## Talk\n\nJane Doe (00:12):\nThe moon_light & I.\n\n- one\n- two\n\nalone\n\n"
        "| Sea | Height |\n| --- | --- |\n| North | 4 m |"
    )


def test_html_transcripts_of_podcasts_get_headers():
    page = b"<html><body><cite>Ana:</cite><time>0:12</time><p>Hello.</p><cite>Bo:</cite><time>1:02:03</time><p>Hi.</p>"
    assert markdown(page) == "Ana (0:12):\n\nHello.\n\nBo (1:02:03):\n\nHi."


def test_a_title_cannot_bring_in_lines_of_its_own():
    page = b"<html><title>A\n\n# B\nJeff (00:01):\nbought</title><body><p>Words.</p></body></html>"
    assert markdown(page) == "# A # B Jeff (00:01): bought\n\nWords."
    assert markdown(b"<html><title>Not shown</title><body><h1>Shown</h1>Words.</body>") == "# Shown\n\nWords."


def test_html_in_its_own_encoding():
    assert markdown('<html><meta charset="windows-1252"><p>café “yes”</p>'.encode("cp1252")) == "café “yes”"
    assert markdown("\ufeff<html><p>naïve</p></html>".encode("utf-16-le")) == "naïve"


@pytest.mark.parametrize("page", [b"<html><body></body></html>", b"<!doctype html><script>x</script><img src=a>"])
def test_html_without_words(page: bytes):
    assert "without any visible words" in reason(page)


def test_html_nested_too_deep():
    assert "nested too deep" in reason(b"<html><body>" + b"<div>" * 30_000 + b"x")


def test_docx_keeps_headings_lists_and_tables():
    data = word(
        ("Title", "Tides"),
        ("Heading 1", "Why"),
        ("Normal", "Jane Doe (00:12): The moon & <I>."),
        ("List Bullet", "one"),
    )
    text = markdown(data)
    assert text.startswith("# Tides\n\n# Why\n\nJane Doe (00:12): The moon & <I>.\n\n- one\n\n|")
    assert "left" in text and "right" in text


def test_a_docx_that_inflates_a_thousandfold():
    bomb = repacked(word(("Normal", "x")), {"word/media/a.xml": b"0" * (40 * MIB)})
    assert len(bomb) * 500 < 40 * MIB
    assert reason(bomb, Limits(max_inflated_bytes=20 * MIB)) == "inflates to more than 20 MiB"


def test_a_docx_whose_directory_lies_about_sizes():
    data = repacked(word(("Normal", "x")), {"word/document.xml": b"<a>" + b"0" * 1000 + b"</a>"})
    lying = data.replace((1007).to_bytes(4, "little"), (7).to_bytes(4, "little"))
    assert lying != data
    assert "damaged DOCX" in reason(lying)


def test_a_docx_with_entities():
    laughs = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY f SYSTEM "file:///etc/passwd">]><x>&a;&f;</x>'
    for xml in (laughs, laughs.decode().encode("utf-16")):
        assert "XML document type" in reason(repacked(word(), {"word/document.xml": xml}))


def test_damaged_and_encrypted_word_files():
    data = word(("Normal", "x"))
    assert "damaged DOCX" in reason(data[: len(data) // 2])
    assert "damaged DOCX" in reason(repacked(data, {"word/document.xml": b"<w:document"}))
    assert "without a password" in reason(bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600)


def test_pdf_paragraphs_are_joined_and_page_furniture_goes():
    text = markdown(
        pdf(
            [
                "The Long Tide 1",
                "Harbours",
                "The water rises and falls twice on most days, and nobody in the",
                "harbour is sur-",
                "prised by it, not even the well-",
                "known heron.",
                "It waits.",
            ],
            ["The Long Tide 2", "Boats lie on the mud until the water lifts them up once more and", "they float."],
            ["The Long Tide 3", "So it goes on."],
        )
    )
    assert text.split("\n\n") == [
        "Harbours",
        "The water rises and falls twice on most days, and nobody in the harbour is surprised by it, not even the "
        "well-known heron.",
        "It waits.",
        "Boats lie on the mud until the water lifts them up once more and they float.",
        "So it goes on.",
    ]


def test_pdfs_that_cannot_be_read():
    assert reason(pdf([])) == "is a PDF with no text layer; run OCR first"
    assert "damaged PDF" in reason(b"%PDF-1.7 and then nothing")


def test_a_converter_that_takes_too_long_is_stopped():
    begin = time.monotonic()
    assert "more than 0.05 seconds" in reason(b"<html>" + b"<p>word</p>" * 300_000, Limits(max_seconds=0.05))
    assert time.monotonic() - begin < 5


def test_what_is_none_of_the_three():
    assert reason(b"plain words") == "is neither HTML, PDF nor DOCX"
