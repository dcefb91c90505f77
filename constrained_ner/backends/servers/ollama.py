"""Ollama, which takes a JSON schema but no grammar.

Outlines (`from_ollama`) writes messages and schema. The call goes through the ollama client: Outlines'
`generate` returns only the text, and we also need to know whether it was cut off and how many tokens it took.

Ollama silently cuts a prompt that does not fit its context (and its client cannot send `truncate: false`). So
the context length is always set here, and a prompt that could be longer is never sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import ollama
import outlines
from outlines.inputs import Chat
from outlines.types import JsonSchema

from ...errors import ContextOverflowError, ModelError
from ..protocol import GrammarDialect, TextAnswer, TextRequest
from .connection import answer_of, listed

DEFAULT_URL = "http://localhost:11434"
DEFAULT_CONTEXT_LENGTH = 8192

_FEWEST_BYTES_A_TOKEN = 2  # on average over a prompt; English has about 4, names of drugs about 3


def open_server(name: str, *, base_url: str | None, server: str | None, context: int | None) -> OllamaServer:
    """The server for `ollama:NAME`. Raises ModelError for options that do not fit."""
    if server is not None:
        raise ModelError(f"ollama:{name}: --server is for openai:NAME")
    return OllamaServer(name, base_url or DEFAULT_URL, context)


class OllamaServer:
    """One model of an Ollama server. Changing the context length makes Ollama load the model again."""

    provider = "ollama"
    title = "Ollama"
    dialect: GrammarDialect = "json-schema"
    grammar_field = "format"
    grammar_advice = "update Ollama: some versions ignore the schema of some models when thinking is off"

    def __init__(self, name: str, base_url: str = DEFAULT_URL, context_length: int | None = None) -> None:
        self.name = name
        self.url = base_url.rstrip("/")
        self.context_length: int | None = context_length or DEFAULT_CONTEXT_LENGTH
        self._client = ollama.AsyncClient(host=self.url)
        self._outlines = outlines.from_ollama(self._client, name)

    async def connect(self) -> dict[str, str]:
        try:
            with _connection_errors():
                models = {model.model: model for model in (await self._client.list()).models}
        except (ollama.ResponseError, ValueError) as error:
            raise ModelError(f"{self.url}: not an Ollama server: {error}") from None
        if not self.name and len(models) == 1:
            self.name = next(iter(models)) or ""
        model = models.get(self.name) or models.get(f"{self.name}:latest")
        if model is None:
            names = [name for name in models if name]
            raise ModelError(
                f"{self.url}: Ollama has no model {self.name!r} (ollama pull {self.name}); {listed(names)}"
            )
        description = {"backend": "server", "name": self.name, "server": self.title, "path": self.url}
        return {**description, "sha256": model.digest} if model.digest else description

    reports_tokens = False

    async def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        raise ModelError(f"{self.url}: {self.title} does not say how it tokenizes a text")

    async def ask(self, request: TextRequest) -> TextAnswer:
        self._check_length(request)
        adapter = self._outlines.type_adapter
        schema = JsonSchema(request.grammar, ensure_ascii=False) if request.grammar else None
        messages = Chat([{"role": role, "content": content} for role, content in request.messages])
        with _connection_errors():
            answer = await self._client.chat(
                model=self.name,
                messages=adapter.format_input(messages),
                format=adapter.format_output_type(schema),
                think=False,
                options={
                    "temperature": 0,
                    "repeat_penalty": 1.0,  # the default of 1.1 would punish copying
                    "num_ctx": self.context_length,
                    "num_predict": request.max_tokens,
                },
            )
        finished = answer.done_reason != "length"
        return TextAnswer(
            text=answer_of(answer.message.content, answer.message.thinking, finished=finished),
            finished=finished,
            n_prompt_tokens=answer.prompt_eval_count or 0,
            n_tokens=answer.eval_count or 0,
        )

    async def hang_up(self) -> None:
        await self._client.close()  # type: ignore[no-untyped-call]

    def _check_length(self, request: TextRequest) -> None:
        most = request.n_bytes // _FEWEST_BYTES_A_TOKEN + request.max_tokens
        if self.context_length is not None and most > self.context_length:
            raise ContextOverflowError(
                f"prompt and answer may take {most} tokens, but the context has {self.context_length}: "
                "raise --context"
            )


@contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn httpx's errors, which the ollama client lets through, into the one that Outlines knows."""
    try:
        yield
    except httpx.TransportError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
