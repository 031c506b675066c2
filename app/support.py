"""Whether a draft may be shown: what a model writes is held against the sentences that it cites."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, lru_cache

from app.citations import cite
from app.drafts import Draft
from app.question import CONTEXT, VIEW_AFTER, find_mentions
from app.wording import (
    OPENER,
    REFERENCE,
    SHORTEST_SINGLE,
    Quotation,
    fault_of_form,
    folded,
    holds_name,
    is_name,
    masked,
    normalised,
    numbers_claimed,
    numbers_held,
    proper_words,
    quotations_in,
    refusal_in,
    says_more,
    stems,
    words_in,
)
from index.search import Hit
from ingest.model import Source, Turn
from ingest.names import is_full_name, is_given_name, is_usual_surname
from ingest.speakers import Speaker

MOST_CITES = 6
COMMON_WORDS = 0.15
"""Share of a claim's words that must stand in what it cites. Of what somebody says in one sentence, 4 in 100 would pass
with another sentence of his, and 11 if one word were enough."""


@dataclass(frozen=True, slots=True)
class Cited:
    """Consecutive sentences of one turn of a passage, as `cite(hit, first, last)` takes them."""

    hit: Hit
    first: int
    last: int

    @property
    def turn(self) -> Turn:
        """The turn in which they stand."""
        return self.hit.turns[self.hit.passage.sentences[self.first].turn]

    @property
    def speaker(self) -> str | None:
        """Who says them."""
        return self.turn.speaker

    @property
    def text(self) -> str:
        """Their words as they stand."""
        sentences = self.hit.passage.sentences
        return self.turn.text[sentences[self.first].begin : sentences[self.last].end]


@dataclass(frozen=True, slots=True)
class Offered:
    """A numbered sentence of the prompt; `index` counts the sentences of the hit's passage."""

    id: int
    hit: Hit
    index: int

    @property
    def turn(self) -> Turn:
        """The turn in which it stands."""
        return Cited(self.hit, self.index, self.index).turn

    @property
    def speaker(self) -> str | None:
        """Who says it."""
        return self.turn.speaker

    @property
    def text(self) -> str:
        """Its words as they stand."""
        return Cited(self.hit, self.index, self.index).text


@dataclass(frozen=True, slots=True)
class Supported:
    """A draft that may be shown, as `text`; `cited` in the order in which it cites.

    `named` are whom "he" or "she" means in the next draft: the persons named here, else those named before. `dropped`
    counts cites of what was not offered.
    """

    text: str
    cited: tuple[Cited, ...]
    named: tuple[str, ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A draft that may not be shown; `reason` is a sentence for the model."""

    reason: str
    dropped: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """A draft that only says that the passages don't answer."""


class _Proper:
    """The words that the offered sentences always capitalise; found when first asked for, as most drafts never do."""

    def __init__(self, offered: Mapping[int, Offered]) -> None:
        self._offered = offered

    @cached_property
    def _words(self) -> Set[str]:
        return proper_words(sentence.text for sentence in self._offered.values())

    def __contains__(self, word: object) -> bool:
        return word in self._words


class Checker:
    """Checks the drafts of one answer against the sentences offered for it, by id.

    `speakers` are all whom a draft may name. What is known of a sentence is worked out once, when it is first cited.
    """

    def __init__(self, offered: Mapping[int, Offered], speakers: Sequence[Speaker]) -> None:
        self._offered = offered
        self._speakers = tuple(speakers)
        self._known = {speaker.name: speaker for speaker in speakers}
        self._evidence: dict[tuple[str, int], _Evidence] = {}
        self._proper = _Proper(offered)

    def check(self, draft: Draft, last_named: Sequence[str] = ()) -> Supported | Unsupported | Refusal:
        """`last_named` are the canonical names of whom "he" or "she" means where the draft has named nobody yet."""
        text = normalised(draft.text)
        kept = [self._offered[each] for each in dict.fromkeys(draft.cites) if each in self._offered]
        dropped = len(set(draft.cites)) - len(kept)
        if fault := fault_of_form(text):
            return Unsupported(fault, dropped)
        if refusal := refusal_in(text):
            mixed = kept and says_more(text, refusal)
            return Unsupported("It says what the passages lack beside a claim.", dropped) if mixed else Refusal()
        if not kept:
            return Unsupported("It cites none of the numbered sentences.", dropped)
        evidence = [self._evidence_of(sentence.hit, sentence.index) for sentence in kept[:MOST_CITES]]
        found = self._held_against(text, evidence, last_named)
        return Unsupported(found, dropped) if isinstance(found, str) else replace(found, dropped=dropped)

    def _held_against(self, text: str, evidence: list[_Evidence], last_named: Sequence[str]) -> Supported | str:
        """The claim with what bears it out, or why nothing does."""
        quotations = quotations_in(text)
        if quotations is None:
            return "Its quotation marks do not come in pairs."
        claim = _Claim(masked(text, quotations), self._speakers, self._proper)
        sayings = claim.sayings(evidence, last_named)
        for saying in sayings:
            if not saying.by_one_of(evidence) and not claim.reports(saying, sayings, evidence):
                others = " and ".join(dict.fromkeys(each.speaker or "nobody named" for each in evidence))
                return f"It claims for {saying.text} what {others} said."
        if sayings:
            evidence = [each for each in evidence if any(each.speaker in saying.speakers for saying in sayings)]
        elif _SPEAKS_AS_I.search(masked(text, quotations)):
            return "It says “I” without saying who says it."
        cited = _runs(evidence)
        for quotation in quotations:
            origins = [run for run in _runs_by(quotation, sayings, cited) if quotation.stands_in(run.text)]
            if not origins:
                return f"“{quotation.text}” is not word for word in what it cites."
            if not sayings and claim.gives_to_another(quotation, origins):
                return f"It gives words of {origins[0].speaker or 'nobody named'} to another."
        names, numbers = claim.missing_names(evidence), claim.missing_numbers(evidence)
        if names or numbers:
            before = [each for each in self._right_before(cited) if each.holds(names, numbers)][:1]
            if not before:
                return f"“{next(iter([*(name.text for name in names), *numbers.values()]))}” is not in what it cites."
            evidence = [*evidence, *before]
            cited = _runs(evidence)
        own, held = stems(folded(text)), {stem for each in evidence for stem in each.stems}
        if len(own & held) < max(1, len(own) * COMMON_WORDS):
            return "It has hardly a word in common with what it cites."
        return Supported(text, tuple(cited), claim.named(sayings, evidence) or tuple(last_named), 0)

    def _evidence_of(self, hit: Hit, index: int) -> _Evidence:
        key = hit.passage.id, index
        if key not in self._evidence:
            self._evidence[key] = _evidence(hit, index, self._speakers, self._known)
        return self._evidence[key]

    def _right_before(self, cited: Sequence[Cited]) -> Iterator[_Evidence]:
        """The sentences of the same turns right before those cited."""
        for run in cited:
            sentences = run.hit.passage.sentences
            if run.first > 0 and sentences[run.first - 1].turn == sentences[run.first].turn:
                yield self._evidence_of(run.hit, run.first - 1)


def _runs(evidence: Iterable[_Evidence]) -> list[Cited]:
    """Sentences put together where they are consecutive in one turn, in the order of their first."""
    places = {(each.hit.passage.id, each.index): each for each in evidence}
    runs: dict[tuple[str, int], Cited] = {}
    for (passage, index), each in places.items():
        sentences = each.hit.passage.sentences
        first = last = index
        while (passage, first - 1) in places and sentences[first - 1].turn == sentences[index].turn:
            first -= 1
        while (passage, last + 1) in places and sentences[last + 1].turn == sentences[index].turn:
            last += 1
        runs.setdefault((passage, first), Cited(each.hit, first, last))
    return list(runs.values())


def _runs_by(quotation: Quotation, sayings: Sequence[_Saying], cited: Sequence[Cited]) -> Sequence[Cited]:
    """The cited runs that a quotation may be from: where several persons speak, those of the one named next to it."""
    if len({saying.speakers for saying in sayings}) < 2:
        return cited
    nearest = min(sayings, key=lambda saying: max(quotation.begin - saying.end, saying.begin - quotation.end))
    return [run for run in cited if run.speaker in nearest.speakers]


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What one sentence holds, to compare claims with it.

    `names` are the folded words that may be named, `title` those of the source's title; `numbers` may be given, and
    where a `phrase` stands, so may what is in it. `persons` are the canonical names of who speaks or is spoken of;
    `of_others` is true where it speaks to or of somebody without a name.
    """

    hit: Hit
    index: int
    speaker: str | None
    names: Set[str]
    title: Set[str]
    persons: Set[str]
    numbers: Set[str]
    phrases: tuple[str, ...]
    stems: Set[str]
    of_others: bool

    def holds(self, names: Sequence[_Name], numbers: Mapping[str, str]) -> bool:
        """Whether all of these are in it."""
        return self.numbers >= numbers.keys() and all(
            self.persons & set(name.speakers) if name.speakers else holds_name(self.names, name.text) for name in names
        )


_OF_OTHERS = re.compile(r"\b(?:you|your|he|she|his|her|him|they|their|them)\b", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:1[6-9]|20)\d\d\b")
_TITLE_PARTS = re.compile(r"\s*[:|–—()]\s*|\s-\s")


def _evidence(hit: Hit, index: int, speakers: Sequence[Speaker], known: Mapping[str, Speaker]) -> _Evidence:
    cited, citation = Cited(hit, index, index), cite(hit, index, index)
    text, turn, speaker, title = cited.text, cited.turn, cited.speaker or "", hit.source.title
    asked = citation.question or ""
    persons = {
        name for mention in find_mentions(f"{text} {asked}", speakers, guessing=False) for name in mention.speakers
    }
    persons |= {speaker} if speaker else set()
    dates = _dates(hit.source)
    words = folded(" ".join((text, asked, speaker, *turn.heading, *dates)))
    beside = " ".join([citation.timestamp or "", speaker, *_YEAR.findall(" ".join((title, *dates)))])
    return _Evidence(
        hit=hit,
        index=index,
        speaker=cited.speaker,
        names=words.union(*(_spelled(known[name]) for name in (*persons, citation.asked_by or "") if name in known)),
        title=folded(title),
        persons=persons,
        numbers={*numbers_held(text), *numbers_held(beside)},
        phrases=tuple(part for part in (*dates, title, *_TITLE_PARTS.split(title)) if re.search(r"\d", part)),
        stems=stems(folded(" ".join((text, *turn.heading[-1:])))),  # not the note: it is another's words
        of_others=_OF_OTHERS.search(text) is not None,
    )


@lru_cache(maxsize=1024)
def _spelled(speaker: Speaker) -> Set[str]:
    """The words by which somebody may be called."""
    return folded(" ".join((speaker.name, *speaker.aliases, *speaker.roles)))


def _dates(source: Source) -> tuple[str, ...]:
    """The ways in which a claim may write the date of a source."""
    try:
        day = date.fromisoformat(source.date or "")
    except ValueError:
        return (source.date,) if source.date else ()
    return f"{day}", f"{day:%B} {day.day}", f"{day.day} {day:%B}"


# Who says what in a claim.

_SPEAKS = (
    r"(?:says?|said|saying|thinks?|thought|thinking|tells?|told|telling|speaks?|spoke|spoken|speaking|calls?|called|writes?|wrote|written"
    r"|puts? it|putting it|point(?:s|ed|ing)? out|sees|considers?|considered|views?|viewed|regards?|regarded"
    r"|(?:argu|believ|describ|propos|advis|emphasi[sz]|critici[sz]|prais|acknowledg|declar|reiterat|conclud|observ"
    r"|stat|not|defin|compar|quot|characteri[sz]|summari[sz]|urg)(?:es?|ed|ing)"
    r"|(?:claim|explain|suggest|recommend|mention|comment|ask|answer|respond|discuss|express|stress|talk|recall|warn|reveal"
    r"|remark|insist|highlight|confirm|reflect|agree|disagree|doubt|assert|contend|maintain|underlin|underscor|repl|elaborat)"
    r"(?:|s|es|ies|e|y|ed|ied|d|ing|ying)"
    r"|(?:confess|jok|testif|boast|bragg?|quipp?|shout|whisper|lament|complain|affirm|attest|proclaim|profess|conced|caution)"
    r"(?:|s|es|ies|e|y|ed|ied|ing|ying)|swears?|swore|sworn|admits"
    # What others may tell of somebody too: "added a feature", "felt lost".
    r"|(?:adds?|added|adding|shares?|shared|announces?|announced|reports?|reported|feels?|felt|finds?|found|holds?|held"
    r"|admit|admitted|knows?|knew|means?|meant|hopes?|hoped|learn(?:s|ed|t)?|reali[sz]e[sd]?|lets? slip"
    r"|(?:promis|predict|threaten|vow|hint|impl)(?:s|es|ies|ed|ied))"
    r"(?=\s+(?:that|how|why|what|whether)\b|\s*[:,]?\s*[“\"‘]))\b"
)
_BETWEEN = (
    r"(?:(?:has|have|had|would|will|could|can|may|might|must|did|does|do|also|then|later|further|first|once|even|still"
    r"|again|himself|herself|themselves|not|never|both|all|just|(?:do|does|did|would|could|has|had|have|is|was)n['’]t"
    r"|\w+ly|used to|goes on to|went on to|(?:is|was|are|were|been)(?=(?:\s+(?:also|\w+ly))?\s+\w+ing\b))\s+){0,4}"
)
_APPOSITION = r"(?:\s*\([^()]{1,60}\))?(?:\s*,[^,.;:!?]{1,80},|\s*,)?"
_PERSON_SPEAKS = re.compile(rf"{_APPOSITION}\s+{_BETWEEN}{_SPEAKS}", re.IGNORECASE)
_NAME_SPEAKS = re.compile(
    rf"\s+{_BETWEEN}(?:says?|said|thinks?|thought|writes?|wrote|(?:argu|believ|stat)(?:es?|ed|ing)"
    r"|(?:claim|explain|suggest|recommend|insist)(?:|s|ed|ing))\b",
    re.IGNORECASE,
)
"""What a firm does as well as a person ("Twitter considered it") is no saying of its."""
_COLON = re.compile(r"(?:\s*\([^()]{1,60}\))?\s*:(?!\d)")
_VIEWS = (
    r"(?:views?|opinions?|words|thoughts?|advice|argument|statements?|remarks?|comments?|account|telling|perspective)"
)
_BEFORE_SPEAKER = re.compile(
    rf"(?:\baccording to|\b{_VIEWS} (?:of|from|by)|\bquot(?:es?|ing)|\bparaphrasing"
    r"|\b(?:said|told|written|quoted|argued|explained|described|noted|suggested|proposed|recommended|stated) by"
    rf"|(?:^|[,:;.!?”\"»’]|\bas)\s*{_SPEAKS})\s+(?:(?:the|our|guest|host|author)\s+)*$",
    re.IGNORECASE,
)
_ADDRESSED = re.compile(
    r"\b(?:asks?|asked|tells?|told|reminds?|reminded|interviews?|interviewed)\s+(?:the\s+)?$", re.IGNORECASE
)
_AFTER_PREPOSITION = re.compile(
    r"\b(?:of|at|from|in|on|for|by|with|about|to|than|as|into|behind|inside|like)\s+(?:the\s+)?$", re.IGNORECASE
)
_SUBJECT = re.compile(
    r"(?:^|[.!?:;,—”\"»]|\b(?:and|but|that|because|while|when|where|as|so|if|how|what|why|whether|which))\s*(?:the\s+)?$",
    re.IGNORECASE,
)
_JOINED = re.compile(r"\s*(?:,|,?\s*and|&)\s+(?:the\s+)?", re.IGNORECASE)
_REPORTING = re.compile(r"\s*(?:(?:that|how|what|why|whether)\s+)?(?:the\s+)?", re.IGNORECASE)
_PRONOUN = re.compile(
    rf"\b(?:he|she)(?:['’](?:d|s|ll))?(?=\s+{_BETWEEN}{_SPEAKS})|(?:^|(?<=[.!?]\s))they(?=\s+{_BETWEEN}{_SPEAKS})"
    rf"|\baccording to (?:him|her|them)\b|\b(?:in|by) (?:his|her|their)(?: own)? {_VIEWS}\b",
    re.IGNORECASE,
)
_SPEAKS_AS_I = re.compile(
    r"(?:^|[.!?:;,—(]\s*|\b(?:and|but|or|that|so|if|when|because|as|what|where|which|while)\s+)I(?:['’]\w+)?\s+[a-z]"
)
_ROLE = re.compile(
    r"(?<=\bthe )(?:co-?)?(?:host|interviewer|moderator|presenter|guest|interviewee|chair(?:man|woman|person)?)\b", re.I
)


@dataclass(frozen=True, slots=True)
class _Name:
    """Somebody or something named in a claim; `speakers` are whom it may mean of those who speak in the corpus."""

    text: str
    begin: int
    end: int
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Saying:
    """Where a claim says that somebody said something: one of `speakers`, none of them where it is nobody known.

    It reaches from the name to the verb, whichever comes first.
    """

    text: str
    begin: int
    end: int
    speakers: tuple[str, ...]

    def by_one_of(self, evidence: Sequence[_Evidence]) -> bool:
        """Whether one of them speaks there."""
        return any(each.speaker in self.speakers for each in evidence)


class _Claim:
    """A draft's text, its quotations masked, and whom and what it names."""

    def __init__(self, text: str, speakers: Sequence[Speaker], proper: Container[str]) -> None:
        self._text = text
        words = [(_Name(word.group(), word.start(), word.end()), begins) for word, begins in words_in(text)]
        openers = {word.begin for word, begins in words if begins and OPENER.fullmatch(word.text.casefold())}
        self._persons = [
            _Name(mention.text, mention.begin, mention.end, mention.speakers)
            for mention in find_mentions(text, speakers, guessing=False)
            if mention.speakers and (mention.begin not in openers or _NAME_SPEAKS.match(text, mention.end))
        ]
        self._names = [
            word
            for word, begins in words
            if is_name(word.text, begins, proper) or (begins and self._is_surname_that_speaks(word))
        ]
        self._strangers = list(self._named_strangers())

    def _is_surname_that_speaks(self, word: _Name) -> bool:
        usual = word.text.istitle() and is_usual_surname(word.text) and not OPENER.fullmatch(word.text.casefold())
        return usual and _NAME_SPEAKS.match(self._text, word.end) is not None

    def _named_strangers(self) -> Iterator[_Name]:
        """Names in a row and roles that are no known person's."""
        free = [name for name in self._names if not any(_overlap(name, person) for person in self._persons)]
        while free:
            begin, end = free[0].begin, free[0].end
            while len(free) > 1 and self._text[end : free[1].begin].isspace():
                end = free.pop(1).end
            yield _Name(self._text[begin:end], begin, end)
            free = free[1:]
        for role in _ROLE.finditer(self._text):
            name = _Name(role.group(), role.start(), role.end())
            if not any(_overlap(name, person) for person in self._persons):
                yield name

    def sayings(self, evidence: Sequence[_Evidence], last_named: Sequence[str]) -> list[_Saying]:
        """Who is said to say, think or ask something, in the order of the text."""
        people = sorted([*self._persons, *self._strangers], key=lambda name: name.begin)
        found: list[_Saying] = []
        for name in reversed(people):
            saying = self._saying(name)
            if not saying and found and self._is_subject(name):
                joined = _JOINED.fullmatch(self._text, name.end, found[-1].begin)
                saying = _Saying(name.text, name.begin, found[-1].end, name.speakers) if joined else None
            found += [saying] if saying else []
        for pronoun in _PRONOUN.finditer(self._text):
            meant = self._meant_by_pronoun(pronoun.start(), last_named)
            speakers = tuple(each.speaker for each in evidence if each.speaker) if meant is None else meant
            found.append(_Saying(pronoun.group(), pronoun.start(), pronoun.end(), speakers))
        return sorted(found, key=lambda saying: saying.begin)

    def _saying(self, name: _Name) -> _Saying | None:
        """What whoever is named there is said to say; null where he is not."""
        from_ = max(0, name.begin - CONTEXT)
        before, after = self._text[from_ : name.begin], self._text[name.end : name.end + CONTEXT]
        if introduced := _BEFORE_SPEAKER.search(before):
            return _Saying(name.text, from_ + introduced.start(), name.end, name.speakers)
        known = bool(name.speakers)
        if not known and _AFTER_PREPOSITION.search(before):
            return None
        person = known or _is_person(name)
        speaks = (_PERSON_SPEAKS if person else _NAME_SPEAKS).match(after)
        views = person and after.startswith(("'", "’")) and VIEW_AFTER.match(after)
        colon = (known or is_full_name(name.text)) and not _ADDRESSED.search(before) and _COLON.match(after)
        if not (speaks or views or colon):
            return None
        return _Saying(name.text, name.begin, name.end + (speaks.end() if speaks else 0), name.speakers)

    def _meant_by_pronoun(self, begin: int, last_named: Sequence[str]) -> tuple[str, ...] | None:
        """Whom "he" may mean: those named before it, nobody known where those are strangers; null where it is open."""
        if earlier := [person for person in self._persons if person.end <= begin]:
            return tuple(speaker for person in earlier for speaker in person.speakers)
        if any(_is_person(stranger) and stranger.end <= begin for stranger in self._strangers):
            return ()
        return tuple(last_named) or None

    def reports(self, saying: _Saying, sayings: Sequence[_Saying], evidence: Sequence[_Evidence]) -> bool:
        """Whether it is told by one who speaks in the evidence and names that person: "A said that B thinks…"."""
        return any(
            prior.end <= saying.begin
            and _REPORTING.fullmatch(self._text, prior.end, saying.begin)
            and each.speaker in prior.speakers
            and (each.persons & set(saying.speakers) or (not saying.speakers and holds_name(each.names, saying.text)))
            for prior in sayings
            for each in evidence
        )

    def gives_to_another(self, quotation: Quotation, origins: Sequence[Cited]) -> bool:
        """Whether persons are named beside a quotation, and it is of none of them."""
        named = {speaker for person in self._persons for speaker in person.speakers}
        return (
            len(quotation.text.split()) >= SHORTEST_SINGLE and bool(named) and not named & {o.speaker for o in origins}
        )

    def missing_names(self, evidence: Sequence[_Evidence]) -> list[_Name]:
        """The names that the evidence does not hold.

        A title may name whoever a sentence is about, but not make another's "I" or "we" his.
        """
        persons = {person for each in evidence for person in each.persons}
        titles = {word for each in evidence for word in each.title}
        words = titles.union(*(each.names for each in evidence))
        of_others = any(each.of_others for each in evidence)
        known = [person for person in self._persons if persons & set(person.speakers)]
        missing = [
            person
            for person in self._persons
            if person not in known
            and self._is_subject(person)
            and not (of_others and person.text[0].isupper() and holds_name(titles, person.text))
        ]
        return missing + [
            name
            for name in self._names
            if not any(_overlap(name, person) for person in known) and not holds_name(words, name.text)
        ]

    def missing_numbers(self, evidence: Sequence[_Evidence]) -> dict[str, str]:
        """The numbers that the evidence does not hold, by value, each as it is written."""
        text = self._text
        for phrase in (phrase for each in evidence for phrase in each.phrases):
            text = text.replace(phrase, " ")
        held = {number for each in evidence for number in each.numbers}
        missing = {value: written for value, written in numbers_claimed(text).items() if value not in held}
        return missing | {reference: reference for reference in REFERENCE.findall(text)}

    def named(self, sayings: Sequence[_Saying], evidence: Sequence[_Evidence]) -> tuple[str, ...]:
        """Whom a pronoun after this text means: who speaks or is spoken to in it, else whoever is named."""
        cited = {each.speaker for each in evidence}
        addressed = [p for p in self._persons if _ADDRESSED.search(self._text, max(0, p.begin - CONTEXT), p.begin)]
        meant = [*(saying.speakers for saying in sayings), *(person.speakers for person in addressed)]
        meant = meant if any(meant) else [person.speakers for person in self._persons]
        names = [name for speakers in meant for name in (tuple(s for s in speakers if s in cited) or speakers)]
        return tuple(dict.fromkeys(names)) or tuple(each.text for each in self._strangers if is_full_name(each.text))

    def _is_subject(self, name: _Name) -> bool:
        return _SUBJECT.search(self._text, max(0, name.begin - CONTEXT), name.begin) is not None


def _overlap(one: _Name, other: _Name) -> bool:
    return one.begin < other.end and other.begin < one.end


def _is_person(name: _Name) -> bool:
    """Whether a name that nobody bears is a person's by its words, or a role."""
    return name.text[0].islower() or is_full_name(name.text) or is_given_name(name.text.split()[0])
