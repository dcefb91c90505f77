"""Confidence from what a server reports: its tokens with the likeliest others at each place.

The server gives probabilities over the whole vocabulary, before the grammar. Here they are renormalised over
the reported tokens that were legal, as decoding does it over all legal ones. So this is an approximation:

- A legal token that is not among the reported ones is missing, and the confidence is too high. How much it
  can be is known: such a token is no likelier than the last reported one, and few tokens are legal. Where it
  could make a difference of more than `TOLERANCE`, the mention has no confidence.
- A grammar leaves the tokenisation free, so alternatives include other spellings of the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..backends.protocol import ReportedToken
from ..constraint.sentence_automaton import SentenceAutomaton
from ..data import Mention
from ..decoding.confidence import Margins, confidence
from .decisions import decisions_by_span

N_LIKELIEST = 20
"""Tokens to ask for at each place: the most that OpenAI and vLLM give."""

TOLERANCE = 0.05
"""How much a confidence may be too high for want of unreported tokens."""

_MOST_LEGAL = 16
"""Tokens that are legal in one place; seldom more, whatever the vocabulary."""

_Decision = tuple[Margins, Margins]
"""Margins of the reported legal tokens that were not chosen, and these with the most that others can have."""


def with_confidence(
    mentions: Sequence[Mention], constraint: SentenceAutomaton, tokens: Sequence[ReportedToken]
) -> list[Mention]:
    """The mentions of a legal answer, with confidence where enough is reported."""
    decisions = list(_decisions(constraint, tokens))
    written = b"".join(token.token for token, _ in zip(tokens, decisions, strict=False))
    tagged = constraint.read(written)
    if tagged is None or [span.span for span in tagged] != [m.spans[0] for m in mentions]:
        return list(mentions)  # the answer was mended, or the server did not report all of its tokens
    steps = [(len(token.token), found) for token, found in zip(tokens, decisions, strict=False)]
    return [
        _judged(mention, found)
        for mention, found in zip(mentions, decisions_by_span(tagged, steps), strict=True)
    ]


def _judged(mention: Mention, decisions: Sequence[_Decision]) -> Mention:
    margins = tuple(tuple(reported) for reported, _ in decisions)
    most = confidence(margins)
    least = confidence(possible for _, possible in decisions)
    return replace(mention, confidence=most, margins=margins) if most - least <= TOLERANCE else mention


def _decisions(constraint: SentenceAutomaton, tokens: Sequence[ReportedToken]) -> Iterator[_Decision]:
    """The decision of each token, up to the end of the answer."""
    state = constraint.start
    for token in tokens:
        after = constraint.advance(state, token.token) if token.token else ()
        if not after:
            return  # what ends the answer: a control token, which no server spells
        others = {piece: value for piece, value in token.likeliest if piece != token.token}
        legal = [
            value
            for piece, value in others.items()
            if (constraint.advance(state, piece) if piece else constraint.accepts(state))
        ]
        margins = [value - token.log_probability for value in legal]
        hidden = _hidden(token, others)
        yield (margins, [*margins, hidden - token.log_probability] if hidden > -math.inf else margins)
        state = after


def _hidden(token: ReportedToken, others: dict[bytes, float]) -> float:
    """The log probability that unreported legal tokens can have together at most."""
    reported = [token.log_probability, *others.values()]
    left = 1.0 - sum(map(math.exp, reported))
    most = min(left, _MOST_LEGAL * math.exp(min(reported)))
    return math.log(most) if most > 0 else -math.inf
