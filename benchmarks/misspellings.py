"""How well people are recognised in questions that misspell them, and how rarely ordinary words are taken for them.

    python benchmarks/misspellings.py [--people 300] [--seed 7]

Names are drawn from the census lists of the `names` package: half of them as often as people bear them, half evenly
from the whole list, which brings in surnames of every origin. Each is misspelt in several ways and asked for among 30,
100 and 300 speakers. Right is what names the person alone, or all who bear the surname where only that is given.
Prints Markdown tables: by threshold, by number of speakers, by kind of misspelling, of strangers, and of traps.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from jellyfish import metaphone

from app.question import understand
from ingest import speakers as shipped
from ingest.speakers import Speaker, bare_name

QUESTIONS = (
    "What did {} say about pricing?",
    "What is {}'s view of pricing?",
    "According to {}, what matters in pricing?",
    "How does {} explain the rise in prices?",
)
POOLS = (30, 100, 300)
FULL_THRESHOLDS = (0.58, 0.62, 0.66, 0.68, 0.70, 0.74, 0.78, 0.84, 0.90)
WORD_THRESHOLDS = (0.66, 0.70, 0.74, 0.77, 0.80, 0.84, 0.88, 0.92)
KEYBOARD = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
SOUNDS = (
    *(("ph", "f"), ("f", "ph"), ("ck", "k"), ("k", "ck"), ("c", "k"), ("k", "c"), ("ei", "ie"), ("ie", "ei")),
    *(("y", "i"), ("i", "y"), ("ey", "y"), ("y", "ie"), ("s", "z"), ("z", "s"), ("w", "v"), ("v", "w"), ("th", "t")),
    *(("sh", "sch"), ("sch", "sh"), ("ou", "u"), ("oo", "u"), ("ee", "ea"), ("ea", "ee"), ("ai", "ay"), ("x", "ks")),
    *(("qu", "kw"), ("gh", "g"), ("mc", "mac"), ("tz", "ts"), ("j", "g"), ("ll", "l"), ("nn", "n"), ("tt", "t")),
    *(("ss", "s"), ("e", "a"), ("a", "e"), ("o", "u"), ("au", "ow"), ("er", "ar"), ("wr", "r"), ("kn", "n")),
)
TRAPS = """
Will this work?|Will it rain?|Will they agree on the price?|What will the group decide?|Mark my words|mark my words
Did they mark a difference?|What is a Grace period?|Is there a grace period?|Grace period|What is Best Buy's strategy?
Best Buy|What is the Bill about?|What does the Bill say about schools?|What did the bill mean for schools?
Did the Green Paper say anything?|What does the Green Paper say about schools?|Green Paper|May we start?
May I ask about hope?|How long may it take?|What happened in May?|What is the Price of oil?|What price did they suggest?
Price|A frank discussion of risk|Was there a Frank discussion?|Let me be frank|What do Rich people think?
Are rich people happy?|Why are the rich so rich?|What does Hope mean?|Is there any hope?|Does Faith matter?
What is good faith?|Did the Joy last?|What does a Hunter do?|What did the hunter say?|What is a Page view?
Does the Page say who wrote it?|What does page two say?|What is Young's modulus?|What do young people say?
What did the Young say?|Does the White Paper say why?|What does the white paper recommend?|White noise|Black Friday
How was Black Friday?|What did the Brown envelope say?|Who is the King?|Did the king agree?|What did the King say?
What does the Bank say?|What did the banks say?|Did the Baker come?
What did the cook say?|Is Wood cheaper?|What does the Law say?|What does the law say about bail?|What is Case law?
Did the Case go on?|What did the Court say?|What does the Drew card mean?|Did Art matter?|What does art mean to people?
What does the Art say?|Is the Dean's list public?|Can Chase cards be used?|How does the chase end?
What did the March say about spring?|What is a Bishop's move in chess?|Did the Bishop say grace?
Is Rose water any good?|How do rose prices develop?|Did prices rose?|Is Summer a good time to launch?
What is Dawn like there?|Did the Long wait help?|How does Long COVID feel?|What is a Stone's throw?|Is it set in stone?
Is a Miles card worth it?|How many miles does it take?|What does Sterling do against the dollar?|Is Major League good?
What is the Major problem?|What does the Pace of change say?|Does the Field agree?|What is a Field day?
Sky News|What does Sky News say?|What did the Star say?|Why did the Golden Gate open?|Is Gates open source?
What is West Wing about?|What did the North say to the South?|Do the Small companies agree?
What does Best practice say about reviews?|What does Short selling mean?|How did the Short sale go?
""".replace("\n", "|")
TRAP_NAMES = """
Will Smith|Mark Stone|Grace Hopper|Bill Gates|Ann Best|May King|Anna Price|Frank Field|Rich Banks|Hope Solo|Faith Hill
Joy Behar|Holly Hunter|Larry Page|Neil Young|Betty White|Jack Black|Gordon Brown|Martin Green|Tyra Banks|Tom Baker
Tim Cook|Ronnie Wood|Jude Law|Steve Case|Drew Carey|Art Garfunkel|Dean Martin|Chase Utley|Fredric March|Kate Bishop
Rose Byrne|Summer Glau|Dawn French|Shelley Long|Miles Davis|Sterling Hayden|John Major|Lee Pace|Sky Ferreira
Ringo Star|Adam West|Oliver North|Tom Small|Martin Short|June Court|Bill Paper|Ray Friday
""".replace("\n", "|")


@dataclass(frozen=True)
class Case:
    """A misspelt name with the question that has it, and the speakers it means."""

    written: str
    question: str
    kind: str
    meant: frozenset[str]
    full: bool


Result = tuple[Case, frozenset[str], frozenset[str]]
"""A case, the speakers it was read as, and those offered instead."""


@cache
def census(name: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Names, and how often each is borne."""
    lines = files("names").joinpath(f"dist.{name}").read_text(encoding="utf-8").split("\n")
    rows = [line.split() for line in lines if line.strip()]
    return tuple(row[0].title() for row in rows), tuple(max(float(row[1]), 0.0005) for row in rows)


def people(count: int, rng: random.Random) -> list[str]:
    """Different full names; every second one is drawn as often as it is borne, the others evenly."""
    found: dict[str, None] = {}
    while len(found) < count:
        drawn: list[str] = []
        for lists in (rng.choice(("female.first", "male.first")), "all.last"):
            names, shares = census(lists)
            drawn.append(rng.choice(names) if len(found) % 2 else rng.choices(names, shares)[0])
        found[" ".join(drawn)] = None
    return list(found)


def drop(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at + 1 :]


def swap(word: str, rng: random.Random) -> str:
    at = rng.choice([i for i in range(len(word) - 1) if word[i] != word[i + 1]] or [0])
    return word[:at] + word[at + 1 : at + 2] + word[at : at + 1] + word[at + 2 :]


def double(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + word[at] + word[at:]


def substitute(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]


def neighbour(word: str, rng: random.Random) -> str:
    """A letter hit beside the right one on the keyboard."""
    at = rng.randrange(len(word))
    row = next((row for row in KEYBOARD if word[at] in row), word[at])
    column = row.index(word[at])
    return word[:at] + rng.choice(row[max(0, column - 1) : column] + row[column + 1 : column + 2]) + word[at + 1 :]


def respell(word: str, rng: random.Random) -> str:
    """One or two spellings of a sound exchanged for others."""
    for _ in range(rng.choice((1, 1, 2))):
        fitting = [(old, new) for old, new in SOUNDS if old in word]
        if fitting:
            word = word.replace(*rng.choice(fitting), 1)
    return word


@cache
def homophones() -> dict[tuple[str, int], list[str]]:
    """Surnames by sound, the commonest first: what a speech recogniser that knows some names may write for others."""
    found: dict[tuple[str, int], list[str]] = defaultdict(list)
    for name in census("all.last")[0][:30_000]:
        found[_sound(name.lower())].append(name.lower())
    return found


def mishear(word: str, rng: random.Random) -> str:
    alike = [other for other in homophones().get(_sound(word), []) if other != word]
    return rng.choice(alike[:4]) if alike else respell(respell(word, rng), rng)


def _sound(word: str) -> tuple[str, int]:
    syllables = sum(a in "aeiouy" and b not in "aeiouy" for a, b in zip(word, f"{word[1:]} ", strict=True))
    return metaphone(word), syllables


def split(word: str, rng: random.Random) -> str:
    at = rng.randrange(2, max(3, len(word) - 1))
    return f"{word[:at]} {word[at:]}".strip()


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "drop": drop,
    "swap": swap,
    "double": double,
    "substitute": substitute,
    "keyboard": neighbour,
    "phonetic": respell,
    "ASR-like": mishear,
    "split or join": split,
}


def misspell(name: str, kind: str, rng: random.Random) -> str:
    """A name of one or two words misspelt in one of them or, one time in four, in both."""
    words = name.lower().split()
    if kind == "split or join" and len(words) > 1 and rng.random() < 0.5:
        return "".join(words).title()
    parts = [len(words) - 1] if len(words) == 1 else rng.choice(([0], [1], [1], [0, 1]))
    for part in parts:
        words[part] = KINDS[kind](words[part], rng)
    return " ".join(words).title()


def cases(names: Sequence[str], asked: Iterable[str], rng: random.Random) -> list[Case]:
    """Every kind of misspelling of each of `asked`, in full and by surname."""
    found: list[Case] = []
    for number, name in enumerate(asked):
        surname = name.split()[-1]
        for written, meant in (
            (name, frozenset({name})),
            (surname, frozenset(other for other in names if surname in other.split())),
        ):
            for kind in KINDS:
                wrong = misspell(written, kind, rng)
                if bare_name(wrong) != bare_name(written):
                    question = QUESTIONS[number % len(QUESTIONS)].format(wrong)
                    found.append(Case(wrong, question, kind, meant, written == name))
    return found


def measure(asked: Iterable[Case], pool: Sequence[Speaker]) -> list[Result]:
    """For each case whom it was read as, and who was offered instead."""
    found: list[Result] = []
    for case in asked:
        question = understand(case.question, pool)
        read = frozenset(question.asked.speakers) if question.asked else frozenset[str]()
        found.append((case, read, frozenset(question.suggestions)))
    return found


def row(found: Sequence[Result]) -> str:
    """Precision, recall, and the share that is read right or offered."""
    read = sum(bool(speakers) for _, speakers, _ in found)
    right = sum(speakers == case.meant for case, speakers, _ in found)
    offered = sum(case.meant <= speakers | others for case, speakers, others in found)
    count = max(1, len(found))
    return f"{right / max(1, read):.3f} | {right / count:.3f} | {offered / count:.3f} | {len(found)}"


def unknown(names: Sequence[str], rng: random.Random) -> list[str]:
    """People who share no name with any of `names`."""
    known = {word for name in names for word in name.split()}
    return [name for name in people(1000, rng) if not known & set(name.split())]


def strange(names: Sequence[str], rng: random.Random) -> list[str]:
    """People who share the given name or the surname with one of `names`."""
    found: list[str] = []
    for number, other in enumerate(unknown(names, rng)):
        given, surname = other.split()
        known_given, known_surname = rng.choice(names).split()
        found.append(f"{known_given} {surname}" if number % 2 else f"{given} {known_surname}")
    return found


def taken(strangers: Sequence[str], pool: Sequence[Speaker]) -> float:
    """The share of strangers who are taken for somebody of the pool."""
    return sum(understand(QUESTIONS[0].format(name), pool).asked is not None for name in strangers) / len(strangers)


HEAD = "precision | recall | read right or offered | misspellings |\n|" + " --- |" * 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    names = people(args.people, rng)
    asked: list[tuple[list[Case], list[Speaker]]] = []
    for size in POOLS:
        for start in range(0, len(names), size):
            pool = names[start : start + size]
            asked.append((cases(pool, pool, rng), [Speaker(name) for name in pool]))

    results: dict[int, list[Result]] = {size: [] for size in POOLS}
    for some, pool in asked:
        results[min(POOLS, key=lambda size: abs(size - len(pool)))] += measure(some, pool)
    everything = [result for found in results.values() for result in found]
    for full, label in ((True, "Full names"), (False, "Surnames alone")):
        print(f"\n| {label}, among | {HEAD}")
        for size, found in results.items():
            print(f"| {size} speakers | {row([r for r in found if r[0].full == full])} |")
        print(f"| all | {row([r for r in everything if r[0].full == full])} |")
        print(f"\n| {label} | {HEAD}")
        for kind in KINDS:
            print(f"| {kind} | {row([r for r in everything if r[0].full == full and r[0].kind == kind])} |")

    strangers = {"full": strange(names, rng), "surname": [name.split()[-1] for name in unknown(names, rng)]}
    strangers["both"] = unknown(names, rng)
    pool = [Speaker(name) for name in names]
    for constant, thresholds, stranger in (
        ("FULL_NAME_LIKENESS", FULL_THRESHOLDS, "full"),
        ("WORD_LIKENESS", WORD_THRESHOLDS, "surname"),
    ):
        kept = getattr(shipped, constant)
        print(f"\n| {constant} ({kept} ships) | strangers taken for somebody | {HEAD}{' --- |'}")
        for threshold in thresholds:
            setattr(shipped, constant, threshold)
            found = [
                result
                for some, among in asked
                for result in measure((c for c in some if c.full == (stranger == "full")), among)
            ]
            print(f"| {threshold:.2f} | {taken(strangers[stranger], pool):.3f} | {row(found)} |")
        setattr(shipped, constant, kept)
    print(
        f"\nFull names of strangers who share no name with the 300, taken for one: {taken(strangers['both'], pool):.3f}"
    )

    traps = [trap for trap in TRAPS.split("|") if trap]
    pool = [Speaker(name) for name in TRAP_NAMES.split("|") if name]
    caught = [trap for trap in traps if understand(trap, pool).asked]
    print(f"\nOrdinary words taken for names: {len(caught)} of {len(traps)}: {'; '.join(caught) or 'none'}")

    pool = [Speaker(name) for name in names]
    for label, questions in (
        ("misspelt", [case.question for case in asked[-1][0][:400]]),
        ("right", [QUESTIONS[i % len(QUESTIONS)].format(name) for i, name in enumerate(names)]),
        ("nobody", ["How do people explain the rise in prices?", "why did the payment fail in the end?"] * 100),
    ):
        times: list[float] = []
        for question in questions:
            began = time.perf_counter()
            understand(question, pool)
            times.append((time.perf_counter() - began) * 1000)
        print(f"{label}: {statistics.median(times):.2f} ms at the median to understand a question, 300 speakers")


if __name__ == "__main__":
    main()
