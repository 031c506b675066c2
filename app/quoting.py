"""The quotes answerer: what a question finds, whether that answers it, and the answer in verbatim quotations."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from app import logs
from app.citations import Citation
from app.confidence import SpeakerSigns, TopicSigns, confidence, speaker_signs, topic_signs
from app.errors import UnknownFilterError
from app.markup import inert
from app.question import Question, resolve_speaker, understand
from app.quotes import Scored, Topic, candidates, choose_quotes, score_sentences
from app.settings import Settings
from app.stages import stage
from index.search import Hit, Index
from ingest.model import format_timestamp
from ingest.speakers import Speaker, bare_name

_log = structlog.get_logger()

Status = Literal["answered", "no_answer"]

EVIDENCE_HITS = 30
"""Passages that are looked at to judge whether the corpus answers at all."""
NEAR_MISS_SIMILARITY = 0.35
NEAR_MISSES = 3
NO_TOPIC = "Ask about something: a topic, a name, a word that was said."
SHOWN_TITLES = 8
STRETCHES = 3
STRETCH_GAP = 2
"""Passages at most this far apart belong to one stretch of talk."""
UNKNOWN_FACTOR = 0.7
"""What is left of the confidence where the question asks for somebody whom no label names."""

_DOCUMENTS = r"(?:episodes?|documents?|sources?|transcripts?|podcasts?|files?|meetings?|interviews?|notes)"
_ABOUT_CORPUS = re.compile(
    rf"\s*(?:(?:which|what|how many)\s+(?:other\s+)?{_DOCUMENTS}\s+"
    r"(?:do you (?:have|hold|know)|are there|are here|have you(?: got)?|can i ask(?: about)?|are available)"
    rf"|(?:list|show)\s+(?:me\s+)?(?:(?:all|the|your)\s+)*{_DOCUMENTS}"
    r"|what (?:do you know about|can i ask(?: you)?(?: about)?|is in this (?:corpus|collection|archive)))\W*$",
    re.IGNORECASE,
)
_ABOUT_STRETCH = re.compile(
    r"\s*(?:please\s+)?(?:summari[sz]e|recap|what (?:was|were) (?:said|discussed|the discussions?)"
    r"|what did (?:they|we|the (?:group|team|others)) (?:discuss|talk))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for a question: the sentences that may be quoted, best first, and signs of how good they are.

    `hits` are the passages they stand in. `others` are the best sentences whoever says them; they differ where a person
    is asked for.
    """

    hits: Sequence[Hit]
    scored: Sequence[Scored]
    others: Sequence[Scored]
    topic_signs: TopicSigns
    speaker_signs: SpeakerSigns | None

    @property
    def confidence(self) -> float:
        """0 to 1, higher is surer that the corpus answers."""
        return confidence(self.topic_signs, self.speaker_signs)


@dataclass(frozen=True, slots=True)
class Reading:
    """How a question was understood, where that took a guess."""

    question: str
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Quoted:
    """An answer in quotations, and what it was made of.

    `wanted` are the canonical names of those whose words were looked for; where empty, everybody's.
    `evidence` is null where nothing was searched for: the question was about the collection, or about nothing.
    """

    asked: Question
    wanted: tuple[str, ...]
    status: Status
    text: str
    citations: tuple[Citation, ...] = ()
    near_misses: tuple[Citation, ...] = ()
    reading: Reading | None = None
    confidence: float = 0.0
    evidence: Evidence | None = None


def refuse(index: Index, quoted: Quoted, source: str | None) -> Quoted:
    """What is said where the words found turn out not to answer: they become what was found instead."""
    near = quoted.citations[:NEAR_MISSES]
    text = _nothing(index, quoted.asked, quoted.wanted, source) + _found("What comes nearest:", near)
    sure = round(quoted.confidence / 2, 4)
    return replace(quoted, status="no_answer", text=text, citations=(), near_misses=near, confidence=sure)


@stage("quote")
def quote(
    index: Index,
    settings: Settings,
    question: str,
    *,
    top_k: int = 8,
    speaker: str | None = None,
    source: str | None = None,
) -> Quoted:
    """Answers from the documents alone, in quotations.

    `speaker` and `source` limit what is searched; `top_k` (1 to 100) is the number of passages that may be quoted.
    Raises UnknownFilterError where the index holds no such speaker or source.
    """
    asked = understand(question, known_speakers(index, source))
    if _ABOUT_CORPUS.match(question):
        return Quoted(asked, (), "answered", _holdings(index, source), confidence=1.0)
    wanted = asked.asked.speakers if asked.asked else ()
    if speaker is not None:
        wanted = filter_speaker(index, speaker)
    if not asked.topic and not wanted:
        return Quoted(asked, (), "no_answer", f"{NO_TOPIC}\n{_holdings(index, source)}")
    reading, lines = _reading(index, asked) if speaker is None else (None, [])
    evidence = gather(index, asked, wanted, top_k, source)
    # Whoever asks what somebody said, and about nothing in particular, is answered if that person speaks at all.
    sure = evidence.confidence if asked.topic else float(bool(evidence.scored))
    if speaker is None and asked.asked and not asked.asked.says and sure < settings.min_confidence:
        # Not what somebody said but what he did: others may tell it.
        wanted = ()
        evidence = gather(index, Question(question, question), wanted, top_k, source)
        sure = evidence.confidence
    if asked.unknown:
        sure *= UNKNOWN_FACTOR
    citations: tuple[Citation, ...] = ()
    near: tuple[Citation, ...] = ()
    if sure >= settings.min_confidence and not asked.stranger:
        citations = _quotes_of_each(index, evidence.scored, wanted, settings.max_quotes)
    if citations:
        if _ABOUT_STRETCH.match(question):
            lines += _stretches(evidence.hits)
        lines += _quoted(citations, asked)
    else:
        mentions = _mentions(index, asked.unknown, source) if asked.unknown else ()
        near = mentions or _near_misses(evidence)
        found = _found("Mentioned by" if mentions else "What comes nearest:", near)
        lines.append(_nothing(index, asked, wanted, source) + found)
    return Quoted(
        asked,
        tuple(wanted),
        "answered" if citations else "no_answer",
        "\n".join(lines),
        citations=citations,
        near_misses=near,
        reading=reading,
        confidence=round(sure, 4),
        evidence=evidence,
    )


def _people(index: Index, names: Sequence[str]) -> list[list[str]]:
    """The canonical names put together by person, since labels differ within one document.

    Namesakes, whom sidecars list under one alias, are not put together.
    """
    people: dict[str, list[str]] = {}
    aliases = {speaker.name: speaker.aliases for speaker in index.store.speakers()} if len(names) > 1 else {}
    for name in names:
        bare = bare_name(name)
        namesake = bare in map(bare_name, aliases.get(name, ()))
        people.setdefault(name if namesake else bare, []).append(name)
    return list(people.values())


def _quotes_of_each(index: Index, scored: Sequence[Scored], wanted: Sequence[str], limit: int) -> tuple[Citation, ...]:
    """The best quotations; where several people are asked for, as many of each."""
    people = _people(index, wanted)
    if len(people) < 2:
        return tuple(choose_quotes(scored, limit))
    each = max(1, limit // len(people))
    chosen = [
        citation for names in people for citation in choose_quotes([s for s in scored if s.speaker in names], each)
    ]
    return tuple(citation.numbered(marker) for marker, citation in enumerate(chosen[:limit], start=1))


def _reading(index: Index, asked: Question) -> tuple[Reading | None, list[str]]:
    """How the person asked for was understood, and a line that says so, where that is not what the words say."""
    mention = asked.asked
    if mention is None:
        return None, []
    several = len(_people(index, mention.speakers)) > mention.people
    words = set(bare_name(mention.text).split())
    named = all(words <= set(bare_name(name).split()) for name in mention.speakers)
    if mention.certain and not several and (named or mention.people > 1):
        return None, []
    names = " or ".join(mention.speakers)
    line = f"“{mention.text}” may be {names}." if several else f"Reading “{mention.text}” as {names}."
    return Reading(asked.text, names), [inert(line)]


def search(
    index: Index, query: str, *, top_k: int = 8, speaker: str | None = None, source: str | None = None
) -> list[Hit]:
    """The passages for a query, best first; whoever the query asks for counts for more.

    Raises UnknownFilterError where the index holds no such speaker or source.
    """
    asked = understand(query, known_speakers(index, source)).asked
    speakers = () if speaker is None else filter_speaker(index, speaker)
    favoured = asked.speakers if asked else ()
    if told := logs.asked(query):
        _log.info("search", **told)
    with stage("retrieve"):
        return index.search(query, index.vector(query), top_k, speakers=speakers, source_id=source, favoured=favoured)


def known_speakers(index: Index, source: str | None) -> Sequence[Speaker]:
    """Those who speak in the corpus, or in one source of it. Raises UnknownFilterError for an unknown source."""
    filter_source(index, source)
    return index.store.speakers(filter_source(index, source))


def filter_source(index: Index, source: str | None) -> str | None:
    """The source id, checked."""
    if source is not None and index.store.source(source) is None:
        raise UnknownFilterError("source", f"there is no source {source!r}; `onrecord sources` lists them")
    return source


def filter_speaker(index: Index, name: str) -> tuple[str, ...]:
    """The canonical names under which the person called `name` speaks.

    Raises UnknownFilterError for nobody, or more than one person.
    """
    found = resolve_speaker(name, index.store.speakers())
    people = _people(index, found)
    meant = next((names for names in people if name in names), people[0] if len(people) == 1 else None)
    if meant:
        return tuple(meant)
    if found:
        raise UnknownFilterError("speaker", f"{name!r} may be {' or '.join(found)}; name one of them")
    raise UnknownFilterError("speaker", f"there is no speaker {name!r}; `onrecord speakers` lists them")


def gather(index: Index, asked: Question, wanted: Sequence[str], top_k: int, source: str | None) -> Evidence:
    """Searches the scope, and where a person is asked for that person's turns apart."""
    text = asked.topic or asked.text
    depth = max(top_k, EVIDENCE_HITS)
    with stage("retrieve"):
        vector = index.vector(text)
        hits = index.search(asked.text, vector, depth, source_id=source)
    topic = Topic(text, vector, index.store)
    sentences = candidates(topic, hits)
    signs = topic_signs(topic, hits, sentences, index.count(source))
    scored = score_sentences(topic, [sentence for sentence in sentences if sentence.hit.rank <= top_k])
    if not wanted:
        return Evidence(hits[:top_k], scored, scored, signs, None)
    with stage("retrieve"):
        own_hits = [
            hit
            for names in _people(index, wanted)
            for hit in index.search(text, vector, depth, speakers=names, source_id=source)
        ]
    speakers = frozenset(wanted)
    own = candidates(topic, own_hits, speakers)
    own_scored = score_sentences(topic, [sentence for sentence in own if sentence.hit.rank <= top_k])
    quotable = [hit for hit in own_hits if hit.rank <= top_k]
    return Evidence(quotable, own_scored, scored, signs, speaker_signs(topic, own_hits, own, speakers, signs))


def _quoted(citations: Sequence[Citation], asked: Question) -> list[str]:
    lines: list[str] = []
    if asked.unknown:
        lines.append(f"Nobody here is called {inert(asked.unknown)}.{_suggested(asked)} On the topic:")
    group: tuple[str | None, str] | None = None
    for citation in citations:
        if group != (citation.speaker, citation.source.id):
            group = (citation.speaker, citation.source.id)
            who = f"{citation.speaker}, in" if citation.speaker else "From"
            lines.append(f"{inert(f'{who} {citation.source.title}')}:")
        where = citation.timestamp or citation.locator
        place = f" ({inert(where)})" if where else ""
        lines.append(f"“{inert(citation.quote)}” [{citation.marker}]{place}")
    return lines


def _suggested(asked: Question) -> str:
    return f" Did you mean {inert(' or '.join(asked.suggestions))}?" if asked.suggestions else ""


def _stretches(hits: Sequence[Hit]) -> list[str]:
    """Where a topic is talked of at some length: runs of at least two of the passages found, the best first."""
    runs: list[list[Hit]] = []
    for hit in sorted(hits, key=lambda hit: (hit.source.id, hit.passage.ordinal)):
        last = runs[-1][-1] if runs else None
        if last and last.source == hit.source and hit.passage.ordinal - last.passage.ordinal <= STRETCH_GAP:
            runs[-1].append(hit)
        else:
            runs.append([hit])
    lines: list[str] = []
    for run in sorted(runs, key=lambda run: min(hit.rank for hit in run))[:STRETCHES]:
        start, end = run[0].start, run[-1].end
        if len(run) > 1 and start is not None and end is not None:
            times = f"from {format_timestamp(start)} to {format_timestamp(end)}"
            lines.append(f"Discussed in {inert(run[0].source.title)} {times}.")
    return lines


def _mentions(index: Index, name: str, source: str | None) -> tuple[Citation, ...]:
    """Where others speak of somebody who does not speak."""
    with stage("retrieve"):
        vector = index.vector(name)
        hits = index.search(name, vector, EVIDENCE_HITS, source_id=source)
    topic = Topic(name, vector, index.store)
    sentences = candidates(topic, hits)
    return tuple(choose_quotes([s for s in score_sentences(topic, sentences) if s.coverage == 1.0], NEAR_MISSES))


def _near_misses(evidence: Evidence) -> tuple[Citation, ...]:
    close = [s for s in evidence.others if s.similarity >= NEAR_MISS_SIMILARITY]
    return tuple(choose_quotes(close, NEAR_MISSES))


def _nothing(index: Index, asked: Question, wanted: Sequence[str], source: str | None) -> str:
    here = "this document" if source is not None or len(index.store.sources()) == 1 else "these documents"
    if asked.unknown:
        return f"Nobody called {inert(asked.unknown)} speaks in {here}.{_suggested(asked)}"
    if wanted:
        return f"{inert(' or '.join(wanted))} does not speak about that in {here}."
    do = "does" if here.startswith("this ") else "do"
    return f"{here.capitalize()} {do} not answer that. {_holdings(index, source)}"


def _found(lead: str, near: Sequence[Citation]) -> str:
    """Who says what comes nearest, and where; nothing where there is nothing."""
    places: dict[str, list[str]] = {}
    for c in near:
        where = c.timestamp or c.locator
        places.setdefault(c.speaker or c.source.title, []).extend([where] if where else [])
    found = "; ".join(f"{who} ({', '.join(where)})" if where else who for who, where in places.items())
    return f" {lead} {inert(found)}." if found else ""


def _holdings(index: Index, source: str | None) -> str:
    """What may be asked about: the titles, not more than a reader will read."""
    sources = [each for each in index.store.sources() if source in (None, each.id)]
    if not sources:
        return "There are no documents to answer from: add some with `onrecord ingest`."
    titles = "; ".join(each.title for each in sources[:SHOWN_TITLES])
    more = f"; and {len(sources) - SHOWN_TITLES} more" if len(sources) > SHOWN_TITLES else ""
    counted = "1 document" if len(sources) == 1 else f"{len(sources)} documents"
    return f"{counted} to ask: {inert(titles)}{more}."
