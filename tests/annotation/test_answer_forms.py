"""Lists of names through annotation: the same results as with tags, whatever wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, Literal

import numpy as np
import pytest
from vocabularies import byte_level_vocabulary

from constrained_ner import Annotator
from constrained_ner.annotation.free_list import read_list
from constrained_ner.backends.fake import FakeBackend
from constrained_ner.backends.protocol import TextAnswer, TextRequest
from constrained_ner.constraint.answer_form import answer_form
from constrained_ner.constraint.list_automaton import ListAutomaton
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import ModelError, SchemaError, UserError
from constrained_ner.schema import DDI

TEXT = "Aspirin and iron; aspirin, Iron and iron tablets."
EXAMPLE = Sentence("e1", "Take iron.", (Mention((Span(5, 9),), "drug", "iron"),))


class Lister:
    """Scores that write one answer, wherever the prompt ends."""

    def __init__(self, answer: str, end: str) -> None:
        self.vocabulary = byte_level_vocabulary()
        self.prompt_end = self.vocabulary.encode("Names:")
        self.wanted = self.vocabulary.encode(answer)
        self.end = self.vocabulary.encode(end)[0] if end else min(self.vocabulary.stop_ids)

    def __call__(self, ids: tuple[int, ...]) -> Any:
        row = np.zeros(len(self.vocabulary), dtype=np.float32)
        n = len(self.prompt_end)
        asked = max(at for at in range(len(ids) + 1) if ids[:at][-n:] == tuple(self.prompt_end))
        written = len(ids) - asked
        row[self.wanted[written] if written < len(self.wanted) else self.end] = 8.0
        return row


def lister(answer: str, end: str = "\n") -> FakeBackend:
    score = Lister(answer, end)
    return FakeBackend(score.vocabulary, score, max_sequences=1)


def quiet(_: str) -> None:
    pass


def found(sentence: Sentence) -> list[tuple[str, int, int, str]]:
    return [(m.type, m.start, m.end, m.provenance) for m in sentence.mentions]


@pytest.mark.parametrize("decoder", ["copy-draft", "stepwise"])
def test_a_listed_name_is_found_at_all_its_places(decoder: Literal["copy-draft", "stepwise"]) -> None:
    ner = Annotator(
        lister(" iron = drug; iron tablets = brand"),
        answer="list",
        examples=[EXAMPLE],
        view="as-is",
        decoder=decoder,
        notify=quiet,
    )
    sentence = ner.annotate(TEXT)
    assert found(sentence) == [("drug", 12, 16, "constrained"), ("brand", 36, 48, "constrained")]
    for mention in sentence.mentions:
        assert mention.confidence is not None
        assert mention.confidence > 0.9
        assert mention.margins
        assert TEXT[mention.start : mention.end] == mention.text


def test_with_occurrences_it_is_found_at_the_place_that_is_meant() -> None:
    ner = Annotator(lister(" iron (2) = drug"), answer="list", occurrences=True, view="as-is", notify=quiet)
    assert found(ner.annotate(TEXT)) == [("drug", 36, 40, "constrained")]


def test_a_list_has_a_prompt_of_its_own_and_may_be_empty() -> None:
    ner = Annotator(lister(" none"), answer="list", notify=quiet)
    assert not ner.annotate(TEXT).mentions
    assert ner.choices()["answer"] == "list"
    assert ner.prompt.name == "list"


def test_a_free_list_is_read_by_its_names() -> None:
    ner = Annotator(
        lister(" iron tablets = drug; Asprin = brand; wine = drug; iron = pill"),
        answer="list",
        constrained=False,
        view="as-is",
        notify=quiet,
    )
    (annotated,) = ner.run([Sentence("s", TEXT)])
    assert ("drug", 36, 48, "exact") in found(annotated.sentence)
    assert ("brand", 0, 7, "fuzzy") in found(annotated.sentence)
    assert annotated.effort.n_invented == 1
    assert annotated.effort.n_unknown_tags == 1
    assert len(annotated.problems) == 2


def test_free_names_may_be_in_any_order() -> None:
    form = answer_form("list", Markup(DDI))
    automaton = form.constraint("iron, then aspirin")
    assert isinstance(automaton, ListAutomaton)
    read = read_list(automaton, "aspirin = drug; iron = brand; aspirin = drug")
    assert found(read.sentence) == [("brand", 0, 4, "exact"), ("drug", 11, 18, "exact")]
    assert not read.problems


def test_a_bias_moves_types_and_the_length_of_a_list() -> None:
    """Of two equal types the one with the bias; and with a bias for all, a name where there was none."""
    vocabulary = byte_level_vocabulary()
    flat = FakeBackend(vocabulary, lambda ids: np.zeros(len(vocabulary), dtype=np.float32), max_sequences=1)
    more = Annotator(flat, answer="list", view="as-is", notify=quiet, bias=dict.fromkeys(DDI.type_names, 3.0))
    less = Annotator(
        flat, answer="list", view="as-is", notify=quiet, bias=dict.fromkeys(DDI.type_names, -3.0)
    )
    assert len(more.annotate("iron").mentions) == 1
    assert not less.annotate("iron").mentions
    typed = Annotator(flat, answer="list", view="as-is", notify=quiet, bias={"group": 2.0, "brand": 3.0})
    (mention,) = (
        Annotator(lister(" iron = drug"), answer="list", view="as-is", notify=quiet, bias={"brand": 50.0})
        .annotate("iron")
        .mentions
    )
    assert mention.type == "brand"
    with pytest.raises(SchemaError, match="bias for 'pill'"):
        Annotator(flat, answer="list", notify=quiet, bias={"pill": 1.0})
    assert typed.settings.bias


def test_occurrences_are_for_lists() -> None:
    with pytest.raises(UserError, match="--occurrences needs --answer list"):
        Annotator(lister(" none"), answer="tags", occurrences=True)


def test_the_bundled_model_writes_tags() -> None:
    with pytest.raises(SchemaError, match="trained to write tags, not a list"):
        Annotator.load(answer="list")


def test_an_untuned_model_that_marks_nothing_is_told_of_lists_once() -> None:
    vocabulary = byte_level_vocabulary()
    stop = min(vocabulary.stop_ids)

    def copying(ids: tuple[int, ...]) -> Any:
        row = np.zeros(len(vocabulary), dtype=np.float32)
        row[vocabulary.encode("<")[0]] = row[stop] = -9.0
        return row

    said: list[str] = []
    ner = Annotator(FakeBackend(vocabulary, copying), notify=said.append, view="as-is")
    list(ner.annotate_many(["x"] * 70))
    assert [message for message in said if "--answer list" in message] == [
        "no name in the first 30 sentences: models that were not tuned may find more with --answer list"
    ]


class Server:
    """A text back end that gives one answer."""

    shows_logits: Literal[False] = False
    adapter_card = base_model = chat_template = None
    temperature = None
    thread_safe = True
    reports_tokens = False
    context_length = 4096
    max_sequences = 1
    grammar_field = "grammar"
    grammar_advice = "nothing helps"
    identity = description = {"backend": "server", "name": "x"}  # noqa: RUF012

    def __init__(self, answer: str, dialect: str) -> None:
        self.answer, self.dialect = answer, dialect
        self.requests: list[TextRequest] = []

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        self.requests.append(request)
        future: Future[TextAnswer] = Future()
        future.set_result(TextAnswer(self.answer, True, 10, 5))
        return future

    def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        return [(0, b" " + text.encode())]  # as a tokenizer of the SentencePiece kind

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("gbnf", "iron = drug; iron tablets = brand"),
        ("lark", " iron = drug; iron tablets = brand"),
        ("json-schema", '[{"name": "iron", "type": "drug"}, {"name": "iron tablets", "type": "brand"}]'),
    ],
)
def test_servers_write_lists(dialect: str, answer: str) -> None:
    server = Server(answer, dialect)
    ner = Annotator(server, answer="list", view="as-is", examples=[EXAMPLE])  # type: ignore[arg-type]
    expected: Sequence[tuple[str, int, int, str]] = [
        ("drug", 12, 16, "constrained"),
        ("brand", 36, 48, "constrained"),
    ]
    assert found(ner.annotate(TEXT)) == expected
    (request,) = server.requests
    assert request.grammar is not None
    assert "iron" in request.grammar
    shown = dict(request.messages)["assistant"]
    assert shown == ('[{"name": "iron", "type": "drug"}]' if dialect == "json-schema" else "iron = drug")


def test_an_adapter_that_learnt_lists_is_used_with_lists() -> None:
    from constrained_ner.adapters import AdapterCard
    from constrained_ner.annotation.resolve import as_trained
    from constrained_ner.annotation.settings import Settings
    from constrained_ner.prompting.wording import PromptFile

    backend = lister(" none")
    prompt = PromptFile.built_in("list")
    card = AdapterCard.of({"name": "m", "sha256": "0"}, DDI, prompt, None, answer="list", occurrences=True)
    backend.description = {"name": "m", "sha256": "0"}  # type: ignore[assignment]
    settings = as_trained(Settings(adapter="a"), card, backend, "m", quiet)
    assert (settings.answer, settings.occurrences) == ("list", True)
    with pytest.raises(
        ModelError, match="trained with --answer list --occurrences, this run uses --answer tags"
    ):
        as_trained(Settings(adapter="a", answer="tags", occurrences=False), card, backend, "m", quiet)
