"""What a question asks: whose words, and about what."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ingest.names import is_english_word, is_full_name, is_given_name, mixed_alphabets
from ingest.speakers import Guess, Speaker, Speakers, Spellings, bare_name, fold_name, is_honorific

_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*\.?")
_POSSESSIVE = re.compile(r"['’]s?$")
_ABBREVIATED_TITLE = re.compile(r"(?:Mr|Mrs|Ms|Mx|Dr|Prof|Rev|Sen|Rep|Gov|Gen|Hon|CEO)\.?")
_LEADS_TO_NAME = re.compile(r"\b(?:according\s+to\s+)?(?:(?:the|our)\s+)?$", re.IGNORECASE)
LONGEST_NAME = 6
"""Words that a name nobody is known by may have."""
LONGEST_LEAD = 40
"""Characters of the words that may stand right before a name: "according to the"."""
LONGEST_SLOT = 3
"""Words in lower case that a name may have."""
CONTEXT = 120
"""Characters before and after a name that are looked at, so that a long text takes time in proportion to its length."""

_SPEAKING = (
    r"say|says|said|saying|think|thinks|thought|feel|feels|felt|believe|believes|believed|mean|means|meant|talk|talks"
    r"|talked|speak|speaks|spoke|mention|mentions|mentioned|suggest|suggests|suggested|recommend|recommends|recommended"
    r"|propose|proposes|proposed|explain|explains|explained|describe|describes|described|argue|argues|argued|claim"
    r"|claims|claimed|ask|asks|asked|answer|answers|answered|respond|responds|responded|reply|replies|replied|advise"
    r"|advises|advised|discuss|discusses|discussed|comment|comments|commented|consider|considers|considered|view|views"
    r"|viewed|see|sees|saw|want|wants|wanted|like|likes|liked|dislike|disliked|prefer|prefers|preferred|hate|hates|hated"
    r"|love|loves|loved|agree|agrees|agreed|disagree|disagrees|disagreed|define|defines|defined|tell|tells|told|react"
    r"|reacted|introduce|introduced|present|presented|emphasize|emphasized|emphasise|emphasised|stress|stressed|note"
    r"|noted|point|pointed|express|expressed|hope|hoped|expect|expected|worry|worried|reject|rejected|support|supported"
    r"|oppose|opposed|criticize|criticized|criticise|criticised|praise|praised|recall|recalled|remember|remembered"
    r"|report|reported|admit|admitted|state|stated|quote|quoted|write|writes|wrote|call|calls|called|put|hold|held"
    r"|elaborate|elaborated|mind|understand|understood|know|knew|doubt|doubted|question|questioned|address|addressed"
)
_AUXILIARIES = "did|does|do|has|had|have|would|will|can|could|should|might|must|was|were|is|are"
_AUXILIARY = re.compile(rf"\b(?:{_AUXILIARIES})\s+(?:the\s+|our\s+)?$", re.IGNORECASE)
_MAY_PRECEDE = re.compile(rf"{_AUXILIARIES}|the|our", re.IGNORECASE)
_BEFORE_NAME = re.compile(
    r"\b(?:according to|(?:said|asked|suggested|proposed|mentioned|made|raised|recommended|explained|presented"
    r"|expressed|given|quoted|words?|quotes?|statements?|remarks?|opinions?|views?|comments?|thoughts?)\s+(?:by|of|from)"
    r"|hear from|quote)\s+(?:the\s+)?$",
    re.IGNORECASE,
)
_CLAUSE_BEFORE = re.compile(r"(?:\b(?:what|how|why|where|that|and|whether|if)|&)\s+(?:the\s+)?$", re.IGNORECASE)
_VERB_AFTER = re.compile(
    rf"\s*,?\s*(?:(?:ever|also|then|really|actually|first|finally|not|n['’]t)\s+)*(?:{_SPEAKING})\b", re.IGNORECASE
)
_ANY_VERB_AFTER = {
    # "Does Kayvon deal with it", "is Kayvon building it"; not "can Chase cards", "is Case law", "do Rich people".
    **dict.fromkeys(("is", "was"), re.compile(r"\s+[a-z]+(?<=ing)\b")),
    **dict.fromkeys(("do", "are", "were", "have"), re.compile(r"(?!)")),
}
_OTHER_VERB_AFTER = re.compile(r"\s+[a-z]+(?<!ing)(?<![^s]s)\b")
VIEW_AFTER = re.compile(
    r"(?:['’]s|['’])?\s+(?:\w+\s+){0,2}?(?:opinions?|views?|thoughts?|take|stance|position|attitudes?|comments?|remarks?|ideas?"
    r"|suggestions?|proposals?|recommendations?|concerns?|answers?|response|reply|reasons?|reasoning|argument|advice"
    r"|explanation|definition|experience|feelings?|feedback|impression|perspective|philosophy|words|beliefs?|presentation"
    r"|questions?|worry|worries|criticisms?|statement)\b",
    re.IGNORECASE,
)
_ORDINARY_SUBJECT = re.compile(
    r"\b(?:did|does|do)\s+(?:the\s+)?(?:group|team|they|people|others?|everyone|members?)\b", re.I
)
_MEANING = re.compile(r"\s+means?\W*$", re.IGNORECASE)
_WHERE_FROM = re.compile(r"^\s*(?:when|where|who|which|is|are|was|were)\b", re.IGNORECASE)

_SCAFFOLD = re.compile(
    r"^\s*(?:(?:please\s+)?(?:can|could)\s+you\s+)?(?:please\s+)?(?:tell me|summari[sz]e|describe|explain|give me|list"
    r"|show me|find|what|how|why|when|where|which|who|did|does|do|is|are|was|were|has|have|had|to|and)\b"
    r"(?:['’]s\b)?(?:\s+(?:was|were|is|are|did|does|do|has|have|had|would|will|could|should|the|their|they|he|she|him|her|them|this|that|more|else|people|group"
    r"|team|everyone|anyone|anybody|somebody|someone|we|i|you|it|what|of|by|in|on|about|with|to|for|regarding|towards?|a"
    r"|an|discussions?|discussed|opinions?|views?|thoughts?|conclusions?|decisions?|final|summary|said|be|been|there|any"
    rf"|{_SPEAKING}))*\s+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A person named in a question: the words used, where they stand, and the speakers they may mean.

    `certain` is false where the words only resemble a name. `asked` is true where that person's words are asked for,
    and `says` where the verb is one of speech: what a person did may be told by others. `suggestions` are whom the
    words resemble too little, or too much alike, to say that they mean one of them. `people` is how many the words
    name: more than one in "A and B".
    """

    text: str
    begin: int
    end: int
    speakers: tuple[str, ...]
    certain: bool
    asked: bool
    suggestions: tuple[str, ...] = ()
    people: int = 1
    says: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """A question as understood.

    `topic` is what is asked about, empty where that is left open. `asked` is whose words it asks for, `unknown` whom it
    so asks for without that anybody is called so; `stranger` is true where that is a person's name, false where it may
    be a title ("the Deputy Minister"). `suggestions` are the speakers that `unknown` may be a misspelling of.
    """

    text: str
    topic: str
    asked: Mention | None = None
    unknown: str | None = None
    stranger: bool = False
    suggestions: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The topic without the name of `unknown`, which is part of what is searched for, and of no later question."""
        if self.unknown is None:
            return self.topic
        begin = self.text.find(self.unknown)
        end = begin + len(self.unknown)
        return _topic(self.text, Mention(self.unknown, begin, end, (), certain=False, asked=True))


def understand(text: str, speakers: Sequence[Speaker]) -> Question:
    """Finds whom a question asks for among `speakers`, and what is left of it as a topic."""
    mentions = list(find_mentions(text, speakers))
    asked = next((mention for mention in mentions if mention.asked and mention.speakers), None)
    unknown = next((mention for mention in mentions if mention.asked and not mention.speakers), None)
    if asked:
        asked = _with_joined(text, asked, mentions)
        return Question(text, _topic(text, asked), asked)
    if not unknown:
        return Question(text, _topic(text, None))
    words = unknown.text.split()
    title = unknown.text.isupper() or (not is_full_name(unknown.text) and all(map(is_english_word, words)))
    return Question(text, _topic(text, None), None, unknown.text, not title, unknown.suggestions)


def _with_joined(text: str, asked: Mention, mentions: Sequence[Mention]) -> Mention:
    """One mention of all the persons that are asked for together: "A, B and C"."""
    for other in mentions:
        if other.speakers and (_joined(text, asked, other) or _joined(text, other, asked)):
            begin, end = min(asked.begin, other.begin), max(asked.end, other.end)
            speakers = tuple(sorted({*asked.speakers, *other.speakers}))
            certain = asked.certain and other.certain
            joined = replace(asked, text=text[begin:end], begin=begin, end=end, speakers=speakers, certain=certain)
            others = [mention for mention in mentions if mention not in (asked, other)]
            return _with_joined(text, replace(joined, people=asked.people + other.people), others)
    return asked


def _joined(text: str, one: Mention, other: Mention) -> bool:
    between = text[one.end : other.begin] if other.begin - one.end < CONTEXT else ""
    return re.fullmatch(r"\s*(?:,|and|&)\s*(?:the\s+)?", between, re.IGNORECASE) is not None


def find_mentions(text: str, speakers: Sequence[Speaker], *, guessing: bool = True) -> Iterator[Mention]:
    """The persons named in a text, left to right, the longest name first where several fit.

    Names match whole (any case where they have two words or more), by surname or first name (capitalised, and no
    other capitalised word after it), by first name and initial, by role after "the", and, in a place where a name is
    expected, by surname after a title, or by likeness. Capitalised words in such a place that match nobody come
    without speakers. The last three only where `guessing` is meant to be done.
    """
    names = _names(Speakers.of(speakers))
    words = list(_WORD.finditer(text))
    at = 0
    while at < len(words):
        after_the = _is_after_the(text, words, at)
        longest = min(names.longest, len(words) - at) if after_the or names.begin_with(words[at].group()) else 0
        for size in range(longest, 0, -1):
            begin, end = words[at].start(), _name_end(words[at + size - 1])
            goes_on = _goes_on(text, words, at + size - 1) and not _VERB_AFTER.match(text, end, end + CONTEXT)
            found = names.exact(text[begin:end], after_the=after_the, goes_on=goes_on)
            asked = bool(found) and _is_asked(text, begin, end)
            if found and (size > 1 or asked or len(text[begin:end]) > 1):
                says = asked and _is_asked(text, begin, end, to_speak=True)
                yield Mention(text[begin:end], begin, end, found, certain=True, asked=asked, says=says)
                at += size
                break
        else:
            mention = _guess(text, words, at, names, after_the=after_the) if guessing else None
            if mention:
                yield mention
            at += 1
            while mention and at < len(words) and words[at].start() < mention.end:
                at += 1


def _guess(text: str, words: Sequence[re.Match[str]], at: int, names: _Names, *, after_the: bool) -> Mention | None:
    """The person whose words are asked for by a name that begins at a word and that nobody bears as it stands."""
    if at == 0:
        return None
    run = _run_length(text, words, at)
    slot = max(run, _slot_length(text, words, at))
    for size in (slot,) if words[at].group().islower() else dict.fromkeys((slot, run)):
        begin, end = words[at].start(), _name_end(words[at + size - 1])
        name = text[begin:end]
        usual = name.islower() and all(map(_is_plain, name.split()))
        if _ordinary(name) or _MEANING.match(text, end) or not _is_asked(text, begin, end, to_speak=usual):
            continue
        exact = () if after_the else names.exact(name.title())
        # "prices" is no misspelling of the name Price, but "price" in the place of a name may be the name.
        guess = Guess(exact) if exact or (usual and not after_the) else names.guess(name, after_the=after_the)
        if guess.speakers:
            return Mention(name, begin, end, guess.speakers, certain=bool(exact), asked=True)
        if size == run and name[0].isupper() and _is_asked(text, begin, end, to_speak=True):
            return Mention(name, begin, end, (), certain=False, asked=True, suggestions=guess.suggestions)
    return None


def resolve_speaker(name: str, speakers: Sequence[Speaker]) -> tuple[str, ...]:
    """The canonical names that a name given by itself may mean; none where nobody is called so or nearly so."""
    names = _names(Speakers.of(speakers))
    return names.exact(name, after_the=True) or names.exact(name.title()) or names.guess(name).speakers


class _Names:
    """The ways in which speakers can be named."""

    def __init__(self, speakers: Sequence[Speaker]) -> None:
        self._full: dict[str, set[str]] = {}
        self._parts: dict[str, set[str]] = {}
        self._roles: dict[str, set[str]] = {}
        self._spellings = Spellings(speakers)
        # "The" stands before labels ("the Marketing Expert"), not before names.
        self._labels = Spellings((s for s in speakers if not is_full_name(bare_name(s.name).title())), whole=True)
        for speaker in speakers:
            for spelling in (speaker.name, *speaker.aliases):
                folded = bare_name(spelling)
                self._full.setdefault(folded, set()).add(speaker.name)
                parts = folded.split()
                if len(parts) > 1 and not mixed_alphabets(spelling):  # "Kayvon" with a Cyrillic K is nobody's namesake
                    initials = f"{parts[0]} {parts[-1][0]}", f"{parts[0][0]} {parts[-1]}"
                    for part in {parts[0], parts[-1], f"{parts[0]} {parts[-1]}", *initials}:
                        self._parts.setdefault(part, set()).add(speaker.name)
            for role in _roles(speaker):
                self._roles.setdefault(role, set()).add(speaker.name)
        self._first = {name.split()[0] for name in (*self._full, *self._parts) if name}
        self.longest = max((len(name.split()) + 2 for name in self._full), default=0)

    def exact(self, words: str, *, after_the: bool = False, goes_on: bool = False) -> tuple[str, ...]:
        """Those called `words`; surnames and first names count neither after "the" nor where the name `goes_on`."""
        folded = bare_name(words)
        capitalised = words[:1].isupper()
        found = self._full.get(folded, set()) if " " in folded or capitalised or after_the else set[str]()
        if not found and capitalised and not after_the and not goes_on:
            found = self._parts.get(folded, set())
        if not found and after_the:
            role = _role(words)
            same = next((group for group in _SAME_ROLES if role in group), ())
            found = self._roles.get(role) or {name for other in same for name in self._roles.get(other, ())}
        return tuple(sorted(found))

    def begin_with(self, word: str) -> bool:
        """Whether a name may begin with a word: of most words of a text no more is looked at."""
        first = _first_folded(word)
        return first in self._first or is_honorific(first)

    def titled(self, words: str) -> tuple[str, ...]:
        """Those of the surname that ends `words`, where only words that are no given names stand before it."""
        *title, surname = words.split() or [""]
        if not title or any(is_given_name(word) or not _is_title(word) for word in title):
            return ()
        return self.exact(surname)

    def guess(self, words: str, *, after_the: bool = False) -> Guess:
        """Whom `words` mean that are nobody's name as they stand: by surname after a title, or by likeness."""
        if after_the:
            return self._labels.closest(words)
        found = self.titled(words)
        return Guess(found) if found else self._spellings.closest(words)


_OF = re.compile(r"\s(?:of|in|at|for|from|to|and)\s.*")
_NUMBERED = re.compile(r"([^\W\d_]{2,})[\s_]*(?:\s[a-z]|\d+)")
_TITLES = {"prof": "professor", "dr": "doctor", "sen": "senator", "rep": "representative", "gov": "governor"}
_SAME_ROLES = (
    ("host", "interviewer", "moderator", "presenter"),
    ("guest", "interviewee"),
    ("chair", "chairman", "chairwoman", "chairperson"),
)


def _role(words: str) -> str:
    """A role as it is compared: "Co-Hosts" and "the cohost" are one."""
    key = re.sub(r"[\s-]+", "", re.sub(r"^the\s", "", bare_name(words)))
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


def _roles(speaker: Speaker) -> Iterator[str]:
    """What a speaker may be called after "the": the roles of sidecars, whole and without what is added ("author of the
    book"), and what is in labels: "Professor C" and "Prof. Ray" are professors, the "Art Director" is the director.
    """
    for role in speaker.roles:
        yield _role(role)
        yield from map(_role, _OF.sub("", role).split()[-1:])
    label = bare_name(speaker.name)
    if (numbered := _NUMBERED.fullmatch(label)) and not _ordinary(numbered[1]):
        yield _role(numbered[1])
    title, *rest = speaker.name.casefold().replace(".", " ").split() or [""]
    if rest and (title in _TITLES or title in _TITLES.values()):
        yield _TITLES.get(title, title)
    words = label.split()
    if words and not _ordinary(words[-1]) and all(map(_is_plain, words)):
        yield _role(label)
        yield _role(words[-1])


@lru_cache(maxsize=8192)
def _first_folded(word: str) -> str:
    return fold_name(word).split()[0]


@lru_cache(maxsize=64)
def _names(speakers: Speakers) -> _Names:
    """Made once for each set of speakers: those of the corpus and of single sources."""
    return _Names(speakers)


def _name_end(word: re.Match[str]) -> int:
    """Where a name ends that may carry a possessive, or a full stop that is not an initial's."""
    text = word.group()
    bare = _POSSESSIVE.sub("", text)
    if bare.endswith(".") and len(bare) > 2:
        bare = bare[:-1]
    return word.start() + len(bare)


def _is_plain(word: str) -> bool:
    """Whether it is a word of English and not a given name too."""
    return is_english_word(word) and not is_given_name(word)


def _is_title(word: str) -> bool:
    return is_english_word(word) or _ABBREVIATED_TITLE.fullmatch(word) is not None


def _run_length(text: str, words: Sequence[re.Match[str]], at: int) -> int:
    """How many capitalised words in a row, only blanks between them, begin at `at`; at least one."""
    size = 1
    # The first word of a question is capitalised whatever it is.
    if at > 0 and words[at].group()[0].isupper():
        while size < LONGEST_NAME and _goes_on(text, words, at + size - 1):
            size += 1
    return size


def _slot_length(text: str, words: Sequence[re.Match[str]], at: int) -> int:
    """How many words in any case stand between "did", at `at`, and a verb of speech; one where it is no such place."""
    before = words[at - 1].group() if at > 0 else ""
    if _MAY_PRECEDE.fullmatch(before) and _AUXILIARY.search(
        text, max(0, words[at].start() - CONTEXT), words[at].start()
    ):
        for size in range(1, min(LONGEST_SLOT, len(words) - at) + 1):
            end = words[at + size - 1].end()
            if _VERB_AFTER.match(text, end, end + CONTEXT):
                return size
            if at + size < len(words) and not text[end : words[at + size].start()].isspace():
                break
    return 1


def _is_after_the(text: str, words: Sequence[re.Match[str]], at: int) -> bool:
    before = words[at - 1] if at > 0 else None
    return (
        before is not None
        and before.group().casefold() in ("the", "our")
        and text[before.end() : words[at].start()].isspace()
    )


def _goes_on(text: str, words: Sequence[re.Match[str]], at: int) -> bool:
    """Whether a capitalised word follows a word and only blanks lie between, so that both may be of one name."""
    return (
        at + 1 < len(words)
        and words[at + 1].group()[0].isupper()
        and text[words[at].end() : words[at + 1].start()].isspace()
        and not _POSSESSIVE.search(words[at].group())
    )


def _is_asked(text: str, begin: int, end: int, *, to_speak: bool = False) -> bool:
    """Whether the words of whoever is named there are asked for; `to_speak` wants a verb of speech or thought."""
    before, after = text[max(0, begin - CONTEXT) : begin], text[end : end + CONTEXT]
    right_before = before[-LONGEST_LEAD:]
    if _BEFORE_NAME.search(right_before):
        return True
    if auxiliary := _AUXILIARY.search(right_before):
        verb = _ANY_VERB_AFTER.get(auxiliary.group().split()[0].casefold(), _OTHER_VERB_AFTER)
        plain = not to_speak and not _WHERE_FROM.match(text)
        return bool(_VERB_AFTER.match(after) or (plain and verb.match(after)) or VIEW_AFTER.match(after))
    if _CLAUSE_BEFORE.search(right_before):
        return bool(_VERB_AFTER.match(after))
    others_asked = _ORDINARY_SUBJECT.search(before)
    return not others_asked and bool(re.match(r"['’]", after) and VIEW_AFTER.match(after))


_ORDINARY = re.compile(
    r"the|a|an|this|that|these|those|they|he|she|it|we|you|i|people|everyone|everybody|anyone|anybody|someone|somebody"
    r"|nobody|group|team|members?|participants?|speakers?|guests?|users?|customers?|companies|company|there|his|her"
    r"|their|our|my|your|its|all|any|some|most|many|each|both|who|what|which",
    re.IGNORECASE,
)


def _ordinary(words: str) -> bool:
    return _ORDINARY.fullmatch(words.split()[0]) is not None


_EDGES = " \t\n?!.,;:"


def _topic(text: str, asked: Mention | None) -> str:
    """The question without its scaffold ("What did X say about"); empty where nothing is left."""
    rest = text
    if asked:
        rest = _LEADS_TO_NAME.sub("", text[: asked.begin]) + re.sub(r"^['’]s?\b", "", text[asked.end :])
        rest = re.sub(r"^\s*,\s*", "", rest)
    topic = _SCAFFOLD.sub("", f"{rest.strip(_EDGES)} ", count=1).strip(_EDGES)
    return topic if re.search(r"\w{2}", topic) else ""
