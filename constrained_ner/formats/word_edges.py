"""What offsets count, where a file has no words of its mentions to hold against the text.

Names begin and end with words. If most mentions of a file cut words in two as its format would have them, and
nearly all fit words by another convention, that is the one. With less evidence the rule of the format stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    n_other, n_by_rule, n_good = [0] * len(known), [0] * len(known), [0] * len(known)
    for claim in claims():
        spans = [counting.spans(claim) for counting in known]
        good = [_on_words(claim.text, found) for found in spans]
        for n, found in enumerate(spans):
            if found != spans[0]:
                n_other[n] += 1
                n_by_rule[n] += good[0]
                n_good[n] += good[n]
    better = [
        n
        for n in range(len(known))
        if n_other[n] >= _FEWEST and 10 * n_good[n] >= 9 * n_other[n] and 2 * n_by_rule[n] <= n_other[n]
    ]
    most = max((n_good[n] for n in better), default=0)
    best = [n for n in better if n_good[n] == most]
    if len(best) != 1:
        return rule
    [n] = best
    notify(
        f"{path}: the offsets count {known[n]}, and are read so: {n_good[n]} of {n_other[n]} mentions then begin "
        f"and end with words, instead of {n_by_rule[n]}"
    )
    return known[n]


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
