"""OpenAI's protocol, which most servers speak. They differ in how they take a grammar (see `product.py`).

Outlines writes the messages. The call itself goes through the openai client: Outlines' `generate` returns
only the text, and we also need to know whether it was cut off and how many tokens it took.

The messages hold the user's text as it is. Whether text that spells a control token becomes one is up to the
server.
"""

from __future__ import annotations

import os

import openai
import outlines
from openai.types import Model
from openai.types.chat import ChatCompletion
from outlines.inputs import Chat

from ...errors import ModelError
from ..protocol import GrammarDialect, TextAnswer, TextRequest
from . import PRODUCTS
from .connection import listed
from .openai import OPENAI
from .product import Product


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

    product: None to find out.
    """

    provider = "openai"

    def __init__(self, name: str, base_url: str, product: Product | None = None) -> None:
        self.name = name
        self.url = base_url.rstrip("/")
        self.context_length: int | None = None
        self._product = product
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
            models = {model.id: model async for model in self._client.models.list()}
        except openai.NotFoundError:
            raise ModelError(f"{self.url}/models: not found; does --base-url end in /v1?") from None
        except (AttributeError, TypeError, ValueError):
            raise ModelError(f"{self.url}: not a server that speaks OpenAI's protocol") from None
        model = models.get(self.name)
        if model is None:
            raise ModelError(f"{self.url}: the server has no model {self.name!r}; {listed(list(models))}")
        self._product = self._product or _product_of(model)
        self.context_length = _context_length(model)
        return {"backend": "server", "name": self.name, "server": self.product.title, "path": self.url}

    async def ask(self, request: TextRequest) -> TextAnswer:
        constraint = self.product.constrain(self._client, request.grammar) if request.grammar else {}
        extra_body = {**self.product.greedy, **constraint.pop("extra_body", {})}
        messages = Chat([{"role": role, "content": content} for role, content in request.messages])
        completion: ChatCompletion = await self._client.chat.completions.create(
            model=self.name,
            messages=outlines.from_openai(self._client).type_adapter.format_input(messages),
            max_tokens=request.max_tokens,
            temperature=0,
            presence_penalty=0,
            frequency_penalty=0,
            extra_body=extra_body,
            **constraint,
        )
        try:
            choice, usage = completion.choices[0], completion.usage
            return TextAnswer(
                text=choice.message.content or "",
                finished=choice.finish_reason != "length",
                n_prompt_tokens=usage.prompt_tokens if usage else 0,
                n_tokens=usage.completion_tokens if usage else 0,
            )
        except (AttributeError, IndexError, TypeError):  # the client does not check what it is sent
            raise ValueError("not a chat completion") from None

    async def hang_up(self) -> None:
        await self._client.close()


def _product_of(model: Model) -> Product:
    """By what the server says in `owned_by`."""
    by_owner = {product.owner: product for product in PRODUCTS.values()}
    return by_owner.get(model.owned_by, OPENAI)


def _context_length(model: Model) -> int | None:
    """What vLLM and SGLang report; llama.cpp's servers report only the model's training length."""
    said = getattr(model, "max_model_len", None)
    return said if isinstance(said, int) else None
