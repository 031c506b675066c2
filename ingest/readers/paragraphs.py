"""Prose, in Markdown or plain, as paragraphs: list items, block quotes, wrapped lines and markers told from words."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from ingest.readers.prose import ends_sentence, is_wrapped
from ingest.turns import fold

Role = Literal["text", "item", "quote", "heading"]

_HEADING = re.compile(r"(?P<marks>#{1,6})[ \t]+(?P<words>.*?)[ \t]*#*")
_ITEM = re.compile(r"(?:[-*+•‣◦▪●]|\d{1,3}[.)])[ \t]+(?:\[[ xX]\][ \t]+)?(?P<words>\S.*)")
_RULE = re.compile(r"(?:[-–—=_*·•~][ \t]*)+")
_TABLE_RULE = re.compile(r"\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?")
_UNDERLINE = {"=": 1, "-": 2}
_UNDERLINE_SLACK = 5
_IMAGE = re.compile(r"!\[[^\[\]]*\]\([^()]*\)")
_LINK = re.compile(r"\[(?P<words>[^\[\]]+)\]\([^()]*\)")
_WIKI_LINK = re.compile(r"\[\[(?P<words>[^\[\]|]+)(?:\|[^\[\]]*)?\]\]")
_EMPHASIS = re.compile(r"(?<![\w*])(?P<mark>\*{1,3})(?=[^\s*])(?P<words>[^*]*[^\s*])(?P=mark)(?![\w*])")
_UNDERSCORES = re.compile(r"(?<![\w_])(?P<mark>_{1,3})(?=[^\s_])(?P<words>[^_]*[^\s_])(?P=mark)(?![\w_])")
_CODE = re.compile(r"`(?P<words>[^`]+)`")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Folded words without their markers. `level` is 1 to 6 for a marked heading, else 0; `line` is 1-based."""

    line: int
    text: str
    role: Role = "text"
    level: int = 0
    blank_above: bool = True
    blank_below: bool = True
    is_bold: bool = False


def without_markup(text: str) -> str:
    """The words of Markdown text: emphasis, code marks and link targets are taken away, images dropped."""
    for pattern, words in ((_IMAGE, ""), (_WIKI_LINK, r"\g<words>"), (_LINK, r"\g<words>")):
        text = pattern.sub(words, text)
    for pattern in (_EMPHASIS, _UNDERSCORES, _CODE):
        text = pattern.sub(r"\g<words>", text)
    return text


def paragraphs(text: str) -> list[Paragraph]:
    """The paragraphs of the text; rules and fences are left out.

    A paragraph is one line, unless the line breaks off only because the file is hard-wrapped: then all its lines.
    """
    lines = text.split("\n")
    widths = _block_widths(lines)
    found: list[Paragraph] = []
    parts: list[list[str]] = []
    joins = is_below_item = False
    for i, raw in enumerate(lines):
        line = raw.strip()
        if not line:
            joins = is_below_item = False
            continue
        if _is_mark(line):
            if line[0] in _UNDERLINE and _is_underlined(found, line, lines, i):
                found[-1] = replace(found[-1], role="heading", level=_UNDERLINE[line[0]])
            joins = is_below_item = False
            continue
        paragraph = _paragraph(i + 1, line, lines, i)
        continues = joins and paragraph.role == "text"
        indented = is_below_item and paragraph.role == "text" and raw[0] in " \t"
        if continues or indented or (joins and paragraph.role == found[-1].role == "quote"):
            parts[-1].append(paragraph.text)
            found[-1] = replace(found[-1], blank_below=paragraph.blank_below)
        elif paragraph.text:
            found.append(paragraph)
            parts.append([paragraph.text])
        is_below_item = bool(found) and found[-1].role == "item"
        following = lines[i + 1].strip() if i + 1 < len(lines) else ""
        joins = paragraph.role != "heading" and is_wrapped(line, following.lstrip("> "), widths[i])
    texts = (" ".join(lines) for lines in parts)
    clean = (
        replace(paragraph, text=fold(without_markup(text)), is_bold=_is_bold(text))
        for paragraph, text in zip(found, texts, strict=True)
    )
    return [paragraph for paragraph in clean if paragraph.text]


def _block_widths(lines: list[str]) -> list[int]:
    """For each line the width of the widest line of its block; blocks stand between blank lines."""
    widths = [0] * len(lines)
    begin = 0
    for end in range(len(lines) + 1):
        if end == len(lines) or not lines[end].strip():
            widest = max((len(line.strip()) for line in lines[begin:end]), default=0)
            widths[begin:end] = [widest] * (end - begin)
            begin = end + 1
    return widths


def _is_mark(line: str) -> bool:
    return line.startswith(("```", "~~~")) or (
        not line[0].isalnum() and (_RULE.fullmatch(line) is not None or _TABLE_RULE.fullmatch(line) is not None)
    )


def _is_underlined(found: list[Paragraph], line: str, lines: list[str], i: int) -> bool:
    """Whether the rule on line `i` makes a heading of the line above, as Markdown's setext headings do."""
    if len(line) < 3 or not found or found[-1].role != "text" or i == 0 or not lines[i - 1].strip():
        return False
    if ends_sentence(found[-1].text) or (len(line) > 3 and abs(len(line) - len(found[-1].text)) > _UNDERLINE_SLACK):
        return False
    return i < 2 or not lines[i - 2].strip()


def _paragraph(number: int, line: str, lines: list[str], i: int) -> Paragraph:
    blank_above = i == 0 or not lines[i - 1].strip()
    blank_below = i + 1 == len(lines) or not lines[i + 1].strip()
    role: Role = "text"
    level = 0
    if heading := _HEADING.fullmatch(line):
        role, level, line = "heading", len(heading["marks"]), heading["words"]
    elif line.startswith(">"):
        role, line = "quote", line.lstrip("> ")
    elif item := _ITEM.fullmatch(line):
        role, line = "item", item["words"]
    elif line.startswith("|") and line.endswith("|"):
        line = line.strip("| ")
    return Paragraph(number, line, role, level, blank_above, blank_below)


def _is_bold(text: str) -> bool:
    return len(text) > 4 and text[:2] in ("**", "__") and text.endswith(text[:2]) and text.count(text[:2]) == 2
