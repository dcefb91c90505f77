"""What offsets count, where a file has no words of its mentions to hold against the text.

Names begin and end with words. If most mentions of a file cut words in two as its format would have them, and
nearly all fit words by another convention, that is the one. With less evidence the rule of the format stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data import Span
from .units import Claim, Counting, countings

_FEWEST = 5
"""So many mentions, at least, have to speak for another convention than the rule."""


def counting_by_words(
    path: Path, rule: Counting, claims: Callable[[], Iterable[Claim]], notify: Callable[[str], None]
) -> Counting:
    """The convention of a file: the rule, or the only one that its words speak for, which is then told.

    Only the mentions that a convention reads otherwise than the rule speak for or against it.
    """
    known = countings(rule)
    votes = [_Votes() for _ in known]
    for claim in claims():
        by_rule = rule.spans(claim)
        rule_is_good = _on_words(claim.text, by_rule)
        for vote, counting in zip(votes, known, strict=True):
            spans = counting.spans(claim)
            vote.reading = hash((vote.reading, spans))
            if spans != by_rule:
                vote.n += 1
                vote.n_good_by_rule += rule_is_good
                vote.n_good += _on_words(claim.text, spans)
    better = [n for n, vote in enumerate(votes) if vote.speaks()]
    most = max((votes[n].n_good for n in better), default=0)
    best = [n for n in better if votes[n].n_good == most]
    if len({votes[n].reading for n in best}) != 1:
        return rule
    vote, counting = votes[best[0]], known[best[0]]
    notify(
        f"{path}: reading offsets as {counting}: {vote.n_good} of {vote.n} mentions begin and end with "
        f"words (the rule: {vote.n_good_by_rule})"
    )
    return counting


@dataclass(slots=True)
class _Votes:
    """Of the mentions that a convention reads otherwise than the rule: how many, how many begin and end with
    words, and how many did so by the rule. reading: a hash of all spans."""

    n: int = 0
    n_good: int = 0
    n_good_by_rule: int = 0
    reading: int = 0

    def speaks(self) -> bool:
        """Whether the convention explains what the rule does not."""
        return self.n >= _FEWEST and 10 * self.n_good >= 9 * self.n and 2 * self.n_good_by_rule <= self.n


def _on_words(text: str, spans: tuple[Span, ...] | None) -> bool:
    """Whether spans are in the text, cut no word and have no blank at an edge."""
    return spans is not None and all(
        not text[span.start].isspace()
        and not text[span.end - 1].isspace()
        and not _within_word(text, span.start)
        and not _within_word(text, span.end)
        for span in spans
    )


def _within_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
