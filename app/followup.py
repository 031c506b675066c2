"""Follow-up questions made to stand alone by rules: ellipses ("and the host?") and pronouns ("why did he say that?").

The rules are those of English. They leave alone what they are not sure of: a wrong topic is worse than an open one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from app.conversation import KEPT_EXCHANGES, Exchange
from app.question import Mention, find_mentions, understand
from ingest.names import is_english_word, is_full_name, is_given_name
from ingest.speakers import Speaker

LONGEST_TOPIC = 300
"""Characters of a topic that are put into a question."""
LONGEST_QUESTION = 1000
"""Characters of an earlier question that are looked at."""
LONGEST_ELLIPSIS = 200
"""Characters; what is longer is a question of its own."""
MOST_WORDS = 20
"""Words that "and …?" may bring in."""
BARE_WORDS = 6
"""Words that may follow a preposition where nothing else is asked: "at Twitter?"."""


def may_depend(question: str, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> bool:
    """Whether a question may mean something else without what came before: an ellipsis, or a word that points back.

    More may than the rules can make stand alone: "is that company profitable?", "which one?".
    """
    if not history:
        return False
    body = _body(question)
    return bool(
        _ellipsis(body, speakers)
        or _references(body.text, speakers)
        or _POINTS_BACK.search(body.text)
        or _open_end(body.text, speakers, leans=body.leans) is not None
    )


def stand_alone(question: str, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> str | None:
    """The question with what it leaves out; null where it stands alone already, or the history does not tell."""
    if not history or not may_depend(question, history, speakers):
        return None
    body = _body(question)
    last = [replace(each, question=each.question[:LONGEST_QUESTION]) for each in history[-KEPT_EXCHANGES:]]
    past = _Past.of(last, speakers)
    ellipsis = _ellipsis(body, speakers)
    written = _completed(ellipsis, past, speakers) if ellipsis else _resolved(body, past, speakers)
    if written is None or written in (question.strip(), body.text):
        return None
    return _capitalised(written)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What came before


@dataclass(frozen=True, slots=True)
class _Past:
    """What a follow-up may point back to; each is empty where there is nothing of the kind.

    `question` and `topic` are the last ones. `thing` is what "it" means: the topic, or what a clause is about
    ("Periscope fail"). `asked` are those whose words the last question asked for, `he` is one person and `they` are all
    persons that those pronouns mean; `speaking` is who "they" may be where a verb of speech follows.
    """

    question: str
    topic: str
    thing: str
    asked: str
    he: str
    they: str
    speaking: str

    @classmethod
    def of(cls, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> _Past:
        last = history[-1]
        asked = _asked(last, speakers)
        names = _full_names(asked) if asked else ""
        question = _with_person(last.question, asked, names) if asked else last.question
        quoted = list(dict.fromkeys(map(_spoken, last.speakers)))
        return cls(
            question=_ELSE.sub(r"\1", " ".join(question.split())),
            topic=_topic(last),
            thing=_thing(last),
            asked=names,
            he=_last_person(history, speakers),
            they=names,
            speaking=names or (quoted[0] if len(quoted) == 1 else ""),
        )

    @property
    def about(self) -> str:
        return f" about {self.topic}" if self.topic else ""


_ELSE = re.compile(r"^(what) else\b", re.IGNORECASE)
_EDGES = " \t\n?!.,;:…"
_VERB_BEFORE = re.compile(
    r"(?:decided?|concluded?|agreed?|happen(?:ed)?|complain(?:ed)?|comment(?:ed)?|object(?:ed)?|approved?|rejected?)"
    r"(?: (?:about|on|upon|with|to))? (?=\S)",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
_AUXILIARIES = _words(
    "do does did is are was were has have had can could will would should may might must am be been being"
)


def _asked(exchange: Exchange, speakers: Sequence[Speaker]) -> Mention | None:
    """Whom the question of an exchange asked for, as it was answered then."""
    asked = understand(exchange.question, speakers).asked
    if asked is None:
        return None
    answered = tuple(name for name in exchange.speakers if name in asked.speakers)
    return replace(asked, speakers=answered or asked.speakers)


def _last_person(history: Sequence[Exchange], speakers: Sequence[Speaker]) -> str:
    """Who was asked for, known or not, spoken of or quoted last, the first one where they are several."""
    for exchange in reversed(history):
        if nobody := understand(exchange.question, speakers).unknown:
            return nobody
        mentions = (m for m in find_mentions(exchange.question, speakers) if m.speakers)
        meant = _asked(exchange, speakers) or next(mentions, None)
        if meant:
            return _full_names(meant) if meant.people == 1 else _spoken(meant.speakers[0])
        if exchange.speakers:
            return _spoken(exchange.speakers[0])
    return ""


def _full_names(mention: Mention) -> str:
    """The persons by their full names, or in the words of the question where it is open who is meant."""
    names = list(dict.fromkeys(map(_spoken, mention.speakers)))
    if len(names) != mention.people:
        return mention.text
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _spoken(name: str) -> str:
    """A name as it stands in a sentence: without what labels add in brackets, a title of plain words after "the"."""
    bare = _BRACKETS.sub("", name).strip() or name
    words = bare.split()
    title = (
        len(words) > 1 and not is_full_name(bare) and all(is_english_word(w) and not is_given_name(w) for w in words)
    )
    return f"the {bare}" if title else bare


def _topic(exchange: Exchange) -> str:
    """What an exchange was about, with the article that it had in the question."""
    topic = _VERB_BEFORE.sub("", " ".join(exchange.topic.split()).strip(_EDGES))
    question = " ".join(exchange.question.split())
    if (who := re.match(r"who (\w+ )", question, re.IGNORECASE)) and len(topic) > len(who[1]):
        topic = topic.removeprefix(who[1])  # "Who coined the build trap?" was about the build trap
    if len(topic) > LONGEST_TOPIC:
        topic = topic[:LONGEST_TOPIC].rsplit(" ", 1)[0]
    article = re.search(rf"\b((?:the|an?|our) ){re.escape(topic)}", question, re.IGNORECASE) if topic else None
    return f"{article[1]}{topic}" if article else topic


def _thing(exchange: Exchange) -> str:
    """What an exchange was about in a word: "Periscope" where the topic is "Periscope fail"."""
    topic = _topic(exchange)
    subject = re.match(r"(?:[A-Z][\w'’-]* )+(?=[a-z])", topic)
    at = exchange.question.find(topic)
    return subject.group().strip() if subject and at > 0 and _is_clause(exchange.question[:at]) else topic


def _is_clause(before: str) -> bool:
    """Whether a topic with that before it begins with a subject: "Why did …", but not "What is …"."""
    words = before.casefold().split()
    return bool(words) and words[-1] in _AUXILIARIES and words[0] not in ("what", "who", "what's", "who's")


def _with_person(question: str, mention: Mention, name: str) -> str:
    """The question with another name in place of the persons mentioned, their article included."""
    before = re.sub(r"\b(?:the|our)\s+$", "", question[: mention.begin], flags=re.IGNORECASE)
    return _capitalised(f"{before}{name}{question[mention.end :]}")


def _capitalised(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


# Ellipses


@dataclass(frozen=True, slots=True)
class _Body:
    """A question without what only leads to it ("ok, so"); `leans` where it goes on from another one ("and …")."""

    text: str
    leans: bool


@dataclass(frozen=True, slots=True)
class _Ellipsis:
    """A question with most of it left out: `kind` of _FORMS, or "exchange", with the words that it brings in."""

    kind: str
    words: str


_FILLER = re.compile(
    r"(?:(?:ok|okay|so|oh|hm+)\b[\s,.!…]+|(?:well|right|thanks|thank you|great|cool|nice|interesting|i see|got it|sure"
    r"|yes|no|alright|(?:that's|that is|how) interesting|makes sense)\b\s*[,.!…][\s,.!…]*)+",
    re.IGNORECASE,
)
_LEAD = re.compile(r"(?:(?:and|but|or|also|plus)\b[\s,]+)+", re.IGNORECASE)
_THAT = r"(?:it|that|this|those|these|so)"
_ABOUT_THAT = rf"(?: (?:on|about|of|for) {_THAT})?"
_SAY = r"(?:say|says|said|think|thinks|thought|claim|claims|claimed|mention|mentions|mentioned)"
_TELL_ME_MORE = (
    r"(?:(?:can|could|would|will) you )?(?:please )?(?:(?:tell|give|show) me (?:(?:some|a bit|a little|any) )?more"
    r"(?: details?)?|say more|go on|continue|keep going|elaborate|expand|explain(?: (?:more|further))?"
    r"|be more specific|go into (?:more )?details?)"
)
_FORMS = {
    "why": rf"why(?: (?:so|not|though|exactly|(?:is|was) {_THAT}(?: so)?|did {_THAT} happen|{_THAT}))?|why's {_THAT}"
    rf"|how (?:so|come)|what for|for what reasons?|what (?:is|was) the reason(?: for {_THAT})?",
    "when": rf"when(?: exactly| (?:is|was) {_THAT}| (?:did|does) {_THAT} happen)?",
    "where": rf"where(?: exactly| (?:is|was) {_THAT}| (?:did|does) {_THAT} happen)?",
    "how": rf"how(?: exactly| (?:is|was) {_THAT}| (?:did|does) {_THAT} happen)?",
    "who": rf"who|who exactly|says who|according to whom|who {_SAY} {_THAT}|who (?:is|was) {_THAT}",
    "who else": rf"who else(?: (?:{_SAY}|spoke|talked|commented)(?: {_THAT})?{_ABOUT_THAT})?"
    r"|(?:any|some)(?:one|body) else",
    "more": rf"(?:(?:what|anything|something|nothing|any|some) )?(?:else|more)|{_TELL_ME_MORE}"
    r"|(?:is|was) (?:that all|there (?:anything )?(?:else|more))|(?:in )?(?:more|further) details?"
    r"|then|then what|what (?:then|next)|next",
    "really": rf"really|seriously|are you sure|(?:is|was) {_THAT} (?:really )?(?:true|so|right|correct|a fact)"
    r"|(?:did|does|do|is|was|has|are|were) (?:he|she|they|it)(?: really| still)?"
    rf"|(?:did|does|do) (?:he|she|they) really {_SAY} {_THAT}",
    "example": r"like (?:what|who)|such as(?: what)?|for (?:example|instance)|(?:(?:an|any|some) )?examples?"
    r"|(?:can|could) you give (?:me )?(?:an|some|any) examples?",
    "measure": r"(?:by )?how (?:much|many|long|often|far|big|soon|early|late)|(?:since|until|by) when|whose"
    r"|(?:to|for|with|by|from) whom|what (?:kind|sort)|from where|where to"
    r"|(?:on|in|by|for|to|with|at|under) (?:what|which) [a-z]+",
}
"""Ellipses without a word of their own, by what is made of them."""
_SHORT = {
    kind: re.compile(rf"(?:{form}){_ABOUT_THAT if kind in ('more', 'example') else ''}(?: please)?")
    for kind, form in _FORMS.items()
}
_MORE_ABOUT = re.compile(r"(?:what|anything|something) (?:else|more) (?:about|on|regarding) (.+)", re.IGNORECASE)
_WHAT_ABOUT = re.compile(
    r"(?:(?:and|but) )?(?:what|how) (?:about|of) (.+)|(?:the )?same (?:(?:question|thing) )?(?:for|about|with|on) (.+)"
    r"|i mean(?:t)? (.+)",
    re.IGNORECASE,
)
_TAIL = re.compile(r"[\s,]+(?:then|too|also|as well|though|instead|please)$", re.IGNORECASE)
_OPENERS = _AUXILIARIES | _words(
    "what why how when where who whose whom which whether if because tell summarize summarise describe explain give"
    " list show find compare define quote please you i we it that this they he she there let not"
)
_ABOUT = re.compile(r"(?:about|on|regarding|concerning)\s+", re.IGNORECASE)
_PREPOSITIONS = _words(
    "in at for during with from after before without within under among between outside inside since until across"
)
_TIMES = re.compile(r"now|today|nowadays|later|earlier|before|afterwards|initially|originally|currently|\d{4}")
_GROUP = re.compile(
    r"(?:(?:all |any |some )?(?:of )?the )?(?:others?|rest|other (?:participants|speakers|members|people|guests)|group"
    r"|team|panel|committee|audience|participants|members|every(?:one|body)(?: else)?)",
    re.IGNORECASE,
)
_POINTING = _words("it that this those these them him her he she they you me us one ones")


def _body(question: str) -> _Body:
    text = question.strip()
    if filler := _FILLER.match(text):
        text = text[filler.end() :] or text
    lead = _LEAD.match(text)
    return _Body(text[lead.end() :], leans=True) if lead and lead.end() < len(text) else _Body(text, leans=False)


def _ellipsis(body: _Body, speakers: Sequence[Speaker]) -> _Ellipsis | None:
    """What is asked in so few words that the rest must be in the question before."""
    if len(body.text) > LONGEST_ELLIPSIS:
        return None
    words = " ".join(body.text.split()).strip(_EDGES)
    plain = words.replace("’", "'").casefold()
    for kind, form in _SHORT.items():
        if form.fullmatch(plain):
            return _Ellipsis(kind, words)
    if more := _MORE_ABOUT.fullmatch(words):
        return _Ellipsis("more about", more[1])
    what_about = _WHAT_ABOUT.fullmatch(words)
    brought = _TAIL.sub("", what_about[what_about.lastindex or 0] if what_about else words).strip(_EDGES)
    inside = [token.word for token in _tokens(brought) if token.word not in _ENDS]
    if not inside or len(inside) > MOST_WORDS:
        return None
    if what_about or (body.leans and inside[0] not in _OPENERS and _AUXILIARIES.isdisjoint(inside)):
        return _Ellipsis("exchange", brought)
    if not body.text.endswith("?") or not _AUXILIARIES.isdisjoint(inside):
        return None
    bare = inside[0] in _PREPOSITIONS or _ABOUT.match(brought)
    if (bare and len(inside) <= BARE_WORDS and _OPENERS.isdisjoint(inside)) or _person(brought, speakers):
        return _Ellipsis("exchange", brought)
    return None


def _completed(ellipsis: _Ellipsis, past: _Past, speakers: Sequence[Speaker]) -> str | None:
    """The last question, asked anew in the way that an ellipsis says."""
    kind, who, about = ellipsis.kind, past.asked, past.about
    if kind == "exchange":
        return _exchanged(ellipsis.words, past, speakers)
    if kind == "more about":
        topic = past.topic if ellipsis.words.casefold() in _POINTING else ellipsis.words
        return f"What else {_said(who)} about {topic}?" if topic else None
    if not who and not about:
        return None
    if kind in ("why", "when", "where", "how"):
        return _asked_otherwise(past.question, kind) or _asked_of_answer(kind, who, about)
    return {
        "who": f"Who said that{about}?",
        "who else": f"Who else spoke{about}?",
        "more": f"What else {_said(who)}{about}?",
        "really": f"Did {who} say that{about}?" if who else f"Was that said{about}?",
        "example": f"What {_said(who)}{about}, for example?",
        "measure": f"{ellipsis.words}{about}{f', according to {who}' if who else ''}?",
    }[kind]


def _said(who: str) -> str:
    return f"did {who} say" if who else "was said"


_OTHERWISE = re.compile(
    r"(?:(why|how|when|where) )?((?:did|does|do|is|are|was|were|has|have|had|can|could|should|will|would) .+)",
    re.IGNORECASE,
)


def _asked_otherwise(question: str, word: str) -> str | None:
    """The question with another question word: "When did Periscope fail?" after "Why …"."""
    found = _OTHERWISE.fullmatch(question)
    if found is None or (found[1] or "").casefold() == word:
        return None
    return f"{word} {found[2][0].lower()}{found[2][1:]}"


def _asked_of_answer(word: str, who: str, about: str) -> str:
    """A question about what was answered: "Why did Jane Doe say that about OKRs?"."""
    verb, participle = ("explain", "explained") if word == "how" else ("say", "said")
    return f"{word} did {who} {verb} that{about}?" if who else f"{word} was that {participle}{about}?"


def _exchanged(words: str, past: _Past, speakers: Sequence[Speaker]) -> str | None:
    """The last question with another person or topic, or with a further circumstance."""
    words = _latter_resolved(words, past)
    if words.casefold() in _POINTING:
        return _resolved(_Body(f"What about {words}?", leans=True), past, speakers)
    if about := _ABOUT.match(words):
        return _with_topic(_renamed(words[about.end() :], past, speakers), past)
    person = _person(words, speakers)
    if person or _GROUP.fullmatch(words):
        return _of_person(person or words, past, speakers)
    name, on, topic = re.sub(r"\s(?:about|on|regarding)\s", "\n", words, count=1).partition("\n")
    if on and (person := _person(name, speakers)):
        asked = _of_person(person, past, speakers)
        return _with_topic(topic, replace(past, question=asked, asked=person))
    if (words.split()[0].casefold() in _PREPOSITIONS and " " in words) or _TIMES.fullmatch(words.casefold()):
        return f"{past.question.rstrip(_EDGES)} {words}?"
    if view := _view(_substituted(words, _references(words, speakers), past), past, speakers):
        return view
    return _with_topic(_renamed(words, past, speakers), past)


def _view(words: str, past: _Past, speakers: Sequence[Speaker]) -> str | None:
    """ "What is the host's view about OKRs?" for "the host's view"; null where the words are no one's view."""
    asked = understand(f"What is {words}?", speakers)
    if not asked.asked or not re.search(r"['’]", words):
        return None
    return f"What is {words}{'' if asked.topic else past.about}?"


def _person(words: str, speakers: Sequence[Speaker]) -> str | None:
    """The full name of whoever is called `words` and nothing more; null where that may be a topic as well."""
    name = re.sub(r"['’]s?$", "", words)
    bare = re.sub(r"^(?:the|our)\s+", "", name, flags=re.IGNORECASE)
    if name == bare and name.islower() and all(is_english_word(w) and not is_given_name(w) for w in name.split()):
        return None
    asked = understand(f"What did {name} say?", speakers).asked
    return _full_names(asked) if asked and asked.text in (name, bare) else None


def _renamed(words: str, past: _Past, speakers: Sequence[Speaker]) -> str:
    """Words with names for "its" and "his"; not for "his" where the question they are put into names that person."""
    named = bool(past.asked) and past.he in past.question
    references = _references(words, speakers)
    return _substituted(words, [r for r in references if not (named and r.kind in ("he", "his"))], past)


def _of_person(name: str, past: _Past, speakers: Sequence[Speaker]) -> str:
    """The last question, asked of somebody else."""
    asked = understand(past.question, speakers).asked
    mentioned = (mention for mention in find_mentions(past.question, speakers) if mention.speakers)
    mention = asked or next(mentioned, None)
    return _with_person(past.question, mention, name) if mention else f"What did {name} say{past.about}?"


_TO_TOPIC = re.compile(
    r"\b(?:about|regarding|concerning|on|of|with|towards?|to|for|by|from|in)\s+(?:(?:the|an?|our) )?$", re.I
)
_ABOUT_SLOT = re.compile(r"\b(?:about|regarding|concerning) ", re.IGNORECASE)
_ON_SLOT = re.compile(r"\b(?:on|with) ", re.IGNORECASE)
_IS_SLOT = re.compile(r"(?:what|who) (?:is|are|was|were) (?:[^ ]+ ){0,4}?of |(?:what|who) (?:is|are|was|were) ", re.I)
_NAME_SLOT = re.compile(r"(?<=\s)[A-Z][\w-]*(?: [A-Z][\w-]*)*")


def _with_topic(topic: str, past: _Past) -> str:
    """The last question, asked about something else; "What was said about …?" where its topic is not one piece."""
    question = past.question.rstrip(_EDGES)
    mark = "?" if past.question.rstrip().endswith("?") else ""
    at = question.casefold().rfind(past.topic.casefold()) if past.topic else -1
    at_end = 0 < at == len(question) - len(past.topic)
    if at_end and (_TO_TOPIC.search(question[:at]) or _follows_verb(question, at, past.asked)):
        return f"{question[:at]}{topic}{mark}"
    slot = _ABOUT_SLOT.search(question) or _IS_SLOT.match(question) or _ON_SLOT.search(question)
    if slot:
        return f"{question[: slot.end()]}{topic}{mark}"
    name = _NAME_SLOT.search(question)
    if name and not past.asked and topic[:1].isupper():
        return f"{question[: name.start()]}{topic}{question[name.end() :]}{mark}"
    return f"What {_said(past.asked)} about {topic}?"


def _follows_verb(question: str, at: int, asked: str) -> bool:
    """Whether what stands at `at` comes after a person asked for and a verb: "Does Jane Doe like …"."""
    person = question.find(asked) if asked else -1
    between = question[person + len(asked) : at].casefold().split()
    return person >= 0 and bool(between) and between != ["’s"] and between[-1] not in _AUXILIARIES


# Words that point back


@dataclass(frozen=True, slots=True)
class _Token:
    """A word in lower case, without its contraction ("'s"), or a punctuation mark."""

    word: str
    begin: int
    end: int
    contraction: str = ""

    @property
    def whole_end(self) -> int:
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
_HE = _words("he she him his her hers")
_THEY = _words("they their theirs")
_BE = _words("is are was were be been")
_MAKING = _words("make makes made making find finds found consider considers think thinks thought feel felt keep")
_SEEMING = _words("seems seemed appears appeared turns turned takes took rained")
_CLAUSE_AFTER = ("to", "that", "whether", "if", "like", "when")
_THINKING = _words(
    "say says said saying think thinks thought believe believes believed claim claims claimed feel feels felt know knew"
)
_SAYING = _THINKING | _words("do does did done doing")
_SPEECH = _THINKING | _words(
    "mean means meant agree agreed disagree disagreed suggest suggested propose proposed argue argued explain explained"
    " talk talked discuss discussed mention mentioned recommend recommended want wanted describe described view views"
    " ask asked answer answered respond responded comment commented opinion opinions thoughts stance position reasons"
)
_TO_OBJECT = _PREPOSITIONS | _words(
    "about of on by to against behind regarding like than into over beyond compare contrast use used explain describe"
    " define handle solve change approve reject support summarize summarise reconcile measure achieve fix combine"
)
_JOINING = _words("and or but when while because so exactly then again now today too")
_AFTER_OBJECT = _JOINING | _PREPOSITIONS | _words("to as about specifically already anyway yet")
_PREDICATE = _words(
    "a an the true right wrong correct so really still also always ever not good bad possible important necessary"
    " enough supposed"
)
_DOING = _words(
    "mean work help scale apply happen matter change compare relate fit sound make go affect differ lead look end turn"
)
_ENDS = _words(", ; : . ! ? ( ) — – …")
_BOUNDARIES = _ENDS | _words(
    "and but or when while if because after before although though since until who which that how why what where"
    " whether as"
)
_NO_BOUNDARY = _words("after before since until")
_SUBORDINATE = _words("when after before while if as since because although once")
_SOMEBODY = _words(
    "someone somebody anyone anybody everyone everybody nobody host guest interviewer interviewee moderator presenter"
    " chair chairman chairwoman chairperson author ceo founder president minister secretary manager designer expert"
    " engineer professor doctor teacher student person man woman boy girl child speaker member user customer candidate"
    " leader boss employee husband wife father mother brother sister friend colleague narrator"
    " people group team others members panel committee"
)
_POINTS_BACK = re.compile(
    r"\b(?:the (?:same|former|latter|others?|other one|(?:first|second|third|last|next|previous) (?:one|point|reason"
    r"|quote|quotation|answer|thing|part|question))|those (?!(?:who|that|which|with|in|of|from|at|for)\b)[a-z]+"
    r"|these (?!days\b)[a-z]+|which (?:ones?|of them)"
    r"|(?:did|does|do|about|of|in|with|for|by) that [a-z]+|you (?:just )?(?:said|mentioned|quoted)"
    r"|your (?:last|previous|first) (?:answer|point)|else)\b",
    re.IGNORECASE,
)
_PLURAL = re.compile(r"[^siu]s$")
_LATTER = re.compile(r"\bthe (latter|former)\b(?! [a-z]+s?\b(?<!say)(?<!think)(?<!mean))", re.IGNORECASE)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        word, contraction = match[1] or match.group(), match[2] or ""
        plain = word.lower()
        if contraction[1:].lower() == "t":
            plain = {"can": "can", "won": "will"}.get(plain, plain[:-1])
        found.append(_Token(plain, match.start(), match.start() + len(word), contraction))
    return found


def _references(text: str, speakers: Sequence[Speaker]) -> list[_Reference]:
    """The first word of each kind that points back, and not to something in the text itself.

    Once the first has a meaning, it is what later ones point to.
    """
    tokens = _tokens(text)
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
    mentions = [m for m in find_mentions(text, speakers) if m.text.lower() not in _AUXILIARIES]
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
        bound = before in _AUXILIARIES or before in _MAKING or tokens[at].contraction or after in _BE
        if after in _SEEMING or (bound and clause_after):
            return None
        return "said" if before in _SAYING and after in _ENDS | _JOINING else "thing"
    if word == "them":
        return "them" if before not in ("with", "to", "by", "from") and _ends_object(tokens, at) else None
    if word == "so":
        return "said" if before in _SAYING and after in _ENDS else None
    if word not in ("that", "this", "those", "these") or at == 0:
        return None
    return _pointing_kind(tokens, at, before, after)


def _pointing_kind(tokens: Sequence[_Token], at: int, before: str, after: str) -> str | None:
    """The same for "that" and "this", which may also stand before a noun or a clause."""
    if after in _ENDS:
        return "said" if before in _SAYING else "topic"
    if before in _SAYING and after in _JOINING:
        return "said"
    if before in _TO_OBJECT and after in _AFTER_OBJECT:
        return "topic"
    if before not in _AUXILIARIES:
        return None
    alone = at + 2 >= len(tokens) or tokens[at + 2].word in _ENDS
    return "topic" if alone or after in (_PREDICATE if before in _BE else _DOING) else None


def _ends_object(tokens: Sequence[_Token], at: int) -> bool:
    """Whether the clause ends or goes on after the word at `at`, so that it is no determiner."""
    return at + 1 >= len(tokens) or tokens[at + 1].word in _ENDS or tokens[at + 1].word in _AFTER_OBJECT


def _clause_begin(tokens: Sequence[_Token], at: int) -> int:
    """Where the clause begins that the word at `at` stands in."""
    for i in range(at - 1, -1, -1):
        if tokens[i].word in _BOUNDARIES and not (i == at - 1 and tokens[i].word in _NO_BOUNDARY):
            return i
    return 0


def _has_topic(text: str, speakers: Sequence[Speaker]) -> bool:
    return bool(understand(text, speakers).topic)


def _resolved(body: _Body, past: _Past, speakers: Sequence[Speaker]) -> str:
    """The question with names and topics for the words that point back, and with a topic where it has none."""
    text = body.text
    references = _references(text, speakers)
    kinds = {reference.kind for reference in references}
    leans = body.leans or not kinds.isdisjoint(("he", "they", "his", "their"))
    written = _latter_resolved(_substituted(text, references, past), past)
    if "said" in kinds:
        after = next(reference.token.end for reference in references if reference.kind == "said")
        own = re.search(r"\b(?:about|on|regarding)\b", text[after:], re.IGNORECASE)
        return written if own else _with_end(written, past.about)
    if kinds.isdisjoint(_THINGS) and past.topic and past.thing not in written:
        leads = _open_end(written, speakers, leans=leans)
        return written if leads is None else _with_end(written, f"{leads} {past.topic}")
    return written


def _with_end(text: str, end: str) -> str:
    bare = text.rstrip(_EDGES)
    return f"{bare}{end}{text[len(bare) :]}"


def _latter_resolved(text: str, past: _Past) -> str:
    parts = re.split(r"\s+(?:and|or|versus|vs\.?)\s+", past.asked or past.topic)
    found = _LATTER.search(text)
    if found is None or len(parts) != 2:
        return text
    return f"{text[: found.start()]}{parts[found[1].lower() == 'latter']}{text[found.end() :]}"


def _substituted(text: str, references: Iterable[_Reference], past: _Past) -> str:
    """The text with the meanings in place of the words, from the end on, so that places stay right."""
    for begin, end, new in sorted(_substitutions(references, past), reverse=True):
        text = f"{text[:begin]}{new}{text[end:]}"
    return text


def _substitutions(references: Iterable[_Reference], past: _Past) -> Iterator[tuple[int, int, str]]:
    references = list(references)
    # "Do they work?" asks about OKRs, "what do they think?" about persons, and so does "how did they do it?".
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


# Questions without a topic


_OPEN = {
    **dict.fromkeys(
        _words(
            "think thinks thought feel feels felt agree agrees agreed disagree disagrees disagreed argue argued"
            " complain complained worry worried right wrong correct sure concerned happy optimistic sceptical skeptical"
            " opinion opinions view views stance position thoughts take"
        ),
        " about",
    ),
    **dict.fromkeys(
        _words(
            "object objects objected react reacts reacted respond responded reply replied answer alternative"
            " alternatives response objections"
        ),
        " to",
    ),
    **dict.fromkeys(_words("happen happens happened"), " with"),
    **dict.fromkeys(
        _words(
            "outcome outcomes result results benefits drawbacks advantages disadvantages downsides upsides consequences"
            " implications"
        ),
        " of",
    ),
    **dict.fromkeys(_words("reason reasons argument arguments"), " for"),
    **dict.fromkeys(_words("decision decisions conclusion conclusions vote voted"), " on"),
    **dict.fromkeys(_words("approve approved support supported oppose opposed reject rejected"), ""),
}
"""What wants a topic, and how one is put after it."""
_OPEN_WHEN_LEANING = {
    **dict.fromkeys(_words("say says said talk talked speak spoke"), " about"),
    **dict.fromkeys(_words("decide decided conclude concluded comment commented"), " on"),
    **dict.fromkeys(
        _words(
            "propose proposed suggest suggests suggested recommend recommends recommended mention mentioned explain"
            " explained"
        ),
        "",
    ),
}
"""The same where a pronoun or "and" shows that the question goes on: "What did Jane say?" by itself is an open one."""
_OWN_TOPIC = re.compile(r"\b(?:about|of|on|regarding|for)\s+(?:the\s+)?$", re.IGNORECASE)
_NAMES_TOPIC = _words("about regarding concerning")
_LOOSE = _words(
    "not really also ever exactly anything something other others people final main and with any from anyone anybody"
    " else next then later afterwards eventually instead still"
)


def _open_end(text: str, speakers: Sequence[Speaker], *, leans: bool) -> str | None:
    """What leads to a topic at the end of a question that has none; null where it has one, or is open by itself."""
    if len(text) > LONGEST_ELLIPSIS + LONGEST_TOPIC:
        return None
    leans = leans or any(token.word in ("he", "she", "they") for token in _tokens(text))
    mentions = [mention for mention in find_mentions(text, speakers) if mention.speakers]
    if any(_OWN_TOPIC.search(text[: mention.begin]) for mention in mentions):
        return None
    rest = text
    for mention in reversed(mentions):
        rest = rest[: mention.begin] + re.sub(r"^['’]s?", "", rest[mention.end :])
    known = _OPEN | _OPEN_WHEN_LEANING if leans else _OPEN
    words = [token.word for token in _tokens(rest) if token.word not in _ENDS]
    topic = [token.word for token in _tokens(understand(rest, speakers).topic)]
    last = next((word for word in reversed(words) if word in known), None)
    if (
        last is None
        or not _NAMES_TOPIC.isdisjoint(words)
        or any(word not in known and word not in _LOOSE for word in topic)
    ):
        return None
    # "What did he propose?" has its object already.
    return known[last] or (" about" if words[0] == "what" else "")
