"""A real server on the loopback interface, with the bundled model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import HeldEngine, Served, served, wait_for

from constrained_ner import Annotator
from constrained_ner.data import Document
from constrained_ner.formats.ddi import read_ddi
from constrained_ner.formats.jsonl import write_jsonl
from constrained_ner.formats.protocol import Losses
from constrained_ner.runs.job import annotate_file
from constrained_ner.service.engine import ThisProcess
from constrained_ner.service.limits import Limits
from constrained_ner.text.sentences import cut_document, known_names

PATIENCE_S = 600
SAMPLE = Path(__file__).parents[2] / "examples" / "sample.xml"


@pytest.fixture(scope="module")
def engine() -> Iterator[ThisProcess]:
    with Annotator.load() as annotator:
        yield ThisProcess(annotator)


@pytest.fixture(scope="module")
def running(engine: ThisProcess) -> Iterator[Served]:
    with served(engine, Limits(time_s=PATIENCE_S)) as service:
        yield service


@pytest.fixture
def held(engine: ThisProcess) -> Iterator[HeldEngine]:
    engine = HeldEngine(engine.about)
    yield engine
    engine.release.set()


@pytest.fixture(scope="module")
def texts() -> list[str]:
    """Running texts: the documents of the sample, their sentences one after the other."""
    return [" ".join(s.text for s in document) for document in read_ddi(SAMPLE)]


@pytest.fixture(scope="module")
def expected(texts: list[str]) -> list[str]:
    """The lines for these texts from an annotator that is called in a loop."""
    lines: list[str] = []
    with Annotator.load() as annotator:
        for n, text in enumerate(texts):
            cut = cut_document(Document.of_text(str(n), text), known_names())
            agreed = annotator.annotate_document([sentence.text for sentence in cut])
            done = tuple(replace(s, mentions=a.mentions) for s, a in zip(cut, agreed, strict=True))
            lines += write_jsonl([replace(cut, sentences=done)], Losses())
    return [line.rstrip("\n") for line in lines]


def post(service: Served, body: Any, **options: Any) -> httpx.Response:
    return httpx.post(f"{service.url}/v1/annotate", json=body, timeout=PATIENCE_S, **options)


def lines_of(response: httpx.Response) -> list[str]:
    return [json.dumps(record, ensure_ascii=False) for record in response.json()["results"]]


def test_answers_are_those_of_a_loop_byte_for_byte(
    running: Served, texts: list[str], expected: list[str]
) -> None:
    response = post(running, {"texts": texts})
    assert response.status_code == 200
    assert response.content.decode() == '{"results": [' + ", ".join(expected) + "]}"


def test_a_stream_answers_with_the_lines_of_a_loop(
    running: Served, texts: list[str], expected: list[str]
) -> None:
    body = "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts))
    response = httpx.post(f"{running.url}/v1/annotate/stream", content=body, timeout=PATIENCE_S)
    assert response.text.splitlines() == expected


def test_a_run_over_a_file_finds_the_same(texts: list[str], expected: list[str], tmp_path: Path) -> None:
    """A run lets drafts expect the names of earlier texts, which may change how a confidence is rounded."""
    lines = [json.dumps({"id": str(n), "text": text}) for n, text in enumerate(texts)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    annotate_file(tmp_path / "texts.jsonl", tmp_path / "out.jsonl", to="jsonl")
    out = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    for line, other in zip(out, expected, strict=True):
        found, wanted = json.loads(line), json.loads(other)
        for one, two in zip(found["mentions"], wanted["mentions"], strict=True):
            assert one.pop("confidence") == pytest.approx(two.pop("confidence"), abs=0.001)
        assert found == wanted


def test_documents_in_sentences_are_answered_as_the_library_does(
    running: Served, engine: ThisProcess
) -> None:
    documents = list(read_ddi(SAMPLE))
    body = {"texts": [{"id": d.id, "sentences": [s.text for s in d]} for d in documents]}
    results = post(running, body).json()["results"]
    with Annotator.load() as annotator:
        for document, result in zip(documents, results, strict=True):
            agreed = annotator.annotate_document([s.text for s in document])
            found = [[(m["start"], m["end"], m["type"]) for m in s["mentions"]] for s in result["sentences"]]
            assert found == [[(m.start, m.end, m.type) for m in s.mentions] for s in agreed]


def test_requests_that_overlap_get_their_own_answers(
    running: Served, texts: list[str], expected: list[str]
) -> None:
    numbers = [n for n in range(len(texts)) for _ in range(4)]
    random.Random(0).shuffle(numbers)

    def ask(n: int) -> list[str]:
        return lines_of(post(running, {"texts": [{"id": str(n), "text": texts[n]}]}))

    with ThreadPoolExecutor(16) as clients:
        for n, lines in zip(numbers, clients.map(ask, numbers), strict=True):
            assert lines == [expected[n]]


def test_options_of_a_request_change_only_its_own_answers(
    running: Served, texts: list[str], expected: list[str]
) -> None:
    body = {"texts": [{"id": "0", "text": texts[0]}]}
    least = 0.97
    sure = post(running, {**body, "options": {"min_confidence": least}}).json()["results"][0]
    assert lines_of(post(running, body)) == expected[:1]
    everything = json.loads(expected[0])["mentions"]
    assert len(sure["mentions"]) < len(everything)
    assert all(mention["confidence"] >= least - 0.001 for mention in sure["mentions"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"bias": {"nothing": 1.0}}, "bias"),
        ({"min_confidence": 2}, "min_confidence"),
        ({"model": "/etc/passwd"}, "unknown field"),
        ({"schema": "x.json"}, "unknown field"),
    ],
)
def test_an_option_that_is_not_allowed_is_named(running: Served, options: dict[str, Any], said: str) -> None:
    response = post(running, {"texts": ["Aspirin."], "options": options})
    assert response.status_code == 422
    assert said in response.json()["detail"]


def test_a_text_that_fails_is_named_in_its_place(running: Served) -> None:
    body = r'{"texts": ["Aspirin.", {"id": "odd", "text": "half \ud800 a character"}, "Warfarin."]}'
    headers = {"Content-Type": "application/json"}
    results = httpx.post(
        f"{running.url}/v1/annotate", content=body, headers=headers, timeout=PATIENCE_S
    ).json()["results"]
    assert [result["id"] for result in results] == ["0", "odd", "2"]
    assert "surrogate" in results[1]["failures"][0]["why"]
    assert all(len(results[n]["mentions"]) == 1 for n in (0, 2))


def test_lines_that_cannot_be_read_are_answered_in_their_place(engine: ThisProcess) -> None:
    lines = ['"Aspirin."', "{", '{"text": 3}', "", '"' + "x" * 300 + '"', '"' + "x" * 120 + '"', '"Iron."']
    with served(engine, Limits(body_bytes=200, characters=100)) as service:
        answer = httpx.post(f"{service.url}/v1/annotate/stream", content="\n".join(lines), timeout=30)
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [line.get("line", line.get("id")) for line in found] == ["1", 2, 3, 5, 6, "7"]
    assert "more than 200 bytes" in found[3]["error"]
    assert "more than 100 characters" in found[4]["error"]


def test_names_agree_over_a_whole_document(running: Served, engine: ThisProcess) -> None:
    text = "Ketoconazole raises midazolam levels. Midazolam was given. Patients took midazolam."
    (result,) = post(running, {"texts": [text]}).json()["results"]
    midazolam = [m for m in result["mentions"] if m["text"].lower() == "midazolam"]
    assert len(midazolam) == 3
    assert len({(m["type"], m["confidence"]) for m in midazolam}) == 1


def test_what_does_not_fit_is_refused(engine: ThisProcess) -> None:
    with served(engine, Limits(body_bytes=1000, texts=3, characters=50)) as service:
        assert post(service, {"texts": ["x" * 51]}).status_code == 413
        assert post(service, {"texts": ["x"] * 4}).status_code == 413
        assert post(service, {"texts": ["x" * 2000]}).status_code == 413

        def pieces() -> Iterator[bytes]:  # without a length that tells in advance
            for _ in range(100):
                yield b" " * 100

        headers = {"Content-Type": "application/json"}
        try:
            status = httpx.post(
                f"{service.url}/v1/annotate", content=pieces(), headers=headers, timeout=PATIENCE_S
            ).status_code
        except httpx.WriteError:  # it hung up before all was sent
            status = 413
        assert status == 413
        assert post(service, {"texts": ["Iron."]}).status_code == 200


def test_a_head_without_end_is_cut_off(engine: ThisProcess) -> None:
    with served(engine) as service, socket.create_connection(("127.0.0.1", service.port)) as client:
        client.settimeout(60)
        client.sendall(b"POST /v1/annotate HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(b"x" * 10_000)
        with contextlib.suppress(ConnectionError):
            assert client.recv(100).startswith(b"HTTP/1.1 400") or not client.recv(100)
        assert post(service, {"texts": ["Iron."]}).status_code == 200


def test_only_what_says_that_it_is_json_is_read(running: Served) -> None:
    """Pages of other sites may send plain text without being asked, but not JSON."""
    body, kinds = b'{"texts": ["Iron."]}', ("text/plain", "application/json; charset=utf-8")
    statuses = [
        httpx.post(
            f"{running.url}/v1/annotate", content=body, headers={"Content-Type": kind}, timeout=PATIENCE_S
        ).status_code
        for kind in kinds
    ]
    assert statuses == [422, 200]


def test_beyond_the_queue_requests_are_told_to_come_back(held: HeldEngine) -> None:
    with served(held, Limits(queue=3)) as service, ThreadPoolExecutor(8) as clients:
        taken = [clients.submit(post, service, {"texts": ["a"]}) for _ in range(3)]
        wait_for(lambda: _in_house(service) == 3)
        refused = post(service, {"texts": ["a"]})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) >= 1
        assert (
            httpx.get(f"{service.url}/healthz", timeout=PATIENCE_S).status_code == 200
        )  # this is not a matter of the queue
        held.release.set()
        assert [client.result().status_code for client in taken] == [200] * 3
        assert post(service, {"texts": ["a"]}).status_code == 200


def test_a_request_has_a_time_limit(held: HeldEngine) -> None:
    with served(held, Limits(time_s=0.3)) as service:
        assert post(service, {"texts": ["a"]}).status_code == 504
        wait_for(lambda: held.n_stopped == held.n_begun)  # on a slow machine it may not have begun


def test_the_work_of_a_client_that_leaves_is_given_up(held: HeldEngine) -> None:
    body = b'{"texts": ["a", "b", "c", "d", "e"]}'
    with served(held) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(_request(body))
            wait_for(lambda: held.n_begun == 2)
        wait_for(lambda: held.n_stopped == 2)
        wait_for(lambda: _in_house(service) == 0)
        held.release.set()
        assert post(service, {"texts": ["a"]}).status_code == 200
        assert held.n_begun == 3  # the other three never began


def test_a_slow_reader_holds_nobody_up(engine: ThisProcess, texts: list[str], expected: list[str]) -> None:
    long = json.dumps({"text": " " * 20_000}) + "\n"  # little work, and a long answer
    with served(engine, Limits(time_s=5.0, queue=2)) as service:
        client = socket.create_connection(("127.0.0.1", service.port))
        with client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(0.5)
            client.sendall(_head("/v1/annotate/stream", 10**9))
            with contextlib.suppress(TimeoutError, ConnectionError):
                for _ in range(2000):  # never reads: at some point the service stops reading, too
                    client.sendall(long.encode())
            body = {"texts": [{"id": "0", "text": texts[0]}]}
            assert lines_of(post(service, body)) == expected[:1]
            assert _in_house(service) == 1
            wait_for(lambda: _in_house(service) == 0)  # it was cut off


def test_a_stream_answers_while_it_is_sent(running: Served) -> None:
    async def talk() -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        with contextlib.closing(writer):
            writer.write(_head("/v1/annotate/stream", None))
            answers = []
            for text in (b'"Aspirin."\n', b'"Warfarin."\n'):
                writer.write(b"%x\r\n%s\r\n" % (len(text), text))
                await writer.drain()
                while not (line := await reader.readline()).startswith(b'{"id"'):
                    assert line, "hung up"
                answers.append(line)
            writer.write(b"0\r\n\r\n")
            assert await reader.readuntil(b"\r\n0\r\n\r\n") == b"\r\n0\r\n\r\n"  # the connection stays open
        await writer.wait_closed()
        return answers

    answers = asyncio.run(asyncio.wait_for(talk(), 15))
    assert [json.loads(answer)["text"] for answer in answers] == ["Aspirin.", "Warfarin."]


def test_the_key_is_asked_for(engine: ThisProcess) -> None:
    with served(engine, key="s3cret") as service:
        body = {"texts": ["Iron."]}
        assert post(service, body).status_code == 401
        assert post(service, body, headers={"Authorization": "Bearer s3cre"}).status_code == 401
        assert post(service, body, headers={"Authorization": "Bearer s3cret"}).status_code == 200
        assert post(service, body, headers={"X-API-Key": "s3cret"}).status_code == 200
        assert httpx.get(f"{service.url}/v1/model", timeout=PATIENCE_S).status_code == 401
        assert httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).status_code == 401
        assert httpx.get(f"{service.url}/healthz", timeout=PATIENCE_S).status_code == 200
        assert "s3cret" not in service.log.getvalue()


def test_other_sites_may_call_only_if_they_were_allowed(engine: ThisProcess) -> None:
    asking = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with served(engine) as service:
        answer = httpx.options(f"{service.url}/v1/annotate", headers=asking, timeout=PATIENCE_S)
        assert "access-control-allow-origin" not in answer.headers
        assert (
            httpx.get(
                f"{service.url}/healthz", headers={"Host": "evil.example"}, timeout=PATIENCE_S
            ).status_code
            == 421
        )
    with served(engine, origins=["https://a.example"]) as service:
        answer = httpx.options(f"{service.url}/v1/annotate", headers=asking, timeout=PATIENCE_S)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"


def test_what_is_running_is_finished_before_the_end(held: HeldEngine) -> None:
    with served(held) as service, ThreadPoolExecutor(2) as clients:
        answer = clients.submit(post, service, {"texts": ["a", "b", "c"]})
        wait_for(lambda: held.n_begun == 2)
        service.stop()
        wait_for(lambda: not _takes_connections(service))
        held.release.set()
        assert answer.result().status_code == 200
        service.thread.join(20)
        assert not service.thread.is_alive()


def test_errors_show_nothing_of_the_machine_or_of_others(held: HeldEngine) -> None:
    held.release.set()
    with served(held) as service:
        answer = post(service, {"texts": ["break"]})
        assert answer.status_code == 500
        assert answer.json() == {"title": "Internal Server Error", "status": 500}
        wait_for(service.events)
        logged = service.log.getvalue()
        assert "RuntimeError" in logged  # its type and place; its message may hold a text
        assert "a text of another" not in logged


def test_texts_are_logged_only_if_asked(engine: ThisProcess) -> None:
    with served(engine) as service:
        post(service, {"texts": ["Aspirin helps."]})
        wait_for(service.events)
        (event,) = service.events()
        assert event["texts"] == 1
        assert event["characters"] == 14
        assert "Aspirin" not in service.log.getvalue()
    with served(engine, log_texts=True) as service:
        post(service, {"texts": ["Aspirin helps."]})
        wait_for(service.events)
        assert "Aspirin helps." in service.log.getvalue()


def test_the_service_describes_itself(running: Served) -> None:
    assert httpx.get(f"{running.url}/readyz", timeout=PATIENCE_S).json() == {"status": "ready"}
    assert httpx.get(f"{running.url}/v1/schema", timeout=PATIENCE_S).json()["name"] == "ddi"
    model = httpx.get(f"{running.url}/v1/model", timeout=PATIENCE_S).text
    assert "min_confidence" in model
    assert "constrained_ner/" not in model
    docs = httpx.get(f"{running.url}/docs", timeout=PATIENCE_S)
    assert docs.status_code == 200
    assert "/v1/annotate" in docs.text
    assert "http" not in docs.text  # nothing from elsewhere


def test_metrics_count_what_was_done(engine: ThisProcess) -> None:
    with served(engine) as service:
        post(service, {"texts": ["Take aspirin with warfarin.", "Nothing."]})
        page = httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).text
    assert "ner_texts_total 2.0" in page
    assert 'ner_requests_total{route="/v1/annotate",status="200"} 1.0' in page


def _in_house(service: Served) -> int:
    page = httpx.get(f"{service.url}/metrics", timeout=PATIENCE_S).text
    return int(float(page.split("\nner_requests_in_house ")[1].split()[0]))


def _head(path: str, length: int | None) -> bytes:
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", size, "", ""]
    return "\r\n".join(lines).encode()


def _request(body: bytes) -> bytes:
    return _head("/v1/annotate", len(body)) + body


def _takes_connections(service: Served) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", service.port), timeout=1) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return bool(client.recv(1))
    except OSError:
        return False


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ({"text": "Iron.", "foo": 1}, "texts.0.foo: unknown field"),
        ({"id": 7, "text": "Iron."}, "texts.0.id: must be text, got 7"),
        ({"text": "Iron.", "sentences": []}, "texts.0.text: unknown field"),
        ({"sentences": "Iron."}, "texts.0.sentences: must be a list, got 'Iron.'"),
        (5, "texts.0: must be text, or an object with text or sentences, got 5"),
    ],
)
def test_what_does_not_fit_is_told_of_the_form_that_the_text_has(
    running: Served, text: object, detail: str
) -> None:
    response = post(running, {"texts": [text]})
    assert (response.status_code, response.json()["detail"]) == (422, detail)
