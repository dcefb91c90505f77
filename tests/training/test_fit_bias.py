"""Fitting a bias: the best shared one, types that do not swing, closing only if it pays, no labels at all."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from vocabularies import byte_level_vocabulary, tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.operating_point import wanted_precision
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.constraint.bias import CLOSING
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import InputError, UserError
from constrained_ner.training.fit_bias import (
    CLOSINGS,
    LEAVING,
    SHARED,
    SHRINKAGE,
    CountedWith,
    Floats,
    Replays,
    fit_closing,
    fit_shared,
    fit_types,
)
from constrained_ner.training.operating_point import fit_operating_point

TYPES = ("drug", "group", "brand", "drug_n")
TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"


def thresholds(margins: Mapping[str, list[tuple[float, bool]]]) -> CountedWith:
    """Counts as of sentences with one place each, where a type is marked if margin and bias are above 0."""
    places = [(name, margin, right) for name, found in margins.items() for margin, right in found]

    def counted(bias: Mapping[str, float]) -> Floats:
        marked = [(margin + bias.get(name, 0.0) > 0, right) for name, margin, right in places]
        return np.array([(m and r, m and not r, r and not m) for m, r in marked], dtype=np.float64)

    return counted


def around(center: float, n: int = 40) -> list[tuple[float, bool]]:
    """n places that are right with margins above the center, and n that are not with margins below."""
    return [(center + 0.2 + n / 100, True) for n in range(n)] + [
        (center - 0.2 - n / 100, False) for n in range(n)
    ]


@given(center=st.floats(-5, 2))
@settings(max_examples=30)
def test_the_shared_bias_takes_the_threshold_to_where_right_and_wrong_part(center: float) -> None:
    bias = fit_shared(thresholds({"drug": around(center)}), TYPES)
    assert bias == dict.fromkeys(TYPES, bias["drug"])
    assert bias["drug"] == pytest.approx(-center, abs=0.25)


@given(centers=st.lists(st.floats(-3, 0), min_size=4, max_size=4), n=st.integers(0, 60))
@settings(max_examples=30)
def test_a_type_goes_as_far_from_the_shared_bias_as_its_mentions_carry_it(
    centers: list[float], n: int
) -> None:
    margins = {name: around(center, n) for name, center in zip(TYPES, centers, strict=True)}
    margins["group"] += around(0.0, 3)
    shared = dict.fromkeys(TYPES, 1.0)
    fitted = fit_types(thresholds(margins), shared, dict.fromkeys(TYPES, n))
    for value in fitted.values():
        assert abs(value - 1.0) <= max(LEAVING) * n / (n + SHRINKAGE) + 1e-3


def test_a_type_with_three_mentions_does_not_swing_and_one_with_many_does() -> None:
    margins = {"drug": around(-3.0), "group": around(-1.0), "drug_n": around(-1.0, 3)}
    n_mentions = {"drug": 40, "group": 40, "drug_n": 3}
    shared = dict.fromkeys(TYPES, 3.0)
    fitted = fit_types(thresholds(margins), shared, n_mentions)
    assert fitted["brand"] == 3.0
    assert fitted["group"] <= 2.0
    assert abs(fitted["drug_n"] - 3.0) <= 0.5


def test_a_wanted_precision_costs_recall() -> None:
    generator = np.random.default_rng(0)
    right = [(float(m), True) for m in generator.normal(-1, 1, 200)]
    wrong = [(float(m), False) for m in generator.normal(-2.5, 1, 400)]
    counted = thresholds({"drug": right + wrong})
    sums = {}
    for wanted in (None, 0.6, 0.9):
        bias = fit_shared(counted, TYPES, wanted)
        tp, fp, fn = counted(bias).sum(axis=0)
        sums[wanted] = (tp / (tp + fp), tp / (tp + fn))
    assert sums[0.9][0] == pytest.approx(0.9, abs=0.05)
    assert sums[0.9][1] < sums[None][1]
    assert sums[0.6][0] < sums[0.9][0]


def test_closing_gets_a_bias_only_if_it_pays() -> None:
    def counted(better: float) -> CountedWith:
        """Each sentence has a mention that is right with a bias for closing of 1, and with none if it may."""

        def count(bias: Mapping[str, float]) -> NDArray[np.float64]:
            right = np.arange(50) < (40 if bias.get(CLOSING, 0.0) == 1.0 else 40 - better)
            return np.stack([right, ~right, ~right], axis=1).astype(np.float64)

        return count

    opening = dict.fromkeys(TYPES, 1.0)
    assert fit_closing(counted(20), opening) == {**opening, CLOSING: 1.0}
    assert fit_closing(counted(0), opening) == opening


def test_what_can_be_tried_includes_no_bias() -> None:
    assert 0.0 in SHARED
    assert 0.0 in LEAVING
    assert 0.0 in CLOSINGS


# ---- with a model


def shy(vocabulary_name: str, shyness: float) -> Annotator:
    """A model that would open a tag at names, were it not so shy: it prefers the text by that many logits."""
    vocabulary = {"tag tokens": tag_token_vocabulary, "byte-level": byte_level_vocabulary}[vocabulary_name]()
    size = len(vocabulary)

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        row = np.zeros(size, dtype=np.float32)
        written = vocabulary.decode(ids)
        for n, piece in enumerate(vocabulary.token_bytes):
            text = piece.decode(errors="replace")
            if "<" in text and "/" not in text and "|" not in text:
                row[n] = -shyness + 3.0 * written.endswith((b" ", b"of")) - 2.0 * ("group" in text)
            if text.startswith("</"):
                row[n] = 2.0
        return row

    backend = FakeBackend(vocabulary, score, context_length=2048, chat_template=TEMPLATE)
    return Annotator(backend, consistency=False)


LABELLED = [
    Sentence(f"s{n}", f"{start} iron", (Mention((Span(len(start) + 1, len(start) + 5),), "drug", "iron"),))
    for n, start in enumerate(["Effect of", "More of", "A lot of", "None of"])
]


def test_a_shy_model_finds_names_at_its_operating_point() -> None:
    ner = shy("tag tokens", 4.5)
    assert not any(found.sentence.mentions for found in ner.run(LABELLED))
    point = fit_operating_point(ner, "auto", LABELLED)
    assert point.without is not None
    assert point.with_bias is not None
    assert point.with_bias.f1 > point.without.f1 == 0
    found = [a.sentence for a in ner.biased(point.bias).run(LABELLED)]
    n_right = sum(m in s.mentions for s in LABELLED for f in found if f.id == s.id for m in _bare(f))
    assert n_right > 0
    assert point.fitted_on[0][0] == "s0"


def _bare(sentence: Sentence) -> list[Mention]:
    return [Mention(m.spans, m.type, m.text) for m in sentence.mentions]


def test_a_replay_of_the_survey_says_what_decoding_finds() -> None:
    ner = shy("byte-level", 4.5)
    replays = Replays(list(ner.surveys(LABELLED)), ner.answer_tokens)
    for bias in ({}, dict.fromkeys(TYPES, 2.0), {"drug": 4.0, CLOSING: -1.0}):
        decoded = [_bare(a.sentence) for a in ner.biased(bias).run(LABELLED)]
        replayed = [[Mention(m.spans, m.type, m.text) for m in found] for found in replays.mentions(bias)]
        assert replayed == decoded


IRON_FIRST = [
    Sentence(f"s{n}", f"iron {rest}", (Mention((Span(0, 4),), "drug", "iron"),))
    for n, rest in enumerate(["effect", "and more", "a lot", "or none"])
]


def talkative() -> Annotator:
    """A model that lists iron, and then goes on, a little less sure, to list every other word."""
    vocabulary = byte_level_vocabulary()

    def score(ids: tuple[int, ...]) -> NDArray[np.float32]:
        asked, _, answer = vocabulary.decode(ids).decode().rpartition("<|im_end|>")
        words = re.findall("Sentence: (.*)", asked)[-1].split()
        wanted = "; ".join(f"{word} = drug" for word in words)
        sure = 1.5 if answer.endswith("drug") else 3.0
        row = np.zeros(len(vocabulary), dtype=np.float32)
        for n, piece in enumerate(vocabulary.token_bytes):
            row[n] = sure * wanted.startswith(answer.lstrip() + piece.decode(errors="replace"))
        row[list(vocabulary.stop_ids)] = 0.5
        return row

    backend = FakeBackend(vocabulary, score, context_length=2048, chat_template=TEMPLATE)
    return Annotator(backend, answer="list", consistency=False)


def test_a_talkative_model_lists_less_at_its_operating_point() -> None:
    ner = talkative()
    point = fit_operating_point(ner, "auto", IRON_FIRST)
    assert point.without is not None
    assert point.with_bias is not None
    assert point.without.precision < point.with_bias.precision == point.with_bias.recall == 1
    assert set(point.bias) == set(TYPES)  # a list has nothing to close
    assert max(point.bias.values()) < 0
    for annotated, sentence in zip(ner.biased(point.bias).run(IRON_FIRST), IRON_FIRST, strict=True):
        assert _bare(annotated.sentence) == list(sentence.mentions)


def test_contextual_calibration_is_refused_for_lists() -> None:
    with pytest.raises(UserError, match="content-free is for answers in tags"):
        fit_operating_point(talkative(), "content-free", ())


def test_without_labels_the_bias_makes_up_for_the_leaning() -> None:
    by_shyness = [fit_operating_point(shy("tag tokens", s), "content-free", ()).bias for s in (2.0, 5.0)]
    for name in TYPES:
        assert by_shyness[1][name] - by_shyness[0][name] == pytest.approx(3.0, abs=0.01)
    assert by_shyness[0]["group"] - by_shyness[0]["drug"] == pytest.approx(2.0, abs=0.01)


def test_nothing_is_fitted_without_entities_or_without_logits() -> None:
    with pytest.raises(InputError, match="none of the 1 sentences to fit on has an entity"):
        fit_operating_point(shy("tag tokens", 2.0), "auto", [Sentence("s", "Effect of iron")])
    ner = Annotator(shy("tag tokens", 2.0).backend, constrained=False)
    with pytest.raises(UserError, match="needs a local model and a constrained decoder"):
        fit_operating_point(ner, "auto", LABELLED)


def test_the_precision_that_a_method_asks_for() -> None:
    assert [wanted_precision(m) for m in ("auto", "content-free", "precision=0.8")] == [None, None, 0.8]
