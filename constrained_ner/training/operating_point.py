"""Fits the operating point of an annotator: surveys labelled sentences, fits a bias, says what to expect."""

from __future__ import annotations

from collections.abc import Sequence

from ..annotation.annotator import Annotator
from ..annotation.operating_point import OperatingPoint, Scores, hashes_of, wanted_precision, what_it_fits
from ..data import Sentence
from ..errors import InputError, UserError
from ..evaluation.official import Counts
from .fit_bias import Bias, Replays, content_free_bias, fit_closing, fit_shared, fit_types

CONTENT_FREE = ("N/A", "[MASK]", "n/a.", "...")
"""Sentences that say nothing, the first two after Zhao et al. 2021. An empty one has no place for a tag."""

_EVERYWHERE = 1e9  # logits


def fit_operating_point(annotator: Annotator, method: str, labelled: Sequence[Sentence]) -> OperatingPoint:
    """Fit an annotator's operating point; its own settings stay as they are.

    Raises UserError for a model whose logits are not seen, InputError if the sentences have no mention.
    """
    types = annotator.schema.type_names
    fits = what_it_fits(annotator.identity())
    tags = annotator.settings.answer == "tags"
    if method == "content-free":
        if not tags:
            raise UserError("--operating-point content-free is for answers in tags; leave out --answer list")
        empty = [Sentence(str(n), text) for n, text in enumerate(CONTENT_FREE)]
        surveys = [survey for _, survey in annotator.surveys(empty, reach=_EVERYWHERE)]
        return OperatingPoint(bias=content_free_bias(surveys, types), method=method, fits=fits)
    surveyed = list(annotator.surveys(labelled))
    replays = Replays(surveyed, annotator.answer_tokens)
    if not replays.n_mentions.total():
        raise InputError(
            f"none of the {len(labelled)} sentences to fit on has an entity of the schema's types"
        )
    bias = fitted_bias(replays, types, wanted_precision(method), closing=tags)
    return OperatingPoint(
        bias=bias,
        method=method,
        fits=fits,
        fitted_on=hashes_of(sentence for sentence, _ in replays.surveyed),
        n_mentions=dict(replays.n_mentions),
        without=_scores(replays, {}),
        with_bias=_scores(replays, bias),
    )


def fitted_bias(
    replays: Replays, types: Sequence[str], precision: float | None = None, *, closing: bool = True
) -> dict[str, float]:
    """Shared by all types, then for each type, then for closing a tag (see `fit_bias`)."""
    shared = fit_shared(replays.counts, types, precision)
    opening = fit_types(replays.counts, shared, replays.n_mentions, precision)
    return fit_closing(replays.counts, opening, precision) if closing else opening


def _scores(replays: Replays, bias: Bias) -> Scores:
    tp, fp, fn = (int(n) for n in replays.counts(bias).sum(axis=0))
    counts = Counts(tp, fp, fn)
    return Scores(
        precision=round(counts.precision, 4), recall=round(counts.recall, 4), f1=round(counts.f1, 4)
    )
