"""What comes back for a sentence: its mentions, what they cost, and what went wrong."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..data import Sentence
from ..decoding.answer import Answer


@dataclass(frozen=True, slots=True)
class Effort:
    """What annotating took. Adds up over windows and sentences.

    n_passes: forward passes that the sentence took part in. n_tokens: tokens evaluated for it.
    n_decisions: tokens that the model decided. legal_mass: the sum of their legal shares of probability.
    n_unfinished: free answers that ran into their length limit.
    n_doubtful: mentions left out because they, or their document, were less sure than was wanted.
    n_windows: pieces that the sentence was cut into to fit the context, 1 if it was not.
    n_prompt_tokens: length of the prompts, the shared prefix included.
    n_unknown_tags: what free answers hold that looks like a tag, and neither schema nor sentence has it.
    n_invented: names in free answers for which the sentence has no place.
    """

    n_passes: int = 0
    n_tokens: int = 0
    n_decisions: int = 0
    legal_mass: float = 0.0
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
            legal_mass=sum(choice.legal_mass for choice in decided),
            n_unfinished=int(not answer.finished),
            n_windows=1,
            n_prompt_tokens=n_prompt_tokens,
        )

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True, slots=True)
class Annotated:
    """A sentence as it came back.

    failure: why there are no mentions, None if all went well.
    problems: parts of a free answer that could not be used: unknown tags, names that are not in the text.
    verbatim: whether the answer, tags removed, was the sentence (always, under the constraint).
    """

    sentence: Sentence
    effort: Effort = Effort()
    failure: str | None = None
    problems: tuple[str, ...] = ()
    verbatim: bool = True

    def surer_than(self, least: float) -> Annotated:
        """The result without mentions of a lower confidence, which are counted."""
        mentions = self.sentence.mentions
        kept = [m for m in mentions if m.confidence is None or m.confidence >= least]
        effort = replace(self.effort, n_doubtful=self.effort.n_doubtful + len(mentions) - len(kept))
        return replace(self, sentence=self.sentence.with_mentions(kept), effort=effort)

    def followed_by(self, other: Annotated) -> Annotated:
        """The result for the text of both, one after the other, under this one's id."""
        text = self.sentence.text + other.sentence.text
        moved = [mention.moved(len(self.sentence.text)) for mention in other.sentence.mentions]
        return Annotated(
            Sentence(self.sentence.id, text).with_mentions([*self.sentence.mentions, *moved]),
            self.effort + other.effort,
            problems=self.problems + other.problems,
            verbatim=self.verbatim and other.verbatim,
        )
