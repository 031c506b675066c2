"""Questions that leave out what the last one said: "and the host?", "why?", "what about pricing?"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.past import AUXILIARIES, EDGES, PREPOSITIONS, Body, Past, full_names, with_person, word_set
from app.pointing import ENDS, LONGEST_ELLIPSIS, find_references, latter_resolved, resolved, substituted, tokenise
from app.question import find_mentions, understand
from ingest.names import is_english_word, is_given_name
from ingest.speakers import Speaker

MOST_WORDS = 20
"""Words that "and …?" may bring in."""
BARE_WORDS = 6
"""Words that may follow a preposition where nothing else is asked: "at Twitter?"."""


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
_OPENERS = AUXILIARIES | word_set(
    "what why how when where who whose whom which whether if because tell summarize summarise describe explain give"
    " list show find compare define quote please you i we it that this they he she there let not"
)
_ABOUT = re.compile(r"(?:about|on|regarding|concerning)\s+", re.IGNORECASE)
_TIMES = re.compile(r"now|today|nowadays|later|earlier|before|afterwards|initially|originally|currently|\d{4}")
_GROUP = re.compile(
    r"(?:(?:all |any |some )?(?:of )?the )?(?:others?|rest|other (?:participants|speakers|members|people|guests)|group"
    r"|team|panel|committee|audience|participants|members|every(?:one|body)(?: else)?)",
    re.IGNORECASE,
)
_POINTING = word_set("it that this those these them him her he she they you me us one ones")


def read_body(question: str) -> Body:
    """The question without "ok, so" and "and"."""
    text = question.strip()
    if filler := _FILLER.match(text):
        text = text[filler.end() :] or text
    lead = _LEAD.match(text)
    return Body(text[lead.end() :], leans=True) if lead and lead.end() < len(text) else Body(text, leans=False)


def find_ellipsis(body: Body, speakers: Sequence[Speaker]) -> _Ellipsis | None:
    """What is asked in so few words that the rest must be in the question before."""
    if len(body.text) > LONGEST_ELLIPSIS:
        return None
    words = " ".join(body.text.split()).strip(EDGES)
    plain = words.replace("’", "'").casefold()
    for kind, form in _SHORT.items():
        if form.fullmatch(plain):
            return _Ellipsis(kind, words)
    if more := _MORE_ABOUT.fullmatch(words):
        return _Ellipsis("more about", more[1])
    what_about = _WHAT_ABOUT.fullmatch(words)
    brought = _TAIL.sub("", what_about[what_about.lastindex or 0] if what_about else words).strip(EDGES)
    inside = [token.word for token in tokenise(brought) if token.word not in ENDS]
    if not inside or len(inside) > MOST_WORDS:
        return None
    if what_about or (body.leans and inside[0] not in _OPENERS and AUXILIARIES.isdisjoint(inside)):
        return _Ellipsis("exchange", brought)
    if not body.text.endswith("?") or not AUXILIARIES.isdisjoint(inside):
        return None
    bare = inside[0] in PREPOSITIONS or _ABOUT.match(brought)
    if (bare and len(inside) <= BARE_WORDS and _OPENERS.isdisjoint(inside)) or _person(brought, speakers):
        return _Ellipsis("exchange", brought)
    return None


def completed(ellipsis: _Ellipsis, past: Past, speakers: Sequence[Speaker]) -> str | None:
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


def _exchanged(words: str, past: Past, speakers: Sequence[Speaker]) -> str | None:
    """The last question with another person or topic, or with a further circumstance."""
    words = latter_resolved(words, past)
    if words.casefold() in _POINTING:
        return resolved(Body(f"What about {words}?", leans=True), past, speakers)
    if about := _ABOUT.match(words):
        return _with_topic(_renamed(words[about.end() :], past, speakers), past)
    person = _person(words, speakers)
    if person or _GROUP.fullmatch(words):
        return _of_person(person or words, past, speakers)
    name, on, topic = re.sub(r"\s(?:about|on|regarding)\s", "\n", words, count=1).partition("\n")
    if on and (person := _person(name, speakers)):
        asked = _of_person(person, past, speakers)
        return _with_topic(topic, replace(past, question=asked, asked=person))
    if (words.split()[0].casefold() in PREPOSITIONS and " " in words) or _TIMES.fullmatch(words.casefold()):
        return f"{past.question.rstrip(EDGES)} {words}?"
    if view := _view(substituted(words, find_references(words, speakers), past), past, speakers):
        return view
    return _with_topic(_renamed(words, past, speakers), past)


def _view(words: str, past: Past, speakers: Sequence[Speaker]) -> str | None:
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
    return full_names(asked) if asked and asked.text in (name, bare) else None


def _renamed(words: str, past: Past, speakers: Sequence[Speaker]) -> str:
    """Words with names for "its" and "his"; not for "his" where the question they are put into names that person."""
    named = bool(past.asked) and past.he in past.question
    references = find_references(words, speakers)
    return substituted(words, [r for r in references if not (named and r.kind in ("he", "his"))], past)


def _of_person(name: str, past: Past, speakers: Sequence[Speaker]) -> str:
    """The last question, asked of somebody else."""
    asked = understand(past.question, speakers).asked
    mentioned = (mention for mention in find_mentions(past.question, speakers) if mention.speakers)
    mention = asked or next(mentioned, None)
    return with_person(past.question, mention, name) if mention else f"What did {name} say{past.about}?"


_TO_TOPIC = re.compile(
    r"\b(?:about|regarding|concerning|on|of|with|towards?|to|for|by|from|in)\s+(?:(?:the|an?|our) )?$", re.I
)
_ABOUT_SLOT = re.compile(r"\b(?:about|regarding|concerning) ", re.IGNORECASE)
_ON_SLOT = re.compile(r"\b(?:on|with) ", re.IGNORECASE)
_IS_SLOT = re.compile(r"(?:what|who) (?:is|are|was|were) (?:[^ ]+ ){0,4}?of |(?:what|who) (?:is|are|was|were) ", re.I)
_NAME_SLOT = re.compile(r"(?<=\s)[A-Z][\w-]*(?: [A-Z][\w-]*)*")


def _with_topic(topic: str, past: Past) -> str:
    """The last question, asked about something else; "What was said about …?" where its topic is not one piece."""
    question = past.question.rstrip(EDGES)
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
    return person >= 0 and bool(between) and between != ["’s"] and between[-1] not in AUXILIARIES
