"""What comes back for a sentence: its mentions, what they cost, and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from ..constraint.edges import CLOSE, OPEN, Boundary, edges
from ..data import INEXACT, Mention, Sentence
from ..decoding.answer import Answer
from ..decoding.confidence import reaches
from ..decoding.legal_mass import total

_SHOWN = 40  # characters of a name in a message


@dataclass(frozen=True, slots=True)
class Effort:
    """What annotating took. Adds up over windows and sentences.

    n_passes: forward passes that the sentence took part in. n_tokens: tokens evaluated for it.
    n_decisions: tokens that the model decided. legal_mass: the sum of their shares of legal probability, None
        if that was not asked for (see `decoding.legal_mass`).
    n_unfinished: free answers that hit their length limit.
    n_doubtful: mentions left out because they, or their document, were not sure enough.
    n_windows: pieces that the sentence was cut into to fit the context; 1 if it was not cut.
    n_prompt_tokens: length of the prompts, the shared prefix included.
    n_unknown_tags: what looks like a tag in free answers, and is neither in the schema nor in the sentence.
    n_invented: names in free answers that have no place in the sentence.
    """

    n_passes: int = 0
    n_tokens: int = 0
    n_decisions: int = 0
    legal_mass: float | None = 0.0
    n_unfinished: int = 0
    n_doubtful: int = 0
    n_windows: int = 0
    n_prompt_tokens: int = 0
    n_unknown_tags: int = 0
    n_invented: int = 0

    @classmethod
    def of(cls, answer: Answer, n_prompt_tokens: int = 0) -> Effort:
        """The effort of one answer."""
        decided = [choice for choice in answer.choices if choice is not None]
        return cls(
            n_passes=answer.n_passes,
            n_tokens=answer.n_tokens,
            n_decisions=len(decided),
            legal_mass=total(choice.legal_mass for choice in decided),
            n_unfinished=int(not answer.finished),
            n_windows=1,
            n_prompt_tokens=n_prompt_tokens,
        )

    def __add__(self, other: Effort) -> Effort:
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        legal_mass = total(pairs.pop("legal_mass"))
        return Effort(**{name: sum(pair) for name, pair in pairs.items()}, legal_mass=legal_mass)

    def figures(self) -> dict[str, int | float]:
        """The figures by name, without what was not measured."""
        return {name: figure for name, figure in asdict(self).items() if figure is not None}


@dataclass(frozen=True, slots=True)
class Annotated:
    """A sentence as it came back.

    failure: why there are no mentions; None if all went well.
    problems: parts of a free answer that could not be used, such as unknown tags and invented names.
    verbatim: whether the answer without its tags is the sentence. Always true under the constraint.
    """

    sentence: Sentence
    effort: Effort = Effort()
    failure: str | None = None
    problems: tuple[str, ...] = ()
    verbatim: bool = True

    def surer_than(self, least: float) -> Annotated:
        """The result without mentions of a lower confidence, which are counted."""
        mentions = self.sentence.mentions
        kept = [m for m in mentions if m.confidence is None or reaches(m.confidence, least)]
        effort = replace(self.effort, n_doubtful=self.effort.n_doubtful + len(mentions) - len(kept))
        return replace(self, sentence=self.sentence.with_mentions(kept), effort=effort)

    def _repr_html_(self) -> str:
        """Its sentence, for notebooks."""
        return replace(self.sentence, failure=self.failure)._repr_html_()

    def exact_only(self) -> Annotated:
        """The result without mentions whose offsets are a guess. Each is named among the problems."""
        mentions = self.sentence.mentions
        dropped = tuple(
            f"{m.text!r} ({m.type}): {m.provenance} offsets refused by --strict"
            for m in mentions
            if m.provenance in INEXACT
        )
        kept = self.sentence.with_mentions(m for m in mentions if m.provenance not in INEXACT)
        return replace(self, sentence=kept, problems=self.problems + dropped)


def join(sentence: Sentence, windows: Sequence[Annotated], boundary: Boundary) -> Annotated:
    """The result for a sentence from those of its windows, in order.

    A word that is longer than a window is cut. What looked like a name there is only a part of a word, so it
    is left out, and named among the problems.
    """
    mentions: list[Mention] = []
    problems: list[str] = []
    effort = Effort()
    start = 0
    for window in windows:
        problems += window.problems
        for found in window.sentence.mentions:
            mention = found.moved(start) if start else found
            end = start + len(window.sentence.text)
            if not _cuts_word(mention, (start, end), sentence.text, boundary):
                mentions.append(mention)
            else:
                shown = f"{mention.text[:_SHOWN]!r} ({mention.type})"
                problems.append(f"{shown}: part of a word that was cut to fit the context")
        start += len(window.sentence.text)
        effort += window.effort
    return Annotated(
        sentence.with_mentions(mentions),
        effort,
        problems=tuple(problems),
        verbatim=all(window.verbatim for window in windows),
    )


def _cuts_word(mention: Mention, window: tuple[int, int], text: str, boundary: Boundary) -> bool:
    """Whether a mention begins or ends where its window does, and no tag may be placed there in the text."""

    def allowed(place: int) -> int:
        return edges(text[place - 1 : place + 1], boundary)[1]

    start, end = window
    begins_late = mention.start == start > 0 and not allowed(start) & OPEN
    return begins_late or (mention.end == end < len(text) and not allowed(end) & CLOSE)
