"""What came before a follow-up question, as far as it may point back to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.conversation import Exchange
from app.question import Mention, find_mentions, understand
from ingest.names import is_english_word, is_full_name, is_given_name
from ingest.speakers import Speaker

LONGEST_TOPIC = 300
"""Characters of a topic that are put into a question."""


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for tables of words."""
    return frozenset(text.split())


PREPOSITIONS = word_set(
    "in at for during with from after before without within under among between outside inside since until across"
)


@dataclass(frozen=True, slots=True)
class Past:
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
    def of(cls, history: Sequence[Exchange], speakers: Sequence[Speaker]) -> Past:
        """What the exchanges, oldest first and at least one, leave to point back to."""
        last = history[-1]
        asked = _asked(last, speakers)
        names = full_names(asked) if asked else ""
        question = with_person(last.question, asked, names) if asked else last.question
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
        """The topic as the end of a question."""
        return f" about {self.topic}" if self.topic else ""


_ELSE = re.compile(r"^(what) else\b", re.IGNORECASE)
EDGES = " \t\n?!.,;:…"
_VERB_BEFORE = re.compile(
    r"(?:decided?|concluded?|agreed?|happen(?:ed)?|complain(?:ed)?|comment(?:ed)?|object(?:ed)?|approved?|rejected?)"
    r"(?: (?:about|on|upon|with|to))? (?=\S)",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"\s*[(\[][^()\[\]]*[)\]]")
AUXILIARIES = word_set(
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
            return full_names(meant) if meant.people == 1 else _spoken(meant.speakers[0])
        if exchange.speakers:
            return _spoken(exchange.speakers[0])
    return ""


def full_names(mention: Mention) -> str:
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
    topic = _VERB_BEFORE.sub("", " ".join(exchange.topic.split()).strip(EDGES))
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
    return bool(words) and words[-1] in AUXILIARIES and words[0] not in ("what", "who", "what's", "who's")


def with_person(question: str, mention: Mention, name: str) -> str:
    """The question with another name in place of the persons mentioned, their article included."""
    before = re.sub(r"\b(?:the|our)\s+$", "", question[: mention.begin], flags=re.IGNORECASE)
    return capitalised(f"{before}{name}{question[mention.end :]}")


def capitalised(text: str) -> str:
    """As a sentence begins."""
    return f"{text[:1].upper()}{text[1:]}"


@dataclass(frozen=True, slots=True)
class Body:
    """A question without what only leads to it ("ok, so"); `leans` where it goes on from another one ("and …")."""

    text: str
    leans: bool
