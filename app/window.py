"""A source and its turns, or a window of them, between two moments or two turns."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.errors import UnknownFilterError
from app.problems import FieldError
from app.schemas import SourceResponse, list_source, turns_out
from index.store import Store
from ingest.model import Turn


def read_window(
    store: Store,
    source_id: str,
    *,
    start: float | None = None,
    end: float | None = None,
    first: int | None = None,
    last: int | None = None,
) -> SourceResponse:
    """The turns of which something is said from `start` to `end` (seconds), or those from `first` to `last` (indices).

    Both ends are included. Raises UnknownFilterError where there is no such source, and FieldError for ends that are
    out of order, of both kinds, or of a clock that the source does not have.
    """
    by_clock, by_index = (start, end) != (None, None), (first, last) != (None, None)
    if by_clock and by_index:
        raise FieldError("first" if first is not None else "last", "cannot be combined with start or end")
    if start is not None and end is not None and end < start:
        raise FieldError("end", "must not be before start")
    if first is not None and last is not None and last < first:
        raise FieldError("last", "must not be before first")
    listed = list_source(store, source_id)
    if listed is None:
        raise UnknownFilterError("source", f"there is no source {source_id!r}")
    turns = store.turns(source_id, first or 0, last)
    if not by_clock:
        indices = range(first or 0, (first or 0) + len(turns))
        return SourceResponse(source=listed, turns=turns_out(turns, indices, listed.url))
    if all(turn.start is None for turn in turns):
        raise FieldError("start" if start is not None else "end", "this source has no clock; use first and last")
    spoken = _spoken_between(turns, start or 0.0, math.inf if end is None else end)
    return SourceResponse(source=listed, turns=turns_out([turns[i] for i in spoken], spoken, listed.url))


def _spoken_between(turns: Sequence[Turn], start: float, end: float) -> list[int]:
    """The indices of the turns of which something is said from `start` to `end`.

    A turn without an end lasts at least to its last cue; a turn without a clock is never among them.
    """
    spoken: list[int] = []
    for i, turn in enumerate(turns):
        starts = [cue.start for cue in turn.cues if cue.start is not None]
        if starts and min(starts) <= end and max(*starts, turn.end or 0.0) >= start:
            spoken.append(i)
    return spoken
