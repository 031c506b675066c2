"""What goes in and out over HTTP, and with `--json`: the shapes, and how our own records become them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from ingest.links import deep_link
from ingest.model import Attribution, Kind, Source, Turn, format_timestamp

if TYPE_CHECKING:  # faiss and all that come with them are of no use to `--help`
    from index.search import Hit
    from index.store import Store

MAX_TEXT = 4000
MAX_NAME = 200
MAX_TOP_K = 100
MAX_FIELDS = 100


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be blank")
    return text


def whole(number: object) -> object:
    """JSON knows one kind of number: 8.0 is as whole as 8."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


# A pattern of pydantic's own would refuse in its own words.
_NOT_BLANK = (AfterValidator(_not_blank), Field(json_schema_extra={"pattern": r"^\s*\S[\s\S]*$"}))
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT), *_NOT_BLANK]
Name = Annotated[str, StringConstraints(max_length=MAX_NAME), *_NOT_BLANK]
TopK = Annotated[int, Field(ge=1, le=MAX_TOP_K, description="number of passages"), BeforeValidator(whole)]


class Body(BaseModel):
    """What comes in. Of a flood of wrong fields one fault is told: to write down each would keep all others waiting."""

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, given: object) -> object:
        if isinstance(given, dict) and len(cast(dict[object, object], given)) > MAX_FIELDS:
            raise ValueError(f"has more than {MAX_FIELDS} fields")
        return cast(object, given)


class _Request(Body):
    model_config = ConfigDict(extra="forbid", strict=True)

    top_k: TopK = 8
    speaker: Name | None = Field(None, description="only this person's words; a name or an alias")
    source: Name | None = Field(None, description="only this source; an id from /v1/sources")


class SearchRequest(_Request):
    """A search."""

    query: Text


class AskRequest(_Request):
    """A question."""

    question: Text
    conversation_id: Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME)] | None = Field(
        None, description="of an earlier answer, for a question that follows from it"
    )
    stream: bool = Field(False, description="Server-Sent Events instead of one JSON document")


class _Response(BaseModel):
    """Filled from the record of the same field names."""

    model_config = ConfigDict(from_attributes=True)


class SourceOut(_Response):
    """A document of the corpus."""

    id: str
    title: str
    kind: Kind
    url: str | None
    date: str | None


class ListedSource(SourceOut):
    """A document with who speaks in it and how much there is of it."""

    speakers: list[str]
    turns: int
    passages: int


class SourcesResponse(_Response):
    """All documents."""

    sources: list[ListedSource]


class TurnOut(_Response):
    """A turn; `index` is its position in the source."""

    index: int
    speaker: str | None
    start: float | None
    end: float | None
    timestamp: str | None
    locator: str | None
    url: str | None
    text: str


class SourceResponse(_Response):
    """A document, or a window of it."""

    source: ListedSource
    turns: list[TurnOut]


class SpeakerOut(_Response):
    """Somebody who speaks; `sources` are ids."""

    name: str
    aliases: list[str]
    turns: int
    sources: list[str]


class SpeakersResponse(_Response):
    """All who speak."""

    speakers: list[SpeakerOut]


class SpokenOut(_Response):
    """The words of one turn that belong to a passage."""

    speaker: str | None
    start: float | None
    end: float | None
    text: str


class PassageOut(_Response):
    """A passage found; its start, timestamp, locator and url are those of its first words."""

    id: str
    rank: int
    score: float
    text: str
    speakers: list[str]
    start: float | None
    end: float | None
    timestamp: str | None
    locator: str | None
    url: str | None
    source: SourceOut
    turns: list[SpokenOut]


class SearchResponse(_Response):
    """Passages, best first."""

    query: str
    took_ms: float
    passages: list[PassageOut]


class CitationOut(_Response):
    """Somebody's words, where they stand, and when they were said."""

    marker: int
    quote: str
    speaker: str | None
    attribution: Attribution
    start: float | None
    end: float | None
    timestamp: str | None
    locator: str | None
    url: str | None
    passage_id: str
    source: SourceOut
    turn: int
    offset: int
    question: str | None
    asked_by: str | None


class PassagesEvent(BaseModel):
    """The event `passages`: what the answer is looked for in, best first, and the ids that the answer will have."""

    id: str
    conversation_id: str
    passages: list[PassageOut]


class TokenEvent(BaseModel):
    """The event `token`: the next piece of the text."""

    text: str


class ReadingOut(_Response):
    """How a question was understood, where that took a guess."""

    question: str
    speaker: str | None


class AskResponse(_Response):
    """An answer: each `[n]` in it has one citation, each citation an `[n]`."""

    id: str
    status: Literal["answered", "no_answer"]
    answer: str
    conversation_id: str
    citations: list[CitationOut]
    answerer: Literal["quotes", "llm"]
    model: str | None
    degraded: str | None
    took_ms: float
    near_misses: list[CitationOut]
    reading: ReadingOut | None
    confidence: float


def passage_out(hit: Hit) -> PassageOut:
    """A hit as it is shown: each of its words under its own speaker and time."""
    spoken = [_spoken_out(hit.turns[s.turn], s.begin, s.end) for s in hit.passage.spans]
    opening = hit.passage.spans[0]
    start = hit.start
    return PassageOut(
        id=hit.passage.id,
        rank=hit.rank,
        score=hit.score,
        text="\n".join(each.text for each in spoken),
        speakers=hit.speakers(),
        start=start,
        end=hit.end,
        timestamp=None if start is None else format_timestamp(start),
        locator=hit.turns[opening.turn].locator_at(opening.begin),
        url=deep_link(hit.source.url, start),
        source=SourceOut.model_validate(hit.source),
        turns=spoken,
    )


def _spoken_out(turn: Turn, begin: int, end: int) -> SpokenOut:
    return SpokenOut(
        speaker=turn.speaker,
        start=turn.cue_at(begin).start,
        end=turn.end_at(begin, end),
        text=turn.text[begin:end],
    )


def turns_out(turns: Sequence[Turn], indices: Iterable[int], url: str | None = None) -> list[TurnOut]:
    """Turns, each with its index, and with the moment it begins in the recording at `url`."""
    return [
        TurnOut(
            index=index,
            speaker=turn.speaker,
            start=turn.start,
            end=turn.end,
            timestamp=None if turn.start is None else format_timestamp(turn.start),
            locator=turn.locator_at(0),
            url=deep_link(url, turn.start),
            text=turn.text,
        )
        for index, turn in zip(indices, turns, strict=True)
    ]


def list_sources(store: Store) -> list[ListedSource]:
    """All documents, in the order of their ids."""
    counts = store.source_counts()
    speaking: dict[str, list[str]] = {}
    for speaker, source_id, _ in store.speaker_counts():
        speaking.setdefault(source_id, []).append(speaker)
    return [_listed(source, speaking.get(source.id, []), counts[source.id]) for source in store.sources()]


def list_source(store: Store, source_id: str) -> ListedSource | None:
    """One document as `list_sources` lists it."""
    source = store.source(source_id)
    if source is None:
        return None
    return _listed(source, [speaker.name for speaker in store.speakers(source_id)], store.source_counts()[source_id])


def _listed(source: Source, speakers: list[str], counts: tuple[int, int]) -> ListedSource:
    return ListedSource(
        id=source.id,
        title=source.title,
        kind=source.kind,
        url=source.url,
        date=source.date,
        speakers=speakers,
        turns=counts[0],
        passages=counts[1],
    )


def list_speakers(store: Store) -> list[SpeakerOut]:
    """All who speak, by name."""
    turns: dict[str, int] = {}
    sources: dict[str, list[str]] = {}
    for name, source_id, count in store.speaker_counts():
        turns[name] = turns.get(name, 0) + count
        sources.setdefault(name, []).append(source_id)
    return [
        SpeakerOut(
            name=speaker.name,
            aliases=list(speaker.aliases),
            turns=turns.get(speaker.name, 0),
            sources=sources.get(speaker.name, []),
        )
        for speaker in store.speakers()
    ]
