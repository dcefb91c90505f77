"""Decoders on the fake back end: they give the same answer, and what it costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from routines import run_all
from vocabularies import byte_level_vocabulary, byte_vocabulary, tag_token_vocabulary

from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import Scores
from constrained_ner.constraint.automaton import Constraint, State, TagMachine
from constrained_ner.constraint.edges import edges
from constrained_ner.constraint.legal import LegalTokens, TokenRule
from constrained_ner.constraint.markup import Markup
from constrained_ner.constraint.tag_tokens import TagTokens
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.decoding.answer import Answer, Decoder, Extend, choose
from constrained_ner.decoding.copy_draft import SPARE_PASSES, copy_draft
from constrained_ner.decoding.legal_mass import legal_mass, total
from constrained_ner.decoding.stepwise import stepwise
from constrained_ner.decoding.unconstrained import unconstrained
from constrained_ner.errors import ContextOverflowError
from constrained_ner.schema import DDI

MACHINE = TagMachine(Markup(DDI))
VOCABULARIES = {
    "bytes": byte_vocabulary(),
    "byte-level": byte_level_vocabulary(),
    "tag tokens": tag_token_vocabulary(),
}
TAG_TOKENS = {name: TagTokens(MACHINE, vocabulary) for name, vocabulary in VOCABULARIES.items()}
TEXTS = [
    "Effect of aspirin on beta-blockers in patients with heart failure. ",
    "",
    "   ",
    "a <drug> b</drug> c",
    "Naïve (β-lactamase) – 50 µg/mL 😀 e\u0301!",
    "x",
]
PROMPT = (7, 8, 9)


def legal_tokens(text: str, vocabulary: str = "tag tokens", rule: TokenRule = "canonical") -> LegalTokens:
    return LegalTokens(Constraint(text, MACHINE), TAG_TOKENS[vocabulary], rule)


def fake(vocabulary: str, *, seed: int = 0, scale: float = 4.0, max_sequences: int = 3) -> FakeBackend:
    known = VOCABULARIES[vocabulary]
    score = seeded_score(len(known), seed=seed, scale=scale)
    return FakeBackend(known, score, max_sequences=max_sequences, context_length=4096)


def decode(decoder: Decoder, backend: FakeBackend) -> Answer:
    return next(run_all(iter([decoder]), backend))


HORIZONS = [None, 1, 2, 5, 16]


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize("rule", ["canonical", "any"])
@pytest.mark.parametrize("seed", range(3))
def test_copy_draft_equals_stepwise(vocabulary: str, rule: TokenRule, seed: int) -> None:
    reference, *drafted = (
        list(
            run_all(
                (
                    decoder(PROMPT, legal_tokens(text, vocabulary, rule), 4000, horizon=horizon)
                    for text in TEXTS
                ),
                fake(vocabulary, seed=seed),
            )
        )
        for decoder, horizon in ((stepwise, None), *((copy_draft, horizon) for horizon in HORIZONS))
    )
    for answers in drafted:
        for answer, expected in zip(answers, reference, strict=True):
            assert answer.token_ids == expected.token_ids
            assert answer.choices == expected.choices


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    text=st.text(max_size=30),
    seed=st.integers(0, 1000),
    rule=st.sampled_from(["canonical", "any"]),
    horizon=st.none() | st.integers(1, 40),
)
def test_any_text_comes_back_whole_and_both_decoders_agree(
    text: str, seed: int, rule: TokenRule, horizon: int | None
) -> None:
    drafted, reference = (
        decode(
            decoder(PROMPT, legal_tokens(text, "byte-level", rule), 4000, horizon=horizon),
            fake("byte-level", seed=seed),
        )
        for decoder in (copy_draft, stepwise)
    )
    assert drafted.token_ids == reference.token_ids
    written = VOCABULARIES["byte-level"].decode(drafted.token_ids)
    tagged = Constraint(text, MACHINE).read(written)
    assert tagged is not None
    assert written.decode() == tagged_text(text, tagged)


def tagged_text(text: str, tagged: Sequence[object]) -> str:
    mentions = [
        Mention((t.span,), t.type, text[t.span.start : t.span.end])  # type: ignore[attr-defined]
        for t in tagged
    ]
    return MACHINE.markup.write(text, mentions)


def preferring(tokens: dict[int, float], n_vocabulary: int) -> FakeBackend:
    """A back end whose model always prefers the same tokens."""
    row = np.zeros(n_vocabulary, dtype=np.float32)
    for token_id, logit in tokens.items():
        row[token_id] = logit
    return FakeBackend(VOCABULARIES["tag tokens"], lambda ids: row, context_length=4096)


def test_a_sentence_without_names_takes_one_pass() -> None:
    vocabulary = VOCABULARIES["tag tokens"]
    opens = TAG_TOKENS["tag tokens"].controls
    backend = preferring(dict.fromkeys(opens, -9.0), len(vocabulary))
    answer = decode(copy_draft(PROMPT, legal_tokens("No names here at all."), 4000), backend)
    assert vocabulary.decode(answer.token_ids) == b"No names here at all."
    assert answer.n_passes == backend.n_passes == 1


@pytest.mark.parametrize("horizon", HORIZONS)
def test_passes_and_tokens_are_bounded(horizon: int | None) -> None:
    for seed in range(20):
        tokens = legal_tokens(TEXTS[0])
        decoder = copy_draft(PROMPT, tokens, 4000, horizon=horizon)
        check_effort(tokens, decode(decoder, fake("tag tokens", seed=seed, scale=2.0)), horizon)


def check_effort(tokens: LegalTokens, answer: Answer, horizon: int | None) -> None:
    """Two passes a mention and the spare ones at most are for rejected drafts; all others add a whole draft.

    Holds for tags of one token under the canonical rule.
    """
    n_mentions, n_tokens = len(found(tokens, answer)), len(answer.token_ids) + 1  # with the stop token
    longest = horizon or n_tokens
    assert answer.n_passes <= 2 * n_mentions + SPARE_PASSES + math.ceil(n_tokens / longest)
    if horizon is not None:
        assert answer.n_tokens <= len(PROMPT) + n_tokens + answer.n_passes * horizon


def test_the_work_for_a_long_text_with_a_horizon_is_linear() -> None:
    """Whole drafts take work that grows with the square of the length."""

    def n_tokens(n_copies: int, horizon: int | None) -> int:
        backend = fake("tag tokens", scale=2.0)
        text = TEXTS[0] * n_copies
        return decode(copy_draft(PROMPT, legal_tokens(text), 4000, horizon=horizon), backend).n_tokens

    assert n_tokens(16, 12) < 1.5 * 4 * n_tokens(4, 12)
    assert n_tokens(16, None) > 2 * 4 * n_tokens(4, None)


def disjoint_mentions(text: str) -> st.SearchStrategy[list[Mention]]:
    """Expressible mentions of any kind, in order."""
    places = [n for n, flags in enumerate(edges(text)) if flags]
    markup = Markup(DDI)

    def mentions(cuts: list[int], kinds: list[str]) -> list[Mention]:
        pairs = zip(sorted(cuts)[::2], sorted(cuts)[1::2], kinds, strict=False)
        marked = [Mention((Span(a, b),), kind, text[a:b]) for a, b, kind in pairs]
        return list(markup.expressible(Sentence("s", text, tuple(marked)))[0])

    cuts = st.lists(st.sampled_from(places), max_size=8, unique=True)
    kinds = st.lists(st.sampled_from(markup.types), min_size=4, max_size=4)
    return st.builds(mentions, cuts, kinds)


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    expected=disjoint_mentions(TEXTS[0]),
    seed=st.integers(0, 1000),
    vocabulary=st.sampled_from(list(VOCABULARIES)),
    rule=st.sampled_from(["canonical", "any"]),
    horizon=st.none() | st.integers(1, 40),
)
def test_expected_mentions_never_change_the_answer(
    expected: list[Mention], seed: int, vocabulary: str, rule: TokenRule, horizon: int | None
) -> None:
    tokens = legal_tokens(TEXTS[0], vocabulary, rule)
    decoder = copy_draft(PROMPT, tokens, 4000, expected, horizon=horizon)
    drafted = decode(decoder, fake(vocabulary, seed=seed, scale=2.0))
    reference = decode(stepwise(PROMPT, tokens, 4000), fake(vocabulary, seed=seed, scale=2.0))
    assert (drafted.token_ids, drafted.choices) == (reference.token_ids, reference.choices)
    if (vocabulary, rule) == ("tag tokens", "canonical"):
        check_effort(tokens, drafted, horizon)


def test_a_sentence_with_the_expected_names_takes_one_pass() -> None:
    """What the fake model answers is expected, so the whole draft is right."""
    n_checked = 0
    for seed, vocabulary in itertools.product(range(8), VOCABULARIES):
        tokens = legal_tokens("Effect of aspirin on beta-blockers. ", vocabulary)
        reference = decode(stepwise(PROMPT, tokens, 4000), fake(vocabulary, seed=seed, scale=2.0))
        expected = found(tokens, reference)
        usual = [token_id for token_id, _ in tokens.encode(expected)][:-1]
        if list(reference.token_ids) != usual:
            continue  # an unusual spelling of the same answer: no draft foresees it
        n_checked += 1
        drafter = copy_draft(PROMPT, tokens, 4000, expected)
        assert decode(drafter, fake(vocabulary, seed=seed, scale=2.0)).n_passes == 1
    assert n_checked >= 8


def found(tokens: LegalTokens, answer: Answer) -> list[Mention]:
    text = tokens.constraint.text
    tagged = tokens.constraint.read(tokens.vocabulary.decode(answer.token_ids))
    assert tagged is not None
    return [Mention((t.span,), t.type, text[t.span.start : t.span.end]) for t in tagged]


def test_forced_tokens_need_no_model() -> None:
    for text in ("", "  \n "):
        answer = decode(copy_draft(PROMPT, legal_tokens(text), 4000), fake("tag tokens"))
        assert (answer.n_passes, VOCABULARIES["tag tokens"].decode(answer.token_ids)) == (0, text.encode())


def test_choices_hold_probabilities_over_the_legal_set() -> None:
    scores = Scores(np.array([1.0, 3.0, 3.0], dtype=np.float32), logsumexp=4.0, best=99)
    choice = choose({30: (1,), 20: (2,), 10: (3,)}, scores)
    total = np.exp([1.0, 3.0, 3.0]).sum()
    assert choice.token_id == 10  # of equals the lowest
    assert choice.log_probability == pytest.approx(np.log(np.exp(3.0) / total))
    assert choice.legal_mass == pytest.approx(total / np.exp(4.0))
    assert choice.wanted == 99


@pytest.mark.parametrize("decoder", [stepwise, copy_draft, unconstrained])
def test_an_answer_that_does_not_fit_is_refused(decoder: object) -> None:
    with pytest.raises(ContextOverflowError, match="need more than the 8 tokens"):
        decode(decoder(PROMPT, legal_tokens(TEXTS[0]), 8), fake("tag tokens"))  # type: ignore[operator]


def test_a_draft_stops_where_the_room_ends() -> None:
    """A text that does not fit is refused before legal sets are computed for all of it."""

    class Counting(LegalTokens):
        n_sets = 0

        def legal(self, state: State) -> dict[int, State]:
            self.n_sets += 1
            return super().legal(state)

    for decoder in (copy_draft, unconstrained):
        tokens = Counting(Constraint("aspirin " * 1000, MACHINE), TAG_TOKENS["tag tokens"])
        with pytest.raises(ContextOverflowError, match="need more than the 20 tokens"):
            decode(decoder(PROMPT, tokens, 20), fake("tag tokens"))
        assert tokens.n_sets < 50


@pytest.mark.parametrize("decoder", [stepwise, copy_draft])
def test_legal_mass_changes_no_answer_and_is_none_unless_asked_for(decoder: Any) -> None:
    """Not even if another sentence of the same passes asks for it."""
    asked = [True, False, True, False, False, True]
    routines = (
        decoder(PROMPT, legal_tokens(text), 4000, summary=summary)
        for text, summary in zip(TEXTS, asked, strict=True)
    )
    answers = list(run_all(routines, fake("tag tokens")))
    every = list(run_all((decoder(PROMPT, legal_tokens(text), 4000) for text in TEXTS), fake("tag tokens")))
    for answer, other, summary in zip(answers, every, asked, strict=True):
        assert answer.token_ids == other.token_ids
        for choice, expected in zip(answer.choices, other.choices, strict=True):
            unasked = expected and expected._replace(legal_mass=None, wanted=None)
            assert choice == (expected if summary else unasked)


def test_a_sum_of_legal_masses_is_none_if_one_is_missing() -> None:
    assert total([]) == 0.0
    assert total([0.5, 0.25]) == 0.75
    assert total([0.5, None]) is None


def test_legal_mass_is_the_legal_share_of_the_probability() -> None:
    assert legal_mass(1.0, [], None) is None
    assert legal_mass(np.log(0.3), [0.0], 0.0) == pytest.approx(0.6)
    assert legal_mass(np.log(0.3), [np.log(0.1) - np.log(0.3)], 0.0) == pytest.approx(0.4)
    assert legal_mass(1.0, [], 1.0) == 1.0


def greedily(backend: FakeBackend, limit: int) -> list[int]:
    """Plain greedy generation: the reference for unconstrained decoding."""
    ids: list[int] = []
    while len(ids) < limit:
        best = int(backend.score((*PROMPT, *ids)).argmax())
        if best in backend.vocabulary.stop_ids:
            break
        ids.append(best)
    return ids


@pytest.mark.parametrize("seed", range(8))
def test_unconstrained_equals_plain_greedy_generation(seed: int) -> None:
    for text, horizon in itertools.product(TEXTS, HORIZONS):
        backend = fake("tag tokens", seed=seed)
        answer = decode(unconstrained(PROMPT, legal_tokens(text), 4000, horizon=horizon), backend)
        expected = greedily(backend, len(answer.token_ids) + 1)
        assert list(answer.token_ids) == expected[: len(answer.token_ids)]
        assert answer.finished == (len(expected) == len(answer.token_ids))


def test_unconstrained_uses_the_copy_as_a_draft() -> None:
    """A model that copies perfectly needs one pass, not one per token."""
    vocabulary = VOCABULARIES["tag tokens"]
    text = "Patients on warfarin should avoid ibuprofen."
    plan = [*vocabulary.encode(text), min(vocabulary.stop_ids)]

    def score(ids: tuple[int, ...]) -> np.ndarray:
        row = np.zeros(len(vocabulary), dtype=np.float32)
        row[plan[len(ids) - len(PROMPT)]] = 1.0
        return row

    backend = FakeBackend(vocabulary, score)
    answer = decode(unconstrained(PROMPT, legal_tokens(text), 4000), backend)
    assert (vocabulary.decode(answer.token_ids).decode(), answer.finished, answer.n_passes) == (text, True, 1)


# ---- the scheduler


def counting(n_steps: int, token_id: int) -> Iterator[Extend]:
    for step in range(n_steps):
        yield Extend(step, (token_id,), (None,))
    return (token_id, n_steps)  # type: ignore[return-value]


@pytest.mark.parametrize("max_sequences", [1, 2, 5])
def test_results_come_in_order_of_the_routines(max_sequences: int) -> None:
    backend = fake("bytes", max_sequences=max_sequences)
    lengths = [5, 0, 1, 9, 0, 0, 2, 3]
    routines = (counting(length, token_id) for token_id, length in enumerate(lengths))
    assert list(run_all(routines, backend)) == list(enumerate(lengths))  # type: ignore[arg-type]


def test_passes_are_shared_and_slots_are_refilled() -> None:
    backend = fake("bytes", max_sequences=3)
    list(run_all((counting(length, 0) for length in [6, 2, 2, 2, 2, 2]), backend))  # type: ignore[arg-type]
    assert backend.n_passes == 6
    assert all(len({step.sequence for step in steps}) == len(steps) for steps in backend.passes)


def test_routines_are_taken_only_when_they_can_start() -> None:
    started = []

    def endless() -> Iterator[Iterator[Extend]]:
        for number in range(10**9):
            started.append(number)
            yield counting(2, 1)

    results = run_all(endless(), fake("bytes", max_sequences=2))  # type: ignore[arg-type]
    next(results)
    assert len(started) <= 4


def test_batches_do_not_change_answers() -> None:
    one_by_one, together = (
        [
            answer.token_ids
            for answer in run_all(
                (copy_draft(PROMPT, legal_tokens(text), 4000) for text in TEXTS),
                fake("tag tokens", seed=5, max_sequences=n),
            )
        ]
        for n in (1, 6)
    )
    assert one_by_one == together
