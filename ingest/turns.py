"""Timed pieces -> turns: pieces of one speaker are joined, and a back-channel does not tear a turn apart."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby

from ingest.model import Cue, Turn, format_timestamp

Flaw = tuple[int | None, str]
"""Line and reason of what is wrong with a file that can be read all the same."""

MAX_BACK_CHANNEL_WORDS = 3

_SOUNDS = (
    "mm hmm|mm hm|mmhmm|mmhm|mhmm|mhm|mm|mmm|hm|hmm|uh huh|uhhuh|uh hm|aha|huh|yeah|yea|yep|yup|yes|right|"
    "ok|okay|kay|sure|oh|ah|wow|i see|gotcha|got it|exactly"
)
_BACK_CHANNEL = re.compile(rf"(?:{_SOUNDS})(?: (?:{_SOUNDS}))*")
_NOT_WORDS = re.compile(r"[\W_]+")
_QUESTION = re.compile(r"[?？؟][\"'”’»)\]]*$")


@dataclass(frozen=True, slots=True)
class Piece:
    """One cue, segment or block as it stands in the file. Times are seconds, `line` is 1-based."""

    speaker: str | None
    text: str
    start: float | None = None
    end: float | None = None
    line: int | None = None
    heading: tuple[str, ...] = ()


@dataclass(slots=True)
class _Numbered:
    position: int
    piece: Piece


@dataclass(slots=True)
class _Run:
    """Consecutive pieces of one speaker under one heading."""

    speaker: str | None
    heading: tuple[str, ...]
    pieces: list[_Numbered] = field(default_factory=list[_Numbered])


def fold(text: str) -> str:
    """The text with every run of white space made one space."""
    return " ".join(text.split())


def is_back_channel(text: str) -> bool:
    """Whether somebody only lets the speaker know that they listen: `Mm-hm.`, `Yeah, okay.`"""
    # Longer texts need not be looked at: three of these words are never so long.
    if len(text) > 40 or len(text.split()) > MAX_BACK_CHANNEL_WORDS:
        return False
    return _BACK_CHANNEL.fullmatch(_NOT_WORDS.sub(" ", text.casefold()).strip()) is not None


def settle_clocks(pieces: Iterable[Piece]) -> tuple[list[Piece], tuple[Flaw, ...]]:
    """The pieces with impossible ends dropped, and warnings: one for each such end, one for the first start that runs
    backwards. Starts are kept as the file has them."""
    settled: list[Piece] = []
    warnings: list[Flaw] = []
    latest, backwards = 0.0, False
    for piece in pieces:
        start, end = piece.start, piece.end
        if start is not None and end is not None and end < start:
            warnings.append(
                (piece.line, f"what starts at {format_timestamp(start)} ends before it: its end is dropped")
            )
            piece = replace(piece, end=None)
        if start is not None and start < latest and not backwards:
            backwards = True
            reason = f"the clock runs backwards, from {format_timestamp(latest)} to {format_timestamp(start)}"
            warnings.append((piece.line, reason))
        latest = start if start is not None else latest
        settled.append(piece)
    # Two voices of one cue share its clock, and its flaw.
    return settled, tuple(dict.fromkeys(warnings))


def join_pieces(pieces: Iterable[Piece]) -> tuple[Turn, ...]:
    """Turns in the order they begin, each with a cue for every piece it was joined from.

    White space is folded and pieces without words are dropped. Consecutive pieces of one speaker (or of nobody known)
    under one heading are one turn. Back-channels between two pieces of a named speaker follow his turn as turns of
    their own, unless they answer a question of his.
    """
    turns: list[_Run] = []
    speaking: _Run | None = None
    heard: list[_Run] = []
    for run in _runs(pieces):
        if speaking is not None and _goes_on(run, speaking):
            speaking.pieces.extend(run.pieces)
        elif speaking is not None and _only_listens(run, speaking):
            heard.append(run)
            continue
        else:
            turns.extend(heard)
            heard = []
            speaking = run
            turns.append(run)
    turns.extend(heard)
    return tuple(_turn(run) for run in sorted(turns, key=lambda run: run.pieces[0].position))


def _runs(pieces: Iterable[Piece]) -> list[_Run]:
    with_words = (replace(piece, text=fold(piece.text)) for piece in pieces)
    numbered = [_Numbered(n, piece) for n, piece in enumerate(piece for piece in with_words if piece.text)]
    grouped = groupby(numbered, key=lambda each: (each.piece.speaker, each.piece.heading, _stands_apart(each.piece)))
    return [_Run(speaker, heading, list(group)) for (speaker, heading, _), group in grouped]


def _stands_apart(piece: Piece) -> bool:
    """Whether the words have neither speaker nor clock: a description above the conversation, say."""
    return piece.speaker is None and piece.start is None


def _goes_on(run: _Run, speaking: _Run) -> bool:
    return run.speaker is not None and (run.speaker, run.heading) == (speaking.speaker, speaking.heading)


def _only_listens(run: _Run, speaking: _Run) -> bool:
    if speaking.speaker is None or run.heading != speaking.heading or len(run.pieces) > MAX_BACK_CHANNEL_WORDS:
        return False
    asked = _QUESTION.search(speaking.pieces[-1].piece.text[-8:]) is not None
    return not asked and is_back_channel(" ".join(each.piece.text for each in run.pieces))


def _turn(run: _Run) -> Turn:
    cues: list[Cue] = []
    offset = 0
    for each in run.pieces:
        piece = each.piece
        cues.append(Cue(each.position, offset, piece.start, piece.end, piece.line))
        offset += len(piece.text) + 1
    return Turn(run.speaker, " ".join(each.piece.text for each in run.pieces), tuple(cues), heading=run.heading)
