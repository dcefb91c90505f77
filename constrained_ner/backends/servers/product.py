"""How one product that speaks OpenAI's protocol takes a grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..protocol import GrammarDialect

NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}


def extra_field(name: str) -> Callable[[Any, str], dict[str, Any]]:
    """A `constrain` that puts the grammar in a field of the request that the openai client does not know."""
    return lambda client, grammar: {"extra_body": {name: grammar}}


@dataclass(frozen=True, slots=True)
class Tokenize:
    """`/tokenize` beside `/v1`. request: model and text -> body. read: reply and text -> ids and bytes.

    `read` raises KeyError, TypeError or ValueError for a malformed reply.
    """

    request: Callable[[str, str], dict[str, Any]]
    read: Callable[[dict[str, Any], str], list[tuple[int, bytes]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """One product. `OpenAIServer` does the rest.

    title: its name, for messages. owner: what it says in `owned_by` of its models, read in its source.
    grammar_field: the field of the request that takes the grammar.
    grammar_advice: what the user can do if the product ignores the grammar.
    constrain: client and grammar -> keyword arguments for the openai client's call.
    greedy: fields without which, even at temperature 0, the answer is not the most probable one.
    tokenize: how the product is asked for the tokens of a text; None if it cannot be.
    reports_tokens: whether it reports the probabilities of tokens before the grammar, as tried against it.
    """

    title: str
    owner: str
    dialect: GrammarDialect
    grammar_field: str
    grammar_advice: str
    constrain: Callable[[Any, str], dict[str, Any]]
    greedy: Mapping[str, Any] = field(default_factory=dict)
    tokenize: Tokenize | None = None
    reports_tokens: bool = False
