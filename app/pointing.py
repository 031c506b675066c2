"""Words of a question that point back ("he", "that", "the latter"), and questions that leave their topic open."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.past import AUXILIARIES, EDGES, LONGEST_TOPIC, PREPOSITIONS, Body, Past, word_set
from app.question import find_mentions, understand
from ingest.names import is_full_name, is_given_name
from ingest.speakers import Speaker

LONGEST_ELLIPSIS = 200
"""Characters; what is longer is a question of its own."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A word in lower case, without its contraction ("'s"), or a punctuation mark."""

    word: str
    begin: int
    end: int
    contraction: str = ""

    @property
    def whole_end(self) -> int:
        """Where it ends with its contraction."""
        return self.end + len(self.contraction)


@dataclass(frozen=True, slots=True)
class _Reference:
    """A word whose meaning is in an earlier question.

    `kind` is "he", "his", "they", "their", "thing" (it), "its", "topic" (that), "them", or "said", where what was said
    is meant and not what it was about: "why did he say that?".
    """

    kind: str
    token: _Token
    before: _Token | None
    speaks: bool = False


_THINGS = frozenset(("thing", "its", "topic", "them", "said"))
_TOKEN = re.compile(r"([^\W_]+(?:-[^\W_]+)*)(['’](?:s|re|ve|d|ll|m|t)\b)?|[,;:.!?()—–…]", re.IGNORECASE)
_SPOKEN_OUT = {"s": "is", "re": "are", "ve": "have", "d": "would", "ll": "will", "m": "am", "t": "not"}
_SINGULAR = {"do": "does", "are": "is", "were": "was", "have": "has"}
_HE = word_set("he she him his her hers")
_THEY = word_set("they their theirs")
_BE = word_set("is are was were be been")
_MAKING = word_set("make makes made making find finds found consider considers think thinks thought feel felt keep")
_SEEMING = word_set("seems seemed appears appeared turns turned takes took rained")
_CLAUSE_AFTER = ("to", "that", "whether", "if", "like", "when")
_THINKING = word_set(
    "say says said saying think thinks thought believe believes believed claim claims claimed feel feels felt know knew"
)
_SAYING = _THINKING | word_set("do does did done doing")
_SPEECH = _THINKING | word_set(
    "mean means meant agree agreed disagree disagreed suggest suggested propose proposed argue argued explain explained"
    " talk talked discuss discussed mention mentioned recommend recommended want wanted describe described view views"
    " ask asked answer answered respond responded comment commented opinion opinions thoughts stance position reasons"
)
_TO_OBJECT = PREPOSITIONS | word_set(
    "about of on by to against behind regarding like than into over beyond compare contrast use used explain describe"
    " define handle solve change approve reject support summarize summarise reconcile measure achieve fix combine"
)
_JOINING = word_set("and or but when while because so exactly then again now today too")
_AFTER_OBJECT = _JOINING | PREPOSITIONS | word_set("to as about specifically already anyway yet")
_PREDICATE = word_set(
    "a an the true right wrong correct so really still also always ever not good bad possible important necessary"
    " enough supposed"
)
_DOING = word_set(
    "mean work help scale apply happen matter change compare relate fit sound make go affect differ lead look end turn"
)
ENDS = word_set(", ; : . ! ? ( ) — – …")
_BOUNDARIES = ENDS | word_set(
    "and but or when while if because after before although though since until who which that how why what where"
    " whether as"
)
_NO_BOUNDARY = word_set("after before since until")
_SUBORDINATE = word_set("when after before while if as since because although once")
_SOMEBODY = word_set(
    "someone somebody anyone anybody everyone everybody nobody host guest interviewer interviewee moderator presenter"
    " chair chairman chairwoman chairperson author ceo founder president minister secretary manager designer expert"
    " engineer professor doctor teacher student person man woman boy girl child speaker member user customer candidate"
    " leader boss employee husband wife father mother brother sister friend colleague narrator"
    " people group team others members panel committee"
)
POINTS_BACK = re.compile(
    r"\b(?:the (?:same|former|latter|others?|other one|(?:first|second|third|last|next|previous) (?:one|point|reason"
    r"|quote|quotation|answer|thing|part|question))|those (?!(?:who|that|which|with|in|of|from|at|for)\b)[a-z]+"
    r"|these (?!days\b)[a-z]+|which (?:ones?|of them)"
    r"|(?:did|does|do|about|of|in|with|for|by) that [a-z]+|you (?:just )?(?:said|mentioned|quoted)"
    r"|your (?:last|previous|first) (?:answer|point)|else)\b",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"[^siu]s$")
_LATTER = re.compile(r"\bthe (latter|former)\b(?! [a-z]+s?\b(?<!say)(?<!think)(?<!mean))", re.IGNORECASE)


def tokenise(text: str) -> list[_Token]:
    """The words and punctuation marks of a text, in order."""
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        word, contraction = match[1] or match.group(), match[2] or ""
        plain = word.lower()
        if contraction[1:].lower() == "t":
            plain = {"can": "can", "won": "will"}.get(plain, plain[:-1])
        found.append(_Token(plain, match.start(), match.start() + len(word), contraction))
    return found


def find_references(text: str, speakers: Sequence[Speaker]) -> list[_Reference]:
    """The first word of each kind that points back, and not to something in the text itself.

    Once the first has a meaning, it is what later ones point to.
    """
    tokens = tokenise(text)
    found = (
        _first_person(text, tokens, speakers),
        _first_group(text, tokens, speakers),
        _first_thing(text, tokens, speakers),
    )
    return [reference for reference in found if reference]


def _first_person(text: str, tokens: Sequence[_Token], speakers: Sequence[Speaker]) -> _Reference | None:
    at = next((i for i, token in enumerate(tokens) if token.word in _HE), None)
    if at is None:
        return None
    token = tokens[at]
    owner = token.word in ("his", "hers") or (token.word == "her" and not _ends_object(tokens, at))
    # Nobody does something to "him" who is himself: the person meant is not in the same clause.
    limit = _clause_begin(tokens, at) if token.word in ("him", "her") and not owner else at
    mentions = [m for m in find_mentions(text, speakers) if m.text.lower() not in AUXILIARIES]
    begin = tokens[limit].begin
    if any(mention.end <= begin for mention in mentions) or _names_somebody(text, tokens[:limit]):
        return None
    comma = any(other.word == "," for other in tokens[at:])
    if tokens[0].word in _SUBORDINATE and comma and any(m.begin > token.end for m in mentions) and at < 3:
        return None
    return _Reference("his" if owner else "he", token, tokens[at - 1] if at else None)


def _names_somebody(text: str, tokens: Sequence[_Token]) -> bool:
    """Whether a person stands there who need not be a speaker: "the author", "Jack", "Satya Nadella"."""
    if any(token.word in _SOMEBODY for token in tokens):
        return True
    names = [token if text[token.begin].isupper() else None for token in tokens[1:]]
    if any(name and is_given_name(name.word) for name in names):
        return True
    return any(one and other and is_full_name(text[one.begin : other.end]) for one, other in pairwise(names))


def _first_group(text: str, tokens: Sequence[_Token], speakers: Sequence[Speaker]) -> _Reference | None:
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        of_people = token.word == "them" and before and before.word in ("with", "to", "by", "from")
        if token.word in _THEY or of_people:
            limit = _clause_begin(tokens, at) if of_people else at
            begin = tokens[limit].begin
            named = any(mention.end <= begin for mention in find_mentions(text, speakers))
            if named or _names_somebody(text, tokens[:limit]) or _has_topic(text[:begin], speakers):
                return None
            speaks = any(other.word in _SPEECH for other in tokens[at + 1 : at + 4])
            return _Reference("their" if token.word.startswith("their") else "they", token, before, speaks)
    return None


def _first_thing(text: str, tokens: Sequence[_Token], speakers: Sequence[Speaker]) -> _Reference | None:
    last = {word: max((i for i, t in enumerate(tokens) if t.word == word), default=-1) for word in _CLAUSE_AFTER}
    for at, token in enumerate(tokens):
        mentioned = text[: token.begin].endswith(('"', "“", "‘"))
        kind = None if mentioned else _thing_kind(tokens, at, clause_after=any(i > at for i in last.values()))
        if kind:
            limit = at if kind == "its" else _clause_begin(tokens, at)
            if _has_topic(text[: tokens[limit].begin], speakers):
                return None
            return _Reference(kind, token, tokens[at - 1] if at else None)
    return None


def _thing_kind(tokens: Sequence[_Token], at: int, *, clause_after: bool) -> str | None:
    """How the word at `at` points to a thing or to what was said; null where it does not, as in "is it true that"."""
    word = tokens[at].word
    before = tokens[at - 1].word if at else ""
    after = tokens[at + 1].word if at + 1 < len(tokens) else "."
    if word == "its":
        return "its"
    if word == "it":
        bound = before in AUXILIARIES or before in _MAKING or tokens[at].contraction or after in _BE
        if after in _SEEMING or (bound and clause_after):
            return None
        return "said" if before in _SAYING and after in ENDS | _JOINING else "thing"
    if word == "them":
        return "them" if before not in ("with", "to", "by", "from") and _ends_object(tokens, at) else None
    if word == "so":
        return "said" if before in _SAYING and after in ENDS else None
    if word not in ("that", "this", "those", "these") or at == 0:
        return None
    return _pointing_kind(tokens, at, before, after)


def _pointing_kind(tokens: Sequence[_Token], at: int, before: str, after: str) -> str | None:
    """The same for "that" and "this", which may also stand before a noun or a clause."""
    if after in ENDS:
        return "said" if before in _SAYING else "topic"
    if before in _SAYING and after in _JOINING:
        return "said"
    if before in _TO_OBJECT and after in _AFTER_OBJECT:
        return "topic"
    if before not in AUXILIARIES:
        return None
    alone = at + 2 >= len(tokens) or tokens[at + 2].word in ENDS
    return "topic" if alone or after in (_PREDICATE if before in _BE else _DOING) else None


def _ends_object(tokens: Sequence[_Token], at: int) -> bool:
    """Whether the clause ends or goes on after the word at `at`, so that it is no determiner."""
    return at + 1 >= len(tokens) or tokens[at + 1].word in ENDS or tokens[at + 1].word in _AFTER_OBJECT


def _clause_begin(tokens: Sequence[_Token], at: int) -> int:
    """Where the clause begins that the word at `at` stands in."""
    for i in range(at - 1, -1, -1):
        if tokens[i].word in _BOUNDARIES and not (i == at - 1 and tokens[i].word in _NO_BOUNDARY):
            return i
    return 0


def _has_topic(text: str, speakers: Sequence[Speaker]) -> bool:
    return bool(understand(text, speakers).topic)


def resolved(body: Body, past: Past, speakers: Sequence[Speaker]) -> str:
    """The question with names and topics for the words that point back, and with a topic where it has none."""
    text = body.text
    references = find_references(text, speakers)
    kinds = {reference.kind for reference in references}
    leans = body.leans or not kinds.isdisjoint(("he", "they", "his", "their"))
    written = latter_resolved(substituted(text, references, past), past)
    if "said" in kinds:
        after = next(reference.token.end for reference in references if reference.kind == "said")
        own = re.search(r"\b(?:about|on|regarding)\b", text[after:], re.IGNORECASE)
        return written if own else _with_end(written, past.about)
    if kinds.isdisjoint(_THINGS) and past.topic and past.thing not in written:
        leads = open_end(written, speakers, leans=leans)
        return written if leads is None else _with_end(written, f"{leads} {past.topic}")
    return written


def _with_end(text: str, end: str) -> str:
    bare = text.rstrip(EDGES)
    return f"{bare}{end}{text[len(bare) :]}"


def latter_resolved(text: str, past: Past) -> str:
    """The text with what "the latter" and "the former" mean in their place."""
    parts = re.split(r"\s+(?:and|or|versus|vs\.?)\s+", past.asked or past.topic)
    found = _LATTER.search(text)
    if found is None or len(parts) != 2:
        return text
    return f"{text[: found.start()]}{parts[found[1].lower() == 'latter']}{text[found.end() :]}"


def substituted(text: str, references: Iterable[_Reference], past: Past) -> str:
    """The text with the meanings in place of the words, from the end on, so that places stay right."""
    for begin, end, new in sorted(_substitutions(references, past), reverse=True):
        text = f"{text[:begin]}{new}{text[end:]}"
    return text


def _substitutions(references: Iterable[_Reference], past: Past) -> Iterator[tuple[int, int, str]]:
    references = list(references)
    # "Do they work?" asks about the topic, "what do they think?" about persons, and so does "how did they do it?".
    things = past.thing if _PLURAL.search(past.thing) and not _THINGS & {r.kind for r in references} else ""
    for reference in references:
        token, kind = reference.token, reference.kind
        several = " and " in past.they
        group = past.speaking if reference.speaks else past.they if several else things or past.they
        meaning = {
            "he": past.he,
            "his": _possessive(past.he),
            "they": group,
            "their": _possessive(group),
            "thing": past.thing,
            "its": _possessive(past.thing),
            "topic": past.topic,
            "them": past.topic if _PLURAL.search(past.topic) else "",
        }.get(kind)
        if not meaning:
            continue
        one = kind == "they" and " and " not in meaning and meaning != things
        if token.contraction:
            verb = _SPOKEN_OUT[token.contraction[1:].lower()]
            meaning += f" {_SINGULAR.get(verb, verb) if one else verb}"
        elif one and reference.before and reference.before.word in _SINGULAR:
            yield reference.before.begin, reference.before.end, _SINGULAR[reference.before.word]
        yield token.begin, token.whole_end, meaning


def _possessive(name: str) -> str:
    return name and f"{name}’" if name.endswith("s") else name and f"{name}’s"


_OPEN = {
    **dict.fromkeys(
        word_set(
            "think thinks thought feel feels felt agree agrees agreed disagree disagrees disagreed argue argued"
            " complain complained worry worried right wrong correct sure concerned happy optimistic sceptical skeptical"
            " opinion opinions view views stance position thoughts take"
        ),
        " about",
    ),
    **dict.fromkeys(
        word_set(
            "object objects objected react reacts reacted respond responded reply replied answer alternative"
            " alternatives response objections"
        ),
        " to",
    ),
    **dict.fromkeys(word_set("happen happens happened"), " with"),
    **dict.fromkeys(
        word_set(
            "outcome outcomes result results benefits drawbacks advantages disadvantages downsides upsides consequences"
            " implications"
        ),
        " of",
    ),
    **dict.fromkeys(word_set("reason reasons argument arguments"), " for"),
    **dict.fromkeys(word_set("decision decisions conclusion conclusions vote voted"), " on"),
    **dict.fromkeys(word_set("approve approved support supported oppose opposed reject rejected"), ""),
}
"""What wants a topic, and how one is put after it."""
_OPEN_WHEN_LEANING = {
    **dict.fromkeys(word_set("say says said talk talked speak spoke"), " about"),
    **dict.fromkeys(word_set("decide decided conclude concluded comment commented"), " on"),
    **dict.fromkeys(
        word_set(
            "propose proposed suggest suggests suggested recommend recommends recommended mention mentioned explain"
            " explained"
        ),
        "",
    ),
}
"""The same where a pronoun or "and" shows that the question goes on: "What did Jane say?" by itself is an open one."""
_OWN_TOPIC = re.compile(r"\b(?:about|of|on|regarding|for)\s+(?:the\s+)?$", re.IGNORECASE)
_NAMES_TOPIC = word_set("about regarding concerning")
_LOOSE = word_set(
    "not really also ever exactly anything something other others people final main and with any from anyone anybody"
    " else next then later afterwards eventually instead still"
)


def open_end(text: str, speakers: Sequence[Speaker], *, leans: bool) -> str | None:
    """What leads to a topic at the end of a question that has none; null where it has one, or is open by itself."""
    if len(text) > LONGEST_ELLIPSIS + LONGEST_TOPIC:
        return None
    leans = leans or any(token.word in ("he", "she", "they") for token in tokenise(text))
    mentions = [mention for mention in find_mentions(text, speakers) if mention.speakers]
    if any(_OWN_TOPIC.search(text[: mention.begin]) for mention in mentions):
        return None
    rest = text
    for mention in reversed(mentions):
        rest = rest[: mention.begin] + re.sub(r"^['’]s?", "", rest[mention.end :])
    known = _OPEN | _OPEN_WHEN_LEANING if leans else _OPEN
    words = [token.word for token in tokenise(rest) if token.word not in ENDS]
    topic = [token.word for token in tokenise(understand(rest, speakers).topic)]
    last = next((word for word in reversed(words) if word in known), None)
    if (
        last is None
        or not _NAMES_TOPIC.isdisjoint(words)
        or any(word not in known and word not in _LOOSE for word in topic)
    ):
        return None
    # "What did he propose?" has its object already.
    return known[last] or (" about" if words[0] == "what" else "")
