"""Servers for tests: a real one (llama_cpp.server), one that speaks Ollama's protocol over a real model, and
one with programmable behaviour. All listen on loopback ports and are gone at the end of their `with`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from extra_buffers import without_extra_buffers

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]
Behaviour = Callable[[str, dict[str, Any]], Reply]
"""Path and body of a request -> status, JSON (or text), and headers."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def with_visible_tags(model: Path, copy: Path) -> Path:
    """A copy of the bundled model with ordinary tokens as tags, as servers do not show control tokens."""
    import gguf

    shutil.copyfile(model, copy)
    reader = gguf.GGUFReader(copy, "r+")
    types = reader.fields["tokenizer.ggml.token_type"]
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    for token, index in zip(tokens, types.data, strict=True):
        kind = types.parts[index]
        if kind[0] == gguf.TokenType.CONTROL and not token.startswith("<|"):
            kind[0] = gguf.TokenType.USER_DEFINED
    return copy


_SERVER = """
from extra_buffers import without_extra_buffers
from llama_cpp.server.__main__ import main
with without_extra_buffers():
    main()
"""


@contextlib.contextmanager
def llama_cpp_server(model: Path, *, n_ctx: int = 1024) -> Iterator[str]:
    """The address of a real `llama_cpp.server` that serves this model under the name "bundled"."""
    port = free_port()
    command = [sys.executable, "-c", _SERVER, "--model", str(model), "--model_alias", "bundled"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(n_ctx), "--n_threads", "1"]
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([*command, "--n_threads_batch", "1"], env=environment, **quiet)
    try:
        address = f"http://127.0.0.1:{port}/v1"
        deadline_s = time.monotonic() + 60
        while not _answers(f"{address}/models"):
            assert process.poll() is None, "llama_cpp.server ended at once"
            assert time.monotonic() < deadline_s, "llama_cpp.server did not start within a minute"
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


class StandIn:
    """An HTTP server that answers every request with a function, and records the requests.

    requests: pairs of path and body, in order of arrival. keys: what they were authorised with.
    most_at_once: the highest number of concurrent requests.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.keys: set[str | None] = set()
        self.n_under_way = self.most_at_once = 0
        self.lock = threading.Lock()
        self.released = threading.Event()  # set at the end, for behaviours that hang
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def questions(self) -> list[dict[str, Any]]:
        """The bodies of the requests that ask the model something."""
        return [body for _, body in self.requests if "messages" in body]

    def __enter__(self) -> StandIn:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._reply({})

            def do_POST(self) -> None:
                self._reply(json.loads(self.rfile.read(int(self.headers["content-length"]))))

            def _reply(self, body: dict[str, Any]) -> None:
                with stand_in.lock:
                    stand_in.requests.append((self.path, body))
                    stand_in.keys.add(self.headers["authorization"])
                    stand_in.n_under_way += 1
                    stand_in.most_at_once = max(stand_in.most_at_once, stand_in.n_under_way)
                try:
                    status, content, *headers = stand_in.behaviour(self.path, body)
                finally:
                    with stand_in.lock:
                        stand_in.n_under_way -= 1
                data = (content if isinstance(content, str) else json.dumps(content)).encode()
                with contextlib.suppress(OSError):  # the client may have hung up
                    self.send_response(status)
                    for name, value in {"content-type": "application/json", **dict(*headers)}.items():
                        self.send_header(name, value)
                    self.send_header("content-length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


# ---- OpenAI's protocol


def openai_models(owner: str = "llamacpp", name: str = "tiny") -> Reply:
    return 200, {"object": "list", "data": [{"id": name, "object": "model", "created": 1, "owned_by": owner}]}


def openai_answer(text: str, finish_reason: str = "stop") -> Reply:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    shape = {"id": "x", "object": "chat.completion", "created": 1, "model": "tiny"}
    return 200, {**shape, "choices": [choice], "usage": usage}


def openai_stand_in(answer: Behaviour, owner: str = "llamacpp") -> StandIn:
    """It does not say how it tokenizes."""

    def behave(path: str, body: dict[str, Any]) -> Reply:
        if path == "/tokenize":
            return 404, {"error": {"message": "no such path"}}
        return openai_models(owner) if path.endswith("/models") else answer(path, body)

    return StandIn(behave)


# ---- Ollama's protocol


def ollama_tags(name: str = "tiny:latest") -> Reply:
    return 200, {"models": [{"name": name, "model": name, "digest": "0" * 64, "size": 1}]}


def ollama_answer(text: str, done_reason: str = "stop") -> Reply:
    message = {"role": "assistant", "content": text}
    counts = {"prompt_eval_count": 7, "eval_count": 3}
    shape = {"model": "tiny", "created_at": "2025-01-01T00:00:00Z", "done": True}
    return 200, {**shape, "message": message, "done_reason": done_reason, **counts}


def ollama_stand_in(chat: Behaviour) -> StandIn:
    def behave(path: str, body: dict[str, Any]) -> Reply:
        if path == "/api/tags":
            return ollama_tags()
        if path == "/api/version":
            return 200, {"version": "0.12.0"}
        assert path == "/api/chat", path
        return chat(path, body)

    return StandIn(behave)


def schema_enforcing_chat(model: Path) -> Behaviour:
    """`/api/chat` over a real model; llama.cpp's own conversion enforces the JSON schema."""
    import llama_cpp

    with without_extra_buffers():
        llama = llama_cpp.Llama(str(model), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
    one_at_a_time = threading.Lock()

    def chat(path: str, body: dict[str, Any]) -> Reply:
        schema = body.get("format")
        grammar = schema and llama_cpp.LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        options = body["options"]
        with one_at_a_time:
            completion = llama.create_chat_completion(
                body["messages"],
                grammar=grammar or None,
                temperature=options["temperature"],
                repeat_penalty=options["repeat_penalty"],
                max_tokens=options["num_predict"],
            )
        choice = completion["choices"][0]
        return ollama_answer(choice["message"]["content"], choice["finish_reason"])

    return chat
