"""From sentences to annotated sentences: windows, order, failures, and runs that are resumed."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hard_texts import HARD_TEXTS
from hypothesis import given, settings
from hypothesis import strategies as st
from installed_models import SMOLLM2, real_model
from vocabularies import tag_token_vocabulary

from constrained_ner.annotation.annotator import Annotator
from constrained_ner.annotation.lexicon import Lexicon
from constrained_ner.annotation.pipeline import Pipeline
from constrained_ner.annotation.result import Annotated, Effort, join
from constrained_ner.backends.fake import FakeBackend, seeded_score
from constrained_ner.backends.protocol import TextAnswer, TextRequest
from constrained_ner.constraint.answer_form import AnswerName, answer_form
from constrained_ner.constraint.edges import CLOSE, OPEN, edges
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import ContextOverflowError, ModelError, SentenceError
from constrained_ner.schema import DDI

TEMPLATE = "{{ messages[-1]['content'] }}<|im_end|>"
VOCABULARY = tag_token_vocabulary()
SCORE = seeded_score(len(VOCABULARY), scale=9.0)


# ---- with a transport that does as it is told


class Told:
    """Finds every "aspirin"; cuts texts at "|"; fails, or lacks room, as the text of a window says."""

    n_failures_to_stop: int | None = None
    shortest_window = 4

    def __init__(self, n_at_once: int = 2, room: int = 10**6) -> None:
        self.n_at_once, self.room = n_at_once, room
        self.asked: list[tuple[str, str, tuple[str, ...]]] = []
        self.cancelled: list[str] = []
        self.n_open = self.most_open = 0

    def windows(self, text: str) -> Iterator[str]:
        if "unreadable" in text:
            raise SentenceError("it is unreadable")
        rest = text
        while "|" in rest:
            first, _, rest = rest.partition("|")
            if "torn" in first:
                raise SentenceError("it is torn")
            yield first + "|"
        yield rest

    def submit(self, window: str, sentence: str, expected: Sequence[Mention]) -> ToldWindow:
        if "refused" in window:
            raise SentenceError("it is refused")
        self.asked.append((window, sentence, tuple(m.text for m in expected)))
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        return ToldWindow(self, window)


class ToldWindow:
    def __init__(self, transport: Told, window: str) -> None:
        self.transport, self.window = transport, window
        self.open = True

    def _end(self) -> bool:
        was_open, self.open = self.open, False
        self.transport.n_open -= was_open
        return was_open

    def result(self) -> Annotated:
        self._end()
        if "fails" in self.window:
            raise SentenceError(f"{self.window!r} fails")
        if len(self.window) > self.transport.room:
            raise ContextOverflowError(f"no room for {len(self.window)}")
        at, mentions = self.window.find("aspirin"), []
        while at >= 0:
            mentions.append(Mention((Span(at, at + 7),), "drug", "aspirin"))
            at = self.window.find("aspirin", at + 7)
        return Annotated(Sentence("", self.window, tuple(mentions)), Effort(n_passes=1, n_windows=1))

    def cancel(self) -> None:
        if self._end():
            self.transport.cancelled.append(self.window)


def pipeline(transport: Told) -> Pipeline:
    return Pipeline(transport, Lexicon, lambda sentence: sentence.mentions, "word")


def as_it_is(annotated: Annotated) -> Annotated:
    return annotated


def run(transport: Told, *texts: str, **options: Any) -> list[Annotated]:
    sentences = [Sentence(str(n), text) for n, text in enumerate(texts)]
    return list(pipeline(transport).run(sentences, as_it_is, **options))


@given(
    text=st.text(alphabet="aé1药 -.", min_size=2, max_size=40),
    cuts=st.sets(st.integers(1, 39), max_size=5),
    boundary=st.sampled_from(["word", "char"]),
    drawn=st.data(),
)
def test_what_is_found_in_a_part_of_a_cut_word_is_no_mention(
    text: str, cuts: set[int], boundary: Literal["word", "char"], drawn: st.DataObject
) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    windows = []
    for start, end in itertools.pairwise(places):
        piece = text[start:end]
        allowed = edges(piece, boundary)
        spans = [
            Span(a, b)
            for a, b in itertools.combinations(range(len(piece) + 1), 2)
            if allowed[a] & OPEN and allowed[b] & CLOSE
        ]
        found = drawn.draw(st.lists(st.sampled_from(spans), max_size=1)) if spans else []
        mentions = tuple(Mention((span,), "drug", piece[span.start : span.end]) for span in found)
        windows.append(Annotated(Sentence("", piece, mentions)))
    joined = join(Sentence("s", text), windows, boundary)
    assert len(joined.sentence.mentions) + len(joined.problems) == sum(
        len(w.sentence.mentions) for w in windows
    )
    for mention in joined.sentence.mentions:
        assert edges(text, boundary)[mention.start] & OPEN
        assert edges(text, boundary)[mention.end] & CLOSE
    if boundary == "char":
        assert not joined.problems


def test_a_word_longer_than_the_context_has_no_mention_inside() -> None:
    ner = Annotator(FakeBackend(VOCABULARY, SCORE, context_length=128, chat_template=TEMPLATE))
    (result,) = ner.run([Sentence("s", "x" * 300)])
    assert result.effort.n_windows > 1
    assert result.sentence.mentions == ()
    assert len(result.problems) > 1


def test_a_part_of_a_cut_word_is_named_and_its_neighbours_stay() -> None:
    """Two windows of one word, and two that are cut where a tag may be."""
    text = "aspirinaspirin aspirin-aspirin"

    def window(text: str, *spans: tuple[int, int]) -> Annotated:
        mentions = (Mention((Span(a, b),), "drug", text[a:b]) for a, b in spans)
        return Annotated(Sentence("", text, tuple(mentions)))

    pieces = [
        window("aspirin", (0, 7)),
        window("aspirin aspirin-", (0, 7), (8, 15)),
        window("aspirin", (0, 7)),
    ]
    joined = join(Sentence("s", text), pieces, "word")
    assert [(m.start, m.end) for m in joined.sentence.mentions] == [(15, 22), (23, 30)]
    assert joined.problems == ("'aspirin' (drug): part of a word that was cut to fit the context",) * 2
    assert len(join(Sentence("s", text), pieces, "char").sentence.mentions) == 4


def test_mentions_of_windows_are_moved_to_their_place_in_the_sentence() -> None:
    text = "on aspirin|, aspirin|| and more aspirin"
    transport = Told()
    (result,) = run(transport, text)
    assert [(m.start, m.text) for m in result.sentence.mentions] == [
        (3, "aspirin"),
        (13, "aspirin"),
        (32, "aspirin"),
    ]
    assert all(text[m.start : m.end] == m.text for m in result.sentence.mentions)
    assert (result.sentence.id, result.sentence.text) == ("0", text)
    assert (result.effort.n_windows, result.effort.n_passes) == (4, 4)
    assert "".join(window for window, _, _ in transport.asked) == text
    assert {sentence for _, sentence, _ in transport.asked} == {text}


@given(
    st.lists(
        st.sampled_from(["aspirin", "", "a|b|c", "fails", "a|fails|c", "refused", "a|refused", "unreadable"])
    ),
    st.integers(1, 4),
)
def test_results_come_in_order_and_failures_keep_to_their_sentence(texts: list[str], n_at_once: int) -> None:
    transport = Told(n_at_once)
    results = run(transport, *texts)
    assert [(r.sentence.id, r.sentence.text) for r in results] == [(str(n), t) for n, t in enumerate(texts)]
    for text, result in zip(texts, results, strict=True):
        bad = any(word in text for word in ("fails", "refused", "unreadable"))
        assert (result.failure is not None) == bad
        assert len(result.sentence.mentions) == ("aspirin" in text and not bad)
        assert result.effort.n_windows == (0 if bad else 1 + text.count("|"))
    assert transport.n_open == 0, "every window was asked for or given up"
    assert transport.most_open <= 2 * n_at_once


def test_the_first_failure_is_told_and_the_rest_of_the_sentence_is_not_asked() -> None:
    transport = Told(1)
    results = run(transport, "a|1 fails|2 fails|c|d|e|f|g", "aspirin", "x|torn|y")
    assert [r.failure for r in results] == ["'1 fails|' fails", None, "it is torn"]
    assert [window for window, _, _ in transport.asked if window in ("e|", "f|", "g")] == []
    assert transport.n_open == 0


def test_windows_are_read_only_as_they_are_needed() -> None:
    """A text of any length: its windows are neither cut nor asked before others are done."""
    transport = Told(2)
    seen: list[int] = []

    def on_window(_: str, n_done: int, n_characters: int) -> None:
        seen.append(n_done)
        assert len(transport.asked) <= n_done // 2 + 4

    text = "a|" * 500
    (result,) = run(transport, text, on_window=on_window)
    assert result.effort.n_windows == 501
    assert seen == list(range(2, 1000, 2))


def test_sentences_are_read_only_as_they_are_needed() -> None:
    read: list[int] = []

    def endless() -> Iterator[Sentence]:
        for n in range(10**9):
            read.append(n)
            yield Sentence(str(n), ("aspirin", "", "refused")[n % 3])

    results = pipeline(Told(2)).run(endless(), as_it_is)
    assert [next(results).sentence.id for _ in range(10)] == [str(n) for n in range(10)]
    assert len(read) <= 10 + 4 + 1


@pytest.mark.parametrize("how", ["close", "error"])
def test_what_is_under_way_is_given_up_with_the_iterator(how: str) -> None:
    transport = Told(3)

    def texts() -> Iterator[Sentence]:
        yield from (Sentence(str(n), "aspirin") for n in range(8))
        raise ZeroDivisionError

    results = pipeline(transport).run(texts(), as_it_is)
    next(results)
    if how == "close":
        results.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(ZeroDivisionError):
            list(results)
    assert transport.cancelled
    assert transport.n_open == 0


@given(
    st.integers(4, 60),
    st.sampled_from(["on aspirin. ", "aspirin ", "x", "a aspirin, b "]),
    st.integers(1, 30),
)
def test_a_window_that_overflows_is_halved_until_it_fits(room: int, part: str, n: int) -> None:
    text, transport = part * n, Told(2, room)
    (result,) = run(transport, text)
    if room < 2 * transport.shortest_window and len(text) > room:
        assert result.failure is None or result.failure.startswith("no room for")
    if result.failure is None:
        assert result.effort.n_windows == sum(len(window) <= room for window, _, _ in transport.asked)
        assert {sentence for _, sentence, _ in transport.asked} == {text}
        if room >= 24:  # words are left whole
            assert len(result.sentence.mentions) == text.count("aspirin")
        assert all(text[m.start : m.end] == m.text for m in result.sentence.mentions)
    else:
        assert int(result.failure.split()[-1]) < 2 * transport.shortest_window
    assert transport.n_open == 0


def test_a_window_that_is_too_short_to_be_halved_fails_the_sentence() -> None:
    transport = Told(2, room=3)
    results = run(transport, "aspirin", "abc", "aspirin and iron")
    assert [r.failure for r in results] == ["no room for 7", None, "no room for 7"]
    assert transport.n_open == 0


def test_names_are_expected_a_fixed_number_of_sentences_later() -> None:
    """However the answers come in, and whatever fails in between."""
    for texts in (
        ["aspirin"] * 9,
        ["aspirin", *["refused"] * 2, *["aspirin"] * 6],
        ["aspirin"] + ["a|b"] * 3 + ["aspirin"] * 5,
    ):
        transport = Told(2)
        run(transport, *texts)
        numbers = (n for n, text in enumerate(texts) if text == "aspirin")
        expectations = (expected for window, _, expected in transport.asked if window == "aspirin")
        asked = dict(zip(numbers, expectations, strict=True))
        assert asked == {n: ("aspirin",) if n >= 4 else () for n in asked}


def test_nothing_is_learnt_if_nothing_is_to_be() -> None:
    transport = Told(1)
    run(transport, *["aspirin"] * 6, learns=False)
    assert all(expected == () for _, _, expected in transport.asked)


PARTS = ["aspirin", "iron", "a|aspirin", "fails", "refused", "unreadable", "|refused", "aspirin|fails"]
PARTS += ["aspirin and more aspirin", "a|aspirin and more aspirin|b", "more aspirin, if it fails"]


@given(st.lists(st.sampled_from(PARTS), max_size=14), st.integers(1, 3), st.data())
def test_a_resumed_run_asks_what_the_whole_one_asked(
    parts: list[str], n_at_once: int, data: st.DataObject
) -> None:
    """Of halves, too, in windows that do not fit; with the same names expected."""
    sentences = [Sentence(str(n), f"{part} {n}") for n, part in enumerate(parts)]
    n_done = data.draw(st.integers(0, len(sentences)))

    def asked(transport: Told) -> dict[str, list[object]]:
        return {s.id: [one for one in transport.asked if one[1] == s.text] for s in sentences[n_done:]}

    whole, resumed = Told(n_at_once, room=18), Told(n_at_once, room=18)
    results = list(pipeline(whole).run(sentences, as_it_is))
    done = [None if r.failure is not None else r.sentence for r in results[:n_done]]
    rest = list(pipeline(resumed).run(sentences[n_done:], as_it_is, finished=done))
    assert rest == results[n_done:]
    assert asked(resumed) == asked(whole)


@pytest.mark.parametrize("n_bad", [0, 2, 3, 4])
def test_if_the_first_sentences_all_fail_it_is_not_the_sentences(n_bad: int) -> None:
    transport = Told()
    transport.n_failures_to_stop = 3
    texts = [f"{n} fails" for n in range(1, n_bad + 1)]
    texts += ["aspirin", "5 fails", "6 fails", "7 fails", "8 fails"]
    if n_bad < 3:
        results = run(transport, *texts)
        assert [r.failure is None for r in results] == [text == "aspirin" for text in texts]
    else:
        found: list[Annotated] = []
        with pytest.raises(
            ModelError, match="the first 3 sentences all failed, the last one because: '3 fails' fails"
        ):
            found.extend(pipeline(transport).run([Sentence(t, t) for t in texts], as_it_is))
        assert found == [], "what failed with the server is not yielded"


def test_fewer_sentences_than_that_may_all_fail() -> None:
    transport = Told()
    transport.n_failures_to_stop = 3
    assert [r.failure for r in run(transport, "1 fails", "2 fails")] == ["'1 fails' fails", "'2 fails' fails"]
    assert run(transport) == []


def test_if_the_model_has_answered_before_it_is_the_sentences() -> None:
    transport = Told()
    transport.n_failures_to_stop = 3
    sentences = [Sentence(f"{n} fails", f"{n} fails") for n in range(5)]
    found = list(pipeline(transport).run(sentences, as_it_is, proven=True))
    assert [r.failure for r in found] == [f"'{n} fails' fails" for n in range(5)]


# ---- through the annotator


SCORE = seeded_score(len(VOCABULARY), scale=3.0)
TEXTS = [
    "Effect of aspirin on beta-blockers.",
    "a lone \ud800 surrogate",
    "More aspirin.",
    "",
    "Aspirin, iron and aspirin again, " * 14,
    "iron",
    "Effect of aspirin on beta-blockers.",
    "a lone \ud800 surrogate",
    "Iron and aspirin and beta-blockers.",
    "Aspirin, iron and zinc.",
]
SENTENCES = [Sentence(str(n), text) for n, text in enumerate(TEXTS)]


def fake(**options: Any) -> FakeBackend:
    options.setdefault("context_length", 400)
    return FakeBackend(VOCABULARY, SCORE, max_sequences=2, chat_template=TEMPLATE, **options)


@pytest.fixture(scope="module")
def whole() -> list[Annotated]:
    return list(Annotator(fake()).run(SENTENCES))


@pytest.mark.parametrize("n_done", range(len(TEXTS) + 1))
def test_a_resumed_run_is_the_whole_one_bit_for_bit(whole: list[Annotated], n_done: int) -> None:
    """Mentions, confidences, margins, and the passes and tokens that it took."""
    finished = [None if r.failure is not None else r.sentence for r in whole[:n_done]]
    assert list(Annotator(fake()).run(SENTENCES[n_done:], finished=finished)) == whole[n_done:]


def test_the_whole_run_is_worth_resuming(whole: list[Annotated]) -> None:
    assert [n for n, result in enumerate(whole) if result.failure is not None] == [1, 7]
    assert sum(len(result.sentence.mentions) for result in whole) > 10
    assert whole[4].effort.n_windows > 1
    assert whole[6].effort.n_passes < whole[0].effort.n_passes, "what was found in it before is expected"


def test_windows_of_a_long_sentence_are_told_of() -> None:
    told: list[tuple[str, int, int]] = []
    text = "Aspirin, iron and zinc. " * 20
    ner = Annotator(fake())
    (result,) = ner.run([Sentence("long", text)], on_window=lambda *progress: told.append(progress))
    assert len(told) == result.effort.n_windows - 1 > 1
    assert {(name, n) for name, _, n in told} == {("long", len(text))}
    assert [n for _, n, _ in told] == sorted({n for _, n, _ in told})


def test_a_window_that_does_not_fit_after_all_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt that is longer than was thought."""
    text = "Aspirin, iron and zinc. " * 6
    ner = Annotator(fake(context_length=1000))
    (expected,) = ner.run([Sentence("s", text)])
    assert expected.effort.n_windows == 1
    transport: Any = ner._pipeline.transport
    transport._prompt.room = expected.effort.n_prompt_tokens * 2 // 3
    (result,) = ner.run([Sentence("s", text)])
    assert result.failure is None
    assert result.sentence.text == text
    assert result.effort.n_windows > 1
    assert all(text[m.start : m.end] == m.text for m in result.sentence.mentions)


# ---- both transports


class FakeServer:
    """A text back end whose answers are a function of the question."""

    shows_logits: Literal[False] = False
    thread_safe = True
    dialect: Literal["gbnf"] = "gbnf"
    grammar_field, grammar_advice = "the fake server (field grammar)", "use another"
    chat_template = temperature = adapter_card = base_model = None
    context_length: int | None = None
    max_sequences = 2
    reports_tokens = False

    def __init__(self, answer: Callable[[str], str | Exception]) -> None:
        self.answer = answer
        self.identity = {"backend": "fake server"}
        self.description = {"name": "fake", **self.identity}
        self.requests: list[TextRequest] = []

    def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        raise ModelError("the fake server has no tokenizer")

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        self.requests.append(request)
        future: Future[TextAnswer] = Future()
        answer = self.answer(request.messages[-1][1])
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(TextAnswer(answer, True, 3, 2))
        return future

    def close(self) -> None:
        pass


def tag(text: str) -> str:
    for name, kind in (("aspirin", "drug"), ("beta-blockers", "group"), ("Aspirin", "brand")):
        text = text.replace(name, f"<{kind}>{name}</{kind}>")
    return text


def copying() -> FakeBackend:
    """A model whose answer is what `tag` makes of its prompt."""
    stop_id = min(VOCABULARY.stop_ids)

    def score(ids: tuple[int, ...]) -> np.ndarray:
        separator = ids.index(stop_id)
        answer = tag(VOCABULARY.decode(ids[:separator]).decode()).encode()
        done = VOCABULARY.decode(ids[separator + 1 :])
        row = np.zeros(len(VOCABULARY), dtype=np.float32)
        for token_id, piece in enumerate(VOCABULARY.token_bytes):
            if piece and answer[len(done) :].startswith(piece):
                row[token_id] = 9.0 + len(piece)
        if len(done) >= len(answer):
            row[stop_id] = 99.0
        return row

    return FakeBackend(VOCABULARY, score, max_sequences=2, chat_template=TEMPLATE, context_length=500)


PROMPT = {"sysprompt": ("",), "usrprompt": ("{sentence}",)}


def shown(results: Sequence[Annotated]) -> list[Any]:
    """What does not depend on whether the model's probabilities are seen."""
    return [
        (
            r.failure,
            r.verbatim,
            r.sentence.with_mentions(replace(m, confidence=None, margins=()) for m in r.sentence.mentions),
        )
        for r in results
    ]


@pytest.mark.parametrize("constrained", [True, False])
def test_both_transports_find_the_same_in_the_same_answers(constrained: bool) -> None:
    sentences = [
        *(
            Sentence("0", "On aspirin."),
            Sentence("1", ""),
            Sentence("2", "Aspirin and beta-blockers (aspirin)"),
        ),
        *(
            Sentence("3", "no name"),
            Sentence("4", "on  aspirin\nand aspirin "),
            Sentence("5", "µg of aspirin 😀"),
        ),
    ]
    options: dict[str, Any] = {"rule": "any", "constrained": constrained}
    by_logits = list(Annotator(copying(), **options).run(sentences))
    by_text = list(Annotator(FakeServer(tag), **options).run(sentences))
    assert sum(len(r.sentence.mentions) for r in by_text) == 7
    assert shown(by_logits) == shown(by_text)


def test_a_server_that_refuses_every_sentence_ends_the_run() -> None:
    refusal = SentenceError("grammar: not supported")
    ner = Annotator(FakeServer(lambda question: refusal))
    sentences = [Sentence(str(n), f"aspirin {n}") for n in range(9)]
    with pytest.raises(ModelError, match=r"the first 5 sentences all failed.*grammar: not supported"):
        list(ner.run(sentences))
    assert [r.failure for r in ner.run(sentences[:4])] == ["grammar: not supported"] * 4


def test_a_server_that_fails_later_does_not() -> None:
    ner = Annotator(FakeServer(lambda question: tag(question) if "0" in question else SentenceError("no")))
    results = list(ner.run([Sentence(str(n), f"aspirin {n}") for n in range(9)]))
    assert [r.failure for r in results] == [None, *["no"] * 8]


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(100, 200))
def test_what_does_not_fit_a_servers_context_is_halved(n: int, room: int) -> None:
    text = "On aspirin and beta-blockers. " * n

    def answer(question: str) -> str | Exception:
        window = question[question.index("On aspirin") :] if "On aspirin" in question else question
        return ContextOverflowError("too long") if len(window) > room else tag(question)

    server = FakeServer(answer)
    with contextlib.closing(Annotator(server, constrained=False)) as ner:
        (result,) = ner.run([Sentence("s", text)])
    assert result.failure is None
    assert len(result.sentence.mentions) == 2 * n
    assert all(text[m.start : m.end] == m.text for m in result.sentence.mentions)
    assert (result.effort.n_windows > 1) == (len(text) > room)


@pytest.mark.parametrize(
    ("tokens", "allowed"),
    [([(1, b"x")], False), ([(1, b" x")], True), ([(1, b" "), (2, b"x")], True), (None, True)],
)
def test_a_server_may_begin_with_a_space_if_its_tokenizer_does_or_does_not_say(
    tokens: list[tuple[int, bytes]] | None, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer(lambda question: question)
    if tokens is not None:
        monkeypatch.setattr(server, "tokenize", lambda text: tokens)
    list(Annotator(server, notify=lambda message: None).run([Sentence("0", "on iron")]))
    (request,) = server.requests
    assert request.grammar is not None
    assert ('" " out-0' in request.grammar) == allowed


@pytest.mark.parametrize("answer", ["tags", "list"])
def test_a_server_gives_room_for_an_answer_that_marks_every_word(answer: AnswerName) -> None:
    """Counted in the tokens of a real model: SmolLM2, which spells a tag with three or four."""
    pytest.importorskip("llama_cpp")
    from constrained_ner.backends.llamacpp.vocabulary import load_vocabulary

    vocabulary = load_vocabulary(real_model(SMOLLM2))
    form = answer_form(answer, Markup(DDI))
    server = FakeServer(lambda question: question)
    texts = [text for text in HARD_TEXTS if text.strip() and text.isprintable()]
    list(Annotator(server, answer=answer, view="as-is", notify=lambda message: None).run(numbered(texts)))
    assert len(server.requests) == len(texts)
    for text, request in zip(texts, server.requests, strict=True):
        flags = edges(text, "word")
        starts = [at for at, edge in enumerate(flags) if edge & OPEN]
        ends = [at for at, edge in enumerate(flags) if edge & CLOSE]
        words = [Mention((Span(a, b),), "drug_n", text[a:b]) for a, b in zip(starts, ends, strict=True)]
        written = form.write(text, words)
        assert len(vocabulary.encode(written)) < request.max_tokens, text


def numbered(texts: Sequence[str]) -> list[Sentence]:
    return [Sentence(str(number), text) for number, text in enumerate(texts)]


# ---- what the model is shown


def test_transports_see_the_view_and_mentions_are_the_text_s() -> None:
    text = "on\u00a0as\u00adpi\u00adrin\u2122|,\taspi\x00rin"
    transport = Told()
    (result,) = run(transport, text)
    assert [window for window, _, _ in transport.asked] == ["on aspirin|", ", aspirin"]
    assert {sentence for _, sentence, _ in transport.asked} == {text}, "examples are chosen by the text"
    assert result.sentence.text == text
    assert [m.text for m in result.sentence.mentions] == ["as\u00adpi\u00adrin", "aspi\x00rin"]
    assert all(text[m.start : m.end] == m.text for m in result.sentence.mentions)


def test_the_text_as_it_is() -> None:
    transport = Told()
    as_is = replace(pipeline(transport), view="as-is")
    (result,) = as_is.run([Sentence("0", "as\u00adpirin\u00a0aspirin")], as_it_is)
    assert [window for window, _, _ in transport.asked] == ["as\u00adpirin\u00a0aspirin"]
    assert [m.start for m in result.sentence.mentions] == [9]


def test_drafts_expect_names_as_they_are_shown() -> None:
    transport = Told(1)
    run(transport, "as\u00adpirin", "x", "aspirin\u00a0y", "aspirin z")
    assert [expected for _, _, expected in transport.asked] == [(), (), ("aspirin",), ("aspirin",)]


@pytest.mark.parametrize("text", ["\u200b", "\x00\ufeff", ""])
def test_a_text_of_which_nothing_is_shown_has_no_mentions(text: str) -> None:
    (result,) = run(Told(), text)
    assert (result.sentence, result.failure) == (Sentence("0", text), None)
