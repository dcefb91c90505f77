"""Models on servers: requests, what becomes of the answers, and what happens when something fails."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run_command
from hypothesis import given
from hypothesis import strategies as st
from openai.types import Model
from servers import (
    Behaviour,
    Reply,
    StandIn,
    free_port,
    llama_cpp_server,
    ollama_answer,
    ollama_stand_in,
    ollama_tags,
    openai_answer,
    openai_models,
    openai_stand_in,
    schema_enforcing_chat,
    with_visible_tags,
)

from constrained_ner.annotation.annotator import Annotator, Notify, bundled_model
from constrained_ner.annotation.by_text import _CONTROLS, _QUOTES
from constrained_ner.annotation.result import Annotated
from constrained_ner.annotation.settings import Settings
from constrained_ner.backends.protocol import TextRequest
from constrained_ner.backends.servers import PRODUCTS
from constrained_ner.backends.servers.connection import Patience, RemoteBackend
from constrained_ner.backends.servers.model_names import find_model
from constrained_ner.backends.servers.ollama import OllamaServer
from constrained_ner.backends.servers.openai_compatible import OpenAIServer
from constrained_ner.backends.servers.product import Product
from constrained_ner.cli import ablate
from constrained_ner.cli import annotate as command
from constrained_ner.constraint.automaton import Constraint, TagMachine
from constrained_ner.constraint.edges import edges
from constrained_ner.constraint.grammars import json_schema
from constrained_ner.constraint.markup import Markup
from constrained_ner.data import Mention, Sentence, Span
from constrained_ner.errors import ModelError, SentenceError
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.runs.job import OpenAnnotator, annotate_file
from constrained_ner.runs.record import RunRecord, record_path
from constrained_ner.runs.source import Input
from constrained_ner.schema import DDI, EntityType, Schema

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "examples" / "sample.xml"
SENTENCES = [sentence for document in read_ddi(SAMPLE) for sentence in document]
ASPIRIN = "Give aspirin with food."
TAGGED = "Give <drug>aspirin</drug> with food."
QUICK = Patience(timeout_s=20.0, first_pause_s=0.01, longest_pause_s=0.05)


def openai_annotator(
    stand_in: StandIn, *, patience: Patience = QUICK, batch: int = 4, **options: Any
) -> Annotator:
    server = OpenAIServer("tiny", f"{stand_in.url}/v1")
    return Annotator(RemoteBackend(server, max_sequences=batch, patience=patience), **options)


def opening(stand_in: StandIn, **options: Any) -> OpenAnnotator:
    def open_annotator(settings: Settings, notify: Notify) -> Annotator:
        return openai_annotator(stand_in, settings=settings, notify=notify, **options)

    return open_annotator


def ollama_annotator(stand_in: StandIn, *, context: int | None = None, **options: Any) -> Annotator:
    return Annotator(RemoteBackend(OllamaServer("tiny", stand_in.url, context), patience=QUICK), **options)


def question(body: dict[str, Any]) -> str:
    content: str = body["messages"][-1]["content"]
    return content


def echo(_: str, body: dict[str, Any]) -> Reply:
    """An answer without a tag."""
    return openai_answer(question(body))


def tagging_aspirin(_: str, body: dict[str, Any]) -> Reply:
    return openai_answer(question(body).replace("aspirin", "<drug>aspirin</drug>"))


def found(annotated: Annotated) -> list[tuple[int, int, str]]:
    return [(m.start, m.end, m.type) for m in annotated.sentence.mentions]


def run(*arguments: object, main: Callable[[], None] = command.main) -> int:
    """A command in this process, `llm-NERC` by default; returns its exit code."""
    return run_command(main, *arguments)


# ---- a real server: llama_cpp.server with the bundled model, its tags made visible


@pytest.fixture(scope="module")
def visible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_visible_tags(bundled_model(), tmp_path_factory.mktemp("model") / "visible.gguf")


@pytest.fixture(scope="module")
def address(visible: Path) -> Iterator[str]:
    with llama_cpp_server(visible, n_ctx=512) as url:
        yield url


def test_a_real_server_finds_what_decoding_here_finds(address: str) -> None:
    """Nearly: a grammar leaves the tokenisation free (our rule `any`) and lets an answer begin with a space,
    and a tag that the sentence itself spells is a control token to the server. No confidence comes back."""
    with Annotator.load(threads=1, rule="any", min_confidence=0.0, lexicon="none") as here:
        expected = list(here.run(SENTENCES))
    with Annotator.load("openai:bundled", base_url=address) as there:
        results = list(there.run(SENTENCES))
        assert there.backend.description["server"] == "llama_cpp.server"
    assert [r.sentence.id for r in results] == [s.id for s in SENTENCES]
    assert all(r.failure is None and r.verbatim and not r.problems for r in results)
    assert {m.provenance for r in results for m in r.sentence.mentions} == {"constrained"}
    assert all(m.text == r.sentence.text[m.start : m.end] for r in results for m in r.sentence.mentions)
    assert sum(found(e) == found(r) for e, r in zip(expected, results, strict=True)) >= len(SENTENCES) - 4
    assert sum(len(found(r)) for r in results) > 50


def test_what_does_not_fit_a_real_servers_context_is_cut_in_windows(address: str) -> None:
    text = " ".join(f"patient {n} took aspirin" for n in range(60))  # about 300 tokens, and as many to answer
    (result,) = openai_results("openai:bundled", address, [Sentence("long", text)])
    assert result.failure is None
    assert result.effort.n_windows > 1
    assert result.sentence.text == text
    assert result.effort.n_unfinished == 0
    assert all(m.text == text[m.start : m.end] for m in result.sentence.mentions)


def openai_results(model: str, address: str, sentences: list[Sentence], **options: Any) -> list[Annotated]:
    with Annotator.load(model, base_url=address, **options) as ner:
        return list(ner.run(sentences))


def test_a_real_servers_free_answers_are_aligned(address: str) -> None:
    results = openai_results("openai:bundled", address, SENTENCES[:6], constrained=False)
    assert all(result.failure is None for result in results)
    assert {m.provenance for r in results for m in r.sentence.mentions} <= {"exact", "normalised", "fuzzy"}


def test_the_command_line_against_a_real_server(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--model", "openai:bundled", "--base-url", address, "--limit", 3)
    assert run(SAMPLE, out, *arguments) == 0
    assert "mentions in 3 sentences" in capsys.readouterr().err
    record = RunRecord.load(record_path(out))
    chosen = record.options
    assert (chosen["decoder"], chosen["rule"], chosen["context_length"]) == ("server", "any", None)
    assert chosen["model"] == {
        "backend": "server",
        "name": "bundled",
        "server": "llama_cpp.server",
        "path": address,
    }
    assert record.model_hash is None
    assert {"openai", "outlines"} <= set(record.versions)
    assert run(SAMPLE, out, "--model", "openai:embeded", "--base-url", address) == 2
    error = capsys.readouterr().err
    assert error == f"error: {address}: the server has no model 'embeded'; it has: bundled\n"


# ---- Ollama's protocol, over a real model; the schema enforced by llama.cpp's conversion of it


def test_ollama_with_its_schema_enforced(visible: Path) -> None:
    texts = ['The "iron" \\ rule', "β-blockers (e.g. atenolol)\nhelp. ", "Aspirin <0.5 mg", "   ", "Ünlü"]
    said: list[str] = []
    example = Sentence("e", 'No "iron"!', (Mention((Span(4, 8),), "drug", "iron"),))
    with ollama_stand_in(schema_enforcing_chat(visible)) as stand_in:
        with ollama_annotator(stand_in, examples=[example], notify=said.append) as ner:
            assert ner.backend.description["sha256"] == "0" * 64
            results = list(ner.run([Sentence(str(n), text) for n, text in enumerate(texts)]))
        bodies = stand_in.questions
    assert said == []
    assert [r.sentence.text for r in results] == texts
    assert all(r.failure is None and r.verbatim for r in results)
    assert all(m.text == r.sentence.text[m.start : m.end] for r in results for m in r.sentence.mentions)
    assert len(bodies) == 4, "a blank sentence is not asked about"
    for body in bodies:
        assert body["format"]["type"] == "array"
        assert "\\" not in json.dumps(body["format"], ensure_ascii=False)
        assert body["think"] is False
        assert body["options"].items() >= {"temperature": 0, "repeat_penalty": 1.0, "num_ctx": 8192}.items()
        system, shown, answer, _ = body["messages"]
        assert "JSON array" in system["content"]
        assert shown["content"] == "No ”iron”!"
        assert json.loads(answer["content"]) == ["No", " ”", "<drug>iron</drug>", "”", "!"]


def test_what_an_ollama_answer_is_worth() -> None:
    answers = {
        "a aspirin": '["a", " <drug>aspirin</drug>"]',  # legal
        "b aspirin": '["b", " <drug>aspirin"]',  # the schema's, but a tag is not closed
        "c aspirin": '["c", " <drug>aspirin</drug>" ]\n',  # legal, written with other spaces
        "d aspirin": "d <drug>Aspirin</drug>",  # the schema was ignored
    }
    said: list[str] = []

    def chat(_: str, body: dict[str, Any]) -> Reply:
        return ollama_answer(answers[question(body)])

    with ollama_stand_in(chat) as stand_in, ollama_annotator(stand_in, notify=said.append) as ner:
        results = {}
        for text in answers:
            (results[text[0]],) = ner.run([Sentence(text, text)])
            assert len(said) == (text[0] == "d")
    assert {name: [m.provenance for m in r.sentence.mentions] for name, r in results.items()} == {
        "a": ["constrained"],
        "b": [],
        "c": ["constrained"],
        "d": ["normalised"],
    }
    assert results["b"].problems == ("<drug> is never closed",)
    assert "Ollama" in said[0]
    assert "format" in said[0]


def test_ollama_is_never_sent_what_it_would_cut_silently() -> None:
    with ollama_stand_in(lambda path, body: ollama_answer("[]")) as stand_in:
        with (
            ollama_annotator(stand_in, context=64, notify=[].append) as ner,
            pytest.raises(SentenceError, match="raise --context"),
        ):
            ner.annotate(ASPIRIN)
        assert stand_in.questions == []


def test_types_are_described_more_briefly_if_the_context_is_short() -> None:
    described = "something that is described at length, " * 20
    schema = Schema(name="s", types=tuple(EntityType(name=f"t{n}", description=described) for n in range(5)))
    said: list[str] = []
    with ollama_stand_in(lambda path, body: ollama_answer('["Give aspirin with food."]')) as stand_in:
        for context in (8192, 1100):
            with ollama_annotator(stand_in, context=context, schema=schema, notify=said.append) as ner:
                list(ner.run([Sentence("s", ASPIRIN)]))
        systems = [body["messages"][0]["content"] for body in stand_in.questions]
    assert [line for line in said if "described" in line] == [
        "the types are described more briefly, so that the prompt fits the context"
    ]
    assert described.strip() in systems[0]
    assert "t0: something that is described at length\n" in systems[1]


def test_a_wrong_name_for_ollama_lists_the_right_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with ollama_stand_in(lambda path, body: ollama_answer("[]")) as stand_in:
        assert run(SAMPLE, tmp_path / "out", "--model", "ollama:llama9", "--base-url", stand_in.url) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no model 'llama9'" in error
    assert "it has: tiny:latest" in error


@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from('"\\\n\t\0 a'))))
def test_stand_ins_keep_offsets_and_edges_and_need_no_backslash(text: str) -> None:
    shown = text.translate(_QUOTES | _CONTROLS)
    assert edges(shown) == edges(text)
    schema = json.loads(json_schema.render_pieces(Constraint(shown, TagMachine(Markup(DDI)))))
    assert "\\" not in json.dumps(schema, ensure_ascii=False)


# ---- what is asked of which server


FIELDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "llamacpp": lambda body: body["grammar"],
    "me": lambda body: body["grammar"],
    "vllm": lambda body: body["structured_outputs"]["grammar"],
    "sglang": lambda body: body["ebnf"],
}


@pytest.mark.parametrize("owner", FIELDS)
def test_each_server_gets_the_grammar_where_it_looks_for_it(owner: str) -> None:
    with openai_stand_in(tagging_aspirin, owner) as stand_in:
        with openai_annotator(stand_in) as ner:
            (mention,) = ner.annotate(ASPIRIN).mentions
        (body,) = stand_in.questions
    assert (mention.text, mention.provenance, mention.confidence) == ("aspirin", "constrained", None)
    assert '\nout-1 ::= "aspirin' in FIELDS[owner](body)
    assert body["temperature"] == body["presence_penalty"] == body["frequency_penalty"] == 0
    assert 1.0 in (body.get("repeat_penalty"), body.get("repetition_penalty"))
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_an_unknown_server_gets_a_json_schema_and_a_named_one_its_grammar() -> None:
    def answer(_: str, body: dict[str, Any]) -> Reply:
        in_pieces = "response_format" in body
        return openai_answer(
            '["Give", " <drug>aspirin</drug>", " with", " food", "."]' if in_pieces else TAGGED
        )

    products: list[Product | None] = [None, PRODUCTS["llama-server"]]
    with openai_stand_in(answer, "somebody") as stand_in:
        for product in products:
            backend = RemoteBackend(OpenAIServer("tiny", f"{stand_in.url}/v1", product), patience=QUICK)
            with Annotator(backend) as ner:
                assert [m.provenance for m in ner.annotate(ASPIRIN).mentions] == ["constrained"]
        first, second = stand_in.questions
    assert first["response_format"]["json_schema"]["schema"]["type"] == "array"
    assert "grammar" in second
    assert "response_format" not in second


def test_unconstrained_sends_no_grammar() -> None:
    with openai_stand_in(
        lambda path, body: openai_answer("Sure: give <drug>Asprin</drug> with food.")
    ) as stand_in:
        with openai_annotator(stand_in, constrained=False) as ner:
            sentence = ner.annotate(ASPIRIN)
        (body,) = stand_in.questions
    assert "grammar" not in body
    assert [(m.text, m.provenance) for m in sentence.mentions] == [("aspirin", "fuzzy")]


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    with openai_stand_in(echo) as stand_in, openai_annotator(stand_in) as ner:
        ner.annotate(ASPIRIN)
        assert stand_in.keys == {"Bearer secret"}
        assert "secret" not in json.dumps(ner.backend.description)


def test_white_space_that_a_server_strips_is_put_back() -> None:
    with (
        openai_stand_in(lambda path, body: openai_answer(TAGGED)) as stand_in,
        openai_annotator(stand_in) as ner,
    ):
        (mention,) = ner.annotate(f"\t{ASPIRIN} ").mentions
    assert (mention.start, mention.end, mention.provenance) == (6, 13, "constrained")


def test_it_works_where_an_event_loop_runs_already() -> None:
    async def as_in_a_notebook() -> Sentence:
        with openai_stand_in(tagging_aspirin) as stand_in, openai_annotator(stand_in) as ner:
            return ner.annotate(ASPIRIN)

    assert len(asyncio.run(as_in_a_notebook()).mentions) == 1


# ---- a server that ignores the constraint


def test_an_ignored_constraint_is_reported_once_and_the_answers_are_aligned() -> None:
    said: list[str] = []
    texts = ["Give aspirin.", "Take aspirin now.", "No ASPIRIN at all."]

    def answer(_: str, body: dict[str, Any]) -> Reply:
        return openai_answer(f"Answer: {question(body).lower().replace('aspirin', '<drug>aspirin</drug>')}")

    with openai_stand_in(answer, "vllm") as stand_in:
        with openai_annotator(stand_in, notify=said.append) as ner:
            results = list(ner.run([Sentence(str(n), text) for n, text in enumerate(texts)]))
        url = f"{stand_in.url}/v1"
    assert [[m.provenance for m in r.sentence.mentions] for r in results] == [
        ["exact"],
        ["exact"],
        ["normalised"],
    ]
    assert not any(r.verbatim for r in results)
    (warning,) = said
    assert f"vLLM at {url} (field structured_outputs) ignores the constraint" in warning
    assert "0.12" in warning


# ---- what the back end says about itself


def test_a_server_shows_no_logits_and_may_be_asked_from_threads() -> None:
    with openai_stand_in(echo) as stand_in:
        backend = RemoteBackend(OpenAIServer("tiny", f"{stand_in.url}/v1"), patience=QUICK)
        assert (backend.shows_logits, backend.thread_safe) == (False, True)
        assert backend.identity == {"backend": "server", "name": "tiny", "server": "llama-server"}
        assert backend.description == {**backend.identity, "path": f"{stand_in.url}/v1"}
        assert (backend.temperature, backend.chat_template) == (None, None)
        assert (backend.adapter_card, backend.base_model) == (None, None)
        backend.close()
        backend.close()
        with pytest.raises(ModelError, match="the connection is closed"):
            backend.submit(TextRequest((("user", ASPIRIN),), 9))


# ---- failures


def failing_first(n: int, reply: Reply) -> Behaviour:
    left = [n]

    def answer(path: str, body: dict[str, Any]) -> Reply:
        left[0] -= 1
        return reply if left[0] >= 0 else tagging_aspirin(path, body)

    return answer


OVERLOADED: Reply = (500, {"error": {"message": "out of slots"}})


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_that_fails_for_a_while_is_asked_again(status: int) -> None:
    with openai_stand_in(failing_first(2, (status, {"error": {"message": "busy"}}))) as stand_in:
        with openai_annotator(stand_in) as ner:
            assert len(ner.annotate(ASPIRIN).mentions) == 1
        assert len(stand_in.questions) == 3


def test_ollama_is_asked_again_too() -> None:
    replies = iter([(503, {"error": "server busy"}), ollama_answer('["on", " <drug>iron</drug>"]')])
    with ollama_stand_in(lambda path, body: next(replies)) as stand_in, ollama_annotator(stand_in) as ner:
        assert len(ner.annotate("on iron").mentions) == 1


def test_retry_after_is_honoured() -> None:
    patience = Patience(first_pause_s=0.001, longest_pause_s=1.0)
    limited = (429, {"error": {"message": "slow down"}}, {"retry-after": "0.4"})
    with (
        openai_stand_in(failing_first(1, limited)) as stand_in,
        openai_annotator(stand_in, patience=patience) as ner,
    ):
        began_s = time.monotonic()
        ner.annotate(ASPIRIN)
        assert time.monotonic() - began_s >= 0.4


@given(st.integers(1, 40))
def test_pauses_grow_up_to_a_limit_and_differ(n_failed: int) -> None:
    patience = Patience(first_pause_s=0.5, longest_pause_s=30.0)
    longest = min(30.0, 0.5 * 2.0 ** (n_failed - 1))
    pauses = [patience.pause_s(n_failed, None) for _ in range(20)]
    assert all(longest / 2 <= pause <= longest for pause in pauses)
    assert len(set(pauses)) > 1


def test_one_sentence_that_fails_is_reported_and_the_run_goes_on(tmp_path: Path) -> None:
    bad = SENTENCES[2]

    def answer(path: str, body: dict[str, Any]) -> Reply:
        return OVERLOADED if question(body) == bad.text else tagging_aspirin(path, body)

    with openai_stand_in(answer) as stand_in:
        record = annotate_file(Input(SAMPLE, limit=8), tmp_path / "out", open_annotator=opening(stand_in))
    assert record.failures == ((bad.id, "the server failed, 5 times: 500 out of slots"),)
    assert record.n_sentences == 8
    assert record.n_mentions > 0


def test_a_grid_of_runs_on_a_server(tmp_path: Path) -> None:
    with openai_stand_in(tagging_aspirin) as stand_in:
        server = ("--model", "openai:tiny", "--base-url", f"{stand_in.url}/v1")
        assert run(SAMPLE, "--out", tmp_path, *server, "--limit", 3, "--quiet", main=ablate.main) == 0
    decoders = {
        name: RunRecord.load(tmp_path / f"{name}.out.run.json").options["decoder"]
        for name in ("constrained", "unconstrained")
    }
    assert decoders == {"constrained": "server", "unconstrained": "unconstrained"}


def test_an_answer_that_does_not_come_is_a_time_out_of_that_sentence() -> None:
    stand_in: StandIn

    def answer(path: str, body: dict[str, Any]) -> Reply:
        if "hang" in question(body):
            stand_in.released.wait(30)
        return tagging_aspirin(path, body)

    texts = ["aspirin 1", "hang", "aspirin 2", "aspirin 3"]
    patience = Patience(timeout_s=0.7, first_pause_s=0.01)
    with openai_stand_in(answer) as stand_in, openai_annotator(stand_in, patience=patience) as ner:
        results = list(ner.run([Sentence(text, text) for text in texts]))
    assert [r.failure for r in results] == [
        None,
        "no answer within 0.7 s, 2 times: raise --timeout",
        None,
        None,
    ]


@pytest.mark.parametrize(
    "text", [ASPIRIN, f"{ASPIRIN} And then a good deal more, so that it could be cut in two somewhere."]
)
def test_an_answer_that_is_cut_off_is_a_problem_of_that_sentence(text: str) -> None:
    def answer(_: str, body: dict[str, Any]) -> Reply:
        return openai_answer("Give <drug>aspirin</drug> wi", "length")

    with openai_stand_in(answer) as stand_in, openai_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", text)])
    assert "the answer is unfinished" in result.problems
    assert result.effort.n_unfinished >= 1
    assert (5, 12, "drug") in found(result)
    assert result.sentence.mentions[0].provenance == "exact"


def test_a_prompt_that_no_window_fits_fails_the_sentence_and_says_so() -> None:
    refusal = {"error": {"message": "This model's maximum context length is 64 tokens."}}
    text = " ".join(["aspirin"] * 60)
    with openai_stand_in(lambda path, body: (400, refusal)) as stand_in, openai_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", text)])
        assert len(stand_in.questions) < 10
    assert (
        result.failure
        == "the server rejected the request: 400 This model's maximum context length is 64 tokens."
    )


def test_where_every_sentence_fails_the_server_is_to_blame(tmp_path: Path) -> None:
    out = tmp_path / "out"
    refusal = (400, {"error": {"message": "grammar: not supported"}})
    with openai_stand_in(lambda path, body: refusal) as stand_in:
        with pytest.raises(ModelError, match=r"first 5 sentences all failed.*grammar: not supported"):
            annotate_file(SAMPLE, out, open_annotator=opening(stand_in))
        record = annotate_file(Input(SAMPLE, limit=3), out, open_annotator=opening(stand_in))
    assert len(record.failures) == 3
    assert record.n_resumed == 0, "what failed with the server was not kept"


def test_a_server_that_goes_away_ends_the_run_which_goes_on_later(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with openai_stand_in(tagging_aspirin) as stand_in:
        annotate_file(SAMPLE, tmp_path / "whole", open_annotator=opening(stand_in))
    n_left = [10]

    def dying(path: str, body: dict[str, Any]) -> Reply:
        n_left[0] -= 1
        if n_left[0] == 0:
            threading.Thread(target=stand_in.__exit__).start()
        return tagging_aspirin(path, body)

    with openai_stand_in(dying) as stand_in, pytest.raises(ModelError, match="cannot be reached"):
        annotate_file(SAMPLE, out, open_annotator=opening(stand_in, batch=1))
    assert not out.exists()
    with openai_stand_in(tagging_aspirin) as stand_in:
        record = annotate_file(SAMPLE, out, open_annotator=opening(stand_in))
    assert record.n_resumed > 0
    assert out.read_bytes() == (tmp_path / "whole").read_bytes()


def test_answers_come_in_order_however_long_they_take_and_not_too_many_at_once() -> None:
    chance = random.Random(3)

    def answer(path: str, body: dict[str, Any]) -> Reply:
        time.sleep(chance.random() / 20)
        return tagging_aspirin(path, body)

    sentences = [Sentence(str(n), f"aspirin {n}") for n in range(40)]
    with openai_stand_in(answer) as stand_in:
        with openai_annotator(stand_in, batch=3) as ner:
            results = list(ner.run(sentences))
        assert 2 <= stand_in.most_at_once <= 3
    assert [r.sentence.text for r in results] == [s.text for s in sentences]
    assert all(found(r) == [(0, 7, "drug")] for r in results)


def test_results_come_while_later_sentences_are_not_yet_read() -> None:
    def endless() -> Iterator[Sentence]:
        n = 0
        while True:
            yield Sentence(str(n), f"aspirin {n}")
            n += 1

    with openai_stand_in(tagging_aspirin) as stand_in, openai_annotator(stand_in, batch=2) as ner:
        results = ner.run(endless())
        assert [next(results).sentence.id for _ in range(5)] == ["0", "1", "2", "3", "4"]
        results.close()  # type: ignore[attr-defined]
        assert len(stand_in.questions) <= 9


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_ctrl_c_drops_what_is_under_way_and_keeps_what_is_done(tmp_path: Path) -> None:
    stand_in: StandIn

    def answer(path: str, body: dict[str, Any]) -> Reply:
        if len(stand_in.questions) > 6:
            stand_in.released.wait(60)
        return tagging_aspirin(path, body)

    out, journal = tmp_path / "out", tmp_path / "out.journal"
    with openai_stand_in(answer) as stand_in:
        arguments = [str(SAMPLE), str(out), "--model", "openai:tiny", "--base-url", f"{stand_in.url}/v1"]
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / "llm-NERC"), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        deadline_s = time.monotonic() + 60
        while (
            not journal.exists() or journal.read_bytes().count(b"\n") < 5
        ) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        _, error = process.communicate(timeout=30)
    assert time.monotonic() - began_s < 10
    assert process.returncode == 130
    assert "Traceback" not in error
    assert not out.exists()
    assert journal.read_bytes().count(b"\n") >= 5


# ---- user errors: one line, exit code 2, nothing written


def error_of(capsys: pytest.CaptureFixture[str], tmp_path: Path, *arguments: object) -> str:
    assert run(SAMPLE, tmp_path / "out", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    return error


@pytest.mark.parametrize("model", ["openai:tiny", "ollama:tiny"])
def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    error = error_of(capsys, tmp_path, "--model", model, "--base-url", url)
    assert error.startswith(f"error: {url}: the server cannot be reached: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "openai:tiny"), "pass --base-url"),
        (("--model", "openai:", "--base-url", "http://x"), "no model is named"),
        (("--model", "openai:tiny", "--base-url", "localhost:8080"), "must begin with http://"),
        (("--model", "openai:tiny", "--base-url", "http://x", "--context", 512), "--context is for Ollama"),
        (("--model", "ollama:tiny", "--server", "vllm"), "--server is for openai:NAME"),
        (("--model", "ollama:tiny", "--threads", 2), "does not take the option 'threads'"),
        (("--base-url", "http://x"), "does not take the option 'base_url'"),
    ],
)
def test_options_that_do_not_go_together(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    assert message in error_of(capsys, tmp_path, *arguments)


@pytest.mark.parametrize(
    ("package", "model"),
    [
        ("outlines", "ollama:tiny"),
        ("outlines", "openai:tiny"),
        ("ollama", "ollama:tiny"),
        ("openai", "openai:tiny"),
    ],
)
def test_a_client_that_is_not_installed(package: str, model: str) -> None:
    script = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from constrained_ner.backends import load_backend\n"
        f"load_backend({model!r})"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert process.stderr.endswith(f"{package} is not installed: pip install 'constrained-ner[servers]'\n")


@pytest.mark.parametrize(
    ("model", "reply", "message"),
    [
        ("openai:tiny", (404, "not here"), "does --base-url end in /v1?"),
        (
            "openai:tiny",
            (401, {"error": {"message": "wrong key"}}),
            "rejects the key: 401 wrong key",
        ),
        ("openai:tiny", (500, {"error": {"message": "on fire"}}), "500 on fire"),
        ("openai:tiny", (200, {"hello": "world"}), "has no model 'tiny'; it has none"),
        ("openai:tiny", (200, "<html>hello</html>"), "not a server that speaks OpenAI's protocol"),
        ("ollama:tiny", (200, "<html>hello</html>"), "not an Ollama server"),
        ("ollama:tiny", (404, "not here"), "not an Ollama server"),
        ("ollama:big", ollama_tags("tiny:latest"), "no model 'big' (ollama pull big); it has: tiny:latest"),
    ],
)
def test_a_server_that_is_not_what_was_meant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str, reply: Reply, message: str
) -> None:
    with StandIn(lambda path, body: reply) as stand_in:
        error = error_of(capsys, tmp_path, "--model", model, "--base-url", stand_in.url)
    assert error.startswith(f"error: {stand_in.url}")
    assert message in error


@pytest.mark.parametrize(
    "reply", [(200, {}), (200, "hello"), (200, {"choices": []}), (200, {"choices": None})]
)
def test_a_malformed_answer_fails_its_sentence(reply: Reply) -> None:
    with openai_stand_in(lambda path, body: reply) as stand_in, openai_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert result.failure is not None
    assert "malformed server response" in result.failure


def test_a_malformed_ollama_answer_fails_its_sentence() -> None:
    with ollama_stand_in(lambda path, body: (200, "<html>")) as stand_in, ollama_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert result.failure is not None
    assert "malformed server response" in result.failure


# ---- answers in another field, in a code fence, or after thoughts


def openai_message(finish_reason: str = "stop", **message: str | None) -> Reply:
    status, body, *_ = openai_answer("", finish_reason)
    body["choices"][0]["message"] = {"role": "assistant", **message}
    return status, body


HARMONY = "<|channel|>analysis<|message|>Hm<|channel|>final<|message|>"
WRAPPED: dict[str, Callable[[str], Reply]] = {
    "reasoning_content": lambda tagged: openai_message(content=None, reasoning_content=tagged),
    "reasoning": lambda tagged: openai_message(content="", reasoning=tagged),
    "fence": lambda tagged: openai_answer(f"```\n{tagged}\n```"),
    "named fence": lambda tagged: openai_answer(f"```xml\n{tagged}\n```\n"),
    "thoughts": lambda tagged: openai_answer(f"<think>\n<drug>Nothing</drug>?\n</think>\n\n{tagged}"),
    "both": lambda tagged: openai_answer(f"[THINK]Hm.[/THINK]```\n{tagged}\n```"),
    "harmony": lambda tagged: openai_answer(HARMONY + tagged),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_an_answer_is_read_wherever_the_server_puts_it(wrap: Callable[[str], Reply]) -> None:
    said: list[str] = []
    with (
        openai_stand_in(lambda path, body: wrap(TAGGED), "vllm") as stand_in,
        openai_annotator(stand_in, notify=said.append) as ner,
    ):
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert result.failure is None
    assert found(result) == [(5, 12, "drug")]
    assert [m.provenance for m in result.sentence.mentions] == ["constrained"]
    assert said == []


def test_an_ollama_answer_among_the_thoughts_is_read() -> None:
    def chat(path: str, body: dict[str, Any]) -> Reply:
        status, content, *_ = ollama_answer("")
        pieces = ["Give", " <drug>aspirin</drug>", " with", " food", "."]
        content["message"] |= {"content": "", "thinking": json.dumps(pieces)}
        return status, content

    with ollama_stand_in(chat) as stand_in, ollama_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert found(result) == [(5, 12, "drug")]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (openai_answer(""), "the server's answer is empty"),
        (openai_message(content=None), "the server's answer is empty"),
        (openai_answer("I cannot help with that."), "not the sentence: 'I cannot help with that.'"),
        (openai_message(content=None, reasoning_content="The user wants me to"), "not the sentence"),
        (
            openai_message("length", content=None, reasoning_content="Well, "),
            "cut off while the model was thinking",
        ),
    ],
)
def test_nothing_found_is_never_a_success_without_an_answer(reply: Reply, why: str) -> None:
    with (
        openai_stand_in(lambda path, body: reply) as stand_in,
        openai_annotator(stand_in, notify=lambda _: None) as ner,
    ):
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert result.failure is not None
    assert why in result.failure


def test_a_sentence_that_spells_a_thought_or_a_fence_is_not_unwrapped() -> None:
    texts = ["<think>x</think> aspirin", "```\naspirin\n```"]
    with openai_stand_in(tagging_last, "vllm") as stand_in, openai_annotator(stand_in) as ner:
        results = list(ner.run([Sentence(str(n), text) for n, text in enumerate(texts)]))
    assert [r.verbatim for r in results] == [True, True]
    assert [len(r.sentence.mentions) for r in results] == [1, 1]


# ---- parameters and shapes that servers refuse


def tagging_last(path: str, body: dict[str, Any]) -> Reply:
    """As `tagging_aspirin`, without instructions that come before the sentence."""
    text = question(body).split("explain nothing.\n\n")[-1]
    return openai_answer(text.replace("aspirin", "<drug>aspirin</drug>"))


def refusing(refused: Callable[[dict[str, Any]], str | None], answer: Behaviour = tagging_last) -> Behaviour:
    """Refuses requests with status 400 and a message, if there is one."""

    def behave(path: str, body: dict[str, Any]) -> Reply:
        message = refused(body)
        return (400, {"error": {"message": message}}) if message else answer(path, body)

    return behave


def with_system(body: dict[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body["messages"])


REFUSALS: dict[str, tuple[Callable[[dict[str, Any]], bool], str]] = {
    "system": (with_system, "System role not supported"),
    "alternate": (with_system, "Conversation roles must alternate user/assistant/user/assistant/..."),
    "max_tokens": (
        lambda body: "max_tokens" in body,
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
    ),
    "temperature": (
        lambda body: "temperature" in body,
        "Unsupported value: 'temperature' does not support 0 with this model.",
    ),
    "unknown fields": (
        lambda body: "chat_template_kwargs" in body,
        "Unrecognized request arguments supplied: chat_template_kwargs, repetition_penalty",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_what_a_server_refuses_is_asked_in_another_form_once_a_run(
    refusal: tuple[Callable[[dict[str, Any]], bool], str],
) -> None:
    refused, message = refusal
    behaviour = refusing(lambda body: message if refused(body) else None)
    with openai_stand_in(behaviour, "vllm") as stand_in, openai_annotator(stand_in, batch=1) as ner:
        results = list(ner.run([Sentence(str(n), ASPIRIN) for n in range(4)]))
    assert [found(result) for result in results] == [[(5, 12, "drug")]] * 4
    assert len(stand_in.questions) == 5
    contents = ["".join(message["content"] for message in body["messages"]) for body in stand_in.questions]
    assert all("Write the sentence again" in content for content in contents)


def test_a_server_that_wants_an_object_gets_one_with_numbered_pieces() -> None:
    def wants_object(body: dict[str, Any]) -> str | None:
        schema = body["response_format"]["json_schema"]["schema"]
        return None if schema["type"] == "object" else "schema must be a JSON Schema of 'type: \"object\"'"

    def answer(path: str, body: dict[str, Any]) -> Reply:
        properties = body["response_format"]["json_schema"]["schema"]["properties"]
        pieces = {
            number: next(
                (text for text in piece["enum"] if "<drug>a" in text and "</" in text), piece["enum"][0]
            )
            for number, piece in reversed(properties.items())
        }
        return openai_answer(json.dumps(pieces))

    said: list[str] = []
    with (
        openai_stand_in(refusing(wants_object, answer), "somebody") as stand_in,
        openai_annotator(stand_in, batch=1, notify=said.append) as ner,
    ):
        results = list(ner.run([Sentence(str(n), ASPIRIN) for n in range(3)]))
    assert [found(result) for result in results] == [[(5, 12, "drug")]] * 3
    assert len(stand_in.questions) == 4
    assert said == []


def test_what_is_refused_for_another_reason_fails_the_sentence_at_once() -> None:
    behaviour = refusing(lambda body: "I do not like this sentence")
    with openai_stand_in(behaviour) as stand_in, openai_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert "I do not like this sentence" in str(result.failure)
    assert len(stand_in.questions) == 1


def test_a_server_that_refuses_whatever_the_form_fails_the_sentence() -> None:
    message = "System role not supported; use max_completion_tokens; type object schema; temperature unknown"
    with openai_stand_in(refusing(lambda body: message)) as stand_in, openai_annotator(stand_in) as ner:
        (result,) = ner.run([Sentence("s", ASPIRIN)])
    assert "System role not supported" in str(result.failure)
    assert len(stand_in.questions) < 9


# ---- names of models


@pytest.mark.parametrize("name", ["/models/x.gguf", "./x.gguf", "org/model/file.gguf", "C:\\m\\x.gguf"])
def test_a_model_on_a_server_may_be_named_like_a_path(tmp_path: Path, name: str) -> None:
    def behave(path: str, body: dict[str, Any]) -> Reply:
        return openai_models("vllm", name) if path.endswith("/models") else tagging_aspirin(path, body)

    shots = ("--shots", 1, "--examples", ROOT / "examples" / "shots.xml", "--select", "first")
    with StandIn(behave) as stand_in:
        for number, more in enumerate(((), shots)):
            model = ("--model", f"openai:{name}", "--base-url", f"{stand_in.url}/v1")
            assert run(SAMPLE, tmp_path / f"out{number}", *model, *more, "--limit", 2) == 0
    assert {body["model"] for body in stand_in.questions} == {name}


def test_a_server_with_one_model_needs_no_name() -> None:
    with openai_stand_in(tagging_aspirin, "vllm") as stand_in:
        with Annotator.load("openai:", base_url=f"{stand_in.url}/v1") as ner:
            assert len(ner.annotate(ASPIRIN).mentions) == 1
            assert ner.backend.description["name"] == "tiny"
        two = {"object": "list", "data": [{"id": i, "object": "model", "created": 1} for i in ("a", "b")]}
        stand_in.behaviour = lambda path, body: (200, two)
        with pytest.raises(ModelError, match=r"no model is named after the colon: .* it has: a, b"):
            Annotator.load("openai:", base_url=f"{stand_in.url}/v1")


@pytest.mark.parametrize("name", ["tiny", "tiny.gguf", "small", "/models/tiny.gguf", ""])
def test_llama_servers_model_is_found_by_its_files_name_or_an_alias(name: str) -> None:
    about = {"id": "/models/tiny.gguf", "aliases": ["/models/tiny.gguf", "small"], "meta": {"n_ctx": 4096}}
    with openai_stand_in(tagging_aspirin) as stand_in:
        answer = stand_in.behaviour
        listing = {"object": "list", "data": [{**openai_models()[1]["data"][0], **about}]}
        stand_in.behaviour = lambda p, body: (200, listing) if p.endswith("/models") else answer(p, body)
        with Annotator.load(f"openai:{name}", base_url=f"{stand_in.url}/v1") as ner:
            assert len(ner.annotate(ASPIRIN).mentions) == 1
            assert ner.backend.description["name"] == "tiny.gguf"  # wherever it lies over there
            assert ner.backend.context_length == 4096
    assert {body["model"] for body in stand_in.questions} == {"/models/tiny.gguf"}


def test_several_names_of_one_model_are_no_choice_and_several_models_are() -> None:
    one = [Model(id=i, created=1, object="model", owned_by="vllm", root="/m/tiny") for i in ("a", "tiny")]
    two = [Model(id=i, created=1, object="model", owned_by="vllm") for i in ("/m/1/tiny", "/m/2/tiny", "b")]
    assert find_model("", one, "http://x").id == "a"
    assert find_model("tiny", one, "http://x").id == "tiny"
    assert find_model("/m/2/tiny", two, "http://x").id == "/m/2/tiny"
    with pytest.raises(ModelError, match=r"several models fit 'tiny'; it has: /m/1/tiny, /m/2/tiny$"):
        find_model("tiny", two, "http://x")
    with pytest.raises(ModelError, match=r"no model ''; it has: /m/1/tiny, /m/2/tiny, b$"):
        find_model("", two, "http://x")
