"""From a free answer to mentions: read by the constraint if the answer is legal, aligned if it is not."""

from __future__ import annotations

import re
from dataclasses import replace

from ..constraint.automaton import Constraint
from ..constraint.list_automaton import ListAutomaton
from ..constraint.sentence_automaton import SentenceAutomaton
from ..data import Provenance, Sentence
from .alignment import align
from .free_list import read_list
from .result import Annotated, Effort

_THOUGHTS = re.compile(
    r"\s*(?:<think(?:ing)?>|\[THINK\]|<\|channel\|>analysis).*?"
    r"(?:</think(?:ing)?>|\[/THINK\]|<\|channel\|>final<\|message\|>)\s*",
    re.DOTALL,
)
_FENCE = re.compile(r"\s*```[^\n`]*\n(.*?)\n?```\s*", re.DOTALL)


def unwrapped(answer: str) -> str:
    """The answer without the thoughts that it begins with, and without a code fence around all of it.

    Example: "<think>Hm.</think>\\n```\\nTake <drug>iron</drug>.\\n```" -> "Take <drug>iron</drug>."
    """
    thoughts = _THOUGHTS.match(answer)
    answer = answer[thoughts.end() :] if thoughts else answer
    fenced = _FENCE.fullmatch(answer)
    return fenced[1] if fenced else answer


def read_answer(
    constraint: SentenceAutomaton,
    written: bytes,
    effort: Effort,
    *,
    finished: bool,
    provenance: Provenance = "exact",
) -> Annotated:
    """The mentions of an answer, which may be any bytes.

    provenance: of the mentions, if the answer is legal.
    """
    text = constraint.text
    problems: tuple[str, ...] = () if finished else ("the answer is unfinished",)
    tagged = constraint.read(written)
    if tagged is not None:
        sentence = Sentence("", text).with_mentions(t.mention(text, provenance) for t in tagged)
        return Annotated(sentence, effort, problems=problems)
    if isinstance(constraint, ListAutomaton):
        found = read_list(constraint, written.decode(errors="replace"))
        return replace(found, effort=effort + found.effort, problems=problems + found.problems)
    assert isinstance(constraint, Constraint), "the forms of the answer are tags and list"
    parsed = constraint.machine.markup.parse(written.decode(errors="replace"))
    alignment = align(parsed.plain, parsed.mentions, text)
    problems += parsed.problems + tuple(
        f"{unaligned.text!r} ({unaligned.type}): {unaligned.reason}" for unaligned in alignment.unaligned
    )
    effort = replace(
        effort,
        n_unknown_tags=sum(tag not in text for tag in parsed.unknown_tags),
        n_invented=len(alignment.unaligned),
    )
    sentence = Sentence("", text).with_mentions(alignment.mentions)
    return Annotated(sentence, effort, problems=problems, verbatim=parsed.plain.strip() == text.strip())
