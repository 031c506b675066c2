"""What stands in a sentence that a model wrote: its form, refusals, quotations, numbers and names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Set
from dataclasses import dataclass
from decimal import Decimal

from linkify_it import LinkifyIt
from text_to_num import alpha2digit

from app.drafts import MARKER
from ingest.names import is_english_word, is_given_name
from ingest.speakers import fold_name

LONGEST_DRAFT = 600
SHORTEST_SINGLE = 3
"""Words from which what stands between single quotation marks is a quotation."""
MOST_NESTED = 4
"""Markers inside of each other that are looked for; around more, all brackets go."""
STEM = 5
"""Letters that two forms of a word are taken to share."""

_LINKS = LinkifyIt()
_FORBIDDEN = re.compile(
    r"\]\s?[\[(:]|!\[|<[^\W\d_]|<[!@#/?|]|\[/?(?-i:[A-Z_]{4,})\]|&#?\w+;|[@＠]\w|//|\b(?:javascript|vbscript|data|mailto|file):\S"
    # An address without a scheme; not "Node.js", nor Japanese, which has no blank after its full stop.
    r"|[a-z\d][.。．｡][a-z]{3}",
    re.IGNORECASE,
)
_BRACKETS = str.maketrans("［］【】〔〕⟦⟧〚〛", "[][][][][]")
_LIKE_MARKER = re.compile(r"\\?\[[^\[\]a-zA-Z]{0,20}[\d¹²³⁰⁴-⁹][^\[\]a-zA-Z]{0,20}\]|\[\s?\]")
"""`[^1]`, `\\[1\\]`, `[¹]`: what a reader could take for a marker of ours, and brackets that one stood in."""
_EMPHASIS = re.compile(r"(?<!\d)\*+|\*+(?!\d)|__+|~~+|`+|(?<!\w)_(?=\w)|(?<=\w)_(?!\w)")
_BULLET = re.compile(r"\A\s*(?:(?:[-–—•‣◦+>]+|#{1,6}|\d{1,2}[.)])\s+)+")


def normalised(text: str) -> str:
    """The text on one line, without invisible characters, Markdown, bullets and anything like a marker."""
    visible = "".join(" " if c.isspace() else c for c in text if c.isspace() or unicodedata.category(c)[0] != "C")
    plain = _BULLET.sub("", _EMPHASIS.sub("", visible.translate(_BRACKETS)))
    for _ in range(MOST_NESTED):
        plain, before = _LIKE_MARKER.sub("", MARKER.sub("", plain)), plain
        if plain == before:
            break
    else:
        plain = re.sub(r"[\[\]]", "", plain)
    return re.sub(r" ([.,;:!?])", r"\1", " ".join(plain.split()))


def fault_of_form(text: str) -> str | None:
    """Why a text, normalised, may not be shown whatever it cites."""
    if not re.search(r"[^\W\d_]", text):
        return "It is empty."
    if len(text) > LONGEST_DRAFT:
        return f"It is longer than {LONGEST_DRAFT} characters."
    if _FORBIDDEN.search(text) or _LINKS.test(text):
        return "It holds a link, a mention or HTML."
    return None


_MATERIAL = (
    r"(?:(?:the|these|those|this|any|all|our|your|my|of|in|above|given|provided|supplied|available|offered|cited"
    r"|numbered|retrieved|relevant|following)\s+)*"
    r"(?:(?:passages?|documents?|excerpts?|sources?|texts?|context|transcripts?|sentences|materials?|corpus|snippets?)"
    r"(?! (?:of|messages?)\b)"
    r"|(?:provided|given|available|supplied) (?:information|content|data|evidence|notes?|quotes?|interviews?))"
)
_TELLS = (
    r"(?:mention|say|stat|specif|contain|includ|provid|discuss|address|answer|describ|explain|cover|giv|offer|indicat"
    r"|reveal|tell|refer|nam|identif|disclos|clarif|elaborat|talk|touch|hav|support|detail|list|defin|show|mak|go into)"
)
_TOLD = (
    r"(?:mentioned|stated|specified|discussed|addressed|said|answered|described|explained|covered|given|available|found"
    r"|provided|included|indicated|known|clear)"
)
_NOT = r"(?:do|does|did|is|are|was|were|has|have|had|can|could|would)(?:\s*not|n['’]t|\s+never)"
_LEAD = (
    r"\W*(?:(?:unfortunately|however|sorry|but|and|so|yet)[\s,]+)?"
    rf"(?:(?:based on|from|according to|in|within)\s+{_MATERIAL}[\s,]+)?"
)
_MORE = r"(?:(?:any|enough|sufficient|specific|direct|explicit|clear|further|other|relevant|detailed|more)\s+)*"
_FACTS = r"(?:information|mention|evidence|indication|reference|details?|discussion|data|answer|statement)\b"
_REFUSALS = (
    # The passages do not say; none of them says; no information in them; not mentioned in them.
    rf"^{_LEAD}{_MATERIAL}\s+(?:\w+\s+){{0,3}}?{_NOT}\s+(?:\w+ly\s+)?{_TELLS}",
    rf"^{_LEAD}{_MATERIAL}\s+(?:\w+\s+)?(?:(?:contain|provide|give|offer|make|include|mention)s? no|ha(?:s|ve) no"
    r"|lacks?|fails? to|says? nothing|(?:is|are) silent)\b",
    rf"\b(?:none|nothing|neither|nobody|no one|nowhere)\s+(?:of|in)\s+{_MATERIAL}",
    rf"\bno\s+{_MORE}{_FACTS}.{{0,80}}\b(?:in|from|by|within)\s+{_MATERIAL}",
    r"\b(?:not|never|cannot|\w+n['’]t|un(?:known|clear|specified|stated|answered))\b(?:\s+\w+){0,8}?"
    rf"\s+(?:in|from|by|within|on)\s+(?:the basis of\s+)?{_MATERIAL}",
    # There is no information; no details are given; it is not mentioned; not mentioned.
    rf"^{_LEAD}there(?:['’]s|\s+(?:is|are|was|were))(?:n['’]t|\s+not?)\s+{_MORE}"
    r"(?:information|mention|reference|details?\b)",
    rf"^{_LEAD}no\s+{_MORE}(?:information|mention|details?)\b.{{0,80}}\b(?:is|are|was|were)\s+(?:made|{_TOLD})",
    rf"^{_LEAD}(?:it|this|that)\s+(?:is|was)(?:n['’]t|\s+not)\s+(?:\w+ly\s+)?{_TOLD}\W*(?:$|\bwh\w+|\bhow\b)",
    rf"^\W*(?:no answer|not {_TOLD}|n/?a|none|unknown|unanswerable|unclear)\W*$",
    # I cannot answer; the question cannot be answered.
    rf"^{_LEAD}(?:i|we)(?:['’]m|['’]re|\s+am|\s+are|\s+was|\s+were)\s+(?:\w+\s+)?"
    r"(?:unable|not able|sorry|not sure|unsure|afraid)\b",
    rf"^{_LEAD}(?:i|we)\s+(?:can(?:\s*not|['’]t)|(?:could|do|did)(?:\s+not|n['’]t))\s+(?:\w+\s+)?"
    r"(?:find|answer|help|know|have|see|say|determine|tell|provide|locate|identify|confirm)\b",
    rf"^{_LEAD}(?:i|we)\s+(?:have\s+no|lack)\b|^\W*sorry\b",
    rf"^{_LEAD}(?:the|this|your)\s+question\s+(?:can(?:\s*not|['’]t)|could\s*not|is\s+not|isn['’]t|remains)\b",
)
_REFUSAL = re.compile("|".join(_REFUSALS), re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…][”\"’)]*\s+(?=\S)")
_CONTRAST = re.compile(
    r"(?<=[\w,;] )(?:but|however|although|though|while|yet)\b|^(?:although|though|while)\b", re.IGNORECASE
)


def refusal_in(text: str) -> re.Match[str] | None:
    """The match in the sentence that speaks of the material, to say that it doesn't answer, rather than from it."""
    begins = [0, *(end.end() for end in _SENTENCE_END.finditer(text))]
    ends = [*begins[1:], len(text)]
    found = (_REFUSAL.search(text[begin:end]) for begin, end in zip(begins, ends, strict=True))
    return next((match for match in found if match), None)


def says_more(text: str, refusal: re.Match[str]) -> bool:
    """Whether a text says something beside the refusal that `refusal_in` found."""
    sentence = refusal.string
    contrast = _CONTRAST.search(sentence)
    other = sentence[contrast.end() :] if contrast else ""
    if contrast and not contrast.start():
        other = other.partition(",")[2]
    return len(sentence) + 10 < len(text) or bool(other and not _REFUSAL.search(other))


_QUOTE_MARKS = re.compile(r"[“”„«»\"]")
_SINGLE = re.compile(r"(?<!\w)[‘'](?=\S)((?:[^‘’']|(?<=\w)[’'](?=\w))*)[’'](?!\w)")
_OPENING = re.compile(r"(?:^|[\s(\[—–/“„«‘'-])$")
_FOLDED_MARKS = str.maketrans({**dict.fromkeys('“”„«»"‘’', "'"), **dict.fromkeys("–—", "-"), "…": "..."})


@dataclass(frozen=True, slots=True)
class Quotation:
    """What stands between two quotation marks of a draft, at `begin:end`."""

    text: str
    begin: int
    end: int

    def stands_in(self, words: str) -> bool:
        """Whether it is one piece of those words, whole words only; case and punctuation at the end aside."""
        piece = _plain(self.text).strip(" .,;:!?'-")
        before = r"(?<!\w)" if piece[:1].isalnum() else ""
        after = r"(?!\w)" if piece[-1:].isalnum() else ""
        return re.search(f"{before}{re.escape(piece)}{after}", _plain(words)) is not None


def _plain(text: str) -> str:
    return " ".join(normalised(text).translate(_FOLDED_MARKS).casefold().split())


def quotations_in(text: str) -> list[Quotation] | None:
    """The outermost quotations; null where a mark has no partner. What opens and closes alike is told by the blanks."""
    found: list[Quotation] = []
    stack: list[tuple[str, int]] = []
    for match in _QUOTE_MARKS.finditer(text):
        mark, at = match.group(), match.start()
        opener = {"”": "“„", "»": "«", "“": "„", '"': '"'}.get(mark, "")
        partner = max((i for i, (open_mark, _) in enumerate(stack) if open_mark in opener), default=None)
        opens = mark in "„«" or (mark == "“" and partner is None)
        if opens or (mark == '"' and _OPENING.search(text[max(0, at - 1) : at])):
            stack.append((mark, at))
        elif partner is not None:
            begin = stack[partner][1] + 1
            del stack[partner:]
            found += [] if stack else [Quotation(text[begin:at], begin, at)]
        elif not stack:
            return None
    if stack:
        return None
    single = [Quotation(match[1], *match.span(1)) for match in _SINGLE.finditer(masked(text, found))]
    return found + [quotation for quotation in single if len(quotation.text.split()) >= SHORTEST_SINGLE]


def masked(text: str, quotations: Iterable[Quotation]) -> str:
    """The text with nothing legible between its quotation marks, all else in its place."""
    for quotation in quotations:
        text = text[: quotation.begin] + "·" * (quotation.end - quotation.begin) + text[quotation.end :]
    return text


# Numbers.

REFERENCE = re.compile(
    r"\b(?:episode|passage|sentence|source|document|excerpt|transcript|footnote)s?\s+(?:(?:no\.?|number)\s*|#\s*)?\d+\b",
    re.IGNORECASE,
)
"""What a claim is to rest on by its number, which is no more than a number in anybody's mouth."""
_TIME = re.compile(r"(?<![\w:])\d{1,3}:\d{2}(?::\d{2})?(?![\w:])")
_NUMBER = re.compile(
    r"(?<!\w)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(\.\d+)?(?:[\s-](1(?:000){1,4})\b(?![.,]\d)|(k|m|mm|mn|bn|b|tn)\b)?",
    re.IGNORECASE,
)
_MAGNITUDES = {"k": 10**3, "m": 10**6, "mm": 10**6, "mn": 10**6, "b": 10**9, "bn": 10**9, "tn": 10**12}
_YEAR_IN_TWO = re.compile(r"(?<![\w.,])(1[6-9]|20)[ -](\d\d)(?![\w%]|[.,]\d)")
_BARE_ONE = re.compile(
    r"(\b(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|billion|point)(?:\s+and)?[\s-]+)?"
    r"\bone\b(?![\s-]+(?:hundred|thousand|million|billion|trillion|point)\b)",
    re.IGNORECASE,
)
_BARE_ORDINAL = re.compile(
    r"(\b(?:the|his|her|their|its|our|my|your)\s+(?:very\s+)?)?\b(?:first|second)\b", re.IGNORECASE
)
_LISTING = re.compile(r"(?:^|(?<=[.!?;:]\s))(?:first|second|third|fourth|fifth)(?=,)", re.IGNORECASE)


def numbers_claimed(text: str) -> dict[str, str]:
    """The numbers of a draft by value, each as it is written; "no one", "at first" and "a second later" hold none."""
    text = _BARE_ONE.sub(lambda one: one[0] if one[1] else "", _LISTING.sub("", text))
    text = _BARE_ORDINAL.sub(lambda ordinal: ordinal[0] if ordinal[1] else "", text)
    return _values(_YEAR_IN_TWO.sub(r"\1\2", _digits(text)))


def numbers_held(text: str) -> Set[str]:
    """The values of all that can be a number in a text that is cited."""
    digits = _digits(text)
    return {*_values(digits), *_values(_YEAR_IN_TWO.sub(r"\1\2", digits))}


def _digits(text: str) -> str:
    return alpha2digit(unicodedata.normalize("NFKC", text), "en", threshold=0)


def _values(digits: str) -> dict[str, str]:
    """The numbers in a text without number words, each by its value in a form that can be compared."""
    values: dict[str, str] = {}
    for time in _TIME.finditer(digits):
        seconds = 0
        for part in time.group().split(":"):
            seconds = seconds * 60 + int(part)
        values[f"{seconds} s"] = time.group()
    for number in _NUMBER.finditer(_TIME.sub(" ", digits)):
        factor = int(number[3] or 0) or _MAGNITUDES.get((number[4] or "").casefold(), 1)
        value = Decimal(number[1].replace(",", "") + (number[2] or "")) * factor
        values[f"{value.normalize():f}"] = number.group()
    return values


# Names.

_WORD = re.compile(r"[^\W_]+(?:[.&'’-][^\W_]+)*")
_SHORT_FORM = re.compile(r"(?:n['’]t|['’](?:s|m|re|ve|ll|d)?)$", re.IGNORECASE)
_NUMERIC = re.compile(r"\d[\d.,]*(?:[KMB]|BN|AM|PM|[^\WA-Z\d_]*(?:-[^\WA-Z_]*)*)")
_BEGINS_SENTENCE = re.compile(r"(?:^|[.!?:;…”\"»]\s*)[\s(\[“„«‘'\"·]*$")
OPENER = re.compile(
    r"an|art|else|even|grant|hope|in|less|long|love|major|man|many|mark|may|my|numbers|page|rich|season|see|so|soon"
    r"|summer|will|young"
)
"""Given names too, but seldom where they begin a sentence."""


_FUNCTION_WORD = re.compile(
    r"the|and|but|for|nor|not|yet|was|were|are|been|being|has|have|had|does|did|done|doing|can|could|will|would"
    r"|shall|should|may|might|must|you|your|his|her|him|she|they|them|their|theirs|its|our|ours|who|whom|whose|which"
    r"|what|when|where|why|how|that|this|these|those|there|here|then|than|with|without|within|from|into|onto|over"
    r"|under|about|above|after|before|because|between|during|through|until|while|upon|also|just|only|very|more|most"
    r"|much|many|some|such|same|any|all|each|every|both|either|neither|other|another|even|ever|never|always|often"
    r"|still|again|too|out|off|say|said|saying|tell|told|think|thought|thinking|explain|explained|describe|described"
    r"|mention|mentioned|argue|argued|note|noted|believe|believed|talk|talked|discuss|discussed|according|one|thing"
    r"|like|get|got|make|made|really|way|well|going|know|see|want|people|lot|kind|something|someone"
)


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def folded(text: str) -> set[str]:
    """The words of a text as they are compared: no case, accents, possessives, plural s; compounds also in parts."""
    words: set[str] = set()
    for word in fold_name(text).split():
        bare = _SHORT_FORM.sub("", word)
        words.add(_singular(bare.replace("-", "")))
        words.update(_singular(part) for part in bare.split("-"))
    words.discard("")
    return words


def words_in(text: str) -> Iterator[tuple[re.Match[str], bool]]:
    """The words of a text, each with whether it may begin a sentence."""
    for word in _WORD.finditer(text):
        yield word, _begins_sentence(text, word)


def _begins_sentence(text: str, word: re.Match[str]) -> bool:
    return _BEGINS_SENTENCE.search(text, max(0, word.start() - 8), word.start()) is not None


def proper_words(texts: Iterable[str]) -> frozenset[str]:
    """The words that are always capitalised, singular."""
    capitalised: set[str] = set()
    others: set[str] = set()
    for text in texts:
        for word in _WORD.finditer(text):
            if word.group().islower():
                others.add(word.group())
            elif not _begins_sentence(text, word):
                capitalised.add(word.group())
    return frozenset(set(map(_base, capitalised)).difference(map(_base, others)))


def _base(word: str) -> str:
    return _singular(_SHORT_FORM.sub("", word).casefold())


def is_name(word: str, begins: bool, proper: Container[str]) -> bool:
    """Whether a word is a name by its capitals or digits; at the beginning of a sentence, by what word it is."""
    bare = _SHORT_FORM.sub("", word)
    if bare in ("", "I", "A") or word.islower() or _NUMERIC.fullmatch(bare):
        return False
    parts = bare.split("-")
    if any(part[1:] != part[1:].lower() for part in parts) or any(c.isdigit() for c in bare):
        return True
    if not begins:
        return any(part[0].isupper() for part in parts)
    first = parts[0].casefold()
    if OPENER.fullmatch(first) or (word != bare and word.casefold().endswith(("n't", "n’t"))):
        return False
    return is_given_name(first) or not is_english_word(first) or _base(bare) in proper


def holds_name(words: Set[str], name: str) -> bool:
    """Whether a name is among folded words, its parts in lower case ("Twitter-like") left out."""
    parts = [part for part in name.split("-") if not part.islower()]
    return all(folded(part) <= words for part in parts) or folded(name.replace("-", "")) <= words


def stems(words: Set[str]) -> Set[str]:
    """The beginnings of folded words that mean something by themselves."""
    return {word[:STEM] for word in words if (len(word) > 2 and not _FUNCTION_WORD.fullmatch(word)) or word.isdigit()}
