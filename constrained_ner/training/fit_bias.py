"""Fits the operating point: a bias for opening each type, and one for closing, from labelled sentences.

Where an answer may open a tag is a threshold, and models that were not tuned set it too high: they copy on.
Every sentence is surveyed once (`decoding.survey`); then any bias is tried by replaying the decoder.

1. One bias is shared by all types: the one with the best score.
2. Each type may leave it, the most frequent first, if that scores better. How far it goes shrinks with the
   number of its mentions, n / (n + SHRINKAGE): a type with three examples stays near the others.
3. Closing gets a bias if that is better in nearly all resamples.

A best value is the median of the best ones of resampled sentences, so that no single sentence decides.
The score is F1 or, if a precision is wanted, the recall at that precision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..constraint.answer_form import AnswerTokens
from ..constraint.automaton import Constraint, State, TagMachine
from ..constraint.bias import CLOSING
from ..constraint.legal import END
from ..data import Mention, Sentence
from ..decoding.answer import is_decision
from ..decoding.survey import Survey
from ..evaluation.official import mention_key

SHARED = tuple(round(-6 + 0.25 * n, 2) for n in range(49))  # -6 to +6
LEAVING = tuple(round(-2 + 0.25 * n, 2) for n in range(17))  # of a type, from the shared one
CLOSINGS = tuple(round(-2 + 0.5 * n, 2) for n in range(9))
SHRINKAGE = 10.0
"""The number of mentions at which a type goes half as far from the shared bias as these alone ask for."""

SURE = 0.9
"""The share of resamples in which a bias for closing must score better than none."""

_N_RESAMPLES = 200

Bias = Mapping[str, float]
Floats = NDArray[np.float64]
CountedWith = Callable[[Bias], Floats]
"""A bias -> true positives, false positives and false negatives of each sentence. Shape: (sentences, 3)."""


@dataclass(frozen=True)
class Replays:
    """What surveyed sentences would count with a bias.

    surveyed: sentences with their gold, and surveys. tokens: of the form that the answers have.
    """

    surveyed: Sequence[tuple[Sentence, Survey]]
    tokens: AnswerTokens

    def counts(self, bias: Bias) -> Floats:
        rows = []
        for sentence, found in zip((s for s, _ in self.surveyed), self.mentions(bias), strict=True):
            gold = {mention_key("", mention) for mention in sentence.mentions}
            predicted = {mention_key("", mention) for mention in found}
            rows.append((len(gold & predicted), len(predicted - gold), len(gold - predicted)))
        return np.array(rows, dtype=np.float64).reshape(len(rows), 3)

    def mentions(self, bias: Bias) -> list[list[Mention]]:
        """What is marked in each sentence with a bias."""
        added = self.tokens.bias(bias).of if any(bias.values()) else None
        found = []
        for sentence, survey in self.surveyed:
            answer = self.tokens.vocabulary.decode(survey.replay(added))
            tagged = survey.legal_tokens.constraint.read(answer)
            assert tagged is not None, f"sentence {sentence.id}: a replay wrote an illegal answer"
            found.append([span.mention(sentence.text) for span in tagged])
        return found

    @property
    def n_mentions(self) -> Counter[str]:
        """The gold mentions of each type."""
        return Counter(mention.type for sentence, _ in self.surveyed for mention in sentence.mentions)


def fit_shared(
    counted: CountedWith,
    types: Sequence[str],
    precision: float | None = None,
    *,
    tried: Sequence[float] = SHARED,
) -> dict[str, float]:
    """The bias that all types share. precision: the one that is wanted; None for the best F1."""
    candidates = [dict.fromkeys(types, value) for value in tried]
    return dict.fromkeys(types, _best(counted, candidates, tried, precision))


def fit_types(
    counted: CountedWith,
    shared: Bias,
    n_mentions: Mapping[str, int],
    precision: float | None = None,
    *,
    leaving: Sequence[float] = LEAVING,
) -> dict[str, float]:
    """A bias for each type: the shared one, and what its own mentions ask for, shrunk.

    Example: a type without a mention keeps the shared bias.
    """
    fitted = dict(shared)
    for name in sorted(shared, key=lambda name: (-n_mentions.get(name, 0), name)):
        n = n_mentions.get(name, 0)
        if n:
            candidates = [{**fitted, name: shared[name] + value} for value in leaving]
            wanted = _best(counted, candidates, leaving, precision)
            fitted[name] = round(shared[name] + wanted * n / (n + SHRINKAGE), 3)
    return fitted


def fit_closing(
    counted: CountedWith, opening: Bias, precision: float | None = None, *, tried: Sequence[float] = CLOSINGS
) -> dict[str, float]:
    """The bias with one for closing added, if that pays."""
    none, *others = [dict(opening), *({**opening, CLOSING: value} for value in tried if value)]
    value = _best(counted, [none, *others], [0.0, *(v for v in tried if v)], precision)
    value = round(value, 2)
    if not value:
        return none
    scores = _scores([counted(none), counted({**opening, CLOSING: value})], precision)
    better = np.mean(scores[1] > scores[0])
    return {**opening, CLOSING: value} if better >= SURE else none


def _best(
    counted: CountedWith, candidates: Sequence[Bias], values: Sequence[float], precision: float | None
) -> float:
    """The median over resamples of the value of the best candidate; of equals the one nearest to zero."""
    scores = _scores([counted(candidate) for candidate in candidates], precision)
    order = sorted(range(len(values)), key=lambda n: (abs(values[n]), values[n]))
    best = np.array(values)[order][np.argmax(scores[order], axis=0)]
    return float(np.quantile(best, 0.5, method="nearest"))


def _scores(counts: Sequence[Floats], precision: float | None) -> Floats:
    """The score of each candidate in each resample. Shape: (candidates, resamples).

    With a wanted precision: the recall, or where that precision is not reached, what is missing to it.
    """
    n = len(counts[0])
    drawn = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=_N_RESAMPLES)
    sums = np.stack([drawn @ rows for rows in counts])
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    if precision is None:
        f1: Floats = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
        return f1
    reached = tp / np.maximum(tp + fp, 1)
    recall = tp / np.maximum(tp + fn, 1)
    return np.where(reached >= precision, recall, reached - precision)


def content_free_bias(surveys: Sequence[Survey], types: Sequence[str]) -> dict[str, float]:
    """The bias with which opening each type is as likely as copying on in sentences without content.

    This is contextual calibration (Zhao et al. 2021, "Calibrate before use"): what a model prefers where
    there is nothing to prefer is its own leaning. surveys: of sentences such as "N/A".
    """
    leanings: dict[str, list[float]] = {name: [] for name in types}
    for survey in surveys:
        machine = _tag_machine(survey)
        for state in survey.logits:
            if len(state) == 1 and machine.context(state) == machine.OUTSIDE:
                for name, leaning in _opening(survey, state).items():
                    leanings[name].append(leaning)
    return {name: round(-float(np.mean(found)), 3) if found else 0.0 for name, found in leanings.items()}


def _tag_machine(survey: Survey) -> TagMachine:
    constraint = survey.legal_tokens.constraint
    assert isinstance(constraint, Constraint), "a list has nothing that copies on"
    return constraint.machine


def _opening(survey: Survey, start: State) -> dict[str, float]:
    """For each type that may be opened: the log of how much likelier that is than copying on."""
    machine = _tag_machine(survey)
    legal = survey.legal_at(start)
    logit = dict(zip(legal, survey.logits[start], strict=True))
    opens = {
        token_id: after != END and machine.begins_tag(machine.OUTSIDE, machine.context(after))
        for token_id, after in legal.items()
    }
    if all(opens.values()) or not any(opens.values()):
        return {}
    copying = max(logit[token_id] for token_id, opening in opens.items() if not opening)
    found: dict[str, float] = {}
    left = [(legal[token_id], logit[token_id] - copying) for token_id, opening in opens.items() if opening]
    while left:
        state, leaning = left.pop()
        name = machine.type_of_fresh.get(machine.context(state))
        if name is not None:
            found[name] = float(np.logaddexp(found.get(name, -np.inf), leaning))
            continue
        following = survey.legal_at(state)
        shares = np.array(survey.logits[state] if is_decision(following) else [0.0] * len(following))
        shares = shares - np.logaddexp.reduce(shares)
        left += [
            (after, leaning + float(share)) for after, share in zip(following.values(), shares, strict=True)
        ]
    return found
