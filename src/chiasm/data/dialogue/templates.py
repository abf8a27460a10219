"""Questions with short answers, as academic sets hold them, phrased as people talk.

    "what is the colour of the shape?" / "red" ──► short     ... Answer with one word or phrase. / red
                                                   sentence  ... / The colour of the shape is red.
                                                   choice    ... A. blue  B. red ... / B

A model trained on bare one-word answers answers everything with one word (LLaVA-1.5, section 3.2): the
question has to say which form is wanted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from pydantic import PositiveInt

from chiasm.base.config import Settings
from chiasm.base.errors import UserError
from chiasm.data.rows import CAPTION_PROMPT, BadSample
from chiasm.data.sources import Source
from chiasm.inputs.message import Message, Part, Record, Sample, Shown, Text

Form = Literal["short", "sentence", "choice"]

SHORT = (
    "{question}\nAnswer the question using a single word or phrase.",
    "{question} Give a short answer.",
    "Look at the picture and answer briefly: {question}",
    "{question}\nReply with nothing but the answer.",
    "Question: {question}\nShort answer:",
)
SENTENCE = (
    "{question}",
    "{question} Answer in a full sentence.",
    "Can you tell me: {question}",
    "Look at this picture. {question}",
)
CHOICE = (
    "{question}\n{options}\nAnswer with the option letter and nothing else.",
    "{question} Choose one.\n{options}\nGive only the letter.",
    "Question: {question}\nOptions:\n{options}\nWhich option is right? Answer with its letter.",
)
LETTERS = "ABCDEFGH"


class TemplateSettings(Settings):
    """How the questions of a set become conversations."""

    forms: tuple[Form, ...] = ("short", "sentence", "choice")
    """Forms of answers, drawn for each question: short, sentence, choice."""
    turns: PositiveInt = 1
    """Questions about the same pictures that stand in one conversation, at most."""
    options: PositiveInt = 4
    """Options of a choice, the right one among them."""
    seed: int = 0
    """Decides forms, words and the order of options."""


@dataclass(frozen=True)
class Templated:
    """A source whose questions are phrased by templates; record i is that of the source below."""

    source: Source
    settings: TemplateSettings
    pool: tuple[tuple[str, tuple[str, ...]], ...]
    """Answers that occur to each type of question, for choices."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.source.name

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Record:
        pool, record = dict(self.pool), self.source[index]
        turns = [self._turn(sample, pool) for sample in record]
        lots = [
            turns[i : i + self.settings.turns] for i in range(0, len(turns), self.settings.turns)
        ]
        return tuple(_joined(lot) for lot in lots)

    def _turn(self, sample: Sample, pool: dict[str, tuple[str, ...]]) -> Sample:
        shown, question, answer = asked(sample)
        chance = Random(f"{self.settings.seed}/{sample.key}")
        form = chance.choice(self.settings.forms)
        text, said = phrase(question, answer, form, pool.get(question_type(question), ()), chance)
        user = Message("user", (*shown, Text(text)))
        return Sample((user, Message("assistant", (Text(said),))), sample.key)


def templated(source: Source, settings: TemplateSettings | None = None) -> Templated:
    """Phrase the questions of a source; reads its words once, to know the answers that occur."""
    settings = settings or TemplateSettings()
    if settings.options > len(LETTERS):
        raise UserError(f"options is {settings.options}; a choice has at most {len(LETTERS)}.")
    held: dict[str, set[str]] = defaultdict(set)
    for index in range(len(source)):
        try:
            record = [asked(sample) for sample in source[index]]
        except UserError:
            continue  # told with its reason when its turn comes
        for _, question, answer in record:
            held[question_type(question)].add(answer)
    pool = tuple((kind, tuple(sorted(answers))) for kind, answers in sorted(held.items()))
    return Templated(source, settings, pool)


def asked(sample: Sample) -> tuple[tuple[Shown, ...], str, str]:
    """Return what a sample of one question shows, the question and the answer.

    Raises BadSample for a longer conversation and for a caption: no template fits them.
    """
    match sample.messages:
        case (Message("user", parts), Message("assistant", said)) if (
            _words(parts) != CAPTION_PROMPT
        ):
            shown = tuple(part for part in parts if isinstance(part, Shown))
            return shown, _words(parts), _words(said)
    raise BadSample("not_a_question", sample.key)


def _words(parts: Iterable[Part]) -> str:
    return " ".join(part.text for part in parts if isinstance(part, Text)).strip()


def _joined(turns: Sequence[Sample]) -> Sample:
    """One conversation of several; pictures that were shown once are not shown again."""
    messages: list[Message] = []
    seen: set[str] = set()
    for turn in turns:
        user, said = turn.messages
        fresh = [p for p in user.parts if not isinstance(p, Shown) or p.key not in seen]
        seen |= {p.key for p in user.parts if isinstance(p, Shown)}
        messages += [Message("user", tuple(fresh)), said]
    return Sample(tuple(messages), turns[0].key)


# ---- wording -----------------------------------------------------------------------------------


def question_type(question: str) -> str:
    """Return what questions share whose answers can be taken for each other's: their first words."""
    words = re.findall(r"[a-z]+", question.lower())
    if words[:1] and words[0] in ("is", "are", "does", "do", "was", "were", "can", "has"):
        return "yes/no"
    return " ".join(words[: 4 if words[:1] == ["what"] else 2])


def phrase(
    question: str, answer: str, form: Form, answers: Sequence[str], chance: Random
) -> tuple[str, str]:
    """Return a question and its answer in a form; the short form where the wanted one does not fit."""
    if form == "choice" and (made := _choice(question, answer, answers, chance)):
        return made
    if form == "sentence" and (sentence := statement(question, answer)):
        return chance.choice(SENTENCE).format(question=_asked(question)), sentence
    return chance.choice(SHORT).format(question=_asked(question)), answer


def _choice(
    question: str, answer: str, answers: Sequence[str], chance: Random, most: int = 4
) -> tuple[str, str] | None:
    others = [other for other in answers if other.lower() != answer.lower()]
    if len(others) < 2:
        return None  # a choice of two is a question with yes or no
    options = [answer, *chance.sample(others, min(most - 1, len(others)))]
    chance.shuffle(options)
    lines = "\n".join(
        f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False)
    )
    text = chance.choice(CHOICE).format(question=_asked(question), options=lines)
    return text, LETTERS[options.index(answer)]


def _asked(question: str) -> str:
    question = question.strip()
    return question[:1].upper() + question[1:]


_STATEMENTS: tuple[tuple[str, Callable[[re.Match[str], str], str | None]], ...] = (
    (r"what (colou?r) (?:is|are) (.+)\?", lambda m, a: f"{m[2]} {_be(m[2])} {a}"),
    (r"what is the (.+?) of (.+)\?", lambda m, a: f"the {m[1]} of {m[2]} is {a}"),
    (r"how many (.+?) (?:are|is) (there.*|in .+|on .+)\?", lambda m, a: _counted(m, a)),
    (
        r"what (.+?) (is|are) (in|on|under|above|below|behind|beside|at) (.+)\?",
        lambda m, a: f"the {m[1]} {m[3]} {m[4]} {m[2]} {a}",
    ),
    (r"(?:where) (is|are) (.+)\?", lambda m, a: f"{m[2]} {m[1]} {a}"),
)
_YES_NO: tuple[tuple[str, str, str], ...] = (
    (
        r"(is|are) there (?:not )?(?:an?|any|some) (.+)\?",
        "there {0} {article}{1}",
        "there {0} no {1}",
    ),
    (r"does (.+?) (?:not )?contain (.+)\?", "{0} contains {1}", "{0} does not contain {1}"),
    (r"(is|are) (.+?) present(?: in .+)?\?", "{1} {0} present", "{1} {0} not present"),
)


def statement(question: str, answer: str) -> str | None:
    """Return the answer as a sentence of its own; None where no rule is sure of the grammar.

    A negated question ("is there not a red shape?") is not turned: yes and no to it are read both ways.
    """
    asked_ = question.strip().lower() if question[:1].islower() else question.strip()
    if answer.strip().lower() in ("yes", "no"):
        return _yes_no(asked_, answer.strip().lower())
    for pattern, make in _STATEMENTS:
        if found := re.fullmatch(pattern, asked_, re.IGNORECASE):
            said = make(found, answer.strip())
            return None if said is None else said[:1].upper() + said[1:] + "."
    return None


def _yes_no(question: str, answer: str) -> str | None:
    if re.search(r"\bnot\b|n['’]t\b", question):
        return None
    for pattern, yes, no in _YES_NO:
        if found := re.fullmatch(pattern, question, re.IGNORECASE):
            verb = found[1].lower() if found[1].lower() in ("is", "are") else found[1]
            article = f"{_article(found[2])} " if verb == "is" else ""
            words = (yes if answer == "yes" else no).format(verb, found[2], article=article)
            return f"{answer.capitalize()}, {words}."
    return None


def _counted(found: re.Match[str], answer: str) -> str | None:
    if answer in ("1", "one"):
        return None  # the question's noun stands in the plural
    where = re.sub(r"^there ?", "", found[2]).strip()
    return " ".join(filter(None, ("there are", answer, found[1], where)))


def _be(subject: str) -> str:
    return "are" if re.search(r"[^s]s$", subject) else "is"


def _article(noun: str) -> str:
    return "an" if re.match(r"[aeiou]", noun, re.IGNORECASE) else "a"
