"""Servers that speak OpenAI's protocol: llama-server, vLLM, SGLang, llama_cpp.server, and others.

They differ in the field that takes the constraint, and say what they are in `owned_by` of their models.

Outlines writes messages and constraint where it has a model for the server (`from_vllm`, `from_openai`). The
call itself goes through the openai client: Outlines' `generate` gives back the text alone; whether it was cut
off and how many tokens it took is lost. `grammar` of llama.cpp's servers and `ebnf` of SGLang are set here:
Outlines has no model for the former, and warns of every grammar for the latter.

The messages hold the user's text as it is. Whether text that spells a control token becomes one is up to the
server: llama.cpp's servers tokenise the whole rendered prompt with control tokens on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import openai
import outlines
from openai.types import Model
from openai.types.chat import ChatCompletion
from outlines.inputs import Chat
from outlines.types import CFG, JsonSchema

from ...errors import ModelError
from ..text_protocol import GrammarDialect, TextAnswer, TextRequest
from .connection import named

ServerKind = Literal["llama-server", "llama-cpp-python", "vllm", "sglang", "openai"]

_NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
_FREE_COPYING = {"repetition_penalty": 1.0}  # vLLM and SGLang take the model's own default, often more
_LLAMA_FREE_COPYING = {"repeat_penalty": 1.0}  # llama_cpp.server's default is 1.1


@dataclass(frozen=True, slots=True)
class Kind:
    """How one product takes a constraint.

    owner: what it says in `owned_by`. constrain: a grammar as arguments of the client's call.
    grammar_field: where it stands in the request. advice: if the server does not heed it.
    greedy: fields beside temperature 0 without which the answer is not the most probable one.
    """

    title: str
    owner: str
    dialect: GrammarDialect
    grammar_field: str
    advice: str
    constrain: Callable[[openai.AsyncOpenAI, str], dict[str, Any]]
    greedy: Mapping[str, Any]


def _vllm(client: openai.AsyncOpenAI, grammar: str) -> dict[str, Any]:
    return {"extra_body": outlines.from_vllm(client).type_adapter.format_output_type(CFG(grammar))}


def _response_format(client: openai.AsyncOpenAI, grammar: str) -> dict[str, Any]:
    schema = JsonSchema(grammar, ensure_ascii=False)
    return dict(outlines.from_openai(client).type_adapter.format_output_type(schema))


def _field(name: str) -> Callable[[openai.AsyncOpenAI, str], dict[str, Any]]:
    return lambda client, grammar: {"extra_body": {name: grammar}}


KINDS: dict[ServerKind, Kind] = {
    "llama-server": Kind(
        "llama-server",
        "llamacpp",
        "gbnf",
        "grammar",
        "start it with --special if the model's tags are control tokens",
        _field("grammar"),
        _LLAMA_FREE_COPYING | _NO_THINKING,
    ),
    "llama-cpp-python": Kind(
        "llama_cpp.server", "me", "gbnf", "grammar", "update it", _field("grammar"), _LLAMA_FREE_COPYING
    ),
    "vllm": Kind(
        "vLLM",
        "vllm",
        "gbnf",
        "structured_outputs",
        "vLLM heeds this field from 0.12 on",
        _vllm,
        _FREE_COPYING | _NO_THINKING,
    ),
    "sglang": Kind(
        "SGLang",
        "sglang",
        "gbnf",
        "ebnf",
        "its --grammar-backend has to be xgrammar or llguidance",
        _field("ebnf"),
        _FREE_COPYING | _NO_THINKING,
    ),
    "openai": Kind(
        "the server",
        "",
        "json-schema",
        "response_format",
        "name its kind with --server if it is one of llama-server, llama-cpp-python, vllm, sglang",
        _response_format,
        {},
    ),
}


class OpenAIServer:
    """One model of a server. base_url ends in /v1; the key is taken from OPENAI_API_KEY.

    kind: None to find out.
    """

    provider = "openai"

    def __init__(self, name: str, base_url: str, kind: ServerKind | None = None) -> None:
        self.name = name
        self.url = base_url.rstrip("/")
        self.context_length: int | None = None
        self._kind = KINDS[kind] if kind else None
        self._client = openai.AsyncOpenAI(
            base_url=self.url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",
            max_retries=0,
            timeout=None,  # both are `Patience`'s
        )

    @property
    def kind(self) -> Kind:
        return self._kind or KINDS["openai"]

    @property
    def title(self) -> str:
        return self.kind.title

    @property
    def dialect(self) -> GrammarDialect:
        return self.kind.dialect

    @property
    def grammar_field(self) -> str:
        return self.kind.grammar_field

    @property
    def grammar_advice(self) -> str:
        return self.kind.advice

    async def connect(self) -> dict[str, str]:
        try:
            models = {model.id: model async for model in self._client.models.list()}
        except openai.NotFoundError:
            raise ModelError(f"{self.url}/models: no such page; does --base-url end in /v1?") from None
        except (AttributeError, TypeError, ValueError):
            raise ModelError(f"{self.url}: not a server that speaks OpenAI's protocol") from None
        model = models.get(self.name)
        if model is None:
            raise ModelError(f"{self.url}: the server has no model {self.name!r}; {named(list(models))}")
        self._kind = self._kind or _kind_of(model)
        self.context_length = _context_length(model)
        return {"backend": "server", "name": self.name, "server": self.kind.title, "path": self.url}

    async def ask(self, request: TextRequest) -> TextAnswer:
        constraint = self.kind.constrain(self._client, request.grammar) if request.grammar else {}
        extra_body = {**self.kind.greedy, **constraint.pop("extra_body", {})}
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


def _kind_of(model: Model) -> Kind:
    """By the name that each product gives itself, read in their sources."""
    by_owner = {kind.owner: kind for kind in KINDS.values()}
    return by_owner.get(model.owned_by, KINDS["openai"])


def _context_length(model: Model) -> int | None:
    """vLLM and SGLang say it; llama.cpp's list of models has only what the model was trained with."""
    said = getattr(model, "max_model_len", None)
    return said if isinstance(said, int) else None
