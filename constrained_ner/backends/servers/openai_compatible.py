"""OpenAI's protocol, which most servers speak. They differ in how they take a grammar (see `product.py`).

Outlines writes the messages. The call itself goes through the openai client: Outlines' `generate` returns
only the text, and we also need to know whether it was cut off and how many tokens it took.

The messages hold the user's text as it is. Whether text that spells a control token becomes one is up to the
server.
"""

from __future__ import annotations

import os
from typing import Any, cast

import openai
import outlines
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionTokenLogprob
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_token_logprob import TopLogprob
from outlines.inputs import Chat

from ...errors import ModelError
from ..protocol import GrammarDialect, ReportedToken, TextAnswer, TextRequest
from . import PRODUCTS
from .connection import answer_of
from .form import Form
from .model_names import find_model, portable_name
from .openai import OPENAI
from .product import Product

_GREEDY = {"temperature": 0, "presence_penalty": 0, "frequency_penalty": 0}
_REPORT = ("logprobs", "top_logprobs")
_THOUGHTS = ("reasoning_content", "reasoning")
"""Where servers put thoughts, and with some parsers the whole answer."""


def open_server(name: str, *, base_url: str | None, server: str | None, context: int | None) -> OpenAIServer:
    """The server for `openai:NAME`. Raises ModelError for options that do not fit."""
    model = f"openai:{name}"
    if server is not None and server not in PRODUCTS:
        raise ModelError(f"{model}: --server is {server!r}, but it must be one of {', '.join(PRODUCTS)}")
    if base_url is None:
        # Texts must not leave the machine because an option was forgotten.
        raise ModelError(
            f"{model}: the address is missing: pass --base-url, such as http://localhost:8080/v1"
        )
    if context is not None:
        raise ModelError(f"{model}: --context is for Ollama; this server sets its own context length")
    return OpenAIServer(name, base_url, PRODUCTS[server] if server else None)


class OpenAIServer:
    """One model of a server. base_url ends in /v1; the key is taken from OPENAI_API_KEY.

    name: "" for the server's only model. product: None to find out.
    """

    provider = "openai"

    def __init__(self, name: str, base_url: str, product: Product | None = None) -> None:
        self.name = name
        self.url = base_url.rstrip("/")
        self.context_length: int | None = None
        self._product = product
        self._form = Form()
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            timeout=None,  # `Patience` handles both
        )

    @property
    def product(self) -> Product:
        return self._product or OPENAI

    @property
    def title(self) -> str:
        return self.product.title

    @property
    def dialect(self) -> GrammarDialect:
        return self.product.dialect

    @property
    def grammar_field(self) -> str:
        return self.product.grammar_field

    @property
    def grammar_advice(self) -> str:
        return self.product.grammar_advice

    async def connect(self) -> dict[str, str]:
        try:
            models = [model async for model in self._client.models.list()]
        except openai.NotFoundError:
            raise ModelError(f"{self.url}/models: not found; does --base-url end in /v1?") from None
        except (AttributeError, TypeError, ValueError):
            raise ModelError(f"{self.url}: not a server that speaks OpenAI's protocol") from None
        model = find_model(self.name, models, self.url)
        self.name = model.id
        self._product = self._product or _product_of(model)
        self.context_length = _context_length(model)
        name = portable_name(self.name)
        return {"backend": "server", "name": name, "server": self.product.title, "path": self.url}

    @property
    def reports_tokens(self) -> bool:
        return self.product.reports_tokens

    async def tokenize(self, text: str) -> list[tuple[int, bytes]]:
        how = self.product.tokenize
        if how is None:
            raise ModelError(f"{self.url}: {self.title} does not say how it tokenizes a text")
        address = f"{self.url.removesuffix('/v1')}/tokenize"
        reply = await self._client.post(address, cast_to=object, body=how.request(self.name, text))
        try:
            return how.read(cast(dict[str, Any], reply), text)
        except (KeyError, TypeError):
            raise ValueError("no tokens") from None

    async def ask(self, request: TextRequest) -> TextAnswer:
        while True:
            form = self._form
            try:
                return read_completion(await self._create(request, form), form)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                other = form.after(_refusal(error), self._optional_fields())
                if other is None:
                    raise
                if self._form is form:  # otherwise another request has met the same refusal
                    self._form = other

    def _optional_fields(self) -> list[str]:
        return [*_GREEDY, *self.product.greedy, *_REPORT]

    async def _create(self, request: TextRequest, form: Form) -> ChatCompletion:
        grammar = request.grammar
        if grammar and self.dialect == "json-schema":
            grammar = form.schema(grammar)
        constraint = self.product.constrain(self._client, grammar) if grammar else {}
        extra_body = {**form.fields(self.product.greedy), **constraint.pop("extra_body", {})}
        report = {"logprobs": True, "top_logprobs": request.n_likeliest} if request.n_likeliest else {}
        bias = {str(token_id): number for token_id, number in request.bias.items()}
        options: dict[str, Any] = {
            form.limit: request.max_tokens,
            **form.fields(_GREEDY | report),
            **({"logit_bias": bias} if bias else {}),
            "extra_body": extra_body,
            **constraint,
        }
        messages = outlines.from_openai(self._client).type_adapter.format_input(
            Chat(form.messages(request.messages))
        )
        completion: ChatCompletion = await self._client.chat.completions.create(
            model=self.name, messages=messages, **options
        )
        return completion

    async def hang_up(self) -> None:
        await self._client.close()


def read_completion(completion: ChatCompletion, form: Form) -> TextAnswer:
    """The answer. Raises ValueError for what is no completion, SentenceError if there is no answer in it."""
    try:
        choice, usage = completion.choices[0], completion.usage
        finished = choice.finish_reason != "length"
        message = choice.message
        thoughts = next(filter(None, (getattr(message, name, None) for name in _THOUGHTS)), None)
        return TextAnswer(
            text=form.answer(answer_of(message.content, thoughts, finished=finished)),
            finished=finished,
            n_prompt_tokens=usage.prompt_tokens if usage else 0,
            n_tokens=usage.completion_tokens if usage else 0,
            tokens=_reported(choice),
        )
    except (AttributeError, IndexError, TypeError):  # the client does not check what it is sent
        raise ValueError("not a chat completion") from None


def _reported(choice: Choice) -> tuple[ReportedToken, ...]:
    """The tokens of the answer with their probabilities, if the server sent them."""
    said = choice.logprobs.content if choice.logprobs else None
    return tuple(
        ReportedToken(
            _token_bytes(token),
            token.logprob,
            tuple((_token_bytes(other), other.logprob) for other in token.top_logprobs or ()),
        )
        for token in said or ()
    )


def _token_bytes(token: ChatCompletionTokenLogprob | TopLogprob) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)


def _refusal(error: openai.APIStatusError) -> str:
    """What the server said, whatever the shape of its body."""
    return f"{error.message} {error.body}"


def _product_of(model: Model) -> Product:
    """By what the server says in `owned_by`."""
    by_owner = {product.owner: product for product in PRODUCTS.values()}
    return by_owner.get(model.owned_by, OPENAI)


def _context_length(model: Model) -> int | None:
    """What the server can hold of one conversation: vLLM and SGLang say so, and llama-server since 2026.

    Older ones report only the length that the model was trained with (`n_ctx_train`).
    """
    about = getattr(model, "meta", None)
    said = about.get("n_ctx") if isinstance(about, dict) else getattr(model, "max_model_len", None)
    return said if isinstance(said, int) else None
