"""Who hosts an interview and who is its guest, from a description of it; and which of the two says a quotation."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rapidfuzz import fuzz

from ingest.model import Person
from ingest.names import FULL_NAME, canonical, is_full_name, same_person

_TALKS_WITH = (
    r"(?:interviews|interviewed|is joined by|welcomes|welcomed"
    r"|(?:talks|talked|speaks|spoke|chats|chatted|sits down|sat down|catches up) (?:to|with))"
)
_HOST = (
    re.compile(rf"\b(?:[Hh]osts?|[Hh]osted by)[:,]? (?P<name>{FULL_NAME})"),
    re.compile(rf"(?P<name>{FULL_NAME}),? (?:{_TALKS_WITH}|hosts)\b"),
    re.compile(rf"\bjoins (?:[a-z]+ )?(?P<name>{FULL_NAME})"),
    re.compile(rf"(?P<name>{FULL_NAME})[’']s? (?:podcast|show)\b"),
)
_GUEST_FOLLOWS = re.compile(
    rf"\b(?:{_TALKS_WITH}|[Gg]uests?(?: is)?|joined by|[Ff]eatur(?:es|ing)|(?:interview|conversation) with)\b"
)
_GUEST_JOINS = re.compile(rf"(?P<name>{FULL_NAME})(?:,[^,.]{{0,120}},)? joins\b")
_NAME = re.compile(FULL_NAME)
_REACH = 160

_SELF_INTRODUCTION = re.compile(
    rf"\b(?:with me|I['’]m|I am|[Mm]y name is|[Tt]his is|[Yy]our host)(?:,| is)? (?P<name>{FULL_NAME})"
)
_HOST_INTRODUCTION = re.compile(
    rf"\b(?:with me|I['’]m your host|I am your host|[Yy]our host)(?:,| is)? (?P<name>{FULL_NAME})"
)
_HOST_FORMULA = re.compile(
    r"\b(?:I['’]m|I am) your host\b"
    r"|\bwelcome (?:back )?to [^.!?]{0,60}\b(?:show|podcast|episode|series)\b"
    r"|^(?:hello|hi|hey)\b[^.!?]{0,30}\bwelcome (?:back )?to\b"
    r"|\b(?:my|our) (?:next |special )?guest (?:today|this week|tonight)\b"
    r"|\btoday['’]s guest\b"
    r"|\b(?:I['’]m|we['’]re|I am|we are) [^.!?]{0,30}\bjoined (?:today )?by\b"
    r"|\b(?:thanks|thank you)(?: so much| very much| again)? for "
    r"(?:coming (?:on|back)\b|being (?:here|with us|on)\b"
    r"|joining(?: us| me| today| the show| the podcast)*(?=[.,!?]|$))"
    r"|\bis the (?:\w+ )?(?:show|podcast|series) (?:where|in which|that|about)\b[^.!?]{0,40}\b(?:we|I|interviews?)\b"
    r"|(?:^|[.!?] |\bplease |\bto )subscribe to (?:the|this|our) (?:show|podcast|channel)\b"
    r"|\b(?:in|on) (?:today['’]s|this) episode,? (?:we|I)\b",
    re.IGNORECASE,
)

_SPONSOR = re.compile(
    r"\b(?:this|today['’]s) (?:episode|show|podcast) is (?:brought|sponsored|supported|presented)\b"
    r"|\bbrought to you by\b"
    r"|\b(?:today['’]s|this (?:episode|show|week)['’]s) sponsors?\b"
    r"|\bword from our sponsors?\b|\bthanks? to our (?:friends|sponsors?)\b"
    r"|\b(?:use|with|promo|discount) (?:the |my |our )?(?:promo |discount )?code (?-i:[A-Z0-9]{3,})\b"
    r"|(?:^|[.!?] )(?:so |just |and )?(?:head (?:over )?to|sign up (?:at|on)|go to|visit) "
    r"[\w-]{1,40}(?:\.| dot )(?:com|io|co|ai|org|net|app|dev|so)\b",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\bfree trial\b|\d ?(?:%|percent) off\b|\bspeaking of\b|\btrusted by\b|\bwhether you['’]re\b"
    r"|\b(?:loves?|trusts?) "
    r"(?!(?:the|our|my|your|their|a|to|it|that|this|and|or|in|when|how|what|each|you|them|\w+ing)\b)\w+"
    r"|\bhelps? (?:them|you|teams|companies|customers|businesses) \w+"
    r"|\b(?:thousands|millions|hundreds) of (?:teams|companies|customers|businesses|users)\b"
    r"|\b(?:get started|learn more|check (?:them|it) out|find out more|sign up)\b"
    r"|\bthe (?:easiest|fastest|number one|all-in-one|leading|simplest|best) (?:way|platform|tool|solution|software)\b",
    re.IGNORECASE,
)
_FIRST_PERSON = re.compile(r"\b(?:I|we|us|our|my|me|mine)\b", re.IGNORECASE)
_PRAISED = re.compile(
    r"\b(?:value|benefits?|usefulness|advantages?|strengths?|popularity|appeal) of (?P<name>[A-Z][\w.&’' -]{1,40}?)"
    r" (?:as (?:an?|the) (?:\w+ )?(?:tool|platform|service|solution|product|software|app)\b|for \w+)"
)
_THIS_QUOTE = r"^(?:This|The) (?:opening |first )?(?:quote|quotation|statement|excerpt|passage|question|line|remark)"
_ABOUT_SPONSOR = re.compile(
    rf"{_THIS_QUOTE} (?:promotes|advertises|plugs|endorses"
    r"|(?:is|serves as) an? (?:sponsor\w*|advert\w*|ad|promotion\w*|endorsement|plug)\b)"
    r"|\bsponsor(?:ship|ed)?(?:['’]s)? (?:message|segment|read|mention|plug|spot|break)\b"
    r"|\b(?:show|podcast|episode)['’]s sponsors?\b|\bsponsors? of (?:the|this) (?:show|podcast|episode)\b"
    r"|\boffers? listeners\b"
)
_OPENS_SHOW = re.compile(
    rf"{_THIS_QUOTE} (?:introduces|opens|kicks off|welcomes listeners to|sets the stage for) "
    r"(?:the|this) (?:podcast|show|episode|interview|guest)\b"
)
_HOST_ACTS = (
    r"(?:asks?|asking|introduc(?:es|ing)|opens|opening|welcom(?:es|ing)|greets|greeting|kicks off|wraps up|closes"
    r"|thanks|thanking|promot(?:es|ing)|invites|inviting|probes|wonders)"
)
_HOST_GIVES = r"(?:question|introduction|greeting|welcome|opening|closing|thanks|gratitude|curiosity|prompt|sign-off)"
_OF_ANOTHER = frozenset(("to", "by", "when", "after", "that", "how", "what", "as", "once", "which"))
_SAME_WORD = 80.0


@dataclass(frozen=True, slots=True)
class Interview:
    """The two sides of an interview under their canonical names; null where nobody is known."""

    host: str | None
    guest: str | None
    people: tuple[Person, ...]

    def speaker(self, quotation: str, commentary: str) -> str | None:
        """The host where the words, or the commentary on them, show that they are his; else the guest."""
        for found in _SELF_INTRODUCTION.finditer(quotation):
            if self.guest and same_person(found["name"], self.guest):
                return self.guest
            if self.host and same_person(found["name"], self.host):
                return self.host
        is_host = (
            _HOST_FORMULA.search(quotation) is not None
            or _is_sponsored(quotation, commentary)
            or self._is_told_of_host(commentary)
        )
        return self.host if is_host else self.guest

    def _is_told_of_host(self, commentary: str) -> bool:
        if _OPENS_SHOW.search(commentary):
            return True
        names = ["[Hh]ost"]
        if self.host:
            names += [re.escape(self.host), re.escape(self.host.split()[-1])]
        host = f"(?:{'|'.join(names)})"
        acts = re.compile(rf"\b(?P<before>\w+ )?(?:[Tt]he )?\b{host} (?:\w+ly )?{_HOST_ACTS}\b")
        says = re.compile(
            rf"{_THIS_QUOTE} (?:(?:is|comes|captures|conveys|reflects|shows|expresses|features|presents) )?"
            rf"(?:from )?(?:the )?{host}"
            rf"(?:['’]s?(?: \w+)? {_HOST_GIVES}\b|[.,]| (?:\w+ly )?{_HOST_ACTS}\b)"
        )
        return says.search(commentary) is not None or any(
            (found["before"] or "").strip() not in _OF_ANOTHER for found in acts.finditer(commentary)
        )


def read_interview(
    description: str, quotations: list[str], people: tuple[Person, ...], default_speaker: str | None
) -> Interview:
    """Host and guest from the people known, else from the description and from how the host introduces himself."""
    roles = {person.role.casefold(): person.name for person in reversed(people) if person.role}
    host = roles.get("host") or _described_host(description)
    if host is None:
        introduced = (found for words in quotations for found in _HOST_INTRODUCTION.finditer(words))
        host = next((found["name"] for found in introduced), None)
    host = canonical(host, people) if host else None
    guest = default_speaker or roles.get("guest") or _described_guest(description, host)
    guest = canonical(guest, people) if guest else None
    described = (("host", host), ("guest", guest))
    return Interview(host, guest, people or tuple(Person(name, role) for role, name in described if name is not None))


def _described_host(description: str) -> str | None:
    found = (match["name"] for pattern in _HOST for match in pattern.finditer(description))
    return next((name for name in found if _is_likely(name, description)), None)


def _described_guest(description: str, host: str | None) -> str | None:
    joins = _GUEST_JOINS.search(description)
    if joins and _is_likely(joins["name"], description):
        return joins["name"]
    for phrase in _GUEST_FOLLOWS.finditer(description):
        reach = description[phrase.end() : phrase.end() + _REACH]
        for found in _NAME.finditer(reach.split(". ", 1)[0]):
            name = _without_office(found[0])
            if name and not (host and same_person(name, host)) and _is_likely(name, description):
                return name
    return None


def _without_office(words: str) -> str | None:
    """The last of a run of capitalised words that make a name: "Linear Founder Karri Saarinen" -> "Karri Saarinen"."""
    parts = words.split()
    if is_full_name(words) or len(parts) == 2:
        return words
    tails = (" ".join(parts[-size:]) for size in range(len(parts) - 1, 1, -1))
    return next((tail for tail in tails if is_full_name(tail)), words)


def _is_likely(name: str, description: str) -> bool:
    """A name by its words, or one whose surname the description uses again by itself."""
    surname = name.split()[-1]
    again = re.findall(rf"(?<!{re.escape(name.split()[-2])} )\b{re.escape(surname)}\b", description)
    return is_full_name(name) or bool(again)


def _is_sponsored(quotation: str, commentary: str) -> bool:
    """A sponsor's message: its fixed phrases, what the commentary calls it, or praise of a named product to others.

    Guests praise products too, in the first person and without the trade's phrases; so praise counts only without a
    first person, with two such phrases, and where the commentary names the product that the words praise.
    """
    if _SPONSOR.search(quotation) or _ABOUT_SPONSOR.search(commentary):
        return True
    offers = {found[0].casefold() for found in _OFFER.finditer(quotation)}
    if len(offers) < 2 or _FIRST_PERSON.search(quotation):
        return False
    praised = _PRAISED.search(commentary)
    spaceless = "".join(quotation.split()).casefold()
    return praised is not None and (
        fuzz.partial_ratio("".join(praised["name"].split()).casefold(), spaceless) >= _SAME_WORD
    )
