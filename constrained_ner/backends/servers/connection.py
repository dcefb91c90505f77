"""What all servers have in common: waiting, retrying, and reporting what went wrong.

A `Server` makes one request; `RemoteBackend` turns it into a TextBackend. Errors have Outlines' classes
(`outlines.exceptions`), which cover the errors of all clients.
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from outlines import exceptions as failures

from ...errors import ContextOverflowError, ModelError, SentenceError
from ..protocol import GrammarDialect, TextAnswer, TextRequest
from .event_loop import EventLoop

Reply = TypeVar("Reply")

_TOO_LONG = re.compile(
    r"context.?(length|size|window)|exceeds? .{0,30}context|max_model_len|maximum.{0,20}length",
    re.IGNORECASE,
)
"""How vLLM, SGLang, llama-server, llama_cpp.server and OpenAI report that a prompt does not fit."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for a server, and how often to try.

    timeout_s: for one attempt.
    n_attempts: for one request. After a timeout there is only one more attempt, because a request that takes
        too long mostly does so again.
    first_pause_s: before the second attempt; every further pause is twice as long, up to longest_pause_s.
        Each is shortened at random by up to half, so that requests that failed together do not come back
        together.
    """

    timeout_s: float = 300.0
    n_attempts: int = 5
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0

    def pause_s(self, n_failed: int, wanted_s: float | None) -> float:
        """The pause after n_failed attempts. wanted_s: what the server asked for (Retry-After), if it did."""
        if wanted_s is not None:
            return min(max(wanted_s, 0.0), 4 * self.longest_pause_s)
        longest = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (n_failed - 1))
        return longest * random.uniform(0.5, 1.0)


class Server(Protocol):
    """One model on one kind of server, through that server's own client.

    provider: the client's name in `outlines.exceptions`. title, url: for messages.
    The other properties are those of TextBackend.
    """

    @property
    def provider(self) -> str: ...

    @property
    def title(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def dialect(self) -> GrammarDialect: ...

    @property
    def grammar_field(self) -> str: ...

    @property
    def grammar_advice(self) -> str: ...

    @property
    def context_length(self) -> int | None: ...

    async def connect(self) -> dict[str, str]:
        """Find out what the server is and has; returns the model's description. Raises ModelError."""

    @property
    def reports_tokens(self) -> bool: ...

    async def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        """Raises ModelError if the product cannot be asked, ValueError for a malformed answer."""

    async def ask(self, request: TextRequest) -> TextAnswer:
        """One attempt. Raises the client's errors, SentenceError, or ValueError for a malformed answer."""

    async def hang_up(self) -> None: ...


class RemoteBackend:
    """A TextBackend over one server.

    Raises ModelError if the server cannot be reached, does not have the model, or rejects the key.
    """

    shows_logits: Literal[False] = False
    thread_safe = True
    chat_template: str | None = None  # the server applies it
    temperature: float | None = None
    adapter_card: str | None = None
    base_model: str | None = None

    def __init__(self, server: Server, *, max_sequences: int = 4, patience: Patience | None = None) -> None:
        self.max_sequences = max_sequences
        self._server = server
        self._patience = patience or Patience()
        self._free = asyncio.Semaphore(max_sequences)
        self._loop = EventLoop()
        self._closing = threading.Lock()
        try:
            self.description = self._loop.submit(self._connect()).result()
        except BaseException:
            self.close()
            raise

    @property
    def dialect(self) -> GrammarDialect:
        return self._server.dialect

    @property
    def grammar_field(self) -> str:
        return f"{self._server.title} at {self._server.url} (field {self._server.grammar_field})"

    @property
    def grammar_advice(self) -> str:
        return self._server.grammar_advice

    @property
    def context_length(self) -> int | None:
        return self._server.context_length

    @property
    def identity(self) -> dict[str, str]:
        return {key: value for key, value in self.description.items() if key != "path"}

    @property
    def reports_tokens(self) -> bool:
        return self._server.reports_tokens

    def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        return self._loop.submit(self._in_time(self._server.tokenize(text))).result()

    def submit(self, request: TextRequest) -> Future[TextAnswer]:
        if self._loop.closed:
            raise ModelError(f"{self._server.url}: the connection is closed")
        return self._loop.submit(self._answer(request))

    def close(self) -> None:
        with self._closing:
            if self._loop.closed:
                return
            with suppress(Exception):  # the server may be gone, or take its time
                self._loop.submit(self._server.hang_up()).result(1.0)
            self._loop.close()

    async def _connect(self) -> dict[str, str]:
        return await self._in_time(self._server.connect())

    async def _in_time(self, asked: Coroutine[Any, Any, Reply]) -> Reply:
        """A single attempt: if the server is not there when the run begins, the user has to start it."""
        timeout_s = min(self._patience.timeout_s, 30.0)
        try:
            with failures.normalize_provider_errors(self._server.provider):
                return await asyncio.wait_for(asked, timeout_s)
        except ValueError as error:
            raise ModelError(
                f"{self._server.url}: malformed server response: {shortened(str(error))}"
            ) from None
        except asyncio.TimeoutError:
            raise ModelError(
                f"{self._server.url}: the server did not answer within {timeout_s:g} s"
            ) from None
        except failures.APIError as error:
            raise self._ends_the_run(error) or ModelError(
                f"{self._server.url}: {message_of(error)}"
            ) from None

    async def _answer(self, request: TextRequest) -> TextAnswer:
        async with self._free:
            return await self._answer_with_retries(request)

    async def _answer_with_retries(self, request: TextRequest) -> TextAnswer:
        """Attempt until one succeeds, or further attempts are pointless."""
        patience = self._patience
        n_failed = n_timeouts = 0
        while True:
            try:
                with failures.normalize_provider_errors(self._server.provider):
                    return await asyncio.wait_for(self._server.ask(request), patience.timeout_s)
            except ValueError as error:  # not JSON, or JSON of something else
                raise SentenceError(f"malformed server response: {shortened(str(error))}") from None
            except (asyncio.TimeoutError, failures.APITimeoutError):
                n_timeouts += 1
                wanted_s = None
                final: Exception = SentenceError(
                    f"no answer within {patience.timeout_s:g} s, {n_timeouts} times: raise --timeout"
                )
                hopeless = n_timeouts == 2
            except failures.APIError as error:
                wanted_s = retry_after_s(error)
                final = self._ends_the_run(error) or self._fails_the_sentence(error, n_failed + 1)
                hopeless = not error.retryable
            n_failed += 1
            if hopeless or n_failed >= patience.n_attempts:
                raise final
            await asyncio.sleep(patience.pause_s(n_failed, wanted_s))

    def _ends_the_run(self, error: failures.APIError) -> ModelError | None:
        """The error for what would fail every other request too, None for anything else."""
        url = self._server.url
        if isinstance(error, failures.APIConnectionError):
            return ModelError(f"{url}: the server cannot be reached: {message_of(error)}")
        if isinstance(error, (failures.AuthenticationError, failures.PermissionDeniedError)):
            return ModelError(f"{url}: the server rejects the key: {message_of(error)}")
        if isinstance(error, failures.NotFoundError):
            return ModelError(f"{url}: {message_of(error)}: check --model and --base-url")
        return None

    def _fails_the_sentence(self, error: failures.APIError, n_attempts: int) -> SentenceError:
        message = message_of(error)
        if not error.retryable:
            too_long = _TOO_LONG.search(message)
            return (ContextOverflowError if too_long else SentenceError)(
                f"the server rejected the request: {message}"
            )
        times = "" if n_attempts == 1 else f", {n_attempts} times"
        return SentenceError(f"the server failed{times}: {message}")


def message_of(error: failures.APIError) -> str:
    """The message of the server or the client, in one line.

    The clients wrap the server's message: openai keeps the body, ollama an attribute `error`.
    """
    original = error.original_exception or error
    body = getattr(original, "body", None)
    if isinstance(body, Mapping):
        inner = body.get("error", body)
        said = inner.get("message") if isinstance(inner, Mapping) else inner
    else:
        said = getattr(original, "error", None)
    words = str(said or original or type(original).__name__)
    cause = original.__cause__ or original.__context__
    if isinstance(error, failures.APIConnectionError) and cause is not None and str(cause):
        words = str(cause)  # "Connection error." says less than "Connection refused"
    status = f"{error.status_code} " if error.status_code else ""
    return status + shortened(words)


def answer_of(content: str | None, thoughts: str | None, *, finished: bool) -> str:
    """The text of an answer. Raises SentenceError if there is none.

    thoughts: what the server took for thoughts. If there is nothing else, it is the answer: a server that
    separates the two may do so wrongly, above all under a grammar, which leaves no room for thoughts.
    """
    if content and content.strip():
        return content
    if thoughts and thoughts.strip():
        if finished:
            return thoughts
        raise SentenceError("the answer was cut off while the model was thinking: turn thinking off")
    if not finished:
        return content or ""
    raise SentenceError("the server's answer is empty")


def shortened(words: str, longest: int = 300) -> str:
    line = " ".join(words.split())
    return line if len(line) <= longest else line[:longest] + "..."


def retry_after_s(error: failures.APIError) -> float | None:
    """Seconds that the server asked us to wait; None if it did not say, or gave a date.

    ollama's client drops the response, but httpx's error with the response is the context of its own error.
    """
    original = error.original_exception
    for source in (original, getattr(original, "__context__", None)):
        headers = getattr(getattr(source, "response", None), "headers", None)
        try:
            return float(headers["retry-after"]) if headers is not None else None
        except (KeyError, ValueError):
            continue
    return None


def listed(names: Sequence[str], longest: int = 20) -> str:
    """Example: listed(["a", "b"]) -> "it has: a, b" """
    if not names:
        return "it has none"
    more = f" and {len(names) - longest} more" if len(names) > longest else ""
    return "it has: " + ", ".join(names[:longest]) + more
