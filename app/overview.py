"""What the corpus holds at a glance, and questions that it answers, made from what its speakers come back to."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import islice, zip_longest

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from app.access import caller_of
from app.live import LiveIndex
from app.problems import problem_responses
from app.question import find_mentions
from app.quoting import quote
from app.settings import Settings
from index.lexical import terms
from index.search import Index
from ingest.model import Turn
from ingest.names import is_english_word, is_full_name, is_given_name
from ingest.speakers import Speaker, bare_name

QUESTIONS = 4
SOURCES_READ = 12
TURNS_READ = 2000
"""Of each of those sources, from its beginning."""
SPEAKERS_OF_SOURCE = 3
TOPICS_OF_SPEAKER = 3
MOST_TRIES = 24
"""Questions that are asked of the index to find those that it answers."""

LONGEST_TOPIC = 3
"""Words of a topic."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ARTICLES = _words("a an the this that these those my your his her its our their")
# What a topic neither holds nor reaches across: words that only bind others,
_BINDING = _ARTICLES | _words(
    "about above across after again against all along already also although always am among and another any are "
    "around as at away back be because been before behind being below between both but by can come comes coming "
    "could did do does doing done down during each either else enough even ever every few for from get gets "
    "getting give given gives go goes going gone got had has have having he hence here him how however i if in "
    "instead into is it just keep know known let like likely look made make makes making many may maybe me mean "
    "means might more most much must need needs neither never no nor not nothing now of off often on once only "
    "onto or other others out over own per perhaps put quite rather really said same saw say says see seen shall "
    "she should since so some something somewhat soon still such take taken takes than them then there therefore "
    "they think though thought through throughout to together too took toward towards try trying under unless "
    "until up upon us use used using very via want wants was way we well went were what whatever when where "
    "whereas whether which while who whom whose why will with within without would yeah yes yet you"
)
# and those that stand for anything.
_EMPTY = _words(
    "able actual ah aspect aspects bad best better big bit bunch case cases certain couple course day days "
    "different dr eh eight eleven end entire er everybody everyone example fact few fifteen first five four full "
    "good great half hm hmm hour hours huge hundred important issue issues kind last level little long lot lots "
    "madam member million minute minutes mm moment month months mr mrs ms new next nine number oh ok okay old one "
    "only part parts people percent person place point points previous prof range real rest right sake second "
    "sense seven several short side sir six small somebody someone sort sorts stuff ten thing things third "
    "thousand three time times today tomorrow twelve twenty two uh um variety week weeks wrong year years yep "
    "yesterday"
)
_WORD = re.compile(r"[^\W_]+(?:['’/&-][^\W_]+)*|[^\w\s]")
_BRACKETS = re.compile(r"\s*[(\[].*?[)\]]")
_CONTRACTED = re.compile(r"['’](?:s|t|re|ve|ll|d|m)$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?:speaker|spk|unknown|participant|person|voice)?[\s_-]*\d*", re.IGNORECASE)


_Spoken = tuple[str | None, list[str]]
"""Somebody and the texts of what they say."""


@dataclass(frozen=True, slots=True)
class _Voice:
    """Somebody in one source, null where nobody is named, and what may be asked about, the weightiest first.

    `recurring` are topics that they come back to, `passing` those that they touch once.
    """

    speaker: str | None
    recurring: tuple[str, ...]
    passing: tuple[str, ...]


class OverviewResponse(BaseModel):
    """What the corpus holds, and up to four questions that it answers."""

    sources: int
    speakers: int
    seconds: float | None
    questions: list[str]


def overview_router(live: LiveIndex, settings: Settings) -> APIRouter:
    """The route to it; it is made once for each snapshot and its readers, when they first ask for it."""
    router = APIRouter()
    made: dict[frozenset[str] | None, OverviewResponse] = {}
    snapshot = ""
    lock = asyncio.Lock()

    @router.get("/v1/overview", responses=problem_responses(503))
    async def overview(request: Request) -> OverviewResponse:
        """What the documents are in all, and questions to begin with."""
        nonlocal snapshot
        with live.use(caller_of(request).groups) as index:
            async with lock:  # those who wait for it take no thread, of which there are few
                if index.holdings.id != snapshot:
                    made.clear()
                    snapshot = index.holdings.id
                if index.groups not in made:
                    made[index.groups] = await run_in_threadpool(look_over, index, settings)
                return made[index.groups]

    return router


def look_over(index: Index, settings: Settings) -> OverviewResponse:
    """The same for the same snapshot and settings."""
    sources = index.store.sources()
    durations = index.store.durations()
    return OverviewResponse(
        sources=len(sources),
        speakers=len({bare_name(speaker.name) for speaker in index.store.speakers()}),
        seconds=sum(durations.values()) if durations else None,
        questions=suggest(index, settings),
    )


def suggest(index: Index, settings: Settings) -> list[str]:
    """Questions that are answered in quotations: of different people in different sources, as far as there are any.

    They are made from words that somebody comes back to, and tried before they are shown.
    """
    chosen: list[str] = []
    asked_of: Counter[str | None] = Counter()
    used: set[str] = set()
    tries = MOST_TRIES
    for most, speaker, topics in _rounds(_voices(index)):
        if asked_of[speaker] > most:
            continue
        for topic in topics:
            if len(chosen) == QUESTIONS or not tries:
                return chosen
            stems = set(terms(topic))
            if len(stems & used) * 2 > len(stems):
                continue
            tries -= 1
            question = _question(speaker, topic)
            if _answered(index, settings, question, stems):
                chosen.append(question)
                asked_of[speaker] += 1
                used |= stems
                break
    return chosen


def _rounds(voices: Iterable[_Voice]) -> Iterator[tuple[int, str | None, tuple[str, ...]]]:
    """Who is to be asked next about what, unless they have been asked more than so many times before."""
    heard: list[_Voice] = []
    for voice in voices:
        heard.append(voice)
        yield 0, voice.speaker, voice.recurring
    for most in range(1, QUESTIONS):
        yield from ((most, voice.speaker, voice.recurring) for voice in heard)
    for most in range(QUESTIONS):
        yield from ((most, voice.speaker, voice.passing) for voice in heard)


def _answered(index: Index, settings: Settings, question: str, stems: Set[str]) -> bool:
    """Whether the answer quotes words about the very topic, taking nobody for somebody else."""
    quoted = quote(index, settings, question)
    said = {term for citation in quoted.citations for term in terms(citation.quote)}
    return quoted.status == "answered" and quoted.reading is None and stems <= said


def _question(speaker: str | None, topic: str) -> str:
    return f"What did {_called(speaker)} say about {topic}?" if speaker else f"What is said about {topic}?"


def _called(label: str) -> str:
    """A speaker as people would call them, without what labels add: `Mr. Bob Ray (Leeds, Lab)` is Bob Ray."""
    words = _BRACKETS.sub("", label).split() or label.split()
    while len(words) > 1 and bare_name(" ".join(words[1:])) == bare_name(label):
        words = words[1:]
    while len(words) > 1 and bare_name(" ".join(words[:-1])) == bare_name(label):
        words = words[:-1]
    if words[0] == "The":
        return " ".join(["the", *words[1:]])
    is_role = len(words) > 1 and all(map(_is_plain, words)) and not is_full_name(label)
    return "the " * is_role + " ".join(words)


def _is_plain(word: str) -> bool:
    return len(word) > 1 and is_english_word(word) and not is_given_name(word)


def _voices(index: Index) -> Iterator[_Voice]:
    """Those who say most in each source, then those who say next to most: the newest and longest sources first."""
    counts = index.store.source_counts()
    by_size = sorted(index.store.sources(), key=lambda source: -counts[source.id][1])
    sources = sorted(by_size, key=lambda source: source.date or "", reverse=True)[:SOURCES_READ]
    people = index.store.speakers()
    further: list[list[_Spoken]] = []
    for source in sources:
        spoken = _texts(index.store.turns(source.id, 0, TURNS_READ - 1))
        yield from (_voice(index, each, people) for each in spoken[:1])
        further.append(spoken[1:SPEAKERS_OF_SOURCE])
    for those_next in zip_longest(*further):
        yield from (_voice(index, each, people) for each in those_next if each)


def _texts(turns: Sequence[Turn]) -> list[_Spoken]:
    """What each speaker says, whoever says most first; nobody's words where they are all there is."""
    said: dict[str | None, list[str]] = {}
    for turn in turns:
        speaker = None if turn.speaker is None or _NUMBERED.fullmatch(turn.speaker) else turn.speaker
        said.setdefault(speaker, []).append(turn.text)
    named = [(speaker, texts) for speaker, texts in said.items() if speaker] or list(said.items())
    return sorted(named, key=lambda spoken: -sum(map(len, spoken[1])))


def _voice(index: Index, spoken: _Spoken, people: Sequence[Speaker]) -> _Voice:
    """The topics are groups of nouns, as well as those can be told without a grammar.

    A group stands between words that only bind others. What most often follows an article is taken for nouns, and what
    is written with capitals within a sentence for a name.
    """
    speaker, texts = spoken
    forms: dict[tuple[str, ...], Counter[str]] = {}
    after_article: Counter[tuple[str, ...]] = Counter()
    after_the: Counter[tuple[str, ...]] = Counter()
    for before, words in _groups(texts):
        text = " ".join(words)
        stems = tuple(terms(text))
        if not stems:
            continue
        forms.setdefault(stems, Counter())[text] += 1
        after_article[stems] += before in _ARTICLES
        after_the[stems] += before == "the"

    idf = index.store.idf(sorted({stem for stems in forms for stem in stems}))

    def met(stems: tuple[str, ...]) -> int:
        return forms[stems].total()

    def weight(stems: tuple[str, ...]) -> float:
        returns = (met(stems) - 1) / (met(stems) + 1) if met(stems) > 1 else 1.0
        rarity = math.sqrt(sum(idf[stem] for stem in stems) / len(stems))
        noun = 0.7 if _is_name(forms[stems]) else after_article[stems] / met(stems)
        return returns * rarity * (1.0 if len(stems) > 1 else 0.4) * (0.3 + 0.7 * noun)

    def shown(stems: tuple[str, ...]) -> str:
        text = max(forms[stems], key=lambda form: (forms[stems][form], form))
        is_plural = text.endswith("s") and not text.endswith("ss")
        is_known = after_the[stems] * 2 > met(stems) if is_plural else after_article[stems] * 3 >= met(stems)
        return f"the {text}" if is_known else text

    def topics(likely: list[tuple[str, ...]]) -> tuple[str, ...]:
        ranked = map(shown, sorted(sorted(likely), key=weight, reverse=True))
        return tuple(islice((text for text in ranked if not _names_person(text, people)), TOPICS_OF_SPEAKER))

    likely = [stems for stems in forms if after_article[stems] or _is_name(forms[stems])]
    recurring = [stems for stems in likely if met(stems) > 1]
    return _Voice(speaker, topics(recurring), topics([stems for stems in likely if stems not in set(recurring)]))


def _is_name(forms: Counter[str]) -> bool:
    return all(word[0].isupper() for form in forms for word in form.split())


def _names_person(text: str, people: Sequence[Speaker]) -> bool:
    if is_full_name(text) or any(word.istitle() and is_given_name(word) for word in text.split()):
        return True
    return any(mention.speakers for mention in find_mentions(text, people))


def _groups(texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Runs of up to three words that mean something, each with what stands before it: a word, a mark, or nothing."""
    for text in texts:
        before, run = "", list[str]()
        for word in [*_WORD.findall(text), "."]:
            folded = word.casefold()
            if word[0].isalpha() and len(word) > 1 and folded not in _BINDING | _EMPTY and not _CONTRACTED.search(word):
                run.append(word)
                continue
            # After a full stop a capital tells nothing.
            if run and len(run) <= LONGEST_TOPIC and (before or run[0][0].islower()):
                yield before, run
            before, run = "" if word in ".?!" else folded, []
