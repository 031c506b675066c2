"""One document of each format, with an address wherever one could be looked up: what fuzzing begins with, too."""

from __future__ import annotations

import io
import json
import zipfile

from docx import Document

_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
WORDS = "We threw the manuals away."


def documents(address: str) -> dict[str, bytes]:
    """Files by name; each says WORDS, and gives `address` (`http://…`) in every way that its format has."""
    return {
        "page.html": _page(address),
        "strict.html": _strict_page(address),
        "paper.pdf": pdf_document(address),
        "letter.docx": word_document(address),
        "talk.md": _talk(address),
        "talk.meta.yaml": f"title: Talk\nurl: {address}/sidecar\npeople: [{{name: Ann Lee}}]\n".encode(),
        "talk.vtt": f"WEBVTT\n\nSTYLE\n@import url({address}/vtt);\n\n00:01.000 --> 00:02.000\n<v A>{WORDS}\n".encode(),
        "talk.json": _podcast(address),
    }


def _page(address: str) -> bytes:
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "{address}/page.dtd">
<html manifest="{address}/manifest" xmlns:xi="http://www.w3.org/2001/XInclude"><head><base href="{address}/base/">
<title>Page</title>
<link rel="stylesheet" href="{address}/style"><link rel="preload" as="image" href="{address}/preload">
<link rel="dns-prefetch" href="{address}"><meta http-equiv="refresh" content="0;url={address}/refresh">
<style>@import url({address}/import); p {{ background: url({address}/background) }}</style>
<script src="{address}/script"></script><script>fetch("{address}/fetch")</script></head>
<body background="{address}/body"><p>{WORDS}</p><img src="{address}/img" srcset="{address}/srcset 2x">
<iframe src="{address}/iframe"></iframe><object data="{address}/object"></object><embed src="{address}/embed">
<video poster="{address}/poster"><source src="{address}/video"></video><audio src="{address}/audio"></audio>
<a href="{address}/a" ping="{address}/ping">x</a><form action="{address}/form"></form><xi:include href="{address}/xi"/>
<svg><image href="{address}/svg"/><use href="{address}/use#x"/></svg><img src="file:///etc/passwd"></body></html>""".encode()


def _strict_page(address: str) -> bytes:
    return f"""<?xml version="1.0"?><?xml-stylesheet href="{address}/xslt" type="text/xsl"?>
<!DOCTYPE html [<!ENTITY out SYSTEM "{address}/entity"><!ENTITY % all SYSTEM "{address}/parameter"> %all;]>
<html><body><p>{WORDS} &out;</p></body></html>""".encode()


def word_document(address: str) -> bytes:
    """Its text, and relations to a picture, a template, a frame and an object at the address."""
    document = Document()
    document.add_paragraph(WORDS)
    part = document.part
    for kind in ("hyperlink", "image", "attachedTemplate", "frame", "oleObject", "subDocument", "aFChunk"):
        part.relate_to(f"{address}/{kind}", f"{_OFFICE}/relationships/{kind}", is_external=True)
    pictures = [
        part.relate_to(each, f"{_OFFICE}/relationships/image", is_external=True)
        for each in (f"{address}/linked", "file:///etc/passwd", "/etc/passwd")
    ]
    saved = io.BytesIO()
    document.save(saved)
    blip = f'<a:blip xmlns:a="{_DRAWING}" r:link="%s"/>'
    drawn = "".join(f"<w:p><w:r><w:drawing>{blip % each}</w:drawing></w:r></w:p>" for each in pictures)
    changed = io.BytesIO()
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "word/document.xml":
                content = content.replace(b"<w:sectPr", drawn.encode() + b"<w:sectPr", 1)
            new.writestr(name, content)
    return changed.getvalue()


def pdf_document(address: str) -> bytes:
    """A page that opens the address, sends a form to it, starts it, and refers to a file there."""
    url = address.encode()
    content = b"BT /F1 12 Tf 72 760 Td (" + WORDS.encode() + b") Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R /OpenAction 6 0 R /AcroForm << /XFA (" + url + b"/xfa) >>"
        b" /URI << /Base (" + url + b") >> >>",
        b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Annots [7 0 R]"
        b' /AA << /O << /S /JavaScript /JS (app.launchURL\\("' + url + b'/js"\\)) >> >>'
        b" /Resources << /Font << /F1 5 0 R >> /XObject << /X 8 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /S /URI /URI ("
        + url
        + b"/open) /Next << /S /GoToR /F << /FS /URL /F ("
        + url
        + b"/remote) >> /D [0 /Fit] >> >>",
        b"<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << /S /SubmitForm /F (" + url + b"/form) >> >>",
        b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /F << /FS /URL /F (" + url + b"/image) >> /Length 0 >>\n"
        b"stream\n\nendstream",
    ]
    out, offsets = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"xref\n0 %d\n%strailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF"
    return out + end % (len(objects) + 1, table, len(objects) + 1, len(out))


def _talk(address: str) -> bytes:
    return f"""---
title: Talk
youtube_url: {address}/front
---
![a]({address}/image) <img src="{address}/inline">

Ann Lee (00:01):
{WORDS} [see]({address}/link) {address}/bare
""".encode()


def _podcast(address: str) -> bytes:
    segment = {"speaker": "Ann Lee", "startTime": 1, "endTime": 2, "body": f"{WORDS} {address}/body"}
    document = {"version": "1.0.0", "$schema": f"{address}/schema", "$ref": f"{address}/ref", "segments": [segment]}
    return json.dumps(document).encode()
