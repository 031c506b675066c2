"""What people read in a terminal: answers, passages and lists, wrapped and linked; plain lines when piped."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.style import Style
from rich.text import Text

from app.schemas import PassageOut

if TYPE_CHECKING:  # faiss and all that come with them are of no use to `--help`
    from app.answer import Answer
    from app.citations import Citation

WIDEST = 88
EXCERPT = 400
"""Characters of a passage that a list of results shows."""

LEAD_IN = 80
"""Characters shown before the first word that matches."""

_BOLD, _DIM = Style(bold=True), Style(dim=True)
_WORD = re.compile(r"\w+")
# A document may hold what a terminal would obey: escape sequences, and overrides of the direction of writing.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control characters, but tabs and line ends, made visible as U+FFFD."""
    return _CONTROLS.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The printable text with all white space folded."""
    return printable(" ".join(text.split()))


class Terminal:
    """Writes to standard output; as on paper where that is no terminal."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._width = min(self._console.width, WIDEST) if self._console.is_terminal else None

    def line(self, *parts: str | Text) -> None:
        """A line, never wrapped by us."""
        self._console.print(Text.assemble(*(printable(p) if isinstance(p, str) else p for p in parts)))

    def prose(self, text: str, indent: str = "") -> None:
        """Paragraphs, wrapped where there is a width to wrap to."""
        for paragraph in printable(text).splitlines() or [""]:
            if self._width is None:
                self.line(indent + paragraph)
            else:
                wrapped = textwrap.wrap(paragraph, self._width, initial_indent=indent, subsequent_indent=indent)
                self.line("\n".join(wrapped))

    def answer(self, answer: Answer) -> None:
        """The answer, then its citations; or what was found instead."""
        self.prose(answer.answer)
        if answer.degraded:
            self.line(Text(one_line(answer.degraded), _DIM))
        if answer.citations:
            self.line()
        for citation in answer.citations:
            self._citation(f"[{citation.marker}] ", citation)
        if answer.near_misses:
            self.line()
            self.line(Text("What was found instead", _BOLD))
        for citation in answer.near_misses:
            self._citation("- ", citation)
            self.prose(f"“{citation.quote}”", indent="  ")

    def _citation(self, marker: str, citation: Citation) -> None:
        who: list[str | Text] = []
        if citation.speaker:
            who.append(Text(one_line(citation.speaker), _BOLD))
            if citation.attribution == "inferred":
                who.append(Text(" (inferred)", _DIM))
            who.append(" · ")
        where = citation.timestamp or citation.locator
        if where:
            who.append(f"{one_line(where)} · ")
        indent = " " * len(marker)
        self._located([marker, *who], citation.source.title, citation.source.date, citation.url, indent)
        if citation.question:
            asker = f" by {one_line(citation.asked_by)}" if citation.asked_by else ""
            self.line(Text(f"{indent}asked{asker}: “{one_line(citation.question)}”", _DIM))

    def _located(
        self, before: Sequence[str | Text], title: str, date: str | None, url: str | None, indent: str
    ) -> None:
        """A line that ends in a source: its title is the link in a terminal, else the address has its own line."""
        linked = url if self._width is not None else None
        after = f" · {one_line(date)}" if date else ""
        self.line(*before, Text(one_line(title), Style(link=linked)), after)
        if url and not linked:
            self.line(indent + url)

    def passages(self, query: str, passages: Iterable[PassageOut]) -> None:
        """Ranked passages, each with the part of it that holds most words of the query."""
        for passage in passages:
            who = one_line(", ".join(passage.speakers))
            where = one_line(passage.timestamp or passage.locator or "")
            before = [
                Text(f"{passage.rank:>2}. "),
                Text(who, _BOLD),
                " · " if who else "",
                f"{where} · " if where else "",
            ]
            self._located(before, passage.source.title, passage.source.date, passage.url, "    ")
            self.prose(_excerpt(passage.text, query), indent="    ")

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> None:
        """A table in a terminal; else a line a row, with tabs between and no headings, as other programs want it."""
        cells = [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]
        if self._width is None:
            # Past rich, which would make spaces of the tabs.
            sys.stdout.writelines("\t".join(row) + "\n" for row in cells)
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, show_header=any(headings))
        for number, heading in enumerate(headings):
            table.add_column(heading, no_wrap=number == 0)  # what names a row is there to be copied
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        self._console.print(table, soft_wrap=False)


def _excerpt(text: str, query: str) -> str:
    """Up to `EXCERPT` characters of a text, whole words, from a little before the words of the query on."""
    wanted = {word.casefold() for word in _WORD.findall(query)}
    found = [match.start() for match in _WORD.finditer(text) if match.group().casefold() in wanted]
    densest = max(found, key=lambda start: sum(start <= other < start + EXCERPT for other in found), default=0)
    begin = text.find(" ", densest - LEAD_IN, densest) + 1 if densest > LEAD_IN else 0
    return ("… " if begin else "") + textwrap.shorten(text[begin:], EXCERPT, placeholder=" …")


@contextmanager
def progress_bar(label: str) -> Generator[Callable[[int, int], None]]:
    """A function that takes (done, total) and shows rate and time left on standard error, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f}/s" if task.speed else "")

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
